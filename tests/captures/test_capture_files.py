"""Files of a capture: whose they are."""

from __future__ import annotations

import os
import stat
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from models import tflite_models
from programs import values

import edgeward as ew
from edgeward.captures import rings

ONES = np.ones(4, np.float32)
NOBODY = 65_534


def run(model, *inputs):
    for value in inputs:
        model.predict(a=np.full(4, value, np.float32), b=ONES)


def capture(directory, *inputs, **options):
    with ew.Capture(directory, **options) as opened:
        run(ew.load_unsigned(tflite_models.sum_product(), capture=opened), *inputs)


def mode_of(path) -> str:
    return oct(stat.S_IMODE(os.stat(path).st_mode))


def captured(directory, typed_well):
    capture(directory, 1)


def drained(directory, typed_well):
    typed_well(f"captures drain {directory}")


@pytest.mark.parametrize("use", [captured, drained])
@pytest.mark.parametrize("mode", [0o1777, 0o2775, 0o777, 0o755, 0o700], ids=oct)
def test_a_directory_that_was_there_keeps_its_permissions(directory, typed_well, use, mode):
    directory.mkdir()
    directory.chmod(mode)
    use(directory, typed_well)
    assert mode_of(directory) == oct(mode)


def test_a_directory_of_rings_is_its_owners_alone(directory):
    with ew.Capture(directory) as opened:
        run(ew.load_unsigned(tflite_models.sum_product(), capture=opened), 1)
        assert mode_of(rings.directory_of(directory)) == "0o700"


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """Root's, in which the group of nobody may write, as Kubernetes gives volumes."""
    if os.getuid() != 0:
        pytest.skip("giving a directory to another user is root's alone")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shared = Path(folder, "captures")
        shared.mkdir()
        os.chown(shared, 0, NOBODY)
        shared.chmod(0o2775)
        yield shared


def test_a_directory_of_somebody_else_that_one_may_write_is_used(
    shared_directory, directory, run_child
):
    program = """
    import os, sys
    import numpy as np, edgeward as ew
    from models import tflite_models
    own, shared, rings, nobody = sys.argv[1:]
    model = ew.load_unsigned(tflite_models.sum_product())
    def capture(directory):
        with ew.Capture(directory) as capture:
            capture.attach(model)
            model.predict(a=np.ones(4, np.float32), b=np.ones(4, np.float32))
            assert capture.flush(), capture.complaint
    capture(own)  # imports what another user may not read
    os.environ["EDGEWARD_RINGS"] = rings
    os.setgroups([])
    os.setgid(int(nobody))
    os.setuid(int(nobody))
    capture(shared)
    """
    folder = shared_directory.parent / "rings"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    run_child(textwrap.dedent(program), directory, shared_directory, folder, NOBODY)
    assert values(shared_directory) == [1]
    assert mode_of(shared_directory) == "0o2775"
