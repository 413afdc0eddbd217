"""Tensors in files: what `edgeward predict` reads (.npy, .npz, pictures, raw bytes) and writes.

Arrays keep the dtype and shape of their file; what does not fit the model, the model refuses. Only
a picture is converted, by the one rule that picture_tensor() states. For users: docs/cli.md.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeward import empty
from edgeward.errors import BadInput
from edgeward.inputs.array_file import read_npy, read_npz, refusing
from edgeward.regular_file import open_regular
from edgeward.string_array import fixed_width, is_string_array
from edgeward.terminal.picture import pillow_image

if TYPE_CHECKING:
    from PIL.Image import Image

Tensor = NDArray[Any]

PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
)
PICTURE_DTYPES = ("uint8", "int8", "float16", "float32", "float64")
# By their content, whatever their name: Pillow would start other programs for further formats.
PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 1 << 25  # decoded; a JPEG may have twice as many, and is then decoded at a fraction
RAW_SUFFIXES = frozenset((".bin", ".raw"))


class Spec(Protocol):
    """What one input asks for; edgeward.TensorSpec is one."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...] | None: ...


def read(
    arguments: Sequence[str],
    specs: Sequence[Spec],
    raw_dtype: str | None = None,
    raw_shape: tuple[int, ...] | None = None,
) -> dict[str, Tensor]:
    """The tensors in the files named by `arguments`, by the name of the input that each is for.

    An argument is FILE or NAME=FILE. Files without a name take the inputs in order; a .npz without
    one brings its own names. Raises BadInput or OSError.
    """
    tensors: dict[str, Tensor] = {}
    unnamed_count = 0
    for argument in arguments:
        spec, path = _addressed(argument, specs)
        if spec is None and path.suffix.lower() == ".npz":
            named = read_npz(path)
        else:
            if spec is None:
                if unnamed_count == len(specs):
                    raise BadInput(
                        f"{path}: expected one file for each input ({len(specs)}), got more"
                    )
                spec = specs[unnamed_count]
                unnamed_count += 1
            named = {spec.name: _tensor(path, spec, raw_dtype, raw_shape)}
        for name, tensor in named.items():
            if name in tensors:
                raise BadInput(f'{path}: expected one file for input "{name}", got a second')
            tensors[name] = tensor
    return tensors


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of an .npz by name, or the one of an .npy as "". Raises BadInput or OSError."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path)
    if suffix == ".npy":
        return {"": read_npy(path)}
    raise BadInput(f'{path}: expected .npz or .npy, got "{suffix}"')


def picture_tensor(path: Path, spec: Spec) -> Tensor:
    """The picture as the tensor that `spec` asks for, a batch of one.

    The picture is turned upright, scaled to cover the input's height and width, and cropped around
    its middle; where these are -1 it keeps its own size. Of its values 0 to 255, a uint8 input gets
    them as they are, a float 0 to 1, and an int8 the value less 128: black is then the least that
    the input's quantization can hold and white the most. Raises BadInput or OSError.
    """
    axes = None if spec.shape is None else picture_axes(spec.shape)
    if axes is None or spec.shape is None:
        shape = "of unknown shape" if spec.shape is None else list(spec.shape)
        raise BadInput(
            f'input "{spec.name}": expected {spec.dtype} {shape}, '
            f"which has no place for a picture, got {path}"
        )
    if spec.dtype not in PICTURE_DTYPES:
        raise BadInput(
            f'input "{spec.name}": expected {spec.dtype}, '
            f"got {path}, which gives {', '.join(PICTURE_DTYPES)}"
        )
    wanted = dict(zip(axes, spec.shape, strict=True))
    pixels = _pixels(path, wanted["H"], wanted["W"], wanted.get("C", 1))
    if spec.dtype == "uint8":
        values: Tensor = pixels
    elif spec.dtype == "int8":
        values = (pixels ^ 0x80).view(np.int8)
    else:
        values = (pixels / np.float32(255)).astype(spec.dtype)
    sizes = dict(zip("NHWC", (1, *values.shape), strict=True))
    if "CH" in axes:
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values).reshape([sizes[axis] for axis in axes])


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


def expect_writable(path: Path, output_names: Sequence[str]) -> None:
    """Raises BadInput when write() could not put these outputs into a file of this name."""
    if path.suffix.lower() not in (".npy", ".npz"):
        raise BadInput(f"{path}: expected a name that ends in .npz or .npy")
    if path.suffix.lower() == ".npy" and len(output_names) != 1:
        raise BadInput(
            f"{path}: expected a name that ends in .npz, for {len(output_names)} outputs"
        )


def write(path: Path, outputs: Mapping[str, Tensor]) -> None:
    """Writes the outputs, one to a .npy or all by name to a .npz. Raises BadInput or OSError."""
    expect_writable(path, list(outputs))
    if path.suffix.lower() == ".npy":
        with path.open("wb") as file:
            np.save(file, _storable(next(iter(outputs.values()))), allow_pickle=False)
        return
    # Not np.savez: it takes names as keywords, and a tensor may well be called "file".
    with zipfile.ZipFile(path, "w") as archive:
        for name, tensor in outputs.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _storable(tensor), allow_pickle=False)


