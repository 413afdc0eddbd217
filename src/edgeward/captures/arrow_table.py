"""ArrowTable: records as a Parquet or Arrow file, whose tensors are of Arrow's fixed-shape type."""

from __future__ import annotations

import importlib
import json
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.captures.columns import Column, Columns
from edgeward.captures.draft_file import DraftFile
from edgeward.captures.pipe_file import PipeFile
from edgeward.captures.stack import Identity, Stack
from edgeward.errors import BadInput

TEXTS = ["device", "model", "version", "package_id", "signature"]


def pyarrow() -> ModuleType:
    """The package pyarrow. Raises BadInput when it is not installed."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        raise BadInput(
            'captures: expected pyarrow, which is not installed: pip install "edgeward[captures]"'
        ) from None


class ArrowTable:
    """One file, written batch by batch."""

    def __init__(
        self, file: DraftFile | PipeFile, identity: Identity, columns: Columns, form: str
    ) -> None:
        """`form` is "parquet", "arrow" or "arrow stream"."""
        arrow = self._arrow = pyarrow()
        self._identity, self._columns = identity, columns
        self._schema = _schema(arrow, identity, columns)
        self._file = file
        if form == "parquet":
            parquet: Any = importlib.import_module("pyarrow.parquet")
            self._writer = parquet.ParquetWriter(
                file, self._schema, compression="zstd", use_dictionary=_of_few_values(columns)
            )
        else:
            new = arrow.ipc.new_file if form == "arrow" else arrow.ipc.new_stream
            self._writer = new(arrow.PythonFile(file, "w"), self._schema)

    def write(self, stack: Stack) -> None:
        arrays = [self._array(field, stack) for field in self._schema]
        batch = self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._writer.write_batch(batch)
        self._file.spill()

    def close(self) -> str:
        """Finishes the file and returns its path."""
        self._writer.close()
        return self._file.commit()

    def discard(self) -> None:
        self._file.discard()

    def _array(self, field: Any, stack: Stack) -> Any:
        arrow, name = self._arrow, field.name
        if name in self._columns:
            return _tensors(arrow, self._columns[name], field.type, stack, name)
        if name == "device":
            return arrow.concat_arrays([arrow.repeat(*run) for run in stack.devices])
        if name in TEXTS:
            return arrow.repeat(getattr(self._identity, name), stack.record_count)
        if name == "time":
            return arrow.array(stack.numbers["time_ns"]).cast(field.type)
        if name == "reasons":
            return _reasons(arrow, field.type, stack.reasons)
        if name == "user":
            ends = np.concatenate([[0], stack.user_ends]).astype(np.int32)
            buffers = [None, arrow.py_buffer(ends), arrow.py_buffer(stack.users)]
            return arrow.Array.from_buffers(field.type, stack.record_count, buffers)
        return arrow.array(stack.numbers[name])


def _of_few_values(columns: Columns) -> list[str]:
    """Paths in Parquet of what is stored as a dictionary. Parquet holds a byte in four without."""
    small = [name for name, column in columns.items() if column.array_dtype.itemsize == 1]
    return [*TEXTS, "reasons.list.element", *(f"{name}.list.element" for name in small)]


def _schema(arrow: ModuleType, identity: Identity, columns: Columns) -> Any:
    fields = [
        *(arrow.field(name, arrow.string()) for name in TEXTS),
        arrow.field("ring_id", arrow.uint64()),
        arrow.field("sequence", arrow.uint64()),
        arrow.field("time", arrow.timestamp("ns", "UTC")),
        arrow.field("monotonic_ns", arrow.uint64()),
        arrow.field("latency_ns", arrow.uint64()),
        arrow.field("reasons", arrow.list_(arrow.string())),
        arrow.field("correlation_id", arrow.uint64()),
        arrow.field("user", arrow.binary()),
        arrow.field("lost_before", arrow.uint64()),
    ]
    for name, column in columns.items():
        fields.append(arrow.field(name, _tensor_type(arrow, column), metadata=column.metadata))
    labels = {"edgeward.labels": json.dumps(identity.labels)} if identity.labels else None
    return arrow.schema(fields, labels)


def _reasons(arrow: ModuleType, kind: Any, masks: NDArray[np.uint32]) -> Any:
    is_set = (masks[:, None] >> np.arange(len(_core.REASONS), dtype=np.uint32)) & 1
    ends = np.concatenate([[0], is_set.sum(axis=1).cumsum()]).astype(np.int32)
    words = arrow.array(_core.REASONS, kind.value_type)
    return arrow.ListArray.from_arrays(ends, words.take(arrow.array(is_set.nonzero()[1])))


def _tensor_type(arrow: ModuleType, column: Column) -> Any:
    """Complex numbers are pairs along a last axis; booleans are numbers of one byte.

    A tensor without elements is an empty list: Arrow divides by the size of a fixed-size list, and
    cannot read one of size 0 from Parquet.
    """
    example = _as_numbers(np.zeros((1, *column.shape), column.array_dtype))
    dtype = arrow.from_numpy_dtype(example.dtype)
    return (
        arrow.fixed_shape_tensor(dtype, example.shape[1:]) if example.size else arrow.list_(dtype)
    )


def _tensors(arrow: ModuleType, column: Column, kind: Any, stack: Stack, name: str) -> Any:
    present = stack.present.get(name)
    if 0 in column.shape:
        is_there = [True] * stack.record_count if present is None else present.tolist()
        return arrow.array([[] if is_present else None for is_present in is_there], kind)
    flat = _as_numbers(np.ascontiguousarray(stack.tensors[name])).reshape(-1)
    storage = kind.storage_type
    mask = None if present is None else arrow.array(~present)
    lists = arrow.FixedSizeListArray.from_arrays(
        arrow.array(flat, storage.value_type), type=storage, mask=mask
    )
    return arrow.ExtensionArray.from_storage(kind, lists)


def _as_numbers(rows: NDArray[Any]) -> NDArray[Any]:
    if rows.dtype.kind == "c":
        return rows.view(rows.real.dtype).reshape(*rows.shape, 2)
    return rows.view(np.uint8) if rows.dtype.kind == "b" else rows
