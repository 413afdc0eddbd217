"""What a package carries for those who ask a model: labels, a card and a recipe."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgeward import _core
from edgeward.errors import BadInput
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


def require_labels(labels: Sequence[str], signatures: Iterable[_core.Signature]) -> None:
    """Raises BadInput for labels of a model all of whose outputs are rows of more or fewer scores.

    Of an output that is anything else, such as boxes or the number of a class, nothing tells how
    many classes there are.
    """
    rows = [(spec, _row_length(spec)) for signature in signatures for spec in signature.outputs]
    lengths = {length for _, length in rows}
    if not labels or None in lengths or len(labels) in lengths:
        return
    outputs = ", ".join(f'"{spec.name}" has {length}' for spec, length in rows)
    got = f"{len(labels)} label" + "s" * (len(labels) != 1)
    raise BadInput(f"labels: expected one for each score of an output, {outputs}, got {got}")


def _row_length(spec: _core.TensorSpec) -> int | None:
    """How many scores an output has that is one row of them; None for any other."""
    if spec.shape is None or (spec.quantization is None and not spec.dtype.startswith("float")):
        return None
    shape = spec.shape[1:] if len(spec.shape) > 1 and spec.shape[0] == -1 else spec.shape
    longer = [size for size in shape if size != 1]
    return longer[0] if len(longer) == 1 and longer[0] > 1 else None


def text_of(content: bytes) -> str:
    return content.decode(errors="replace")
