"""Counts of many processes: each once, in few files, whoever is killed and whoever reads them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sealed
import shims
from models import tflite_models
from programs import Program, comes_true

import edgeward as ew
from edgeward.captures import statistics_ledger
from edgeward.captures.statistics_file import SEALED_SUFFIX, SUFFIX, Counted
from edgeward.captures.statistics_ledger import LOCK_NAME, StatisticsLedger, day_of

ONES = np.ones(4, np.float32)
NOW_S = 1_790_000_000  # 21 September 2026
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


def one_run(tmp_path) -> Counted:
    with ew.Capture(tmp_path / "other") as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        run(model, 1)
        ((signature, statistics),) = model.statistics.items()
    return Counted("m", "1", "", signature, statistics)


# --- how many there are --------------------------------------------------------------------------


def test_runs_of_one_day_are_counted_in_one_file(directory):
    for _ in range(5):
        capture(directory, 2)
    assert run_counts(directory) == [10]
    assert len(statistics_names(directory)) <= 2  # of two days, at midnight


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


def test_threads_and_captures_at_once_lose_nothing(directory, tmp_path):
    """Ledgers of one directory, as in as many processes."""
    directory.mkdir()
    count = one_run(tmp_path)

    def keep_books():
        ledger = StatisticsLedger(str(directory), recipient=None, most_bytes=1 << 30)
        for _ in range(50):
            statistics = ew.Statistics.from_bytes(count.statistics.to_bytes())
            ledger.add(count._replace(statistics=statistics))
            ledger.save()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(keep_books) for _ in range(4)]:
            future.result()
    assert run_counts(directory) == [200]
    assert len(statistics_names(directory)) <= 2


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


def test_a_file_of_another_release_is_left_alone(directory, tmp_path, clock):
    """As a name would say that is the same by chance."""
    clock(NOW_S)
    directory.mkdir()
    ledger = StatisticsLedger(str(directory), recipient=None, most_bytes=1 << 30)
    ledger.add(one_run(tmp_path))
    ledger.save()
    (path,) = directory.glob(f"*{SUFFIX}")
    document = json.loads(path.read_bytes())
    document["model"]["version"] = "2"
    path.write_text(json.dumps(document))
    ledger.add(one_run(tmp_path))
    ledger.save()
    counted = ew.read_statistics(directory)
    assert [(entry.version, entry.statistics.report()["run_count"]) for entry in counted] == [
        ("1", 1),
        ("2", 1),
    ]


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
    assert {name[len("2026-01-31-") + 16 :] for name in names} == {SEALED_SUFFIX}
    assert len(names) <= 4  # one for each program and day
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


def test_they_are_not_open_to_everybody(directory):
    capture(directory, 1)
    (path,) = directory.glob(f"*{SUFFIX}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# --- the day -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now_s", "days", "day"),
    [
        (NOW_S, [], "2026-09-21"),
        (NOW_S, ["2026-09-22", "2030-01-01"], "2026-09-21"),
        (100, [], "1970-01-01"),
        (100, ["2026-09-20", "2026-09-19"], "2026-09-20"),
    ],
)
def test_a_clock_that_was_never_set_counts_on_the_latest_day(now_s, days, day):
    names = [f"{name}-0123456789abcdef{SUFFIX}" for name in days]
    assert day_of(now_s, ["ffffffffffffffff.stats.json", "9999-99-99.ewc", *names]) == day


@pytest.mark.parametrize("recipient", [None, sealed.DEVICE.public], ids=["shared", "sealed"])
def test_each_day_has_its_own_file_and_its_own_counts(directory, tmp_path, clock, recipient):
    directory.mkdir()
    ledger = StatisticsLedger(str(directory), recipient=recipient, most_bytes=1 << 30)
    for day in range(3):
        clock(NOW_S + day * 86_400)
        for _ in range(2):
            ledger.add(one_run(tmp_path))
            ledger.save()
    days = [name[:10] for name in statistics_names(directory)]
    assert days == ["2026-09-21", "2026-09-22", "2026-09-23"]
    assert run_counts(directory, key=sealed.DEVICE) == [6]
