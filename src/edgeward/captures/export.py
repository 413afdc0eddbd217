"""Captured inferences as files: Parquet, Arrow, NumPy, and Edge Manager's JSON lines.

Each writer takes records one at a time and holds at most a batch in memory. Records of one model
whose tensors have the same shapes make one table; others begin another file beside it.
"""

from __future__ import annotations

import base64
import datetime
import importlib
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.captured import Captured
from edgeward.errors import BadInput

FORMATS = ("parquet", "arrow", "npz", "jsonl")
BATCH_RECORDS = 256
BATCH_BYTES = 32 << 20
NS = 1_000_000_000
SIDES = ("inputs", "outputs")


class Writer(Protocol):
    def add(self, captured: Captured) -> None: ...
    def close(self) -> list[str]:
        """Finish every file. Returns their paths."""
        ...


def writer(form: str, output: str, fleet: str, device: str) -> Writer:
    """A writer of one of FORMATS. Raises BadInput when what it needs is not installed.

    JSON lines name `fleet`, and `device` where a record names none.
    """
    if form == "jsonl":
        return JsonLines(output, fleet, device)
    if form == "npz":
        return Tables(output, NumpyTable)
    arrow = pyarrow()

    def make(path: str, columns: dict[str, Column]) -> ArrowTable:
        return ArrowTable(path, columns, arrow, is_parquet=form == "parquet")

    return Tables(output, make)


def pyarrow() -> ModuleType:
    """The package pyarrow. Raises BadInput when it is not installed."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        raise BadInput(
            'captures: expected pyarrow, which is not installed: pip install "edgeward[captures]"'
        ) from None


# --- tables -----------------------------------------------------------------------------------


class Column(NamedTuple):
    """A tensor of every record. `dtype` is the model's, `array_dtype` that of the numpy array."""

    side: str
    name: str
    dtype: str
    array_dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Tables:
    """One table for each model, signature and set of shapes, each in a file of its own."""

    def __init__(self, output: str, make: Any) -> None:
        self._output, self._make = output, make
        self._tables: list[tuple[tuple[str, ...], Any]] = []
        self._paths: list[str] = []

    def add(self, captured: Captured) -> None:
        for identity, table in self._tables:
            if identity == _identity(captured) and _fits(captured, table.columns):
                table.add(captured)
                return
        columns = _columns(captured)
        path = self._path()
        table = self._make(path, columns)
        self._tables.append((_identity(captured), table))
        self._paths.append(path)
        table.add(captured)

    def close(self) -> list[str]:
        for _, table in self._tables:
            table.close()
        return self._paths

    def _path(self) -> str:
        if not self._paths:
            return self._output
        stem, extension = os.path.splitext(self._output)
        return f"{stem}-{len(self._paths) + 1}{extension}"


class ArrowTable:
    """A Parquet or Arrow file, written in batches. Tensors are of Arrow's fixed-shape type."""

    def __init__(
        self, path: str, columns: dict[str, Column], arrow: ModuleType, *, is_parquet: bool
    ) -> None:
        self.columns = columns
        self._arrow = arrow
        self._records: list[Captured] = []
        self._bytes = 0
        types = {name: _tensor_type(arrow, column) for name, column in columns.items()}
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
        fields += [
            arrow.field(name, types[name], metadata={"edgeward.dtype": column.dtype})
            for name, column in columns.items()
        ]
        self._schema = arrow.schema(fields)
        if is_parquet:
            parquet: Any = importlib.import_module("pyarrow.parquet")
            self._writer: Any = parquet.ParquetWriter(path, self._schema, compression="zstd")
        else:
            self._writer = arrow.ipc.new_file(path, self._schema)

    def add(self, captured: Captured) -> None:
        self._records.append(captured)
        self._bytes += sum(array.nbytes for _, array in _arrays(captured))
        if len(self._records) >= BATCH_RECORDS or self._bytes >= BATCH_BYTES:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if not self._records:
            return
        arrow, records = self._arrow, self._records
        arrays = []
        for field in self._schema:
            if field.name in self.columns:
                arrays.append(self._tensors(self.columns[field.name], field.type))
            elif field.name == "time":
                times = [record.time_ns for record in records]
                arrays.append(arrow.array(times, arrow.int64()).cast(field.type))
            else:
                values = [getattr(record, field.name) for record in records]
                if field.name == "reasons":
                    values = [list(reasons) for reasons in values]
                arrays.append(arrow.array(values, field.type))
        self._writer.write_batch(arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._records, self._bytes = [], 0

    def _tensors(self, column: Column, kind: Any) -> Any:
        arrow = self._arrow
        tensors = [getattr(record, column.side).get(column.name) for record in self._records]
        missing = [array is None for array in tensors]
        blank = np.zeros(column.shape, column.array_dtype)
        rows = np.stack([blank if array is None else array for array in tensors])
        flat = _as_numbers(rows).reshape(-1)
        storage = kind.storage_type
        values = arrow.array(flat, storage.value_type)
        mask = arrow.array(missing, arrow.bool_()) if any(missing) else None
        lists = arrow.FixedSizeListArray.from_arrays(values, type=storage, mask=mask)
        return arrow.ExtensionArray.from_storage(kind, lists)


def _tensor_type(arrow: ModuleType, column: Column) -> Any:
    """Complex numbers are pairs along a last axis; booleans are numbers of one byte."""
    example = _as_numbers(np.zeros((1, *column.shape), column.array_dtype))
    return arrow.fixed_shape_tensor(arrow.from_numpy_dtype(example.dtype), example.shape[1:])


def _as_numbers(rows: NDArray[Any]) -> NDArray[Any]:
    if rows.dtype.kind == "c":
        return rows.view(rows.real.dtype).reshape(*rows.shape, 2)
    return rows.view(np.uint8) if rows.dtype.kind == "b" else rows


class NumpyTable:
    """An .npz with an array for each column; each column is first written to a temporary file."""

    def __init__(self, path: str, columns: dict[str, Column]) -> None:
        import tempfile

        self.columns = columns
        self._path = path
        self._count = 0
        folder = os.path.dirname(os.path.abspath(path))
        self._folder = tempfile.TemporaryDirectory(prefix=".edgeward-export-", dir=folder)
        self._plain: dict[str, list[Any]] = {
            name: []
            for name in (
                "device", "ring_id", "sequence", "time_ns", "latency_ns", "correlation_id",
            )
        }  # fmt: skip
        self._present: dict[str, list[bool]] = {name: [] for name in columns}
        self._files = {
            name: open(os.path.join(self._folder.name, str(at)), "wb")  # noqa: SIM115
            for at, name in enumerate(columns)
        }

    def add(self, captured: Captured) -> None:
        self._count += 1
        for name, values in self._plain.items():
            values.append(getattr(captured, name))
        for name, column in self.columns.items():
            array = getattr(captured, column.side).get(column.name)
            self._present[name].append(array is not None)
            blank = np.zeros(column.shape, column.array_dtype)
            self._files[name].write((blank if array is None else array).tobytes())

    def close(self) -> None:
        import shutil
        import zipfile

        with self._folder, zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED) as archive:
            for name, values in self._plain.items():
                kind = {"device": np.str_, "time_ns": np.int64}.get(name, np.uint64)
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, np.array(values, kind))
            for name, present in self._present.items():
                self._files[name].close()
                column = self.columns[name]
                header = {
                    "descr": np.lib.format.dtype_to_descr(column.array_dtype),
                    "fortran_order": False,
                    "shape": (self._count, *column.shape),
                }
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array_header_2_0(file, header)
                    with open(self._files[name].name, "rb") as source:
                        shutil.copyfileobj(source, file)
                if not all(present):
                    with archive.open(f"{name}.present.npy", "w") as file:
                        np.lib.format.write_array(file, np.array(present))


