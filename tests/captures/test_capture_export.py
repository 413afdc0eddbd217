"""Exports: other tools find the same tensors, bit for bit, under typed columns."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import exported
import numpy as np
import pytest

from edgeward import Batch
from edgeward._core import REASONS
from edgeward.captures import export as capture_export
from edgeward.captures.captured import Captured
from edgeward.captures.quantization import Quantization
from edgeward.errors import BadInput

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64", "complex64", "complex128",
]  # fmt: skip
BITS = {"bfloat16": "uint16", "float8_e5m2": "uint8", "int4": "uint8"}
SHAPES = [(3,), (2, 3), (1, 2, 3), (1, 2, 3, 4), (1, 2, 1, 3, 2)]


def tensor(dtype, shape, seed):
    held = BITS.get(dtype, dtype)
    size = int(np.prod(shape)) * np.dtype(held).itemsize
    content = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    if held == "bool":
        content &= 1
    return content.view(held).reshape(shape)


def captured(dtype="float32", shape=(2, 3), sequence=1, **changes):
    x, y = tensor(dtype, shape, sequence), tensor("float32", (4,), sequence + 1000)
    facts = {
        "model": "m", "version": "1", "package_id": "ab", "signature": "s", "ring_id": 2**63 + 5,
        "sequence": sequence, "time_ns": 1_790_000_000_123_456_789 + sequence,
        "monotonic_ns": sequence, "latency_ns": 1000, "reasons": ("sampled", "manual"),
        "correlation_id": 2**64 - 1, "user": b"\0user", "lost_before": 0,
        "inputs": {"x": x}, "outputs": {"y": y},
        "dtypes": {("inputs", "x"): dtype, ("outputs", "y"): "float32"},
    }  # fmt: skip
    return Captured(**{**facts, **changes})


def batches_of(records):
    """Each record as a batch, as read_captures gives the only one of its kind."""
    for record in records:
        facts = record._asdict()
        reasons = sum(1 << REASONS.index(reason) for reason in facts["reasons"])
        numbers = {
            name: np.array([facts.pop(source)], dtype)
            for name, source, dtype in (
                ("ring_ids", "ring_id", np.uint64),
                ("sequences", "sequence", np.uint64),
                ("time_ns", "time_ns", np.int64),
                ("monotonic_ns", "monotonic_ns", np.uint64),
                ("latency_ns", "latency_ns", np.uint64),
                ("correlation_ids", "correlation_id", np.uint64),
                ("lost_before", "lost_before", np.uint64),
            )
        }
        for side in ("inputs", "outputs"):
            facts[side] = {name: array[None] for name, array in facts[side].items()}
        facts["reasons"] = np.array([reasons], np.uint32)
        yield Batch(**facts, **numbers, user_ends=np.array([len(record.user)]))


def export(form, path, records, fleet="fleet", device="device"):
    writer = capture_export.writer(form, str(path), fleet, device)
    for batch in batches_of(records):
        writer.add(batch)
    return writer.close()


def same(column, array):
    """Bit for bit, through what a table cannot hold: pairs for complex numbers, bytes for bools."""
    return np.ascontiguousarray(column).tobytes() == array.tobytes()


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("dtype", [*DTYPES, *BITS])
def test_arrow_holds_every_dtype(form, dtype, tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    records = [captured(dtype, (2, 3), sequence) for sequence in range(1, 6)]
    (path,) = export(form, tmp_path / "out", records)
    table = parquet.read_table(path) if form == "parquet" else pa.ipc.open_file(path).read_all()
    assert table.num_rows == 5
    field = table.schema.field("inputs.x")
    assert isinstance(field.type, pa.FixedShapeTensorType)
    assert field.metadata[b"edgeward.dtype"].decode() == dtype
    rows = table.column("inputs.x").combine_chunks()
    tensors = rows.to_numpy_ndarray() if hasattr(rows, "to_numpy_ndarray") else None
    tensors = tensors if tensors is not None else rows.chunk(0).to_numpy_ndarray()
    for row, record in zip(tensors, records, strict=True):
        assert same(row, record.inputs["x"])
    assert table.column("time").cast("int64").to_pylist()[0] == records[0].time_ns
    assert table.column("ring_id").to_pylist() == [2**63 + 5] * 5
    assert table.column("correlation_id").to_pylist() == [2**64 - 1] * 5
    assert table.column("reasons").to_pylist() == [["sampled", "manual"]] * 5
    assert table.column("user").to_pylist() == [b"\0user"] * 5


def test_duckdb_reads_the_parquet(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    records = [captured(sequence=sequence) for sequence in range(1, 4)]
    (path,) = export("parquet", tmp_path / "out.parquet", records)
    rows = duckdb.sql(f"""select sequence, "inputs.x" from '{path}' order by sequence""").fetchall()
    for (sequence, values), record in zip(rows, records, strict=True):
        assert sequence == record.sequence
        assert same(np.array(values, np.float32), record.inputs["x"])


def test_a_failed_run_has_nulls_where_it_has_no_outputs(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")

    failed = captured(sequence=2, outputs={})
    (path,) = export("parquet", tmp_path / "out", [captured(), failed, captured(sequence=3)])
    column = parquet.read_table(path).column("outputs.y")
    assert [value is None for value in column.to_pylist()] == [False, True, False]


@pytest.mark.parametrize("form", ["parquet", "npz"])
def test_other_shapes_and_models_make_further_files(form, tmp_path):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    records = [
        captured(),
        captured(shape=(5,), sequence=2),
        captured(sequence=3, model="other"),
        captured(sequence=4),
    ]
    paths = export(form, tmp_path / f"out.{form}", records)
    names = [path.rsplit("/", 1)[1] for path in paths]
    assert names == [f"out.{form}", f"out-2.{form}", f"out-3.{form}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize("dtype", [*DTYPES, *BITS])
def test_npz_holds_every_dtype(dtype, tmp_path):
    records = [captured(dtype, (2, 3), sequence) for sequence in range(1, 6)]
    (path,) = export("npz", tmp_path / "out.npz", [*records, captured(dtype, outputs={})])
    with np.load(path) as archive:
        stacked = archive["inputs.x"]
        assert stacked.shape == (6, 2, 3)
        for row, record in zip(stacked, records, strict=False):
            assert same(row, record.inputs["x"])
            assert row.dtype == record.inputs["x"].dtype
        assert archive["sequence"].tolist() == [1, 2, 3, 4, 5, 1]
        assert archive["outputs.y.present"].tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [*DTYPES, *BITS])
def test_jsonl_is_what_edge_manager_wrote(dtype, shape, tmp_path):
    inference = captured(dtype, shape)
    (path,) = export("jsonl", tmp_path / "out", [inference], "my fleet", "camera 7")
    folder = path.removeprefix(str(tmp_path / "out"))
    assert re.fullmatch(r"/my fleet/m/\d{4}/\d\d/\d\d/\d\d/[0-9a-f]{32}\.jsonl", folder)
    (line,) = Path(path).read_text().splitlines()
    record = json.loads(line)
    assert list(record) == sorted(record)
    assert set(record) == {
        "deviceFleetAuxiliaryInputs", "deviceFleetAuxiliaryOutputs", "deviceFleetInputs",
        "deviceFleetOutputs", "eventMetadata", "eventVersion",
    }  # fmt: skip
    assert (record["eventVersion"], record["deviceFleetAuxiliaryInputs"]) == ("0", [])
    event = record["eventMetadata"]
    assert set(event) == {
        "deviceFleetName", "deviceId", "eventId", "inferenceTime", "modelName", "modelVersion",
    }  # fmt: skip
    assert (event["deviceFleetName"], event["deviceId"]) == ("my fleet", "camera 7")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", event["inferenceTime"])
    (payload,) = record["deviceFleetInputs"]
    assert payload["observedContentType"] == f"Tensor[{dtype}; {', '.join(map(str, shape))}]"
    assert (payload["encoding"], payload["mode"], payload["name"]) == ("BASE64", "Input", "x")
    assert base64.b64decode(payload["data"]) == inference.inputs["x"].tobytes()


def test_jsonl_stays_below_its_folder(tmp_path):
    for model in ("../up", "..", "a/b"):
        (path,) = export("jsonl", tmp_path / "out", [captured(model=model)])
        assert path.startswith(str(tmp_path / "out" / "fleet"))
        assert ".." not in path.split("/")


def test_many_records_are_written_in_batches(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")

    monkeypatch.setattr(capture_export, "GROUP_RECORDS", 7)
    records = [captured(sequence=sequence) for sequence in range(1, 31)]
    (path,) = export("parquet", tmp_path / "out", records)
    assert parquet.ParquetFile(path).metadata.num_row_groups == 5
    assert parquet.read_table(path).column("sequence").to_pylist() == list(range(1, 31))


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInput, match=r"edgeward\[captures\]"):
        capture_export.writer("parquet", str(tmp_path / "out"), "f", "d")


ODD_NAMES = [
    "",
    "a/b",
    "..",
    "\0",
    "x\0y",
    "n\u00e4h",
    "x" * 5000,
    "\x1b[31m",
    "x.scale",
    "x.present",
]


@pytest.mark.parametrize("form", ["parquet", "arrow", "npz", "jsonl"])
@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name[:20]))
def test_each_format_takes_every_name(form, name, tmp_path):
    """As a model's, a version, a device, a label, and beside another tensor "x"."""
    facts = captured(
        model=name, version=name, signature=name, device=name, labels=(name, "other"),
        inputs={"x": np.arange(4, dtype=np.int8), name: np.ones(4, np.float32)},
        dtypes={("inputs", "x"): "int8", ("inputs", name): "float32", ("outputs", "y"): "float32"},
        quantizations={("inputs", "x"): Quantization((0.5,), (3,), 0)},
    )  # fmt: skip
    failed = facts._replace(sequence=2, inputs={"x": facts.inputs["x"]}, outputs={})
    (path,) = export(form, tmp_path / "out", [facts, failed])
    assert path.startswith(str(tmp_path / "out"))
    if form == "npz":
        with np.load(path) as archive:
            rows = [archive[member] for member in archive.files]
            assert len({*archive.files}) == len(archive.files) == 23
            assert sum(row.shape == (2, 4) for row in rows) == 3
            assert archive["model"].tolist() == [name.rstrip("\0")] * 2
    elif form != "jsonl":
        rows = exported.table(path)
        assert rows.column("model").to_pylist() == [name] * 2
        assert rows.column(f"inputs.{name}").to_pylist() == [[1] * 4, None]
