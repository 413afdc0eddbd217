"""Captures of many devices below one directory: read, listed, exported, counted, recovered."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import segments
from models import tflite_models

import edgeward as ew

pytestmark = pytest.mark.usefixtures("runs_beside")

ONES = np.ones(4, np.float32)
TABLES = ("parquet", "arrow", "npz")


def capture(directory, values, **options):
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory, **options) as running, model:
        running.attach(model, name="pair", version="1.0")
        for value in values:
            model.predict(a=np.full(4, value, np.float32), b=ONES)


def table(path):
    """A Parquet or Arrow file, whichever it is."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    content = Path(path).read_bytes()
    if content[:4] == b"PAR1":
        return parquet.read_table(io.BytesIO(content))
    return pyarrow.ipc.open_file(content).read_all()


@pytest.fixture
def fleet(directory):
    """Two devices' captures side by side, taken in turns; a third one keeps them deeper."""
    for number, device in enumerate(("gate", "yard", "gate", "site/roof"), 1):
        numbers = (10 * number, 10 * number + 1)
        records = [segments.plain(sequence) for sequence in numbers]
        segments.write(directory / device, records, ring_id=number, number=number)
    return directory


def test_captures_below_a_directory_are_read_in_order_of_time(fleet):
    assert [record.sequence for record in ew.read_captures(fleet)] == [
        10, 11, 20, 21, 30, 31, 40, 41,
    ]  # fmt: skip


def test_a_record_below_a_directory_names_its_device(fleet):
    devices = [record.device for record in ew.read_captures(fleet)][::2]
    assert devices == ["gate", "yard", "gate", "site/roof"]
    assert {record.device for record in ew.read_captures(fleet / "gate")} == {""}


def test_the_commands_look_below_a_directory(fleet, typed, typed_well):
    assert typed_well("captures ls captures")["record_count"] == 8
    records = typed_well("captures show captures --last 3")["records"]
    assert [record["device"] for record in records] == ["gate", "site/roof", "site/roof"]
    _, out, _ = typed("captures ls captures")
    assert [line.split("/")[0] for line in out.splitlines()[:3]] == ["gate", "yard", "gate"]
    assert "site/roof" in typed("captures show captures")[1]


def test_statistics_below_a_directory_are_merged(directory, typed_well):
    for device in ("gate", "yard"):
        capture(directory / device, [1, 2, 3])
    (entry,) = typed_well("captures stats captures")["statistics"]
    assert entry["run_count"] == 6


def test_open_segments_below_a_directory_are_recovered(fleet, typed_well):
    for path in fleet.rglob("*.ewc"):
        path.rename(path.with_suffix(".open"))
    assert len(typed_well("captures recover captures")["recovered"]) == 4
    assert len(list(fleet.rglob("*.ewc"))) == 4


@pytest.mark.parametrize("form", [*TABLES, "jsonl"])
@pytest.mark.parametrize(("option", "expected"), [("", "gate"), (" --device lab", "lab")])
def test_an_export_says_which_device(form, option, expected, directory, typed_well):
    segments.write(directory / "gate", [segments.plain(1)])
    (path,) = typed_well(f"captures export captures --to {form} -o out{option}")["files"]
    if form == "jsonl":
        devices = [json.loads(Path(path).read_text())["eventMetadata"]["deviceId"]]
    elif form == "npz":
        devices = np.load(path)["device"].tolist()
    else:
        devices = table(path).column("device").to_pylist()
    assert devices == [expected]
