"""Counts of many processes: each once, in few files, whoever is killed and whoever reads them."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import sealed
import shims
from models import tflite_models
from programs import Program, comes_true

import edgeward as ew
from edgeward import _core
from edgeward.captures import statistics_ledger
from edgeward.captures.statistics_file import SEALED_SUFFIX, SUFFIX, StatisticsFile
from edgeward.captures.statistics_ledger import LOCK_NAME, StatisticsLedger
from edgeward.captures.window import UNKNOWN_BOOT, Counted

ONES = np.ones(4, np.float32)
SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
NOW_NS = 1_790_000_000 * SECOND_NS
BOOT, OTHER_BOOT = bytes([1] * 16), bytes([2] * 16)
CANARY = "canary-0123-9876"
KILLS = 15

KILLED = """
import mmap, os, sys
import numpy as np, edgeward as ew
from models import tflite_models
directory, counts = sys.argv[1:]
with open(counts, "r+b") as file:
    shared = memoryview(mmap.mmap(file.fileno(), 16)).cast("Q")
ones = np.ones(4, np.float32)
capture = ew.Capture(directory, sample=0.0, statistics_s=0.01)
model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
print("ready", flush=True)
while True:
    shared[0] += 1  # began
    model.predict(a=ones, b=ones)
    if shared[0] % 50 == 0:
        count = shared[0]
        assert capture.flush()
        shared[1] = count  # are saved
