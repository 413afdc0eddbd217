"""Input plan: how a recipe and an input's dtype and shape together ask for a picture or a sound.

Pure. Sealing holds a recipe against the model by it, and files become tensors by it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from edgeward import _core
from edgeward.errors import BadInput
from edgeward.packages.recipe import (
    COLOURS,
    MOST_SAMPLES,
    LogMel,
    PictureInput,
    Recipe,
    SoundInput,
    Values,
)

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


class SoundPlan(NamedTuple):
    sample_count: int  # of a window; -1: any number
    frame_count: int  # of a front end; -1: as many as the sound has; 0 without one
    axes: Sequence[int]  # the dimensions that have it; all others are 1


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


def sound_plan(spec: Spec, how: SoundInput, got: str) -> SoundPlan:
    """Raises BadInput, which ends in `got`, for an input that no sound fills so."""
    mel = how.log_mel
    dtypes = SOUND_DTYPES if mel is None else (*SOUND_DTYPES, "uint8")
    axes = None if spec.shape is None else _sound_axes(spec.shape, mel)
    if spec.shape is None or axes is None or spec.dtype not in dtypes:
        shape = "of unknown shape" if spec.shape is None else list(spec.shape)
        wanted = "one dimension" if mel is None else f"frames of {mel.bins} bins ({mel.layout})"
        raise BadInput(
            f'input "{spec.name}": expected {spec.dtype} {shape}, got {got}, which gives '
            f"{', '.join(dtypes)} of {wanted}"
        )
    if mel is not None or spec.dtype != "int16":
        _require_values(spec, how.values or Values((0.0,), (1.0,)), got)
    is_turned = mel is not None and mel.layout == "bins-frames" and len(axes) > 1
    extent = spec.shape[axes[1 if is_turned else 0]]
    where = f'input "{spec.name}": expected'
    if mel is None:
        if how.samples is not None and extent not in (-1, how.samples):
            raise BadInput(f"{where} {extent} samples, got {got} of {how.samples}")
        plan = SoundPlan(how.samples or extent, 0, axes)
    else:
        frames = extent if extent < 0 or len(axes) > 1 else extent // mel.bins
        plan = _mel_plan(where, mel, frames, how.samples, axes)
    if plan.sample_count > MOST_SAMPLES and mel is not None:
        raise BadInput(
            f"{where} a sound of at most {MOST_SAMPLES:,} samples, got {got} of "
            f"{plan.sample_count:,}"
        )
    if how.step is not None and plan.sample_count < 0:
        raise BadInput(f"{where} samples beside a step, for an input of any length, got {got}")
    return plan


def _mel_plan(
    where: str, mel: LogMel, frames: int, samples: int | None, axes: Sequence[int]
) -> SoundPlan:
    if samples is None:
        beyond = mel.window if mel.pad == "none" else mel.fft % 2
        return SoundPlan(frames if frames < 0 else max(1, (frames - 1) * mel.hop + beyond), frames,
                         axes)  # fmt: skip
    count = mel_frames(mel, samples)
    if count < max(1, frames):
        raise BadInput(f"{where} {max(1, frames)} frames, got {count} of {samples} samples")
    return SoundPlan(samples, count if frames < 0 else frames, axes)


def mel_frames(mel: LogMel, sample_count: int) -> int:
    """How many frames that many samples have."""
    length = mel.window if mel.pad == "none" else mel.fft
    padded = sample_count + (0 if mel.pad == "none" else mel.fft // 2 * 2)
    return max(0, 1 + (padded - length) // mel.hop)


def _sound_axes(shape: Sequence[int], mel: LogMel | None) -> Sequence[int] | None:
    """The dimensions of time, or of frames and bins in the tensor's order; all others are 1.

    One dimension of both holds frame after frame, or bin after bin.
    """
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    is_batch_open = len(shape) > 1 and shape[0] == -1
    if mel is None:
        axes = axes[1:] if is_batch_open else axes
        axes = axes or [len(shape) - 1][: len(shape)]
        return axes if len(axes) == 1 else None
    for longer in (axes, axes[1:]) if is_batch_open else (axes,):
        if len(longer) == 2:
            of_bins = longer[mel.layout == "frames-bins"]
            if shape[of_bins] == mel.bins or (shape[of_bins] == -1 and of_bins):
                return longer
        if len(longer) == 1 and (shape[longer[0]] < 0 or shape[longer[0]] % mel.bins == 0):
            return longer
    return None


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
            sound_plan(specs[name], how, "a recipe")
    known = ", ".join(f'"{spec.name}"' for spec in signature.outputs)
    names = {spec.name for spec in signature.outputs}
    for name in recipe.boxes.tensors.values() if recipe.boxes is not None else ():
        if name not in names:
            raise BadInput(
                f'recipe: boxes: expected outputs of the model\'s, {known}, got "{name}"'
            )
