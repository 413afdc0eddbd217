"""NumpyTable: records as an .npz, with an array for each column."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.captured import Captured
from edgeward.captures.columns import Columns
from edgeward.captures.draft_file import DraftFile

PLAIN = {
    "device": np.str_, "ring_id": np.uint64, "sequence": np.uint64, "time_ns": np.int64,
    "latency_ns": np.uint64, "correlation_id": np.uint64,
}  # fmt: skip


class NumpyTable:
    """One file. Its columns are gathered beside it: a member of a zip is written in one go."""

    def __init__(self, path: str, columns: Columns) -> None:
        """Raises OSError, BadInput as DraftFile does."""
        self._columns = columns
        self._count = 0
        self._plain: dict[str, list[Any]] = {name: [] for name in PLAIN}
        self._present: dict[str, list[bool]] = {name: [] for name in columns}
        self._file = DraftFile(path)
        self._gathered: dict[str, DraftFile] = {}
        for number, name in enumerate(columns):
            self._gathered[name] = DraftFile(f"{path}.column-{number}")

    def write(self, records: Sequence[Captured]) -> None:
        self._count += len(records)
        for name, values in self._plain.items():
            values += [getattr(record, name) for record in records]
        for name, column in self._columns.items():
            self._present[name] += [array is not None for array in column.arrays(records)]
            self._gathered[name].write(column.stacked(records).tobytes())
            self._gathered[name].spill()

    def close(self) -> str:
        """Finishes the file and returns its path."""
        with zipfile.ZipFile(self._file.draft, "w", zipfile.ZIP_STORED) as archive:
            for name, values in self._plain.items():
                _write_array(archive, name, np.array(values, PLAIN[name]))
            for name, present in self._present.items():
                self._write_column(archive, name)
                if not all(present):
                    _write_array(archive, f"{name}.present", np.array(present))
        return self._file.commit()

    def discard(self) -> None:
        for draft in (self._file, *self._gathered.values()):
            draft.discard()

    def _write_column(self, archive: zipfile.ZipFile, name: str) -> None:
        column, gathered = self._columns[name], self._gathered[name]
        header = {
            "descr": np.lib.format.dtype_to_descr(column.array_dtype),
            "fortran_order": False,
            "shape": (self._count, *column.shape),
        }
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_2_0(file, header)
            with open(gathered.draft, "rb") as source:
                shutil.copyfileobj(source, file)
        gathered.discard()


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w") as file:
        np.lib.format.write_array(file, array)
