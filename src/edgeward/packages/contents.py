"""Contents: what a package carries besides the model, and under which names."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeward.named_arrays import NamedArrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN, REFERENCE, CARD, LABELS = "golden.npz", "reference.json", "card.md", "labels.txt"
COLUMNS, ORIGINAL, RECIPE = "columns.json", "original.onnx", "recipe.json"


class Case(NamedTuple):
    """One run of a model: arrays by the names of its inputs and outputs.

    Without outputs it is a question: what the model gives at sealing becomes the answer.
    """

    inputs: "Mapping[str, NDArray[Any]]"
    outputs: "Mapping[str, NDArray[Any]]" = {}  # noqa: RUF012 - never written to

    def __repr__(self) -> str:
        """One line, without elements."""
        return f"Case({NamedArrays(self.inputs)} -> {NamedArrays(self.outputs)})"


class Tolerance(NamedTuple):
    """How far an element may be off: |got - expected| <= absolute + relative * |expected|."""

    absolute: float
    relative: float


class Contents(NamedTuple):
    """What a package carries besides the model.

    `golden` are cases that every device can replay; `tolerances` says by dtype how far an output
    may be off, where the defaults do not suit. `calibration` are inputs, by name, over which the
    reference statistics are taken; in the order of time if they have one, which thresholds of drift
    depend on, and at least 1,000, or small drift cannot be told from chance. `columns` names what
    stands along the last dimension of a tensor, by the tensor's name. `recipe` says how pictures
    and sounds become inputs and which outputs are boxes (docs/recipes.md). `card` is Markdown. With
    `keeps_original` an .onnx is carried too, beside the .ort that was made of it.
    """

    golden: Sequence[Case] = ()
    tolerances: Mapping[str, Tolerance] | None = None
    calibration: "Sequence[Mapping[str, NDArray[Any]]]" = ()
    card: str | None = None
    labels: Sequence[str] = ()
    keeps_original: bool = False
    columns: Mapping[str, Sequence[str]] = {}
    recipe: Mapping[str, Any] = {}
