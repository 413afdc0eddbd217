"""Windows of one device or many: in order, at the right time, each handed over once."""

from __future__ import annotations

import json
import shutil

import pytest
from models import tflite_models
from programs import Program, comes_true

import edgeward as ew
from edgeward import _core
from edgeward.captures.statistics_file import SUFFIX, StatisticsFile
from edgeward.captures.window import UNKNOWN_BOOT, Counted, Window
from edgeward.captures.windows import DAY_NS, SAVING_NS, SILENT_NS, Head, complete

NS = 10**9
HOUR_NS = 3600 * NS
NOW_NS = _core.LEAST_WALL_NS + 10**6 * HOUR_NS
BOOT, NEXT = bytes([1] * 16), bytes([2] * 16)
LONG_AGO_NS = _core.LEAST_WALL_NS


class Moment:
    def __init__(self, boot_id, monotonic_ns=0, wall_ns=0):
        self.boot_id, self.monotonic_ns, self.wall_ns = boot_id, monotonic_ns, wall_ns


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """One inference, that all windows hold here."""
    with ew.Capture(tmp_path_factory.mktemp("counted")) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        model.session().run()
        ((signature, statistics),) = model.statistics.items()
    return Counted("m", "1", "", signature, statistics)


@pytest.fixture
def write(directory, counted):
    """Writes a window of an hour of a boot; its id is its number."""

    def written(number, hour, boot_id=BOOT, wall_ns=None, device=""):
        folder = directory / device
        folder.mkdir(parents=True, exist_ok=True)
        id = f"{number:016x}"
        path = folder / f"{number:020}-{id}{SUFFIX}"
        window = Window(counted, id, boot_id, hour * HOUR_NS, (hour + 1) * HOUR_NS, wall_ns)
        StatisticsFile(str(path)).write(window)
        return path

    return written


def numbers(windows) -> list[int]:
    return [int(window.id, 16) for window in windows]


# --- order, devices, times -----------------------------------------------------------------------


def test_windows_of_a_device_come_in_the_order_of_their_files(directory, write):
    for number, hour in ((30, 3), (4, 1), (5, 2)):
        write(number, hour)
    assert numbers(ew.read_windows(directory)) == [4, 5, 30]


def test_those_of_each_device_come_together(directory, write):
    for number, device in ((1, "yard"), (2, "site/gate"), (3, "yard"), (4, ""), (5, "site/gate")):
        write(number, number, device=device)
    windows = list(ew.read_windows(directory))
    assert [(window.device, int(window.id, 16)) for window in windows] == [
        ("", 4), ("site/gate", 2), ("site/gate", 5), ("yard", 1), ("yard", 3),
    ]  # fmt: skip


def test_several_directories_are_devices_of_what_holds_them(directory, write):
    write(1, 1, device="a/captures")
    write(2, 1, device="b/captures")
    both = [directory / "b" / "captures", str(directory / "a" / "captures")]
    windows = list(ew.read_windows(both))
    assert [(window.device, int(window.id, 16)) for window in windows] == [
        ("a/captures", 1),
        ("b/captures", 2),
    ]


@pytest.mark.parametrize("name", [f"{1:020}-{1:016x} (1)", f"{3:020}-copy", "backup"])
def test_a_copy_of_a_window_counts_once_and_is_named(directory, write, name):
    path = write(1, 1)
    write(2, 2)
    shutil.copy(path, directory / f"{name}{SUFFIX}")
    with pytest.warns(UserWarning, match=r"the window of .*, a second time") as warned:
        assert sorted(numbers(ew.read_windows(directory))) == [1, 2]
    assert len(warned) == 1
    with pytest.warns(UserWarning, match="a second time"):
        (total,) = ew.read_statistics(directory)
    assert total.statistics.run_count == 2


def test_a_copy_that_is_older_than_its_file_is_the_one_that_is_passed_over(directory, write):
    path = write(1, 1)
    shutil.copy(path, path.with_name(f"{path.stem} (1){SUFFIX}"))
    window = StatisticsFile(str(path)).read()
    window.counted.statistics.merge(StatisticsFile(str(path)).read().counted.statistics)
    StatisticsFile(str(path)).write(window)
    with pytest.warns(UserWarning, match=r"\(1\)"):
        (read,) = ew.read_windows(directory)
    assert read.counted.statistics.run_count == 2


