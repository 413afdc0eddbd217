"""Windows joined into longer ones: each inference in one of them, of the right device and time."""

from __future__ import annotations

import pytest
from models import tflite_models

import edgeward as ew
from edgeward import _core
from edgeward.captures import joined_windows
from edgeward.captures.window import UNKNOWN_BOOT, Counted, Window

HOUR_NS = 3600 * 10**9
MIDNIGHT_NS = 20_000 * 24 * HOUR_NS  # of some day, in UTC
BOOT, NEXT = bytes([1] * 16), bytes([2] * 16)


def statistics_of(directory, content, count):
    with ew.Capture(directory, statistics_s=3600) as opened:
        model = ew.load_unsigned(content, capture=opened)
        session = model.session()
        for _ in range(count):
            session.run()
        (statistics,) = model.statistics.values()
    return statistics


def together(windows):
    joined = joined_windows.Together(None)
    for window in windows:
        joined.add(window)
    return joined.windows()


def totals(windows):
    added = joined_windows.Totals()
    for window in windows:
        added.add(window)
    return added.counted


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """One inference, which every window holds unless it says else."""
    return statistics_of(tmp_path_factory.mktemp("sum"), tflite_models.sum_product(), 1)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """One inference of a model with other tensors."""
    return statistics_of(tmp_path_factory.mktemp("other"), tflite_models.add((4,)), 1)


@pytest.fixture
def hour(counted):
    """The window of an hour of a boot; `clock` is how far its wall's time is ahead, in hours."""

    def window(index, *, boot=BOOT, clock=0.0, device="gate", version="1", statistics=counted):
        wall_ns = None if clock is None else MIDNIGHT_NS + int((index + clock) * HOUR_NS)
        copy = _core.Statistics.from_bytes(statistics.to_bytes())
        release = Counted("m", version, "", "run", copy)
        return Window(release, "", boot, index * HOUR_NS, (index + 1) * HOUR_NS, wall_ns, device)

    return window


def runs(windows):
    return [window.counted.statistics.report()["run_count"] for window in windows]


def hours(windows):
    return [(window.end_ns - window.begin_ns) / HOUR_NS for window in windows]


def test_windows_meet_in_periods_of_the_walls_time(hour):
    windows = joined_windows.by_device([hour(index, clock=0.5) for index in range(14)], 6 * HOUR_NS)
    assert runs(windows) == [6, 6, 2]
    assert hours(windows) == [6, 6, 2]
    assert [window.wall_ns - MIDNIGHT_NS for window in windows] == [
        int(index * HOUR_NS) for index in (0.5, 6.5, 12.5)
    ]


def test_without_a_time_they_meet_in_periods_of_their_boot(hour):
    windows = [hour(index, boot=boot, clock=None) for boot in (BOOT, NEXT) for index in (4, 5, 6)]
    joined = joined_windows.by_device(windows, 6 * HOUR_NS)
    assert [(window.boot_id, *runs([window])) for window in joined] == [
        (BOOT, 2), (BOOT, 1), (NEXT, 2), (NEXT, 1),
    ]  # fmt: skip
    assert {window.wall_ns for window in joined} == {None}


def test_a_boot_in_between_ends_no_period(hour):
    windows = [hour(0), hour(1), hour(0, boot=NEXT, clock=2.0)]
    (joined,) = joined_windows.by_device(windows, 6 * HOUR_NS)
    assert (runs([joined]), hours([joined])) == ([3], [3])


def test_devices_releases_and_bins_stay_apart(hour, elsewhere):
    windows = [
        hour(0), hour(0, device="yard"), hour(0, version="2"), hour(0, statistics=elsewhere),
        hour(1), hour(1, statistics=elsewhere),
    ]  # fmt: skip
    joined = joined_windows.by_device(windows, 6 * HOUR_NS)
    assert runs(joined) == [2, 2, 1, 1]
    tensors = [len(window.counted.statistics.report()["tensors"]) for window in joined]
    assert tensors == [4, 2, 4, 4]
    assert [(window.device, window.counted.version) for window in joined[2:]] == [
        ("yard", "1"), ("gate", "2"),
    ]  # fmt: skip


def test_without_a_length_they_stay_as_they_were_but_for_processes_of_one_period(hour):
    windows = [hour(0), hour(0, clock=1e-9), hour(1), hour(0, boot=UNKNOWN_BOOT)]
    assert runs(joined_windows.by_device(windows, None)) == [2, 1, 1]


def test_what_is_joined_is_left_as_it_was(hour):
    windows = [hour(0), hour(1)]
    joined_windows.by_device(windows, 6 * HOUR_NS)
    totals(windows)
    assert runs(windows) == [1, 1]


def test_all_devices_together_in_the_order_of_time(hour):
    windows = [
        hour(5), hour(2, device="yard", clock=0.9), hour(1, device="roof"),
        hour(1, device="yard"), hour(3, device="dark", clock=None),
    ]  # fmt: skip
    joined = together(windows)
    assert [(window.device, *runs([window])) for window in joined] == [("", 2), ("", 1), ("", 1)]
    assert [window.wall_ns - MIDNIGHT_NS for window in joined] == [
        HOUR_NS, int(2.9 * HOUR_NS), 5 * HOUR_NS,
    ]  # fmt: skip
    assert together([hour(0, clock=None)]) == []


def test_one_device_of_years_does_not_join_the_windows_of_all(hour):
    windows = [hour(index, device=device) for device in ("roof", "yard") for index in range(3)]
    years = hour(0, device="gate")
    windows.append(years._replace(begin_ns=0, end_ns=(1 << 63) - 1))
    assert runs(together(windows)) == [3, 2, 2]


def test_all_devices_together_are_joined_to_the_length_that_is_asked_for(hour):
    joined = joined_windows.Together(6 * HOUR_NS)
    windows = [hour(index, device=device) for device in ("roof", "yard") for index in range(8)]
    for window in windows:
        joined.add(window)
    assert (runs(joined.windows()), hours(joined.windows())) == ([12, 4], [6, 2])
    assert runs(windows) == [1] * 16  # these are left as they were


def test_totals_are_by_release_in_the_order_of_their_names(hour, elsewhere):
    windows = [
        hour(0, version="2"), hour(0), hour(9, device="yard"), hour(1, statistics=elsewhere),
    ]  # fmt: skip
    assert [
        (counted.version, counted.statistics.report()["run_count"]) for counted in totals(windows)
    ] == [
        ("1", 2), ("1", 1), ("2", 1),
    ]  # fmt: skip
