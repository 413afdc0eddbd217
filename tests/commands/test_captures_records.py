"""Which records a step of `edgeward captures` reads: where there are none, it says so."""

from __future__ import annotations

import re

import numpy as np
import pytest
import segments
from models import tflite_models

import edgeward as ew

ONES = np.ones(4, np.float32)


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Where captures lie; the test runs beside it."""
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "captures"


def capture(directory, values, **options):
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory, **options) as running, model:
        running.attach(model, name="pair", version="1.0")
        for value in values:
            model.predict(a=np.full(4, value, np.float32), b=ONES)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ls elsewhere", 'captures "elsewhere": expected .*segment'),
        ("show elsewhere", 'captures "elsewhere": expected .*segment'),
        ("stats elsewhere", 'captures "elsewhere": expected .*statistics'),
        ("export elsewhere --to npz -o out", 'captures "elsewhere": expected .*segment'),
        ("export captures --to npz -o out --model other", 'expected records of "other"'),
        ("export captures --to jsonl -o out --model other", 'expected records of "other"'),
        ("show captures --reason manuel", "manual"),
    ],
)
def test_nothing_to_look_at_is_an_error(line, says, directory, typed):
    segments.write(directory, [segments.plain(1)])
    directory.with_name("elsewhere").mkdir()
    directory.with_name("elsewhere").joinpath("notes.txt").write_text("not a capture")
    status, out, err = typed(f"captures {line}")
    assert (status, out) == (2, ""), f"status {status}: {out}{err}"
    assert len(err.splitlines()) == 1
    assert re.search(says, err), err
    assert not directory.with_name("out").exists()


def test_a_capture_that_has_kept_nothing_yet_is_no_error(directory, typed_well):
    capture(directory, [1], sample=0.0, when=ew.rules.above("s", 1000))
    assert typed_well("captures ls captures")["record_count"] == 0
    assert typed_well("captures show captures")["records"] == []
