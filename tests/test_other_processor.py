"""What a program on one processor writes, a program on another reads, in files and in rings.

`EDGEWARD_OTHER_PYTHON` is the interpreter of the other processor; without it both are of this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import sealed
from captures.programs import Program

HERE = sys.executable
THERE = os.environ.get("EDGEWARD_OTHER_PYTHON", sys.executable)
WAYS = pytest.mark.parametrize(
    ("writer", "reader"), [(HERE, THERE), (THERE, HERE)], ids=["here to there", "there to here"]
)

SMALL = "ring_bytes=1 << 16"

SEAL = """
import sys
from pathlib import Path
import numpy as np
import edgeward as ew, sealed

path, cipher = sys.argv[1:]
recipients = [sealed.DEVICE.public] if cipher else []
release = ew.Release(name="demo", version="1.0", counter=1)
options = {"cipher": cipher} if cipher else {}
ew.Package.seal(
    sealed.MODEL, path, release, [sealed.PUBLISHER], encrypt_to=recipients, **options
)
"""

OPEN = """
import sys
import numpy as np
import edgeward as ew, sealed

path, trust = sys.argv[1:]
with ew.Package.open(path, trust=ew.Trust(trust), key=sealed.DEVICE).load() as model:
    print(model.predict(np.array([0, 0.5, -1, 1e9], np.float32)).tobytes().hex())
"""


def run(python: str, program: str, *words: object) -> str:
    tests = Path(__file__).parent
    command = [python, "-c", program, *map(str, words)]
    child = subprocess.run(command, cwd=tests, capture_output=True, text=True, timeout=600)
    assert child.returncode == 0, child.stderr[-2000:]
    return child.stdout


@WAYS
@pytest.mark.parametrize("cipher", ["", "aes-256-gcm", "chacha20-poly1305"])
def test_a_package_opens_on_the_other_side(tmp_path, writer, reader, cipher):
    path, trust = tmp_path / "demo.ewp", tmp_path / "trust"
    sealed.trust_at(trust)
    run(writer, SEAL, path, cipher)
    assert run(reader, OPEN, path, trust) == run(writer, OPEN, path, trust) != ""


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    return partial(Program, tmp_path / "captures")


def values(program: Program, directory: Path) -> list[float]:
    """What a program reads of the first element of input a of each record."""
    return list(program(f"[float(r.inputs['a'][0]) for r in ew.read_captures({str(directory)!r})]"))


@WAYS
def test_a_drain_reads_the_ring_of_a_live_program(start, tmp_path, writer, reader):
    with start(python=reader) as drain, start(SMALL, python=writer) as program:
        drain("run(-1)")
        for first in range(0, 600, 50):  # several times what the ring holds
            program(f"run(*range({first}, {first + 50}))")
            assert program("capture.flush()")
        assert values(drain, tmp_path / "captures") == values(program, tmp_path / "captures")
        assert sorted(values(drain, tmp_path / "captures")) == list(range(-1, 600))


@WAYS
def test_what_a_killed_program_left_is_brought_to_the_disk(start, tmp_path, writer, reader):
    with start("keep='newest'", python=writer) as program:
        program("run(*range(200))")
        program.kill()
    with start(python=reader) as drain:
        assert drain("capture.flush()")
        assert values(drain, tmp_path / "captures") == list(range(200))
