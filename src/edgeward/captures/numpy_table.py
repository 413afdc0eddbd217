"""NumpyTable: records as an .npz, with an array for each column."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.captures.columns import Columns
from edgeward.captures.draft_file import DraftFile
from edgeward.captures.pipe_file import PipeFile
from edgeward.captures.stack import Identity, Stack

PART_ROWS = 4096  # that are in memory while an array of texts goes into the archive
PART_BYTES = 4 << 20


class NumpyTable:
    """One file. Its arrays are gathered beside it: a member of a zip is written in one go."""

    def __init__(self, file: DraftFile | PipeFile, identity: Identity, columns: Columns) -> None:
        self._file, self._identity, self._columns = file, identity, columns
        self._count = self._user_bytes = 0
        self._folder = tempfile.TemporaryDirectory() if isinstance(file, PipeFile) else None
        self._stem = f"{self._folder.name}/out" if self._folder else file.path
        self._gathered: dict[str, _Gathered] = {}
        self._texts: dict[str, dict[str, int]] = {"device": {}, "reasons": {}}  # codes by text
        self._present: dict[str, _Gathered] = {}  # by column: which records have it
        self._has_gaps: set[str] = set()

    def write(self, stack: Stack) -> None:
        gathered = self._gathered
        for name, numbers in stack.numbers.items():
            self._gather(gathered, name, numbers)
        masks, reasons = np.unique(stack.reasons, return_inverse=True)
        words = [",".join(_reasons(mask)) for mask in masks.tolist()]
        self._gather(gathered, "reasons", self._coded("reasons", words)[reasons])
        names, counts = zip(*stack.devices, strict=True)
        self._gather(gathered, "device", np.repeat(self._coded("device", names), counts))
        self._gather(gathered, "user", np.frombuffer(stack.users, np.uint8))
        self._gather(gathered, "user.ends", stack.user_ends + self._user_bytes)
        for name in self._columns:
            self._gather(gathered, name, stack.tensors[name])
            present = stack.present.get(name, np.ones(stack.record_count, np.bool_))
            self._gather(self._present, name, present)
            if name in stack.present:
                self._has_gaps.add(name)
        self._count += stack.record_count
        self._user_bytes += len(stack.users)

    def close(self) -> str:
        """Finishes the file and returns its path."""
        with zipfile.ZipFile(self._file, "w") as archive:
            members = _Members(archive, self._file)
            for name, gathered in self._gathered.items():
                if name in self._texts:
                    words = list(self._texts[name])
                    members.write_texts(name, words, self._count, gathered.parts())
                else:
                    members.write(name, gathered.dtype, gathered.shape, gathered.parts())
                gathered.file.discard()
            for name in ("model", "version", "package_id", "signature"):
                text = getattr(self._identity, name)
                members.write_texts(name, [text], self._count, _zeros(self._count))
            self._write_facts(members)
        path = self._file.commit()
        self._discard_gathered()
        return path

    def discard(self) -> None:
        self._file.discard()
        self._discard_gathered()

    def _coded(self, name: str, texts: Sequence[str]) -> NDArray[np.uint32]:
        codes = self._texts[name]
        return np.array([codes.setdefault(text, len(codes)) for text in texts], np.uint32)

    def _gather(self, gathered: dict[str, _Gathered], name: str, rows: NDArray[Any]) -> None:
        if name not in gathered:
            number = len(self._gathered) + len(self._present)
            file = DraftFile(f"{self._stem}.column-{number}")
            gathered[name] = _Gathered(file, rows.dtype, rows.shape[1:])
        gathered[name].append(rows)

    def _write_facts(self, members: _Members) -> None:
        """What holds for all records, and which of them have a tensor that some lack."""
        labels = np.array(self._identity.labels, np.str_)
        if labels.size:
            members.write("labels", labels.dtype, labels.shape, [labels])
        for name, column in self._columns.items():
            if name in self._has_gaps:
                present = self._present[name]
                members.write(f"{name}.present", present.dtype, present.shape, present.parts())
            if column.quantization is None:
                continue
            scales = np.array(column.quantization.scales, np.float64)
            zero_points = np.array(column.quantization.zero_points, np.int64)
            axis = np.array(column.quantization.axis, np.int64)
            members.write(f"{name}.scale", scales.dtype, scales.shape, [scales])
            members.write(f"{name}.zero_point", zero_points.dtype, zero_points.shape, [zero_points])
            if scales.size > 1:
                members.write(f"{name}.axis", axis.dtype, (), [axis])

    def _discard_gathered(self) -> None:
        for gathered in (*self._gathered.values(), *self._present.values()):
            gathered.file.discard()
        if self._folder is not None:
            self._folder.cleanup()


class _Gathered:
    """Rows of one dtype and shape in a file, which grows."""

    def __init__(self, file: DraftFile, dtype: np.dtype[Any], row: tuple[int, ...]) -> None:
        self.file, self.dtype = file, dtype
        self._row, self._count = row, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._count, *self._row)

    def append(self, rows: NDArray[Any]) -> None:
        self._count += len(rows)
        self.file.write(rows.tobytes())
        self.file.spill()

    def parts(self) -> Iterator[NDArray[Any]]:
        """All elements, in order, without their shape."""
        size = max(1, PART_BYTES // self.dtype.itemsize)
        with open(self.file.draft, "rb") as source:
            while (part := np.fromfile(source, self.dtype, size)).size:
                yield part


class _Members:
    """The arrays of an archive, each under a name of its own."""

    def __init__(self, archive: zipfile.ZipFile, file: DraftFile | PipeFile) -> None:
        self._archive, self._file = archive, file
        self._names: set[str] = set()

    def write(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], parts: Iterable[NDArray[Any]]
    ) -> None:
        name = name.replace("\0", "\\0")  # a zip would end it there
        while name in self._names:
            name += "_"
        self._names.add(name)
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape,
        }  # fmt: skip
        member = zipfile.ZipInfo(f"{name}.npy")
        member.compress_type = zipfile.ZIP_DEFLATED if dtype.kind in "Ub" else zipfile.ZIP_STORED
        with self._archive.open(member, "w", force_zip64=True) as file:
            np.lib.format.write_array_header_2_0(file, header)
            for part in parts:
                file.write(part.tobytes())
                self._file.spill()

    def write_texts(
        self, name: str, words: Sequence[str], count: int, codes: Iterable[NDArray[Any]]
    ) -> None:
        """For each code, the word of that index; `count` codes in all."""
        table = np.array(words, np.str_)
        parts = (
            table[part[start : start + PART_ROWS]]
            for part in codes
            for start in range(0, len(part), PART_ROWS)
        )
        self.write(name, table.dtype, (count,), parts)


def _zeros(count: int) -> Iterator[NDArray[Any]]:
    for start in range(0, count, PART_ROWS):
        yield np.zeros(min(PART_ROWS, count - start), np.intp)


def _reasons(mask: int) -> list[str]:
    return [reason for bit, reason in enumerate(_core.REASONS) if mask >> bit & 1]
