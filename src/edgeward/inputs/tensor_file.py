"""Tensors in files: what `edgeward predict` reads (arrays, pictures, sounds, raw bytes) and writes.

Arrays keep the dtype and shape of their file; what does not fit the model, the model refuses. Only
pictures and sounds are converted, as picture_tensor() and sound_tensor() say. For users:
docs/cli.md.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import empty
from edgeward.errors import BadInput
from edgeward.inputs.array_file import read_npy, read_npz
from edgeward.inputs.picture_tensor import picture_tensor
from edgeward.inputs.sound_tensor import sound_tensor
from edgeward.packages.input_plan import Spec
from edgeward.packages.recipe import PictureInput, SoundInput
from edgeward.regular_file import open_regular
from edgeward.string_array import fixed_width, is_string_array

Tensor = NDArray[Any]

PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
)
SOUND_SUFFIXES = frozenset((".wav",))
RAW_SUFFIXES = frozenset((".bin", ".raw"))

InputRecipes = Mapping[str, PictureInput | SoundInput]  # by the input's name


def read(
    arguments: Sequence[str],
    specs: Sequence[Spec],
    raw_dtype: str | None = None,
    raw_shape: tuple[int, ...] | None = None,
    recipes: InputRecipes = MappingProxyType({}),
) -> dict[str, Tensor]:
    """The tensors in the files named by `arguments`, by the name of the input that each is for.

    An argument is as in addressed(). Pictures and sounds are prepared by the input's recipe. Raises
    BadInput or OSError.
    """
    tensors: dict[str, Tensor] = {}
    for spec, path in addressed(arguments, specs):
        if spec is None:
            named = read_npz(path)
        else:
            named = {spec.name: _tensor(path, spec, raw_dtype, raw_shape, recipes.get(spec.name))}
        for name, tensor in named.items():
            if name in tensors:
                raise BadInput(f'{path}: expected one file for input "{name}", got a second')
            tensors[name] = tensor
    return tensors


def addressed(
    arguments: Sequence[str], specs: Sequence[Spec]
) -> Iterator[tuple[Spec | None, Path]]:
    """Each file, with the input that it is for; None for a .npz that brings its own names.

    An argument is FILE or NAME=FILE. Files without a name take the inputs in order. Raises
    BadInput.
    """
    unnamed_count = 0
    for argument in arguments:
        spec, path = _addressed(argument, specs)
        if spec is None and path.suffix.lower() != ".npz":
            if unnamed_count == len(specs):
                raise BadInput(f"{path}: expected one file for each input ({len(specs)}), got more")
            spec = specs[unnamed_count]
            unnamed_count += 1
        yield spec, path


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of an .npz by name, or the one of an .npy as "". Raises BadInput or OSError."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path)
    if suffix == ".npy":
        return {"": read_npy(path)}
    raise BadInput(f'{path}: expected .npz or .npy, got "{suffix}"')


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
    path: Path,
    spec: Spec,
    raw_dtype: str | None,
    raw_shape: tuple[int, ...] | None,
    recipe: PictureInput | SoundInput | None,
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
        if isinstance(recipe, SoundInput):
            raise BadInput(f'{path}: expected a sound for input "{spec.name}", got a picture')
        return picture_tensor(path, spec, recipe or PictureInput())
    if suffix in SOUND_SUFFIXES:
        if not isinstance(recipe, SoundInput):
            raise BadInput(
                f'{path}: expected a recipe of sound for input "{spec.name}", which says the '
                "sample rate, got none"
            )
        return sound_tensor(path, spec, recipe)
    if suffix == ".npz":
        raise BadInput(f'{path}: expected one tensor for input "{spec.name}", got an archive')
    raise BadInput(f'{path}: expected .npy, .npz, .bin, .raw, .wav or a picture, got "{suffix}"')


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