def _storable(tensor: Tensor) -> Tensor:
    return fixed_width(tensor) if is_string_array(tensor) else np.asanyarray(tensor)


def _addressed(argument: str, specs: Sequence[Spec]) -> tuple[Spec | None, Path]:
    """The input that NAME=FILE names, or None, and the file. A name may itself hold a "="."""
    for spec in specs:
        if argument.startswith(f"{spec.name}="):
            return spec, Path(argument[len(spec.name) + 1 :])
    path = Path(argument)
    if "=" in argument and not path.exists():
        known = ", ".join(f'"{spec.name}"' for spec in specs)
        raise BadInput(f"{argument}: expected NAME=FILE with a name among {known}, or a file")
    return None, path


def _tensor(
    path: Path, spec: Spec, raw_dtype: str | None, raw_shape: tuple[int, ...] | None
) -> Tensor:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path)
    if suffix in RAW_SUFFIXES:
        shape = raw_shape or spec.shape
        if shape is None:
            raise BadInput(
                f'{path}: expected --shape, since the model tells none of input "{spec.name}"'
            )
        return _raw_tensor(path, raw_dtype or spec.dtype, shape)
    if suffix in PICTURE_SUFFIXES:
        return picture_tensor(path, spec)
    if suffix == ".npz":
        raise BadInput(f'{path}: expected one tensor for input "{spec.name}", got an archive')
    raise BadInput(f'{path}: expected .npy, .npz, .bin, .raw or a picture, got "{suffix}"')


def _raw_tensor(path: Path, dtype: str, shape: tuple[int, ...]) -> Tensor:
    with open_regular("raw file", path) as file:
        return _read_raw(file, path, dtype, shape)


def _read_raw(file: BufferedReader, path: Path, dtype: str, shape: tuple[int, ...]) -> Tensor:
    size_bytes = os.fstat(file.fileno()).st_size
    try:
        unit_bytes = empty([1 if size == -1 else size for size in shape], dtype).nbytes
    except TypeError:
        raise BadInput(f'{path}: expected a dtype such as float32, got "{dtype}"') from None
    if -1 in shape:
        count, rest = divmod(size_bytes, unit_bytes or 1)
        is_whole = rest == 0 and count >= 1 and shape.count(-1) == 1
    else:
        count, is_whole = 1, size_bytes == unit_bytes
    if not is_whole:
        expected = f"{'a multiple of ' if -1 in shape else ''}{unit_bytes} bytes"
        raise BadInput(
            f"{path}: expected {expected} for {dtype} {list(shape)}, got {size_bytes}; "
            "--dtype and --shape tell what is in the file"
        )
    tensor = empty([count if size == -1 else size for size in shape], dtype)
    # Read in place: a file of any length is in memory once.
    elements: Any = tensor.reshape(-1).view(np.uint8)
    if file.readinto(elements) != size_bytes:
        raise BadInput(f"{path}: expected {size_bytes} bytes, got fewer: it has changed meanwhile")
    return tensor


def _pixels(path: Path, height: int, width: int, channel_count: int) -> NDArray[np.uint8]:
    """The picture's values, [height, width, channels]; a size of -1 is the picture's own."""
    image = pillow_image()
    from PIL import ImageOps

    wanted_mode = "RGB" if channel_count == 3 else "L"
    with (
        open_regular("picture", path) as file,
        refusing(path, "a picture"),
        image.open(file, formats=PICTURE_FORMATS) as opened,
    ):
        if opened.mode.startswith(("I", "F")):
            raise BadInput(
                f"{path}: expected 8 bits a channel, got a picture of mode {opened.mode}"
            )
        _require_decodable(path, opened, height, width)
        ImageOps.exif_transpose(opened, in_place=True)
        picture = opened if opened.mode == wanted_mode else opened.convert(wanted_mode)
        picture.load()
    size = (width if width > 0 else picture.width, height if height > 0 else picture.height)
    fitted = ImageOps.fit(picture, size, image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(size[1], size[0], channel_count)


def _require_decodable(path: Path, picture: Image, height: int, width: int) -> None:
    """Raises BadInput for more pixels than an input of this size has use for.

    A large JPEG is made to decode at a half, a quarter or an eighth, no smaller than the input.
    """
    most = max(MOST_PIXELS, 4 * height * width)
    pixel_count = picture.width * picture.height
    if most < pixel_count <= 2 * most and height > 0 and width > 0:
        picture.draft(None, (max(height, width),) * 2)  # either way up
    if picture.width * picture.height > most:
        raise BadInput(
            f"{path}: expected a picture of at most {most:,} pixels, got {pixel_count:,}: scale it "
            "down"
        )
