"""Weights that LiteRT packs in large pieces lie in large pages where the system has them."""

import os
import subprocess
import sys

import pytest
from models import tflite_models

WIDTH = 3072  # of a layer whose weights are 36 MiB
LARGE_ALLOCATION_BYTES = 32 << 20

# Prints the size of each mapping of this process that large pages were asked for, in bytes.
LOAD = """
import sys
import numpy
import edgeward as ew
model = ew.load_unsigned(sys.argv[1], threads=2)
model.predict(numpy.zeros(model.inputs[0].shape, numpy.float32))
for line in open("/proc/self/smaps"):
    if line.startswith("Rss:"):
        resident_bytes = int(line.split()[1]) * 1024
    if line.startswith("VmFlags:") and "hg" in line.split():
        print(resident_bytes)
"""


@pytest.mark.skipif(
    not os.path.exists("/sys/kernel/mm/transparent_hugepage/enabled"),
    reason="the kernel has no large pages",
)
def test_packed_weights_are_asked_for_in_large_pages(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_models.dense(WIDTH, 1))
    child = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True
    )
    resident = [int(line) for line in child.stdout.split()]
    # The file's own weights, which are in large pages too, have gone back after the run.
    assert sum(bytes_ >= LARGE_ALLOCATION_BYTES for bytes_ in resident) == 1, resident
