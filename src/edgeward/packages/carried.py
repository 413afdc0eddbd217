"""What a package carries for those who ask a model: labels, a card and a recipe."""

from typing import TYPE_CHECKING

from edgeward import _core
from edgeward.packages.contents import CARD, LABELS, RECIPE

if TYPE_CHECKING:
    from edgeward.packages.recipe import Recipe

KEPT = (LABELS, CARD, RECIPE)  # by a model that came out of a package


def labels(model: _core.Model) -> tuple[str, ...] | None:
    """The names of the classes, in order; None for a model whose package has none, or without."""
    content = model.read_member(LABELS)
    return None if content is None else tuple(text_of(content).splitlines())


def card(model: _core.Model) -> str | None:
    """The model card, in Markdown; None for a model whose package has none, or without."""
    content = model.read_member(CARD)
    return None if content is None else text_of(content)


def recipe(model: _core.Model) -> "Recipe | None":
    """How pictures and sounds become its inputs; None for a model whose package does not say.

    Raises MalformedPackage, for a later version too.
    """
    from edgeward.packages.recipe import from_bytes

    content = model.read_member(RECIPE)
    return None if content is None else from_bytes(content, f'package of "{model.name}"')


def text_of(content: bytes) -> str:
    return content.decode(errors="replace")
