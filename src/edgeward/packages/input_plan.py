"""Input plan: how a recipe and an input's dtype and shape together ask for a picture or a sound.

Pure. Sealing holds a recipe against the model by it, and files become tensors by it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from edgeward import _core
from edgeward.errors import BadInput
from edgeward.packages.recipe import COLOURS, PictureInput, Recipe, SoundInput, Values

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURE_DTYPES = ("uint8", "int8", "float16", "float32", "float64")
SOUND_DTYPES = ("int8", "int16", "float16", "float32", "float64")
FULL_PCM = 1 << 15  # what int16 samples of full amplitude are


class Spec(Protocol):
    """What one input asks for; edgeward.TensorSpec is one."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...] | None: ...
    @property
    def quantization(self) -> _core.Quantization | None: ...


class PicturePlan(NamedTuple):
    axes: str  # what each dimension means: "NHWC" or a part of it
    height: int  # -1: the picture's own
    width: int
    colours: str


def picture_plan(spec: Spec, how: PictureInput, got: str) -> PicturePlan:
    """Raises BadInput, which ends in `got`, for an input that no picture fills so."""
    axes = None
    if spec.shape is not None:
        axes = picture_axes(spec.shape) if how.layout is None else _fitting(how.layout, spec.shape)
    if axes is None or spec.shape is None:
        shape = "of unknown shape" if spec.shape is None else list(spec.shape)
        layout = "" if how.layout is None else f" of layout {how.layout}"
        raise BadInput(
            f'input "{spec.name}": expected {spec.dtype} {shape}, '
            f"which has no place for a picture{layout}, got {got}"
        )
    if spec.dtype not in PICTURE_DTYPES:
        raise BadInput(
            f'input "{spec.name}": expected {spec.dtype}, '
            f"got {got}, which gives {', '.join(PICTURE_DTYPES)}"
        )
    extents = dict(zip(axes, spec.shape, strict=True))
    channels = extents.get("C", 1)
    colours = how.colours or ("rgb" if channels == 3 else "grey")
    if channels not in (-1, COLOURS[colours]):
        raise BadInput(
            f'input "{spec.name}": expected {channels} channels, got {got} of colours {colours}'
        )
    sides = (extents["H"], extents["W"])
    if how.size is not None:
        if any(side not in (-1, own) for side, own in zip(sides, how.size, strict=True)):
            raise BadInput(
                f'input "{spec.name}": expected height and width {list(sides)}, '
                f"got {got} of size {list(how.size)}"
            )
        sides = how.size
    if how.short_side is not None and not 0 < max(sides) <= how.short_side:
        raise BadInput(
            f'input "{spec.name}": expected a short side of {max(sides)} pixels or more, '
            f"got {got} of short side {how.short_side}"
        )
    _require_values(spec, how.values, got)
    return PicturePlan(axes, *sides, colours)


def picture_axes(shape: Sequence[int]) -> str | None:
    """What each dimension of a picture-like shape means, "NHWC" or a part of it; None if it is not.

    1 or 3 channels, last or before height and width; a batch of one or -1.
    """
    if len(shape) == 2:
        return "HW" if min(shape) > 1 else None
    if len(shape) == 3:
        if shape[2] in (1, 3):
            return "HWC"
        return "CHW" if shape[0] == 3 else "NHW" if shape[0] in (1, -1) else None
    if len(shape) == 4 and shape[0] in (1, -1):
        return "NHWC" if shape[3] in (1, 3) else "NCHW" if shape[1] in (1, 3) else None
    return None


def _fitting(layout: str, shape: Sequence[int]) -> str | None:
    axes = layout.upper()
    if len(axes) != len(shape):
        return None
    extents = dict(zip(axes, shape, strict=True))
    is_fitting = extents.get("N", 1) in (1, -1) and extents.get("C", 1) in (1, 3, -1)
    return axes if is_fitting else None


def sound_samples(spec: Spec, how: SoundInput, got: str) -> int:
    """How many samples the input takes; -1: any number. All other dimensions are 1.

    Raises BadInput, which ends in `got`, for an input that no sound fills so.
    """
    counts = [] if spec.shape is None else list(spec.shape)
    if len(counts) > 1 and counts[0] == -1:
        counts[0] = 1  # a batch
    longer = [count for count in counts if count != 1] or counts[-1:]
    if len(longer) != 1 or spec.dtype not in SOUND_DTYPES:
        shape = "of unknown shape" if spec.shape is None else list(spec.shape)
        raise BadInput(
            f'input "{spec.name}": expected {spec.dtype} {shape}, got {got}, which gives '
            f"{', '.join(SOUND_DTYPES)} of one dimension"
        )
    if spec.dtype != "int16":
        _require_values(spec, how.values or Values((0.0,), (1.0,)), got)
    return longer[0]


def _require_values(spec: Spec, values: Values | None, got: str) -> None:
    """Raises BadInput for numbers that the input's integers cannot stand for."""
    if values is None or spec.dtype.startswith("float"):
        return
    if spec.quantization is None or len(spec.quantization.scales) != 1:
        raise BadInput(
            f'input "{spec.name}": expected {spec.dtype} with one scale for mean and scale, '
            f"got {got} for integers without"
        )


def valued(array: "NDArray[Any]", spec: Spec, values: Values | None) -> "NDArray[Any]":
    """The numbers that `values` makes of float32 ones, channels last, as the input stores them."""
    import numpy as np

    if values is not None:
        mean, scale = (np.asarray(numbers, np.float32) for numbers in values)
        array = (array - mean) * scale
    if spec.dtype.startswith("float"):
        return array.astype(spec.dtype)
    quantization = spec.quantization
    if quantization is not None:
        array = array / np.float32(quantization.scales[0]) + quantization.zero_points[0]
    limits = np.iinfo(spec.dtype)
    stored: NDArray[Any] = np.clip(np.rint(array), limits.min, limits.max).astype(spec.dtype)
    return stored


def require_fit(recipe: Recipe, signature: _core.Signature) -> None:
    """Raises BadInput for a recipe of inputs or outputs that this signature does not have so."""
    specs = {spec.name: spec for spec in signature.inputs}
    for name, how in recipe.inputs.items():
        if name not in specs:
            known = ", ".join(f'"{known}"' for known in specs)
            raise BadInput(f'recipe: expected inputs of the model\'s, {known}, got "{name}"')
        if isinstance(how, PictureInput):
            picture_plan(specs[name], how, "a recipe")
        else:
            sound_samples(specs[name], how, "a recipe")
    known = ", ".join(f'"{spec.name}"' for spec in signature.outputs)
    names = {spec.name for spec in signature.outputs}
    for name in recipe.boxes.tensors.values() if recipe.boxes is not None else ():
        if name not in names:
            raise BadInput(
                f'recipe: boxes: expected outputs of the model\'s, {known}, got "{name}"'
            )
