"""The lock of the one who drains: its process has it, nobody else, and it ends with the process."""

import stat

import pytest
from programs import Program, values

LOCK = "drain.lock"


@pytest.fixture(autouse=True)
def _rings_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "captures"


def test_the_lock_is_its_owners_alone(directory):
    with Program(directory):
        assert stat.S_IMODE((directory / LOCK).stat().st_mode) == 0o600


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(directory):
    with Program(directory) as program:
        program.fork()
        program.kill()
        with Program(directory) as restarted:
            restarted("run(1, 2)")
            assert restarted("capture.flush()")
            assert values(directory) == [1, 2]
