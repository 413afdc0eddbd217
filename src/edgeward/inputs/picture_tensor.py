"""Pictures as tensors: decoded no further than the model has use for, and prepared by a recipe.

Without a recipe the rule is that of PictureInput's defaults. Pillow does it, which the extra
`image` installs. For users: docs/cli.md.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.errors import BadInput
from edgeward.inputs.array_file import refusing
from edgeward.packages.input_plan import PicturePlan, Spec, picture_plan, valued
from edgeward.packages.recipe import PictureInput
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular
from edgeward.terminal.picture import pillow_image

if TYPE_CHECKING:
    from PIL.Image import Image

PictureSource = PathLike | bytes | NDArray[Any]

# By their content, whatever their name: Pillow would start other programs for further formats.
PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # of EXIF: those that change height for width
MOST_PIXELS = 1 << 25  # decoded; a JPEG may have twice as many, and is then decoded at a fraction


class View(NamedTuple):
    """Which part of a picture the model sees, in shares of its width and height.

    Of one that is contained, it reaches beyond the picture.
    """

    left: float
    top: float
    right: float
    bottom: float


def picture_tensor(
    source: PictureSource,
    spec: Spec,
    how: PictureInput = PictureInput(),  # noqa: B008 - immutable
) -> NDArray[Any]:
    """The picture as the tensor that `spec` asks for, a batch of one.

    `source` is a path, the bytes of a file, or uint8 [height, width] or [height, width, 3] in RGB.
    The picture is turned upright, scaled and cropped as `how` says: by default to cover the input's
    height and width around its middle; where these are -1 it keeps its own size. Of its values 0 to
    255, a uint8 input gets them as they are, a float 0 to 1, and an int8 the value less 128, unless
    `how` has other values. Raises BadInput or OSError.
    """
    got = str(source) if isinstance(source, (str, os.PathLike)) else "a picture"
    plan = picture_plan(spec, how, got)
    picture = upright(source, plan.height, plan.width)
    mode = "L" if plan.colours == "grey" else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
    pixels = np.asarray(_fitted(picture, plan, how))
    if plan.colours == "bgr":
        pixels = pixels[..., ::-1]
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if how.values is not None:
        tensor = valued(pixels.astype(np.float32), spec, how.values)
    elif spec.dtype == "uint8":
        tensor = pixels
    elif spec.dtype == "int8":
        tensor = (pixels ^ 0x80).view(np.int8)
    else:
        tensor = (pixels / np.float32(255)).astype(spec.dtype)
    sizes = dict(zip("NHWC", (1, *tensor.shape), strict=True))
    if "CH" in plan.axes:
        tensor = tensor.transpose(2, 0, 1)
    return np.ascontiguousarray(tensor).reshape([sizes[axis] for axis in plan.axes])


def view_of(width: int, height: int, plan: PicturePlan, how: PictureInput) -> View:
    """What the model sees of a picture of this size."""
    if how.fit == "stretch":
        return View(0, 0, 1, 1)
    across, down = extents(width, height, plan)
    ratios = across / width, down / height
    if how.short_side is not None:
        ratio = how.short_side / min(width, height)
    else:
        ratio = max(ratios) if how.fit == "cover" else min(ratios)
    shares = ratios[0] / ratio, ratios[1] / ratio  # of the picture
    return View(0.5 - shares[0] / 2, 0.5 - shares[1] / 2, 0.5 + shares[0] / 2, 0.5 + shares[1] / 2)


def extents(width: int, height: int, plan: PicturePlan) -> tuple[int, int]:
    """Width and height of the input; those that it leaves open are the picture's."""
    return (
        width if plan.width < 0 else plan.width,
        height if plan.height < 0 else plan.height,
    )


def upright(source: PictureSource, height: int, width: int) -> Image:
    """The picture, turned as its camera says, for an input of this size; -1 is any size.

    Raises BadInput or OSError, before more is decoded than such an input has use for.
    """
    image = pillow_image()
    from PIL import ImageOps

    if isinstance(source, np.ndarray):
        pixels: Image = image.fromarray(_require_pixels(source))
        return pixels
    with _decoder(source, height, width) as (opened, _):
        ImageOps.exif_transpose(opened, in_place=True)
        opened.load()
    picture: Image = opened
    return picture


