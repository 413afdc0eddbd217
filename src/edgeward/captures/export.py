"""Captured inferences as files: Parquet, Arrow, NumPy, and Edge Manager's JSON lines.

Each writer takes records one at a time and holds at most a batch in memory. Records of one model
whose tensors have the same shapes make one table; others begin another file beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeward.captures.arrow_table import ArrowTable, pyarrow
from edgeward.captures.captured import Captured
from edgeward.captures.columns import Columns, columns_of, tensors_of
from edgeward.captures.draft_file import DraftFile, finished_together
from edgeward.captures.json_lines import JsonLines
from edgeward.captures.numpy_table import NumpyTable
from edgeward.captures.pipe_file import PipeFile, is_pipe
from edgeward.captures.stack import Identity, Stack, stack_of
from edgeward.errors import BadInput

FORMATS = ("parquet", "arrow", "npz", "jsonl")
BATCH_RECORDS = 1 << 16
BATCH_BYTES = 32 << 20  # of all tables together
RECORD_BYTES = 1024  # of a record in memory beside its tensors, about


class Writer(Protocol):
    def add(self, captured: Captured) -> None: ...
    def close(self) -> list[str]:
        """Finish every file. Returns their paths; leaves none when it fails."""
        ...

    def discard(self) -> None:
        """Remove what was written, of files that are not finished."""
        ...


class Table(Protocol):
    def write(self, stack: Stack) -> None: ...
    def close(self) -> str: ...
    def discard(self) -> None: ...


MakeTable = Callable[[DraftFile | PipeFile, Identity, Columns], Table]


def writer(form: str, output: str, fleet: str, device: str, *, is_real: bool = False) -> Writer:
    """A writer of one of FORMATS. Raises BadInput when what it needs is not installed.

    `output` is a path, or what is_pipe says. With `is_real`, tensors whose real values are known
    have those, as float32. JSON lines name `fleet`, and `device` where a record names none.
    """
    if form == "jsonl":
        return JsonLines(output, fleet, device, is_real=is_real)
    if form == "npz":
        return Tables(output, NumpyTable, is_real=is_real)
    pyarrow()
    if form == "arrow" and is_pipe(output):
        form = "arrow stream"

    def make(file: DraftFile | PipeFile, identity: Identity, columns: Columns) -> ArrowTable:
        return ArrowTable(file, identity, columns, form)

    return Tables(output, make, is_real=is_real)


@dataclass
class _Batch:
    """A table, and its records that are not in it yet. `columns` are of the stored values."""

    identity: Identity
    columns: Columns
    table: Table
    records: list[Captured] = field(default_factory=list)
    size_bytes: int = 0


class Tables:
    """One table for each model, signature and set of shapes, each in a file of its own."""

    def __init__(self, output: str, make: MakeTable, *, is_real: bool) -> None:
        self._output, self._make, self._is_real = output, make, is_real
        self._batches: list[_Batch] = []
        self._batch_by_form: dict[tuple[Any, ...], _Batch] = {}
        self._size_bytes = 0

    def add(self, captured: Captured) -> None:
        batch = self._batch_of(captured)
        size_bytes = RECORD_BYTES + sum(array.nbytes for array in tensors_of(captured))
        batch.records.append(captured)
        batch.size_bytes += size_bytes
        self._size_bytes += size_bytes
        if len(batch.records) >= BATCH_RECORDS:
            self._write(batch)
        elif self._size_bytes >= BATCH_BYTES:
            self._write(max(self._batches, key=lambda batch: batch.size_bytes))

    def close(self) -> list[str]:
        for batch in self._batches:
            self._write(batch)
        return finished_together(batch.table.close for batch in self._batches)

    def discard(self) -> None:
        for batch in self._batches:
            batch.table.discard()

    def _batch_of(self, captured: Captured) -> _Batch:
        identity = Identity(
            captured.model,
            captured.version,
            captured.package_id,
            captured.signature,
            captured.labels,
        )
        columns = columns_of(captured)
        form = (identity, *columns.values())
        batch = self._batch_by_form.get(form)
        if batch is None:
            # A run that failed lacks tensors, and goes into a table that has columns for them.
            fitting = (
                batch
                for batch in self._batches
                if batch.identity == identity and columns.items() <= batch.columns.items()
            )
            batch = next(fitting, None) or self._new_batch(identity, columns)
            self._batch_by_form[form] = batch
        return batch

    def _new_batch(self, identity: Identity, columns: Columns) -> _Batch:
        file: DraftFile | PipeFile
        if is_pipe(self._output):
            if self._batches:
                raise BadInput(
                    f'output "{self._output}": expected records of one model with tensors of one '
                    f'shape, got "{self._batches[0].identity.title}" and then '
                    f'"{identity.title}" with others (--model chooses one; files take all)'
                )
            file = PipeFile(self._output)
        else:
            file = DraftFile(self._path_of_next())
        written = {
            name: column.as_real if self._is_real else column for name, column in columns.items()
        }
        try:
            batch = _Batch(identity, columns, self._make(file, identity, written))
        except BaseException:
            file.discard()
            raise
        self._batches.append(batch)
        return batch

    def _path_of_next(self) -> str:
        if not self._batches:
            return self._output
        stem, extension = os.path.splitext(self._output)
        return f"{stem}-{len(self._batches) + 1}{extension}"

    def _write(self, batch: _Batch) -> None:
        if batch.records:
            stack = stack_of(batch.records, batch.columns)
            if self._is_real:
                tensors = {
                    name: batch.columns[name].real(rows) for name, rows in stack.tensors.items()
                }
                stack = stack._replace(tensors=tensors)
            batch.table.write(stack)
        self._size_bytes -= batch.size_bytes
        batch.records, batch.size_bytes = [], 0