def test_one_id_of_two_devices_is_two_windows(directory, write):
    """Or a device could make another's window be passed over."""
    write(1, 1, device="gate")
    write(1, 1, device="yard")
    assert numbers(ew.read_windows(directory)) == [1, 1]
    (total,) = ew.read_statistics(directory)
    assert total.statistics.run_count == 2


def test_a_directory_within_another_is_read_once(directory, write):
    write(1, 1, device="gate")
    assert numbers(ew.read_windows([directory, directory / "gate"])) == [1]


def test_a_later_window_of_the_boot_knows_the_time(directory, write):
    write(1, 1)
    write(2, 2, wall_ns=NOW_NS)
    write(3, 1, boot_id=NEXT)
    assert [window.wall_ns for window in ew.read_windows(directory)] == [
        NOW_NS - HOUR_NS,
        NOW_NS,
        None,
    ]


def test_a_window_of_another_device_does_not(directory, write):
    write(1, 1, device="gate")
    write(2, 2, wall_ns=NOW_NS, device="yard")
    assert [window.wall_ns for window in ew.read_windows(directory)] == [None, NOW_NS]


def test_a_boot_that_is_not_known_has_no_time_of_another(directory, write):
    write(1, 1, boot_id=UNKNOWN_BOOT)
    write(2, 2, boot_id=UNKNOWN_BOOT, wall_ns=NOW_NS)
    assert [window.wall_ns for window in ew.read_windows(directory)] == [None, NOW_NS]


@pytest.mark.parametrize("device", ["", "gate"])
def test_a_segment_of_the_boot_knows_the_time(directory, counted, write, device):
    with Program(directory / device) as program:
        program("run(1)")
        program.end()
    (record,) = ew.read_captures(directory)
    (path,) = (directory / device).glob(f"*{SUFFIX}")
    file = StatisticsFile(str(path))
    window = file.read()
    file.write(window._replace(wall_ns=None))
    (read,) = ew.read_windows(directory)
    expected_ns = record.time_ns - record.monotonic_ns + window.begin_ns
    assert read.wall_ns is not None
    assert abs(read.wall_ns - expected_ns) < NS


def test_a_damaged_window_is_named_and_passed_over(directory, write):
    for number in (1, 2, 3):
        path = write(number, number)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=path.name):
        assert numbers(ew.read_windows(directory)) == [1, 2]


@pytest.mark.parametrize(
    ("name", "wall_ns"),
    [
        ("2026-01-01-0123456789abcdef", 20454 * DAY_NS),
        ("1970-01-01-0123456789abcdef", None),  # its clock was never set
        ("saved", None),
    ],
)
def test_a_file_of_version_1_is_a_window_of_its_day(directory, counted, write, name, wall_ns):
    write(1, 1)
    import base64

    document = {
        "version": 1,
        "model": {"name": "m", "version": "1", "package_id": ""},
        "signature": counted.signature,
        "statistics": base64.b64encode(counted.statistics.to_bytes()).decode(),
    }
    path = directory / f"{name}{_core.JSON_STATISTICS_SUFFIX}"
    path.write_text(json.dumps(document))
    day, _ = ew.read_windows(directory)
    assert (day.wall_ns, day.end_ns - day.begin_ns) == (wall_ns, DAY_NS)
    assert day.counted.statistics.report()["run_count"] == 1
    cursor = ew.Cursor(directory.parent / "cursor")  # which hands over what has an id
    assert all(window.id for window in ew.read_windows(directory, cursor=cursor))
    (total,) = ew.read_statistics(directory)
    assert total.statistics.report()["run_count"] == 2


# --- what is complete ----------------------------------------------------------------------------


def head(hour, boot_id=BOOT, wall_ns=None):
    return Head("", "", boot_id, hour * HOUR_NS, (hour + 1) * HOUR_NS, wall_ns)


ELSEWHERE = Moment(bytes([9] * 16), 0, NOW_NS)


