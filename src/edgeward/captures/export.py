"""Captured inferences as files: Parquet, Arrow, NumPy, and Edge Manager's JSON lines.

Each writer takes batches, and holds little of them in memory. Records of one model
whose tensors have the same shapes make one table; others begin another file beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeward.captures.arrow_table import ArrowTable, pyarrow
from edgeward.captures.batch import Batch
from edgeward.captures.columns import Columns, columns_of
from edgeward.captures.draft_file import DraftFile, finished_together
from edgeward.captures.json_lines import JsonLines
from edgeward.captures.numpy_table import NumpyTable
from edgeward.captures.pipe_file import PipeFile, is_pipe
from edgeward.captures.stack import Identity, Stack, parts_of, stack_of
from edgeward.errors import BadInput

FORMATS = ("parquet", "arrow", "npz", "jsonl")
GROUP_RECORDS = 1 << 16  # that are written at once
GROUP_BYTES = 8 << 20
WAITING_BYTES = 16 << 20  # in all tables together
RECORD_BYTES = 100  # of a record in memory beside its tensors, about


class Writer(Protocol):
    def add(self, batch: Batch) -> None: ...
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
class _Waiting:
    """A table, and what is not in it yet. `columns` are of the stored values."""

    identity: Identity
    columns: Columns
    table: Table
    batches: list[Batch] = field(default_factory=list)
    record_count: int = 0
    size_bytes: int = 0


class Tables:
    """One table for each model, signature and set of shapes, each in a file of its own."""

    def __init__(self, output: str, make: MakeTable, *, is_real: bool) -> None:
        self._output, self._make, self._is_real = output, make, is_real
        self._tables: list[_Waiting] = []
        self._table_by_form: dict[tuple[Any, ...], _Waiting] = {}
        self._size_bytes = 0

    def add(self, batch: Batch) -> None:
        table = self._table_of(batch)
        for part in parts_of(batch, GROUP_RECORDS, GROUP_BYTES):
            if table.record_count + len(part) > GROUP_RECORDS:
                self._write(table)
            size_bytes = RECORD_BYTES * len(part) + part.tensor_bytes
            table.batches.append(part)
            table.record_count += len(part)
            table.size_bytes += size_bytes
            self._size_bytes += size_bytes
            if table.size_bytes >= GROUP_BYTES or table.record_count == GROUP_RECORDS:
                self._write(table)
            elif self._size_bytes >= WAITING_BYTES:
                self._write(max(self._tables, key=lambda table: table.size_bytes))

    def close(self) -> list[str]:
        for table in self._tables:
            self._write(table)
        return finished_together(table.table.close for table in self._tables)

    def discard(self) -> None:
        for table in self._tables:
            table.table.discard()

    def _table_of(self, batch: Batch) -> _Waiting:
        identity = Identity(
            batch.model, batch.version, batch.package_id, batch.signature, batch.labels
        )
        columns = columns_of(batch)
        form = (identity, *columns.values())
        table = self._table_by_form.get(form)
        if table is None:
            # A run that failed lacks tensors, and goes into a table that has columns for them.
            fitting = (
                table
                for table in self._tables
                if table.identity == identity and columns.items() <= table.columns.items()
            )
            table = next(fitting, None) or self._new_table(identity, columns)
            self._table_by_form[form] = table
        return table

    def _new_table(self, identity: Identity, columns: Columns) -> _Waiting:
        file: DraftFile | PipeFile
        if is_pipe(self._output):
            if self._tables:
                raise BadInput(
                    f'output "{self._output}": expected records of one model with tensors of one '
                    f'shape, got "{self._tables[0].identity.title}" and then '
                    f'"{identity.title}" with others (--model chooses one; files take all)'
                )
            file = PipeFile(self._output)
        else:
            file = DraftFile(self._path_of_next())
        written = {
            name: column.as_real if self._is_real else column for name, column in columns.items()
        }
        try:
            table = _Waiting(identity, columns, self._make(file, identity, written))
        except BaseException:
            file.discard()
            raise
        self._tables.append(table)
        return table

    def _path_of_next(self) -> str:
        if not self._tables:
            return self._output
        stem, extension = os.path.splitext(self._output)
        return f"{stem}-{len(self._tables) + 1}{extension}"

    def _write(self, table: _Waiting) -> None:
        if table.batches:
            stack = stack_of(table.batches, table.columns)
            if self._is_real:
                tensors = {
                    name: table.columns[name].real(rows) for name, rows in stack.tensors.items()
                }
                stack = stack._replace(tensors=tensors)
            table.table.write(stack)
        self._size_bytes -= table.size_bytes
        table.batches, table.record_count, table.size_bytes = [], 0, 0
