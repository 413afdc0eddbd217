"""What a package carries for those who read an answer: labels and a card, as text."""

from edgeward import _core
from edgeward.packages.contents import CARD, LABELS

KEPT = (LABELS, CARD)  # by a model that came out of a package


def labels(model: _core.Model) -> tuple[str, ...] | None:
    """The names of the classes, in order; None for a model whose package has none, or without."""
    content = model.read_member(LABELS)
    return None if content is None else tuple(text_of(content).splitlines())


def card(model: _core.Model) -> str | None:
    """The model card, in Markdown; None for a model whose package has none, or without."""
    content = model.read_member(CARD)
    return None if content is None else text_of(content)


def text_of(content: bytes) -> str:
    return content.decode(errors="replace")