@pytest.mark.parametrize(
    ("heads", "now", "chosen"),
    [
        ([], ELSEWHERE, []),
        ([head(1)], ELSEWHERE, []),
        ([head(1), head(1)], ELSEWHERE, []),
        ([head(1), head(2)], ELSEWHERE, [0]),
        ([head(1), head(1), head(3)], ELSEWHERE, [0, 1]),
        ([head(3), head(1)], ELSEWHERE, [1]),
        ([head(1)], Moment(BOOT, 2 * HOUR_NS + SAVING_NS - 1), []),
        ([head(1)], Moment(BOOT, 2 * HOUR_NS + SAVING_NS), [0]),
        ([head(1, UNKNOWN_BOOT)], Moment(UNKNOWN_BOOT, 9 * HOUR_NS), []),
        ([head(1, wall_ns=NOW_NS - HOUR_NS - SILENT_NS + 1)], ELSEWHERE, []),
        ([head(1, wall_ns=NOW_NS - HOUR_NS - SILENT_NS)], ELSEWHERE, [0]),
        ([head(5), head(1, NEXT)], ELSEWHERE, [0]),
        ([head(5, wall_ns=NOW_NS), head(1, NEXT, NOW_NS + HOUR_NS - 1)], ELSEWHERE, []),
        ([head(5, wall_ns=NOW_NS), head(1, NEXT, NOW_NS + HOUR_NS)], ELSEWHERE, [0]),
        ([head(1, UNKNOWN_BOOT), head(2, UNKNOWN_BOOT, NOW_NS)], ELSEWHERE, [0]),
    ],
    ids=[
        "none",
        "the last one",
        "two releases",
        "a later one",
        "later ones",
        "of a file that was begun late",
        "this boot, being saved",
        "this boot",
        "a boot not known",
        "silent for less than a day",
        "silent for a day",
        "the next boot",
        "two machines at once",
        "the next boot, by the clock",
        "of no boot, another behind it",
    ],
)
def test_a_window_is_complete_when_nobody_adds_to_it(heads, now, chosen):
    assert complete(heads, now) == [heads[index] for index in chosen]


# --- handed over once ----------------------------------------------------------------------------


def handed(directory, path) -> list[int]:
    cursor = ew.Cursor(path)
    windows = numbers(ew.read_windows(directory, cursor=cursor))
    cursor.save()
    return windows


def test_each_complete_window_is_handed_over_once(directory, write, tmp_path):
    path = tmp_path / "cursor"
    write(1, 1)
    write(2, 2)
    assert handed(directory, path) == [1]
    assert handed(directory, path) == []
    write(3, 3)
    write(4, 1)  # of a process that had no lock, and comes late
    assert handed(directory, path) == [2, 4]


def test_what_was_handed_over_does_not_change(directory, tmp_path):
    """Two programs count, and a job hands over beside them."""
    handed_over = {}
    options = "sample=0.0, window_s=1.0"
    with Program(directory, options) as left, Program(directory, options) as right:

        def hand_over():
            for program in (left, right):
                program("run(1)")
                assert program("capture.flush()")
            cursor = ew.Cursor(tmp_path / "cursor")
            for window in ew.read_windows(directory, cursor=cursor):
                assert window.id not in handed_over
                handed_over[window.id] = window.counted.statistics.to_bytes()
            cursor.save()
            return len(handed_over) >= 3

        assert comes_true(hand_over, 20)
        left.end()
        right.end()
    *complete_ones, last = ew.read_windows(directory)
    now = {window.id: window.counted.statistics.to_bytes() for window in complete_ones}
    assert now.items() >= handed_over.items()
    assert last.id not in handed_over


def test_a_window_of_another_device_hides_none(directory, write, tmp_path):
    """Ids are told by files, and a file by whoever sends it."""
    for device in ("gate", "yard"):
        write(1, 1, device=device)
        write(2, 2, device=device)
    assert handed(directory, tmp_path / "cursor") == [1, 1]
    assert handed(directory, tmp_path / "cursor") == []


def test_one_window_twice_in_a_folder_is_handed_over_once(directory, write, tmp_path):
    path = write(1, 1)
    shutil.copy(path, directory / f"{3:020}-copy{SUFFIX}")
    write(4, 4)
    with pytest.warns(UserWarning, match="a second time"):
        assert handed(directory, tmp_path / "cursor") == [1]


def test_a_job_that_failed_hands_over_the_same_again(directory, write, tmp_path):
    write(1, 1)
    write(2, 2)
    assert numbers(ew.read_windows(directory, cursor=ew.Cursor(tmp_path / "cursor"))) == [1]
    assert handed(directory, tmp_path / "cursor") == [1]


def test_a_cursor_that_is_saved_midway_has_what_was_taken(directory, write, tmp_path):
    for number in (1, 2, 3):
        write(number, number)
    cursor = ew.Cursor(tmp_path / "cursor")
    windows = ew.read_windows(directory, cursor=cursor)
    assert numbers([next(windows)]) == [1]
    next(windows)
    cursor.save()
    assert handed(directory, tmp_path / "cursor") == [2]