def _identity(captured: Captured) -> tuple[str, ...]:
    return captured.model, captured.version, captured.package_id, captured.signature


def _arrays(captured: Captured) -> Iterable[tuple[str, NDArray[Any]]]:
    for side in SIDES:
        for name, array in getattr(captured, side).items():
            yield f"{side}.{name}", array


def _columns(captured: Captured) -> dict[str, Column]:
    columns = {}
    for side in SIDES:
        for name, array in getattr(captured, side).items():
            dtype = captured.dtypes[side, name]
            columns[f"{side}.{name}"] = Column(side, name, dtype, array.dtype, array.shape)
    return columns


def _fits(captured: Captured, columns: Mapping[str, Column]) -> bool:
    """Whether there is a column for each tensor of the record, in its shape."""
    return all(
        name in columns
        and columns[name].shape == array.shape
        and columns[name].array_dtype == array.dtype
        for name, array in _arrays(captured)
    )


# --- JSON lines -------------------------------------------------------------------------------


class JsonLines:
    """The layout and the records of SageMaker Edge Manager's capture: one file an hour."""

    def __init__(self, output: str, fleet: str, device: str) -> None:
        self._output, self._fleet, self._device = output, fleet, device
        self._paths: dict[tuple[str, str], str] = {}

    def add(self, captured: Captured) -> None:
        moment = datetime.datetime.fromtimestamp(captured.time_ns // NS, datetime.timezone.utc)
        model = captured.model or "model"
        hour = moment.strftime("%Y/%m/%d/%H")
        path = self._paths.get((model, hour))
        if path is None:
            folder = os.path.join(self._output, self._fleet, _file_name(model), hour)
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, f"{uuid.uuid4().hex}.jsonl")
            self._paths[model, hour] = path
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(self._record(captured, model, moment), sort_keys=True) + "\n")

    def close(self) -> list[str]:
        return list(self._paths.values())

    def _record(self, captured: Captured, model: str, moment: datetime.datetime) -> dict[str, Any]:
        event = f"{captured.ring_id:016x}{captured.sequence:016x}"
        return {
            "deviceFleetAuxiliaryInputs": [],
            "deviceFleetAuxiliaryOutputs": [],
            "deviceFleetInputs": _payloads(captured, "inputs", "Input"),
            "deviceFleetOutputs": _payloads(captured, "outputs", "Output"),
            "eventMetadata": {
                "deviceFleetName": self._fleet,
                "deviceId": captured.device or self._device,
                "eventId": str(uuid.UUID(hex=event)),
                "inferenceTime": moment.strftime("%Y-%m-%dT%H:%M:%S"),
                "modelName": model,
                "modelVersion": captured.version,
            },
            "eventVersion": "0",
        }


def _payloads(captured: Captured, side: str, mode: str) -> list[dict[str, str]]:
    return [
        {
            "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(),
            "encoding": "BASE64",
            "mode": mode,
            "name": name,
            "observedContentType": f"Tensor[{captured.dtypes[side, name]}; "
            f"{', '.join(map(str, array.shape))}]",
        }
        for name, array in getattr(captured, side).items()
    ]


def _file_name(name: str) -> str:
    """`name` as the name of one directory."""
    return name.replace("/", "_") if name not in (".", "..") else "_"
