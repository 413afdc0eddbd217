"""Kernels whose pages are larger than 4 KiB: what is mapped there is given back there."""

import fakes
import pytest
from models import tflite_models

PROGRAM = """
import ctypes, resource, sys
import numpy as np
import edgeward as ew

path, captures = sys.argv[1:]

def address_space():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

with ew.Capture(captures, statistics=False) as capture:
    with ew.load_unsigned(path, capture=capture) as model:
        file_bytes = model.memory.file_bytes
        model.predict(np.zeros(model.inputs[0].shape, np.float32))
        model.session().run()
        assert model.memory.file_bytes < file_bytes / 2
before = address_space()
for _ in range(40):
    ew.load_unsigned(path).close()
print(ctypes.CDLL(None).fake_page_refusals(), address_space() - before)
"""


@pytest.mark.parametrize("page_bytes", [4096, 16_384, 65_536])
def test_what_is_mapped_is_given_back(run_child, tmp_path, page_bytes):
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_models.mobilenet(0.5))
    assert path.stat().st_size > 1 << 22
    printed = run_child(
        PROGRAM,
        path,
        tmp_path / "captures",
        LD_PRELOAD=str(fakes.libraries()["large_pages"]),
        FAKE_PAGE_BYTES=str(page_bytes),
    )
    refusals, growth = map(int, printed.split())
    assert refusals == 0
    assert growth < 40 << 20  # each load has asked for 2 MiB more than it keeps
