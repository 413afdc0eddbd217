"""Captured inferences as files: Parquet, Arrow, NumPy, and Edge Manager's JSON lines.

Each writer takes records one at a time and holds at most a batch in memory. Records of one model
whose tensors have the same shapes make one table; others begin another file beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeward.captures.arrow_table import ArrowTable, pyarrow
from edgeward.captures.captured import Captured
from edgeward.captures.columns import Columns, columns_of, tensors_of
from edgeward.captures.json_lines import JsonLines
from edgeward.captures.numpy_table import NumpyTable

FORMATS = ("parquet", "arrow", "npz", "jsonl")
BATCH_RECORDS = 256
BATCH_BYTES = 32 << 20  # of all tables together
RECORD_BYTES = 1024  # of a record in memory beside its tensors, about


class Writer(Protocol):
    def add(self, captured: Captured) -> None: ...
    def close(self) -> list[str]:
        """Finish every file. Returns their paths."""
        ...

    def discard(self) -> None:
        """Remove what was written, of files that are not finished."""
        ...


class Table(Protocol):
    def write(self, records: Sequence[Captured]) -> None: ...
    def close(self) -> str: ...
    def discard(self) -> None: ...


def writer(form: str, output: str, fleet: str, device: str) -> Writer:
    """A writer of one of FORMATS. Raises BadInput when what it needs is not installed.

    JSON lines name `fleet`, and `device` where a record names none.
    """
    if form == "jsonl":
        return JsonLines(output, fleet, device)
    if form == "npz":
        return Tables(output, NumpyTable)
    arrow = pyarrow()

    def make(path: str, columns: Columns) -> ArrowTable:
        return ArrowTable(path, columns, arrow, is_parquet=form == "parquet")

    return Tables(output, make)


@dataclass
class _Batch:
    """A table, and its records that are not in it yet."""

    identity: tuple[str, ...]
    columns: Columns
    table: Table
    records: list[Captured] = field(default_factory=list)
    size_bytes: int = 0


class Tables:
    """One table for each model, signature and set of shapes, each in a file of its own."""

    def __init__(self, output: str, make: Callable[[str, Columns], Table]) -> None:
        self._output, self._make = output, make
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
        return [batch.table.close() for batch in self._batches]

    def discard(self) -> None:
        for batch in self._batches:
            batch.table.discard()

    def _batch_of(self, captured: Captured) -> _Batch:
        identity = (captured.model, captured.version, captured.package_id, captured.signature)
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

    def _new_batch(self, identity: tuple[str, ...], columns: Columns) -> _Batch:
        path = self._output
        if self._batches:
            stem, extension = os.path.splitext(path)
            path = f"{stem}-{len(self._batches) + 1}{extension}"
        batch = _Batch(identity, columns, self._make(path, columns))
        self._batches.append(batch)
        return batch

    def _write(self, batch: _Batch) -> None:
        if batch.records:
            batch.table.write(batch.records)
        self._size_bytes -= batch.size_bytes
        batch.records, batch.size_bytes = [], 0
