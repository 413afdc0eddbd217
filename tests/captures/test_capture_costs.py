"""What looking at captures costs: it follows what is asked for, not what lies on the disk.

Counted in bytes that the process asks the kernel for, which are the same on every machine.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import segments
from models import tflite_models

import edgeward as ew
from edgeward import _core

RECORDS = 20_000  # each with 64 bytes of input and 64 of output
SEGMENT_BYTES = 1 << 20
MOST_READ_PER_SEGMENT = 4096
BLOCK_BYTES = 1 << 19  # a record is read with its block


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Many small records in several segments."""
    base = tmp_path_factory.mktemp("costs")
    before = os.environ.get("EDGEWARD_RINGS")
    os.environ["EDGEWARD_RINGS"] = str(base / "rings")
    try:
        x = np.zeros(16, np.float32)
        path = base / "captures"
        with (
            ew.Capture(path, segment_bytes=SEGMENT_BYTES, statistics=False) as capture,
            ew.load_unsigned(tflite_models.add((16,))) as model,
        ):
            capture.attach(model, name="small", version="1")
            for number in range(RECORDS):
                x[0] = number
                model.predict(x)
                if number % 4000 == 0:
                    capture.flush()  # so that no ring is full, and segments are of their size
            assert capture.counters["lost_full"] == 0
    finally:
        os.environ.pop("EDGEWARD_RINGS")
        if before is not None:
            os.environ["EDGEWARD_RINGS"] = before
    assert len(list(path.glob("*.ewc"))) >= 3
    return path


def kernel_bytes():
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def most_read(directory):
    return 64_000 + MOST_READ_PER_SEGMENT * len(list(directory.glob("*.ewc")))


@pytest.mark.parametrize(
    "words", ["ls {}", "show {} --last 1", "show {} --last 5", "show {} --model other"]
)
def test_a_command_reads_what_it_shows(words, directory, typed, tmp_path):
    line = f"captures {words}"
    segments.write(tmp_path / "warm", [segments.plain(1)])
    typed(line.format(tmp_path / "warm"))  # loads its modules
    before = kernel_bytes()
    status, _, err = typed(line.format(directory))
    read = kernel_bytes() - before
    assert status == 0, err
    most = most_read(directory) + ("--last" in words) * BLOCK_BYTES
    assert read <= most, f"of {RECORDS:,} records it read {read:,} bytes"


def test_a_small_record_is_small_on_the_disk(directory):
    size = sum(path.stat().st_size for path in directory.glob("*.ewc"))
    assert size / RECORDS <= 256


def test_records_come_stacked(directory):
    total = 0
    for batch in ew.read_captures(directory, batch=1000):
        x, y = batch.inputs["x"], batch.outputs["y"]
        assert x.shape[1:] == (16,)
        assert len(x) == len(y) <= 1000
        np.testing.assert_array_equal(x[:, 0], np.arange(total, total + len(x)))
        np.testing.assert_array_equal(y, x + np.arange(16, dtype=np.float32))
        total += len(x)
    assert total == RECORDS


def test_records_come_stacked_without_a_step_for_each(directory, monkeypatch):
    """The core lays out a batch in one pass: Python takes few steps for many records."""
    steps = 0
    opened = _core.open_segment

    class Counting:
        def __init__(self, *arguments):
            self._reader = opened(*arguments)

        def __getattr__(self, name):
            nonlocal steps
            steps += 1
            return getattr(self._reader, name)

    monkeypatch.setattr(_core, "open_segment", Counting)
    assert sum(len(batch.inputs["x"]) for batch in ew.read_captures(directory, batch=1000)) > 0
    assert steps < RECORDS / 10