"""


class Moment(NamedTuple):
    """What the clocks of a device say."""

    boot_id: bytes = BOOT
    monotonic_ns: int = 10 * HOUR_NS + 5 * SECOND_NS
    wall_ns: int = NOW_NS


class Device:
    """A ledger, and the clocks that it reads."""

    def __init__(self, directory, recipient=None, window_ns=HOUR_NS, most_bytes=1 << 30):
        self.moment = Moment()
        directory.mkdir(exist_ok=True)
        self._ledger = StatisticsLedger(
            str(directory), recipient=recipient, most_bytes=most_bytes, window_ns=window_ns,
            now=lambda: self.moment,
        )  # fmt: skip

    def save(self, counted, **moment):
        self.moment = self.moment._replace(**moment)
        statistics = ew.Statistics.from_bytes(counted.statistics.to_bytes())
        self._ledger.add(counted._replace(statistics=statistics))
        self._ledger.save()


def run(model, count):
    for _ in range(count):
        model.predict(a=ONES, b=ONES)


def capture(directory, count, **options):
    with ew.Capture(directory, **options) as opened:
        run(ew.load_unsigned(tflite_models.sum_product(), capture=opened), count)


def statistics_names(directory) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.endswith((SUFFIX, SEALED_SUFFIX)))


def run_counts(directory, **options) -> list[int]:
    counted = ew.read_statistics(directory, **options)
    return [entry.statistics.report()["run_count"] for entry in counted]


@pytest.fixture
def one_run(tmp_path) -> Counted:
    with ew.Capture(tmp_path / "other") as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        run(model, 1)
        ((signature, statistics),) = model.statistics.items()
    return Counted("m", "1", "", signature, statistics)


def windows_of(directory) -> list[ew.Window]:
    return list(ew.read_windows(directory, key=sealed.DEVICE))


def runs_of(window) -> int:
    return window.counted.statistics.report()["run_count"]


# --- how many there are --------------------------------------------------------------------------


def test_runs_of_one_period_are_counted_in_one_file(directory):
    for _ in range(5):
        capture(directory, 2)
    assert run_counts(directory) == [10]
    assert len(statistics_names(directory)) <= 2  # of two periods, at the hour's end


def test_programs_at_once_are_counted_in_one_file(directory):
    capture(directory, 1)
    with Program(directory) as left, Program(directory) as right:
        for _ in range(5):
            left("run(1, 2)")
            right("run(3)")
            assert left("capture.flush()")
            assert right("capture.flush()")
        left.end()
        right.end()
    assert run_counts(directory) == [16]
    assert len(statistics_names(directory)) <= 2


def test_models_of_one_name_with_other_tensors_stay_apart(directory):
    with ew.Capture(directory) as opened:
        run(ew.load_unsigned(tflite_models.sum_product(), capture=opened), 2)
        other = ew.load_unsigned(tflite_models.add((4,)), capture=opened)
        other.predict(ONES)
        assert opened.flush()
        other.predict(ONES)
    assert sorted(run_counts(directory)) == [2, 2]


def test_what_nobody_ran_is_not_written(directory):
    with ew.Capture(directory) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        run(model, 1)
        assert opened.flush()
        (name,) = statistics_names(directory)
        before = os.stat(directory / name)
        assert opened.flush()
        assert os.stat(directory / name).st_ino == before.st_ino
    assert run_counts(directory) == [1]


def test_a_release_that_cannot_be_saved_keeps_no_other_from_it(directory, one_run, monkeypatch):
    write = StatisticsFile.write

    def written(file, window, recipient=None):
        if window.counted.version == "1" and is_broken:
            raise ValueError("a defect")
        write(file, window, recipient)

    is_broken = True
    monkeypatch.setattr(StatisticsFile, "write", written)
    device = Device(directory)
    for version in ("1", "2"):
        with pytest.raises(ValueError, match="a defect"):
            device.save(one_run._replace(version=version))
    assert [window.counted.version for window in windows_of(directory)] == ["2"]
    is_broken = False
    device.save(one_run)
    assert run_counts(directory) == [2, 1]


def test_a_defect_in_saving_is_a_complaint_and_saving_goes_on(directory, monkeypatch):
    errors = []
    monkeypatch.setattr("threading.excepthook", errors.append)
    with ew.Capture(directory, statistics_s=0.01) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        save = StatisticsLedger.save
        monkeypatch.setattr(StatisticsLedger, "save", lambda ledger: 1 // 0)
        run(model, 1)
        assert comes_true(lambda: len(errors) >= 2)
        assert opened.complaint.startswith("statistics: ZeroDivisionError")
        monkeypatch.setattr(StatisticsLedger, "save", save)
        assert comes_true(lambda: run_counts(directory) == [1])
        assert comes_true(lambda: opened.complaint == "")


# --- when they are saved -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_signal_loses_at_most_a_period(directory, number):
    with Program(directory, "sample=0.0, statistics_s=0.1") as program:
        program("run(*range(50))")
        assert comes_true(lambda: run_counts(directory) == [50])
        program.kill(number)
    assert run_counts(directory) == [50]


def test_a_kill_at_any_moment_counts_nothing_twice(directory, tmp_path):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    counts = tmp_path / "counts"
    saved = 0
    for _ in range(KILLS):
        counts.write_bytes(bytes(16))
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(directory), str(counts)],
            cwd=Path(__file__).parents[1], stdout=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(moments.uniform(0, 0.1))
        child.kill()
        child.wait()
        child.stdout.close()
        began, flushed = np.fromfile(counts, np.uint64)
        now = sum(run_counts(directory))
        assert flushed <= now - saved <= began
        saved = now
    assert saved > 0


def test_a_file_that_cannot_be_written_is_a_complaint_and_is_tried_again(directory, tmp_path):
    with ew.Capture(directory) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        run(model, 3)
        os.rename(directory, tmp_path / "elsewhere")
        opened.flush(0)
        assert str(directory) in opened.complaint
        os.rename(tmp_path / "elsewhere", directory)
        assert comes_true(opened.flush)
        assert run_counts(directory) == [3]
        run(model, 1)
    assert run_counts(directory) == [4]


def test_a_sync_that_fails_behind_the_rename_counts_nothing_twice(directory, monkeypatch):
    fsync = os.fsync

    def fail_for_directories(number):
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EIO, "a disk that fails")
        fsync(number)

    with ew.Capture(directory) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        run(model, 3)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail_for_directories)
            opened.flush()
        run(model, 1)
    assert run_counts(directory) == [4]


def test_threads_and_captures_at_once_lose_nothing(directory, one_run):
    """Ledgers of one directory, as in as many processes."""

    def keep_books():
        device = Device(directory)
        for _ in range(50):
            device.save(one_run)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(keep_books) for _ in range(4)]:
            future.result()
    assert run_counts(directory) == [200]
    assert len(statistics_names(directory)) == 1


# --- where there is no lock ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP"])
def test_a_disk_without_locks_has_a_file_for_each_program(directory, name):
    environment = {
        "LD_PRELOAD": shims.library("no_locks"),
        "NO_LOCKS_FOR": LOCK_NAME,
        "NO_LOCKS_ERROR": str(getattr(errno, name)),
    }
    with Program(directory, **environment) as left, Program(directory, **environment) as right:
        for _ in range(3):
            left("run(1)")
            right("run(2, 3)")
            assert left("capture.flush()")
            assert right("capture.flush()")
        left.kill()
        right.kill()
    assert run_counts(directory) == [9]
    assert len(statistics_names(directory)) <= 4


def test_a_lock_that_is_never_given_back_holds_nobody_up(directory, monkeypatch):
    monkeypatch.setattr(statistics_ledger, "LOCK_WAIT_S", 0.0)
    capture(directory, 1)
    with open(directory / LOCK_NAME, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        capture(directory, 2)
    capture(directory, 4)
    assert run_counts(directory) == [7]
    assert stat.S_IMODE((directory / LOCK_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{}", b"half of i"], ids=["empty", "other", "half"])
def test_a_damaged_file_is_left_alone(directory, content):
    capture(directory, 1)
    (path,) = directory.glob(f"*{SUFFIX}")
    path.write_bytes(content)
    with ew.Capture(directory) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        for _ in range(3):
            run(model, 1)
            assert opened.flush()
    assert path.read_bytes() == content
    with pytest.warns(UserWarning, match=path.name):
        assert run_counts(directory) == [3]
    assert len(statistics_names(directory)) <= 3


@pytest.mark.parametrize(
    "make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)], ids=["dir", "pipe", "loop"]
)
def test_what_is_no_file_is_left_alone(directory, make):
    capture(directory, 1)
    (path,) = directory.glob(f"*{SUFFIX}")
    path.unlink()
    make(path)
    capture(directory, 3)
    (other,) = set(directory.glob(f"*{SUFFIX}")) - {path}
    assert StatisticsFile(str(other)).read().counted.statistics.report()["run_count"] == 3


def renamed_to_hide(directory, one_run, **others):
    """A file whose name says the window that `one_run` is saved in, and whose content another."""
    Device(directory).save(one_run)
    (path,) = directory.glob(f"*{SUFFIX}")
    file = StatisticsFile(str(path))
    window = file.read()
    file.write(
        window._replace(**others)
        if others
        else window._replace(counted=window.counted._replace(version="2"))
    )


def test_a_file_of_another_release_is_left_alone(directory, one_run):
    """As a name would say that is the same by chance."""
    renamed_to_hide(directory, one_run)
    Device(directory).save(one_run)
    counted = ew.read_statistics(directory)
    assert [(entry.version, entry.statistics.report()["run_count"]) for entry in counted] == [
        ("1", 1),
        ("2", 1),
    ]


@pytest.mark.parametrize(
    "period",
    [{"boot_id": OTHER_BOOT}, {"begin_ns": 9 * HOUR_NS}, {"end_ns": 12 * HOUR_NS}],
    ids=["boot", "begin", "end"],
)
def test_a_file_of_another_period_is_left_alone(directory, one_run, period):
    renamed_to_hide(directory, one_run, **period)
    Device(directory).save(one_run)
    assert [runs_of(window) for window in windows_of(directory)] == [1, 1]


# --- who may read them ---------------------------------------------------------------------------


def test_with_a_recipient_only_the_owner_of_its_key_reads_them(directory, typed, tmp_path):
    key_path = tmp_path / "device.key"
    key_path.write_text(sealed.key_text("device", "x25519"))
    key_path.chmod(0o600)
    for _ in range(2):
        with ew.Capture(directory, encrypt_to=sealed.DEVICE.public) as opened:
            model = ew.load_unsigned(tflite_models.sum_product())
            opened.attach(model, name=CANARY)
            for _ in range(3):
                run(model, 1)
                assert opened.flush()
    names = statistics_names(directory)
    assert {name[20 + 1 + 16 :] for name in names} == {SEALED_SUFFIX}
    assert len(names) <= 4  # one for each program and period
    for path in directory.iterdir():
        content = path.read_bytes()
        assert CANARY.encode() not in content
        assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0
    assert run_counts(directory, key=sealed.DEVICE) == [6]
    with pytest.raises(ew.WrongKey, match=names[0]):
        ew.read_statistics(directory)
    with pytest.raises(ew.WrongKey, match=names[0]):
        ew.read_statistics(directory, key=sealed.key("other", "x25519"))
    status, _, err = typed(f"captures stats {directory}")
    assert (status, names[0] in err) == (ew.WrongKey.exit_status, True)
    status, out, _ = typed(f"captures stats {directory} --key {key_path}")
    assert (status, CANARY in out) == (0, True)


@pytest.mark.parametrize("folder", ["north", "south"])
def test_what_is_for_another_key_hides_nothing_that_opens(directory, folder):
    with ew.Capture(directory / "north", encrypt_to=sealed.DEVICE.public) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        run(model, 1)
    (directory / folder).mkdir(exist_ok=True)
    other = sealed.key("other", "x25519").public
    junk = directory / folder / f"{1:020}-{'0' * 16}{SEALED_SUFFIX}"
    junk.write_bytes(_core.seal_statistics(other, b"something"))
    with pytest.warns(UserWarning, match=junk.name):
        (window,) = ew.read_windows(directory, key=sealed.DEVICE)
    assert (window.device, window.counted.statistics.run_count) == ("north", 1)
    with pytest.warns(UserWarning, match=junk.name):
        assert run_counts(directory, key=sealed.DEVICE) == [1]
    with pytest.raises(ew.WrongKey):
        list(ew.read_windows(directory))


def test_they_are_not_open_to_everybody(directory):
    capture(directory, 1)
    (path,) = directory.glob(f"*{SUFFIX}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# --- periods -------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipient", [None, sealed.DEVICE.public], ids=["shared", "sealed"])
def test_each_period_has_a_window_of_its_own(directory, one_run, recipient):
    device = Device(directory, recipient)
    for hour in range(3):
        for minute in (0, 30, 59):
            passed_ns = hour * HOUR_NS + minute * 60 * SECOND_NS
            device.save(one_run, monotonic_ns=10 * HOUR_NS + passed_ns, wall_ns=NOW_NS + passed_ns)
    windows = windows_of(directory)
    assert [runs_of(window) for window in windows] == [3, 3, 3]
    assert len({window.id for window in windows}) == 3
    assert [(window.begin_ns, window.end_ns) for window in windows] == [
        (hour * HOUR_NS, (hour + 1) * HOUR_NS) for hour in (10, 11, 12)
    ]
    assert [window.wall_ns for window in windows] == [NOW_NS + hour * HOUR_NS for hour in range(3)]
    assert {window.boot_id for window in windows} == {BOOT}
    assert run_counts(directory, key=sealed.DEVICE) == [9]


@pytest.mark.parametrize(
    ("monotonic_ns", "hour"),
    [(0, 0), (1, 0), (HOUR_NS - 1, 0), (HOUR_NS, 1), (HOUR_NS + 1, 1), (2 * HOUR_NS - 1, 1)],
)
def test_a_period_begins_with_its_first_moment(directory, one_run, monotonic_ns, hour):
    Device(directory).save(one_run, monotonic_ns=monotonic_ns)
    (window,) = windows_of(directory)
    assert (window.begin_ns, window.end_ns) == (hour * HOUR_NS, (hour + 1) * HOUR_NS)


def test_another_boot_has_windows_of_its_own(directory, one_run):
    device = Device(directory)
    device.save(one_run)
    device.save(one_run, boot_id=OTHER_BOOT)
    assert [window.boot_id for window in windows_of(directory)] == [BOOT, OTHER_BOOT]


def test_periods_of_another_length_stay_apart(directory, one_run):
    Device(directory).save(one_run, monotonic_ns=0)
    Device(directory, window_ns=2 * HOUR_NS).save(one_run, monotonic_ns=0)
    assert [window.end_ns for window in windows_of(directory)] == [HOUR_NS, 2 * HOUR_NS]


def test_without_a_boot_id_nothing_is_shared(directory, one_run):
    """Nobody can tell the periods of two boots apart."""
    for _ in range(2):
        device = Device(directory)
        for _ in range(2):
            device.save(one_run, boot_id=UNKNOWN_BOOT)
    assert [runs_of(window) for window in windows_of(directory)] == [2, 2]


def test_a_window_learns_the_time_when_the_clock_is_set(directory, one_run):
    device = Device(directory)
    device.save(one_run, wall_ns=5 * SECOND_NS)
    (window,) = windows_of(directory)
    assert window.wall_ns is None
    device.save(one_run, monotonic_ns=10 * HOUR_NS + 60 * SECOND_NS, wall_ns=NOW_NS)
    (known,) = windows_of(directory)
    assert (known.id, known.wall_ns) == (window.id, NOW_NS - 60 * SECOND_NS)
    device.save(one_run, wall_ns=5 * SECOND_NS)
    (kept,) = windows_of(directory)
    assert (kept.wall_ns, runs_of(kept)) == (known.wall_ns, 3)


def test_windows_come_in_the_order_in_which_they_were_begun(directory, one_run):
    """Whatever the clock says: the next boot begins in 1970."""
    device = Device(directory)
    device.save(one_run)
    device.save(one_run, boot_id=OTHER_BOOT, monotonic_ns=5, wall_ns=5 * SECOND_NS)
    device.save(one_run, monotonic_ns=HOUR_NS, wall_ns=6 * SECOND_NS)
    periods = [(window.boot_id, window.begin_ns) for window in windows_of(directory)]
    assert periods == [(BOOT, 10 * HOUR_NS), (OTHER_BOOT, 0), (OTHER_BOOT, HOUR_NS)]


def test_the_first_windows_are_evicted_though_the_clock_jumps(directory, one_run):
    Device(directory).save(one_run)
    (path,) = directory.glob(f"*{SUFFIX}")
    size_bytes = path.stat().st_size
    device = Device(directory, most_bytes=4 * 4 * (size_bytes + 20))  # in a quarter of it, four
    years_ns = [0, 10, -20, 30, -56, 0, 1]
    for hour, year_ns in enumerate(years_ns):
        wall_ns = max(NOW_NS + year_ns * 8766 * HOUR_NS, 0)
        device.save(one_run, monotonic_ns=(20 + hour) * HOUR_NS, wall_ns=wall_ns)
    hours = [window.begin_ns // HOUR_NS for window in windows_of(directory)]
    assert hours == [23, 24, 25, 26]


@pytest.mark.parametrize(
    ("recipient", "most"), [("None", 1), ("sealed.DEVICE.public", 2)], ids=["shared", "sealed"]
)
def test_programs_cross_the_end_of_a_period_together(directory, recipient, most):
    """Each period has one window of both, or at most one of each."""
    options = f"sample=0.0, window_s=1.0, encrypt_to={recipient}"
    with Program(directory, options) as left, Program(directory, options) as right:
        count = 0

        def cross():
            nonlocal count
            for program in (left, right):
                program("run(1)")
                assert program("capture.flush()")
                count += 1
            return len({window.begin_ns for window in windows_of(directory)}) >= 3

        assert comes_true(cross, 20)
        left.kill()
        right.kill()
    windows = windows_of(directory)
    assert sum(map(runs_of, windows)) == count
    begins = Counter(window.begin_ns for window in windows)
    assert max(begins.values()) <= most
    assert list(begins) == sorted(begins)
    assert {
        (window.end_ns - window.begin_ns, window.begin_ns % SECOND_NS) for window in windows
    } == {(SECOND_NS, 0)}


def test_a_program_of_1970_counts_in_a_window_without_a_time(directory, tmp_path):
    wall = shims.WallClock(tmp_path / "wall_ahead")
    wall.set_ahead(60 - time.time())
    with Program(directory, "sample=0.0", **wall.environment) as program:
        program("run(1)")
        assert program("capture.flush()")
        (window,) = windows_of(directory)
        assert (window.wall_ns, runs_of(window)) == (None, 1)
        program.kill()
    begin_ns = time.time_ns()
    capture(directory, 1)
    assert [runs_of(window) for window in windows_of(directory)] in ([2], [1, 1])
    for window in windows_of(directory):
        passed_ns = time.monotonic_ns() - window.begin_ns
        assert window.wall_ns is not None
        assert abs(window.wall_ns + passed_ns - begin_ns) < 60 * SECOND_NS
