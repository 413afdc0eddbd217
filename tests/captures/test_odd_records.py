"""Records that no array can hold or whose names no file can: they are named, the rest is read."""

from __future__ import annotations

import json

import numpy as np
import pytest
import segments

import edgeward as ew

RING_OF_ODD = 0xDD
SURROGATE = "ho\ud800st"
Y = np.arange(4, dtype=np.float32)


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Two segments of three ordinary records each, the odd ones to go between them."""
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    monkeypatch.chdir(tmp_path)
    for number in (1, 3):
        records = [segments.plain(10 * number + index) for index in range(3)]
        segments.write(tmp_path / "captures", records, number=number)
    return tmp_path / "captures"


def add(directory, record, described=None):
    """The odd record between two ordinary ones of its segment; their numbers are 20 to 22."""
    rows = [segments.plain(20), record, segments.plain(22)]
    return segments.write(directory, rows, described=described, ring_id=RING_OF_ODD, number=2)


UNREADABLE = {
    "too many elements": segments.Tensor(1, 0, "float32", (0, 1 << 62), b""),
    "too many strides": segments.Tensor(1, 0, "float64", (1 << 40, 0, 1 << 40), b""),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_shape_that_no_array_has_does_not_hide_the_others(name, directory):
    add(directory, segments.record(21, [UNREADABLE[name]]))
    numbers = [record.sequence for record in ew.read_captures(directory)]
    assert [number for number in numbers if number != 21] == [10, 11, 12, 20, 22, 30, 31, 32]


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize(
    "command", ["ls captures", "show captures --last 9", "export captures --to npz -o out.npz"]
)
def test_each_command_names_what_it_passes_over(command, name, directory, typed):
    path = add(directory, segments.record(21, [UNREADABLE[name]]))
    status, out, err = typed(f"captures {command}")
    assert status in (0, 1)
    assert "Traceback" not in err
    assert path.name in out + err
    assert f"number 21 of ring {RING_OF_ODD:016x}" in out + err


NAMES = {
    "input": {"inputs": [SURROGATE]},
    "output": {"outputs": [SURROGATE]},
    "model": {"model": SURROGATE},
    "version": {"version": SURROGATE},
    "signature": {"signature": SURROGATE},
}


@pytest.mark.parametrize("where", NAMES)
def test_a_name_is_text_that_every_file_can_hold(where, directory):
    add(directory, segments.plain(21), segments.description(**NAMES[where]))
    records = list(ew.read_captures(directory))
    assert len(records) == 9
    for record in records:
        names = (record.model, record.version, record.signature, *record.inputs, *record.outputs)
        assert all(name.encode() for name in names)


@pytest.mark.parametrize("form", ["parquet", "arrow", "npz", "jsonl"])
@pytest.mark.parametrize("where", NAMES)
def test_each_format_takes_every_name(form, where, directory, typed_well):
    if form in ("parquet", "arrow"):
        pytest.importorskip("pyarrow")
    add(directory, segments.plain(21), segments.description(**NAMES[where]))
    report = typed_well(f"captures export captures --to {form} -o out")
    assert report["record_count"] == 9
    assert report["files"]


@pytest.mark.parametrize("where", NAMES)
def test_each_command_shows_every_name(where, directory, typed_well):
    add(directory, segments.plain(21), segments.description(**NAMES[where]))
    assert typed_well("captures ls captures")["record_count"] == 9
    report = typed_well("captures show captures --last 9")
    assert json.dumps(report, ensure_ascii=False).encode()


def test_two_tensors_of_a_name_are_both_there(directory):
    rows = [segments.tensor(0, 0, Y), segments.tensor(1, 0, Y + 1), segments.tensor(1, 1, Y + 2)]
    described = segments.description(outputs=["y", "y"])
    add(directory, segments.record(21, rows), described)
    (record,) = (record for record in ew.read_captures(directory) if record.sequence == 21)
    values = sorted(array[0] for array in record.outputs.values())
    assert values == [1, 2], f"of two outputs these came back: {record.outputs}"
    assert len(record.dtypes) == 3


def test_two_tensors_of_a_name_are_two_columns(directory, typed_well):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [segments.tensor(0, 0, Y), segments.tensor(1, 0, Y + 1), segments.tensor(1, 1, Y + 2)]
    described = segments.description(outputs=["y", "y"])
    add(directory, segments.record(21, rows), described)
    report = typed_well("captures export captures --to parquet -o out.parquet")
    columns = [
        [name for name in parquet.read_schema(path).names if name.startswith("outputs.")]
        for path in report["files"]
    ]
    assert max(map(len, columns)) == 2
