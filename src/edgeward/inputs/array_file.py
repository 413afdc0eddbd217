"""Array files: .npy and .npz, read no further than their bytes go.

A header can claim more elements than any memory holds, and a compressed member be a thousand times
as large as its file. What they claim is held against the file before memory is taken for it.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgeward.errors import BadInput
from edgeward.regular_file import open_regular

MOST_INFLATED_BYTES = 256 << 20  # of a compressed .npz, or
MOST_INFLATION = 8  # times its size

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path) -> NDArray[Any]:
    """The array of the .npy at `path`. Raises BadInput or OSError."""
    with open_regular("array file", path) as file, refusing(path, "an array file"):
        return _array(file, os.fstat(file.fileno()).st_size)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the .npz at `path`, by name. Raises BadInput or OSError."""
    with (
        open_regular("array file", path) as file,
        refusing(path, "a .npz file"),
        zipfile.ZipFile(file) as archive,
    ):
        entries = archive.infolist()
        stored_bytes = os.fstat(file.fileno()).st_size
        most_bytes = max(MOST_INFLATED_BYTES, MOST_INFLATION * stored_bytes)
        size_bytes = sum(entry.file_size for entry in entries)
        if size_bytes > most_bytes:
            raise BadInput(
                f"{path}: expected at most {most_bytes:,} bytes of arrays in a compressed .npz of "
                f"{stored_bytes:,} bytes, got {size_bytes:,}: store them as numpy.savez does"
            )
        arrays = {}
        for entry in entries:
            with archive.open(entry) as member:
                arrays[entry.filename.removesuffix(".npy")] = _array(member, entry.file_size)
    return arrays


@contextmanager
def refusing(path: Path, kind: str) -> Iterator[None]:
    """Turns what a decoder makes of damaged bytes, which can be any exception, into BadInput."""
    try:
        yield
    except (BadInput, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{path}: expected {kind}, got bytes that are not: {reason}") from None


def _array(file: IO[bytes], size_bytes: int) -> NDArray[Any]:
    """The array of the .npy that is all of `file`. Raises ValueError, before elements are read."""
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"version {version}")
    shape, _, dtype = HEADERS[version](file)
    if math.prod(shape) * dtype.itemsize > size_bytes - file.tell():
        raise ValueError(f"{size_bytes} bytes for {dtype} {list(shape)}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
