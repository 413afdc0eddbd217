"""Exports at their edges: nothing in a tensor, many shapes, little memory, an export that fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import sealed
import segments
from exported import table
from models import tflite_models

import edgeward as ew
from edgeward.captures import export

pytestmark = pytest.mark.usefixtures("runs_beside")

ONES = np.ones(4, np.float32)
TABLES = ("parquet", "arrow", "npz")


def capture(directory, values, **options):
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory, **options) as running, model:
        running.attach(model, name="pair", version="1.0")
        for value in values:
            model.predict(a=np.full(4, value, np.float32), b=ONES)


EXPORT = """
import sys
from pathlib import Path
import segments
from edgeward import cli

directory, form, output = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
{body}
sys.exit(cli.main(["captures", "export", str(directory), "--to", form, "-o", output]))
"""
EMPTY = "segments.write(directory, [segments.shaped(1, (0, 4)), segments.shaped(2, (0, 4))])"
MANY = """
import resource
shapes = [segments.shaped(number, (number,)) for number in range(1, 121)]
segments.write(directory, shapes + shapes[:5])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
import pyarrow.parquet  # opens what it needs before descriptors are few
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
"""


@pytest.mark.parametrize("form", TABLES)
def test_a_detector_that_found_nothing_is_exported(form, directory, run_child):
    run_child(EXPORT.format(body=EMPTY), directory, form, directory.with_name("out"))
    if form == "npz":
        with np.load(directory.with_name("out")) as archive:
            assert archive["outputs.y"].shape == (2, 0, 4)
        return
    rows = table(directory.with_name("out"))
    assert rows.column("outputs.y").to_pylist() == [[], []]
    assert json.loads(rows.schema.field("outputs.y").metadata[b"edgeward.shape"]) == [0, 4]
    assert rows.column("sequence").to_pylist() == [1, 2]


@pytest.mark.parametrize("form", TABLES)
def test_more_shapes_than_a_process_may_open_files(form, directory, run_child):
    out = directory.with_name("out")
    out.mkdir()
    said = run_child(EXPORT.format(body=MANY), directory, form, out / f"out.{form}")
    assert said.startswith("125 records\n")
    assert len(os.listdir(out)) == 120


@pytest.mark.parametrize("form", [*TABLES, "jsonl"])
def test_an_export_that_fails_leaves_no_draft(form, directory, typed, monkeypatch):
    """Also when no descriptor is left to list the directory with: glob then finds nothing."""
    segments.write(directory, [segments.shaped(number, (number,)) for number in range(1, 10)])
    capture("secret", [1], encrypt_to=sealed.DEVICE.public)
    (path,) = directory.with_name("secret").glob("*.ewc")
    path.rename(directory / ("9" * 20 + "-needs-a-key.ewc"))
    before = set(os.listdir(directory.parent))
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    status, _, err = typed(f"captures export captures --to {form} -o out")
    assert status == 6, err
    assert set(os.listdir(directory.parent)) == before


@pytest.mark.parametrize("form", TABLES)
def test_a_further_file_replaces_none(form, directory, typed):
    segments.write(directory, [segments.shaped(1, (1,)), segments.shaped(2, (2,))])
    directory.with_name("out-2").write_text("kept")
    status, _, err = typed(f"captures export captures --to {form} -o out")
    assert (status, "out-2" in err) == (2, True)
    assert sorted(os.listdir(directory.parent)) == ["captures", "out-2"]
    assert directory.with_name("out-2").read_text() == "kept"


@pytest.mark.parametrize("form", TABLES)
def test_a_batch_is_written_when_all_shapes_together_are_large(form, directory, monkeypatch):
    """Memory is bounded by the batch, not by the number of shapes."""
    monkeypatch.setattr(export, "WAITING_BYTES", 20_000)
    monkeypatch.setattr(export, "RECORD_BYTES", 0)
    records = [segments.shaped(number, (number,)) for number in range(1, 200)]
    segments.write(directory, records)
    writer = export.writer(form, str(directory.with_name("out")), "fleet", "device")
    held = []
    for batch in ew.read_captures(directory, batch=1):
        writer.add(batch)
        drafts = directory.parent.glob("out*draft*")
        held.append(sum(draft.stat().st_size for draft in drafts))
    assert max(held) > 1000
    writer.discard()
    assert os.listdir(directory.parent) == ["captures"]
