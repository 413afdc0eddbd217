"""The account: every inference is in one counter and in the statistics, whatever room there is."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from models import tflite_models
from programs import Program, comes_true, values
from reference.capture_reader import crc32c

import edgeward as ew
from edgeward.captures import rings, rules

MIB = 1 << 20
DOCKER_BYTES = 64 * MIB  # of /dev/shm in a container that was not given more
LARGE = 16 * MIB  # three such rings fit into that
COUNTED = ("sampled_out", "committed", "lost_full", "lost_large")
ONES = np.ones(4, np.float32)
DATA = 192 << 10  # capture-format 1: where a ring's records begin


@contextmanager
def file_system(path: Path, size_bytes: int) -> Iterator[None]:
    """A tmpfs of so many bytes there; skips the test where nobody may mount."""
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def small_memory(tmp_path):
    with file_system(tmp_path / "rings", DOCKER_BYTES):
        yield


def run(runner, *inputs):
    """A session or a model, on each of these."""
    for value in inputs:
        a = np.full(4, value, np.float32)
        if isinstance(runner, ew.Model):
            runner.predict(a=a, b=ONES)
        else:
            runner.inputs["a"][...], runner.inputs["b"][...] = a, ONES
            runner.run()


def account(capture, model) -> tuple[int, int]:
    """How many inferences are in the counters, and how many in the statistics."""
    counters = capture.counters
    runs = (statistics.report()["run_count"] for statistics in model.statistics.values())
    return sum(counters[name] for name in COUNTED), sum(runs)


def ring_paths(directory: Path) -> list[Path]:
    return sorted(Path(rings.directory_of(directory)).glob("*.ring"))


# --- little room for rings -----------------------------------------------------------------------


@pytest.mark.usefixtures("small_memory")
@pytest.mark.parametrize("options", [{}, {"ring_bytes": LARGE}], ids=["default", "large"])
def test_sessions_without_room_for_a_ring_are_counted_too(directory, options):
    with ew.Capture(directory, **options) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        sessions = [model.session() for _ in range(6)]
        for session in sessions:
            run(session, *range(100))
        assert account(capture, model) == (600, 600)
    counted = ew.read_statistics(directory)
    assert sum(entry.statistics.report()["run_count"] for entry in counted) == 600
    assert len(values(directory)) == capture.counters["committed"]


@pytest.mark.usefixtures("small_memory")
def test_by_default_a_small_memory_has_room_for_many_sessions(directory):
    with ew.Capture(directory) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        for session in [model.session() for _ in range(12)]:
            run(session, *range(10))
        assert capture.complaint == ""
        assert capture.counters["committed"] == 120


@pytest.mark.usefixtures("small_memory")
def test_threads_are_counted_where_there_is_no_room(directory):
    with ew.Capture(directory, ring_bytes=LARGE) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        has_session = threading.Barrier(8)

        def work():
            session = model.session()
            has_session.wait(20)
            run(session, *range(50))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert account(capture, model) == (400, 400)


@pytest.mark.usefixtures("small_memory")
def test_a_million_runs_of_sixteen_threads_are_all_counted(directory):
    count = 1_000_000 // 16
    with ew.Capture(directory, sample=rules.every(10)) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)

        def work():
            session = model.session()
            for _ in range(count):
                session.run()

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert account(capture, model) == (1_000_000, 1_000_000)
        assert capture.flush()
        counters = capture.counters
        assert counters["drained"] == counters["committed"] > 0
    assert len(values(directory)) == counters["committed"]


@pytest.mark.usefixtures("small_memory")
def test_the_complaint_names_what_may_be_changed(directory):
    with ew.Capture(directory, ring_bytes=LARGE) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        sessions = [model.session() for _ in range(4)]
        run(sessions[-1], 1)
        assert "ring_bytes" in capture.complaint
        assert "EDGEWARD_RINGS" in capture.complaint


@pytest.mark.usefixtures("small_memory")
def test_a_session_gets_its_ring_when_there_is_room(directory):
    with ew.Capture(directory, ring_bytes=LARGE) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        sessions = [model.session() for _ in range(4)]
        run(sessions[-1], 1)
        assert account(capture, model) == (1, 1)
        sessions[0].close()
        del sessions[0]
        count = 1

        def is_captured():
            nonlocal count
            run(sessions[-1], 2)
            count += 1
            return capture.counters["committed"] > 0

        assert comes_true(is_captured)
        assert account(capture, model) == (count, count)


@pytest.mark.usefixtures("small_memory")
def test_one_failure_stops_no_later_session(directory):
    with ew.Capture(directory, ring_bytes=LARGE) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        sessions = [model.session() for _ in range(4)]
        while sessions:
            sessions.pop().close()
        assert comes_true(lambda: len(ring_paths(directory)) <= 1)  # the model's own
        session = model.session()

        def is_captured():
            run(session, 1)
            return capture.counters["committed"] > 0

        assert comes_true(is_captured)


@pytest.mark.usefixtures("small_memory")
def test_a_restart_waits_for_the_rings_of_the_dead(directory):
    with Program(directory, f"ring_bytes={LARGE}") as program:
        program("model = ew.load_unsigned(tflite_models.add_150k(), capture=capture)")
        assert program("capture.flush()")  # the ring of the model before is gone
        program("sessions = [model.session() for _ in range(3)]")
        program("allow_files_of(1000)")  # its own drain leaves all that follows
        program("[session.run() for session in sessions for _ in range(12)] and None")
        program.kill()
    assert len(ring_paths(directory)) == 3
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory, ring_bytes=LARGE) as capture:
        capture.attach(model)

        def is_captured():
            run(model, 1)
            return capture.counters["committed"] > 0

        assert comes_true(is_captured)
        assert comes_true(lambda: capture.complaint == "")


# --- what is drained -----------------------------------------------------------------------------


def test_drained_counts_the_captures_own_records(directory):
    with Program(directory) as holder, Program(directory) as sibling:
        sibling("run(*range(10))")
        holder("run(11)")
        assert holder("capture.flush()")
        assert sibling("capture.flush()")
        assert holder("capture.counters")["drained"] == 1
        assert sibling("capture.counters")["drained"] == 10


def test_drained_does_not_count_what_a_dead_program_left(directory):
    with Program(directory, "keep='newest'") as program:
        program("run(*range(10))")
        program.kill()
    with ew.Capture(directory) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        run(model, 11)
        assert capture.flush()
        assert capture.counters["drained"] == 1
    assert sorted(values(directory)) == [*range(10), 11]


def scribble(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(DATA)
        file.write(b"\xff" * 64)


def test_a_dead_ring_that_is_refused_is_a_complaint(directory):
    with Program(directory, "keep='newest'") as program:
        program("run(*range(10))")
        program.kill()
    (path,) = ring_paths(directory)
    scribble(path)
    with ew.Capture(directory) as capture:
        capture.flush()
        assert path.stem in capture.complaint


def test_a_ring_that_is_refused_while_its_program_runs_is_a_complaint(directory):
    with Program(directory) as holder:
        others = ring_paths(directory)
        with Program(directory) as sibling:
            (path,) = set(ring_paths(directory)) - set(others)
            holder.send(signal.SIGSTOP)
            sibling("run(*range(10))")
            scribble(path)
            holder.send(signal.SIGCONT)
            assert not sibling("capture.flush(1)")
            assert path.stem in sibling("capture.complaint")
            counters = sibling("capture.counters")
            assert (counters["committed"], counters["drained"]) == (10, 0)


def started_segment(directory, capture):
    """A model whose first record is on the disk, in a segment that is open."""
    model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
    run(model, 0)
    assert capture.flush()
    assert values(directory) == [0]
    return model


def assert_what_is_drained_can_be_read(directory, capture):
    is_flushed = capture.flush(1)
    assert capture.counters["drained"] - 1 == len(values(directory))
    assert is_flushed or str(directory) in capture.complaint


def test_records_on_a_removed_directory_are_not_drained(directory):
    with ew.Capture(directory) as capture:
        model = started_segment(directory, capture)
        shutil.rmtree(directory)
        run(model, *range(10))
        assert_what_is_drained_can_be_read(directory, capture)


def test_records_on_a_directory_under_a_mount_are_not_drained(directory):
    with ew.Capture(directory) as capture:
        model = started_segment(directory, capture)
        with file_system(directory, MIB):
            run(model, *range(10))
            assert_what_is_drained_can_be_read(directory, capture)


def test_a_model_that_is_gone_leaves_its_counts_and_nothing_else(directory):
    with ew.Capture(directory) as capture:
        for count in range(1, 6):
            model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
            run(model, 1)
            assert capture.flush()
            assert capture.counters["committed"] == capture.counters["drained"] == count
            assert len(capture._parts.attached) <= 2
        assert account(capture, model)[0] == 5
        (counted,) = ew.read_statistics(directory)
        assert counted.statistics.report()["run_count"] == 5
    assert len(values(directory)) == 5


# --- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_signal_loses_at_most_a_period_of_statistics(directory, number):
    with Program(directory, "sample=0.0, statistics_s=0.1") as program:
        program("run(*range(50))")

        def is_saved():
            counted = ew.read_statistics(directory)
            return sum(entry.statistics.report()["run_count"] for entry in counted) == 50

        assert comes_true(is_saved)
        program.kill(number)
    assert is_saved()


# --- many rings ----------------------------------------------------------------------------------


def ring_of_the_dead(ring_id: int, sequence: int) -> dict[int, bytes]:
    """A ring of version 1 with one record, as its process left it: what is not zero, by offset."""
    description = b"{}"
    head = struct.pack(
        "<8sIIQQQqIIII", b"EWRING01", 1, 1, 1 << 16, ring_id, 1, 1, len(description), 0,
        crc32c(description), 0,
    )[:-4]  # fmt: skip
    record = struct.pack("<IHHQ", 128, 1, 0, sequence).ljust(128, b"\0")
    crc = struct.pack("<I", crc32c(record))
    return {
        0: head + struct.pack("<I", crc32c(head)),
        4096: description,
        64 << 10: struct.pack("<Q", 128),  # the tail
        (64 << 10) + 264: struct.pack("<Q", 1),  # committed
        (64 << 10) + 384: struct.pack("<Q", 1),  # open
        (128 << 10) + 8: struct.pack("<Q", (1 << 64) - 1),  # the head's complement
        DATA: record[:84] + crc + record[88:],
    }


def test_the_rings_of_many_dead_programs_leave_the_application_its_files(directory):
    count = 1500
    generator = random.Random(1)
    folder = Path(rings.directory_of(directory))
    rings.make_directory(str(folder))
    octets = ring_of_the_dead(0, 1)
    for _ in range(count):
        name = generator.randbytes(8)
        octets = octets | {0: ring_of_the_dead(int.from_bytes(name, "little"), 1)[0]}
        with open(folder / f"{name.hex()}.ring", "wb") as file:
            os.truncate(file.fileno(), DATA + (1 << 16))
            for offset, content in octets.items():
                os.pwrite(file.fileno(), content, offset)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    model = ew.load_unsigned(tflite_models.sum_product())
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with ew.Capture(directory) as capture:
            capture.attach(model)
            with open(os.devnull, "rb"):
                run(model, 1)
            assert capture.flush()
            assert capture.complaint == ""
            assert capture.counters["committed"] == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sum(1 for _ in ew.read_captures(directory)) == count + 1
    assert ring_paths(directory) == []
