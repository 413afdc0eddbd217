"""Captures of devices whose clock is wrong: read in the order in which they ran, evicted in it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shims
from models import tflite_models
from programs import Program, comes_true, values

import edgeward as ew

ONES = np.ones(4, np.float32)
YEAR_S = 365.25 * 86_400
SMALL_SEGMENTS = "segment_bytes=1 << 16"
SEQUENCES = 100
TAKES_EFFECT_S = 0.02  # a clock that is set does so within 10 ms: capture-format 2


@pytest.fixture
def wall(tmp_path):
    """The clock of programs that get its environment."""
    return shims.WallClock(tmp_path / "wall_ahead")


def capture(directory, *inputs, **options):
    with ew.Capture(directory, **options) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        for value in inputs:
            model.predict(a=np.full(4, value, np.float32), b=ONES)


def seconds_since_1970() -> float:
    return time.time() - 60


def test_records_of_1970_come_after_those_before_them(directory, wall):
    capture(directory, 1, 2)
    wall.set_ahead(-seconds_since_1970())
    with Program(directory, **wall.environment) as program:
        program("run(3, 4)")
        program.end()
    capture(directory, 5, 6)
    assert values(directory) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("ahead_s", [-10 * YEAR_S, 10 * YEAR_S, -3600, 3600])
def test_records_come_in_the_order_in_which_they_ran(directory, wall, ahead_s):
    capture(directory, 1)
    wall.set_ahead(ahead_s)
    with Program(directory, **wall.environment) as program:
        program("run(2)")
        assert program("capture.flush()")
        wall.set_ahead(0)
        program("run(3)")
        program.end()
    capture(directory, 4)
    assert values(directory) == [1, 2, 3, 4]


def jumps() -> Iterator[float]:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    while True:
        yield generator.choice(
            [-seconds_since_1970(), -10 * YEAR_S, 10 * YEAR_S, -3600.0, 3600.0, 0.0]
        )


def test_a_hundred_clocks_that_jump_keep_the_order(tmp_path, wall):
    program_text = """
    capture.close()
    load(segment_bytes=0)
    run({value})
    assert capture.flush()
    """
    sequence = jumps()
    with Program(tmp_path / "first", **wall.environment) as program:
        for number in range(SEQUENCES):
            directory = tmp_path / f"captures-{number}"
            program(f"sys.argv[1] = {str(directory)!r}")
            for value in range(5):
                wall.set_ahead(next(sequence))
                program(program_text.format(value=value))
            assert values(directory) == list(range(5))
            assert len(list(directory.glob("*.ewc"))) >= 5
        program.end()


def after_a_reboot(tmp_path: Path) -> list[str]:
    """A command that runs another in a boot of its own: with another id, and a young clock."""
    uptime_s = int(time.monotonic())
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("01234567-89ab-4def-8123-456789abcdef\n")
    command = [
        "unshare", "--mount", "--time", "--monotonic", str(10 - uptime_s),
        "--boottime", str(10 - uptime_s), "--fork", "--kill-child", "sh", "-c",
        f"mount --bind {boot_id} /proc/sys/kernel/random/boot_id && exec \"$@\"", "sh",
    ]  # fmt: skip
    trial = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if trial.returncode != 0:
        pytest.skip(f"a boot of its own is not permitted here: {trial.stderr.strip()}")
    return command


def test_records_of_the_next_boot_come_last_though_its_clock_is_not_set(directory, wall, tmp_path):
    capture(directory, 1, 2)
    wall.set_ahead(-seconds_since_1970())
    rebooted = after_a_reboot(tmp_path)
    shutil.rmtree(tmp_path / "rings", ignore_errors=True)
    with Program(directory, launcher=rebooted, **wall.environment) as program:
        program("run(3, 4)")
        program.end()
    assert values(directory) == [1, 2, 3, 4]


def test_the_oldest_are_evicted_though_the_clock_jumps(directory, wall):
    sequence = jumps()
    for first in range(0, 700, 100):
        wall.set_ahead(next(sequence))
        budget = f"{SMALL_SEGMENTS}, most_bytes=1 << 16"
        with Program(directory, budget, **wall.environment) as program:
            program(f"run(*range({first}, {first + 100}))")
            assert program("capture.flush()")
            program.end()
    kept = sorted(values(directory))
    assert 100 < len(kept) < 700
    assert kept == list(range(700 - len(kept), 700))


def date_files(directory: Path, ahead_s: float) -> None:
    """What the kernel would have noted, had its clock been the program's."""
    for path in directory.iterdir():
        facts = path.stat()
        os.utime(path, (facts.st_atime + ahead_s, facts.st_mtime + ahead_s))


@pytest.mark.parametrize(
    "ahead_s",
    [-seconds_since_1970(), -10 * YEAR_S, 10 * YEAR_S, -3600],
    ids=["1970", "10 years behind", "10 years ahead", "an hour behind"],
)
def test_a_clock_that_is_set_right_makes_nothing_old(directory, wall, ahead_s):
    wall.set_ahead(ahead_s)
    with Program(directory, **wall.environment) as program:
        program("run(*range(50))")
        program.end()
    date_files(directory, ahead_s)
    capture(directory, 50, most_age_s=1800.0)
    assert values(directory) == list(range(51))


def times_of(directory) -> list[int]:
    return [record.time_ns for record in ew.read_captures(directory)]


@pytest.mark.parametrize("is_sealed_between", [False, True], ids=["a segment", "two segments"])
def test_a_time_before_the_clock_was_set_is_put_right(directory, wall, is_sealed_between):
    wall.set_ahead(-seconds_since_1970())
    begin_ns = time.time_ns()
    with Program(directory, **wall.environment) as program:
        program("run(1)")
        assert program("capture.flush()")
        assert times_of(directory)[0] < ew._core.LEAST_WALL_NS  # nobody knows better yet
        if is_sealed_between:
            program("capture.close()")
            program("load()")
        wall.set_ahead(0)
        set_s = time.monotonic()
        assert comes_true(lambda: time.monotonic() - set_s > TAKES_EFFECT_S)
        program("run(2)")
        program.end()
    end_ns = time.time_ns()
    times = times_of(directory)
    slack_ns = 10**9
    assert len(times) == 2
    assert all(begin_ns - slack_ns < time_ns < end_ns + slack_ns for time_ns in times), times
    assert sorted(times) == times


def test_no_record_grows_older_than_the_limit(directory):
    with ew.Capture(directory, most_age_s=0.5) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        model.predict(a=ONES, b=ONES)
        assert opened.flush()
        assert comes_true(lambda: values(directory) == [])
        assert not [name for name in os.listdir(directory) if name.endswith((".open", ".ewc"))]
        assert comes_true(lambda: opened.counters["evicted"] == 1)
