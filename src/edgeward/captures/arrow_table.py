"""ArrowTable: records as a Parquet or Arrow file, whose tensors are of Arrow's fixed-shape type."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.captured import Captured
from edgeward.captures.columns import Column, Columns
from edgeward.captures.draft_file import DraftFile
from edgeward.errors import BadInput


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

    def __init__(self, path: str, columns: Columns, arrow: ModuleType, *, is_parquet: bool) -> None:
        """`arrow` is the package pyarrow. Raises OSError, BadInput as DraftFile does."""
        self._columns = columns
        self._arrow = arrow
        self._schema = _schema(arrow, columns)
        self._file = DraftFile(path)
        if is_parquet:
            parquet: Any = importlib.import_module("pyarrow.parquet")
            self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd")
        else:
            self._writer = arrow.ipc.new_file(arrow.PythonFile(self._file, "w"), self._schema)

    def write(self, records: Sequence[Captured]) -> None:
        arrow = self._arrow
        arrays = []
        for field in self._schema:
            if field.name in self._columns:
                arrays.append(_tensors(arrow, self._columns[field.name], field.type, records))
            elif field.name == "time":
                times = [record.time_ns for record in records]
                arrays.append(arrow.array(times, arrow.int64()).cast(field.type))
            else:
                values = [getattr(record, field.name) for record in records]
                arrays.append(arrow.array(values, field.type))
        self._writer.write_batch(arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._file.spill()

    def close(self) -> str:
        """Finishes the file and returns its path."""
        self._writer.close()
        return self._file.commit()

    def discard(self) -> None:
        self._file.discard()


def _schema(arrow: ModuleType, columns: Columns) -> Any:
    fields = [
        arrow.field("device", arrow.string()),
        arrow.field("model", arrow.string()),
        arrow.field("version", arrow.string()),
        arrow.field("package_id", arrow.string()),
        arrow.field("signature", arrow.string()),
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
        metadata = {"edgeward.dtype": column.dtype, "edgeward.shape": json.dumps(column.shape)}
        fields.append(arrow.field(name, _tensor_type(arrow, column), metadata=metadata))
    return arrow.schema(fields)


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


def _tensors(arrow: ModuleType, column: Column, kind: Any, records: Sequence[Captured]) -> Any:
    missing = [array is None for array in column.arrays(records)]
    if 0 in column.shape:
        return arrow.array([None if is_missing else [] for is_missing in missing], kind)
    flat = _as_numbers(column.stacked(records)).reshape(-1)
    storage = kind.storage_type
    mask = arrow.array(missing, arrow.bool_()) if any(missing) else None
    lists = arrow.FixedSizeListArray.from_arrays(
        arrow.array(flat, storage.value_type), type=storage, mask=mask
    )
    return arrow.ExtensionArray.from_storage(kind, lists)


def _as_numbers(rows: NDArray[Any]) -> NDArray[Any]:
    if rows.dtype.kind == "c":
        return rows.view(rows.real.dtype).reshape(*rows.shape, 2)
    return rows.view(np.uint8) if rows.dtype.kind == "b" else rows
