"""Columns: a file says all that a record does, beside the values or in their place real ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sealed
import segments
from exported import table

import edgeward as ew
from edgeward import Contents

pytestmark = pytest.mark.usefixtures("runs_beside")

ONES = np.ones(4, np.float32)
TABLES = ("parquet", "arrow", "npz")


FACTS = {
    "model": ["pair", "pair"],
    "version": ["1.0", "1.0"],
    "lost_before": [0, 7],
}


@pytest.fixture
def noted(directory):
    """Two records with all that can be said of a record."""
    facts = json.loads(segments.description())
    quantization = {"scales": [0.5], "zero_points": [3], "axis": 0}
    facts["inputs"][0] |= {"dtype": "int8", "shape": [4], "quantization": quantization}
    x = np.array([3, 5, 7, 9], np.int8)
    records = [
        segments.record(1, [segments.tensor(0, 0, x), segments.tensor(1, 0, ONES)], reasons=5),
        segments.record(
            2,
            [segments.tensor(0, 0, x + 2), segments.tensor(1, 0, ONES)],
            user=b"\0note\0",
            lost_before=7,
        ),
    ]
    segments.write(directory, records, described=json.dumps(facts).encode())
    return directory


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_table_says_all_that_a_record_does(form, noted, typed_well):
    (path,) = typed_well(f"captures export captures --to {form} -o out --device lab")["files"]
    rows = table(path)
    for name, values in FACTS.items():
        assert rows.column(name).to_pylist() == values
    assert rows.column("reasons").to_pylist() == [["sampled", "manual"], ["sampled"]]
    assert rows.column("user").to_pylist() == [b"", b"\0note\0"]
    assert rows.column("device").to_pylist() == ["lab", "lab"]
    metadata = rows.schema.field("inputs.x").metadata
    assert metadata[b"edgeward.dtype"] == b"int8"
    assert json.loads(metadata[b"edgeward.scale"]) == [0.5]
    assert json.loads(metadata[b"edgeward.zero_point"]) == [3]


def test_an_archive_says_all_that_a_record_does(noted, typed_well):
    (path,) = typed_well("captures export captures --to npz -o out --device lab")["files"]
    with np.load(path) as archive:
        for name, values in FACTS.items():
            assert archive[name].tolist() == values
        assert archive["reasons"].tolist() == ["sampled,manual", "sampled"]
        ends = archive["user.ends"].tolist()
        assert archive["user"].tobytes()[ends[0] : ends[1]] == b"\0note\0"
        assert archive["device"].tolist() == ["lab", "lab"]
        assert archive["inputs.x.scale"].tolist() == [0.5]
        assert archive["inputs.x.zero_point"].tolist() == [3]


@pytest.mark.parametrize("form", TABLES)
def test_real_values_on_request(form, noted, typed_well):
    (path,) = typed_well(f"captures export captures --to {form} -o out --real")["files"]
    if form == "npz":
        values = np.load(path)["inputs.x"]
    else:
        values = np.array(table(path).column("inputs.x").to_pylist(), np.float64).reshape(2, 4)
    assert values.dtype.kind == "f"
    np.testing.assert_array_equal(values, [[0, 1, 2, 3], [1, 2, 3, 4]])


@pytest.mark.parametrize("form", TABLES)
def test_an_export_has_the_labels_of_the_package(form, directory, typed_well):
    trust = sealed.trust_at(directory.with_name("trust"))
    labels = ["cat", "dog", "fox", "owl"]
    path = sealed.seal(directory.with_name("demo.ewp"), contents=Contents(labels=labels))
    with ew.Capture(directory) as running:
        ew.load(path, trust=trust, key=sealed.DEVICE, capture=running).predict(ONES)
    (path,) = typed_well(f"captures export captures --to {form} -o out")["files"]
    if form == "npz":
        with np.load(path) as archive:
            assert archive["labels"].tolist() == labels
    else:
        assert json.loads((table(path).schema.metadata or {})[b"edgeward.labels"]) == labels
