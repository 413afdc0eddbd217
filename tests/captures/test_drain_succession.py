"""Who drains, and who does so after them: what a Capture kept comes to the disk in any case."""

from __future__ import annotations

import errno
import fcntl
import re
import signal
import stat
from pathlib import Path

import pytest
import shims
from programs import Program, comes_true, values

import edgeward as ew

SMALL_RING = "ring_bytes=1 << 16"
UNREAD_S = 10.0  # a ring that nobody has read for so long is a complaint
LOCK = "drain.lock"


# --- somebody else drains other rings ------------------------------------------------------------


def test_two_programs_with_rings_of_their_own_both_reach_the_disk(directory, tmp_path):
    with (
        Program(directory, EDGEWARD_RINGS=str(tmp_path / "left")) as left,
        Program(directory, EDGEWARD_RINGS=str(tmp_path / "right")) as right,
    ):
        left("run(1, 2)")
        right("run(3, 4)")
        assert left("capture.flush()")
        assert right("capture.flush()")
        assert sorted(values(directory)) == [1, 2, 3, 4]
        right.kill()
        left.end()
    assert sorted(values(directory)) == [1, 2, 3, 4]


def test_a_reader_with_a_shared_lock_keeps_nothing_from_the_disk(directory):
    directory.mkdir()
    with open(directory / LOCK, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with Program(directory) as program:
            program("run(1, 2)")
            assert program("capture.flush()")
            assert values(directory) == [1, 2]


def test_the_lock_is_its_owners_alone(directory, tmp_path):
    with ew.Capture(directory):
        (lock,) = tmp_path.rglob(LOCK)
        assert oct(stat.S_IMODE(lock.stat().st_mode)) == "0o600"


def test_the_lock_says_who_drains_and_for_whom(directory, tmp_path):
    with Program(directory) as program:
        (lock,) = tmp_path.rglob(LOCK)
        text = lock.read_text()
        assert re.search(rf"\b{program.pid}\b", text), text
        assert str(directory) in text


# --- a file system without locks -----------------------------------------------------------------


def without_locks(files: Path | str, number: int) -> dict[str, str]:
    return {
        "LD_PRELOAD": shims.library("no_locks"),
        "NO_LOCKS_FOR": str(files),
        "NO_LOCKS_ERROR": str(number),
    }


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL"])
def test_a_disk_without_locks_takes_the_records(directory, name):
    with Program(directory, **without_locks(directory, getattr(errno, name))) as program:
        program("run(1, 2)")
        assert program("capture.flush()")
        assert values(directory) == [1, 2]


def test_a_kill_on_a_disk_without_locks_loses_nothing(directory):
    environment = without_locks(directory, errno.ENOLCK)
    with Program(directory, **environment) as program:
        program("run(1, 2)")
        assert program("capture.flush()")
        program.kill()
    with Program(directory, **environment) as program:
        program("run(3)")
        program.end()
    assert values(directory) == [1, 2, 3]
    assert list(directory.glob("*.open")) == []


def test_an_open_segment_of_other_rings_is_left_alone_where_there_are_no_locks(directory, tmp_path):
    environment = without_locks(directory, errno.ENOLCK)
    with (
        Program(directory, EDGEWARD_RINGS=str(tmp_path / "left"), **environment) as left,
        Program(directory, EDGEWARD_RINGS=str(tmp_path / "right"), **environment) as right,
    ):
        left("run(1)")
        assert left("capture.flush()")
        left.kill()
        (foreign,) = directory.glob("*.open")
        right("run(2)")
        right("capture.flush()")
        assert foreign.name in right("capture.complaint")
        assert foreign.exists()


# --- the one who drained is gone, or does nothing ------------------------------------------------


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(directory):
    with Program(directory) as program:
        program.fork()
        program.kill()
        with Program(directory) as restarted:
            restarted("run(1, 2)")
            assert restarted("capture.flush()")
            assert values(directory) == [1, 2]


@pytest.mark.parametrize("end", ["end", "kill", "close"])
def test_a_sibling_takes_over_by_itself(directory, end):
    with Program(directory) as holder, Program(directory, SMALL_RING) as sibling:
        holder("run(0)")
        assert holder("capture.flush()")
        if end == "close":
            holder("capture.close()")
        else:
            getattr(holder, end)()
        expected = [0.0]
        for _ in range(3):  # more than fits into a ring that nobody empties
            sibling("run(*range(1, 31))")
            expected += range(1, 31)
            # Until they are drained the ring has no room for as many again.
            count = len(expected) - 1
            assert comes_true(lambda n=count: sibling("capture.counters")["drained"] == n)
            assert sorted(values(directory)) == sorted(expected)
        assert sibling("capture.counters")["lost_full"] == 0
        assert sibling("capture.complaint") == ""


@pytest.mark.parametrize("end", ["close", "end"])
def test_a_sibling_that_ends_leaves_no_ring_undrained(directory, end):
    with Program(directory) as holder, Program(directory) as sibling:
        holder.kill()
        sibling("run(1, 2)")
        if end == "close":
            sibling("capture.close()")
        else:
            sibling.end()
        assert values(directory) == [1, 2]


def test_flush_is_not_done_while_nobody_reads(directory):
    with Program(directory) as holder, Program(directory) as waiting:
        holder.send(signal.SIGSTOP)
        waiting("run(1, 2)")
        assert not waiting("capture.flush(0.2)")
        holder.send(signal.SIGCONT)
        assert waiting("capture.flush()")
        assert values(directory) == [1, 2]


def test_a_ring_that_nobody_reads_is_a_complaint(directory):
    with Program(directory) as holder, Program(directory) as waiting:
        holder.send(signal.SIGSTOP)
        waiting("run(1, 2)")
        assert comes_true(lambda: waiting("capture.complaint"), UNREAD_S + 5)
        assert str(holder.pid) in waiting("capture.complaint")


def test_what_another_program_has_not_read_at_the_end_is_known_after_it(directory):
    with Program(directory) as holder, Program(directory) as waiting:
        holder.send(signal.SIGSTOP)
        waiting("run(1, 2)")
        waiting("capture.close()")
        assert str(holder.pid) in waiting("capture.complaint")
        holder.send(signal.SIGCONT)
        assert comes_true(lambda: holder("capture.flush()") and values(directory) == [1, 2], 30)


def test_a_lock_that_the_kernel_refuses_is_a_complaint(directory):
    with Program(directory, **without_locks(LOCK, errno.ENOLCK)) as program:
        program("run(1)")
        assert not program("capture.flush(0.2)")
        assert LOCK in program("capture.complaint")