def size_of(source: PictureSource, height: int, width: int) -> tuple[int, int]:
    """Width and height of the picture when it stands upright.

    The input has this size, as for upright(); raises as that does.
    """
    if isinstance(source, np.ndarray):
        return source.shape[1], source.shape[0]
    with _decoder(source, height, width) as (opened, (across, down)):
        is_turned = opened.getexif().get(ORIENTATION, 1) in TURNED
    return (down, across) if is_turned else (across, down)


@contextmanager
def _decoder(
    source: PictureSource, height: int, width: int
) -> Iterator[tuple[Image, tuple[int, int]]]:
    """The picture of a file, not yet decoded, and its size, of which a fraction may be decoded.

    Raises BadInput for what no input of this size has use for.
    """
    image = pillow_image()
    name = os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else "picture"
    with (
        _opened(source) as file,
        refusing(Path(name), "a picture"),
        image.open(file, formats=PICTURE_FORMATS) as opened,
    ):
        size = opened.size
        if opened.mode.startswith(("I", "F")):
            raise BadInput(
                f"{name}: expected 8 bits a channel, got a picture of mode {opened.mode}"
            )
        _require_decodable(name, opened, height, width)  # of a PNG, getexif() decodes all
        yield opened, size


def _opened(source: PictureSource) -> IO[bytes]:
    if isinstance(source, (str, os.PathLike)):
        return open_regular("picture", source)
    try:
        return io.BytesIO(memoryview(source).cast("B"))  # type: ignore[arg-type]
    except TypeError:
        kind = type(source).__name__
        raise BadInput(f"picture: expected a path, bytes or an array, got {kind}") from None


def _require_pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if array.dtype != np.uint8 or not is_picture or 0 in array.shape:
        raise BadInput(
            "picture: expected uint8 [height, width] or [height, width, 3], "
            f"got {array.dtype} {list(array.shape)}"
        )
    return np.ascontiguousarray(array if array.shape[2:] != (1,) else array[..., 0])


def _require_decodable(name: str, picture: Image, height: int, width: int) -> None:
    """Raises BadInput for more pixels than an input of this size has use for.

    A large JPEG is made to decode at a half, a quarter or an eighth, no smaller than the input.
    """
    most = max(MOST_PIXELS, 4 * height * width)
    pixel_count = picture.width * picture.height
    if most < pixel_count <= 2 * most and height > 0 and width > 0:
        picture.draft(None, (max(height, width),) * 2)  # either way up
    if picture.width * picture.height > most:
        raise BadInput(
            f"{name}: expected a picture of at most {most:,} pixels, got {pixel_count:,}: scale it "
            "down"
        )


def _fitted(picture: Image, plan: PicturePlan, how: PictureInput) -> Image:
    """The picture's part that the model sees, in the input's size."""
    image = pillow_image()
    width, height = extents(picture.width, picture.height, plan)
    left, top, right, bottom = view_of(picture.width, picture.height, plan, how)
    sampling = image.Resampling[how.filter.upper()]
    if how.fit != "contain":
        box = (
            max(left, 0) * picture.width, max(top, 0) * picture.height,
            min(right, 1) * picture.width, min(bottom, 1) * picture.height,
        )  # fmt: skip
        return picture.resize((width, height), sampling, box=box)
    inner = max(1, round(width / (right - left))), max(1, round(height / (bottom - top)))
    level = tuple(how.fill) if len(how.fill) > 1 or picture.mode == "L" else (how.fill[0],) * 3
    if plan.colours == "bgr":
        level = level[::-1]  # the fill is of the tensor's channels
    sheet: Image = image.new(picture.mode, (width, height), level)
    sheet.paste(
        picture.resize(inner, sampling), ((width - inner[0]) // 2, (height - inner[1]) // 2)
    )
    return sheet
