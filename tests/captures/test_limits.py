"""Limits: a number that is out of range is refused by name, with the whole range."""

import inspect
import re
import types

import pytest
from models import tflite_models

import edgeward as ew
from edgeward.captures import limits, rules

WORD = 1 << 32
LONG = 1 << 64
MAX_COUNT = (1 << 63) - 1

# Each numeric option of Capture: its minimum, and the least number above its range.
OPTIONS = {
    "pre_roll": (0, WORD),
    "pre_roll_s": (0, WORD),
    "post_roll": (0, WORD),
    "post_roll_s": (0, WORD),
    "ring_records": (0, WORD),
    "ring_s": (0, WORD),
    "most_age_s": (0, WORD),
    "statistics_s": (0.01, WORD),
    "window_s": (1.0, WORD),
    "seed": (0, WORD),
    "segment_bytes": (0, LONG),
    "most_bytes": (0, LONG),
    "least_free_bytes": (0, LONG),
}
OTHERS = {"sample", "ring_bytes"}  # a share or a rule; a power of two


def refusals(least, limit):
    return [least - 1, limit, float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name, limits in OPTIONS.items() for number in refusals(*limits)],
)
def test_an_option_out_of_range_is_refused(directory, name, number):
    least, limit = OPTIONS[name]
    says = f"{name}: expected at least {least} and less than {limit}, got {number}"
    with pytest.raises(ew.BadInput, match=f"^{re.escape(says)}$"):
        ew.Capture(directory, **{name: number})
    assert not directory.exists()


@pytest.mark.parametrize(
    ("name", "number"), [(name, edge) for name, (least, limit) in OPTIONS.items()
                         for edge in (least, limit - 1)]
)  # fmt: skip
def test_the_first_and_the_last_number_are_taken(directory, name, number):
    keep = "newest" if name.startswith("ring_") else "oldest"
    with ew.Capture(directory, keep=keep, **{name: number}) as capture:
        capture.attach(ew.load_unsigned(tflite_models.sum_product()))


@pytest.mark.parametrize("option", [{"ring_records": 1}, {"ring_s": 0.5}])
def test_what_limits_the_newest_is_refused_for_the_oldest(directory, option):
    with pytest.raises(ew.BadInput, match="newest"):
        ew.Capture(directory, **option)


def test_each_numeric_option_is_in_the_table():
    parameters = inspect.signature(ew.Capture.__init__, eval_str=True).parameters
    numeric = {name for name, parameter in parameters.items() if takes_number(parameter.annotation)}
    assert numeric == {*OPTIONS, *OTHERS}


def takes_number(annotation):
    kinds = getattr(annotation, "__args__", (annotation,))
    return int in kinds or float in kinds


@pytest.mark.parametrize("number", [-1, 0, (1 << 16) - 1, 100_000, 1 << 33, LONG, float("nan")])
def test_the_size_of_a_ring_is_a_power_of_two(directory, number):
    says = f"ring_bytes: expected a power of two from 65536 to 4294967296, got {number}"
    with pytest.raises(ew.BadInput, match=f"^{re.escape(says)}$"):
        ew.Capture(directory, ring_bytes=number)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (lambda: rules.every(-1), f"count: expected 1 to {MAX_COUNT}, got -1"),
        (lambda: rules.every(MAX_COUNT + 1), f"count: expected 1 to {MAX_COUNT}, got {1 << 63}"),
        (lambda: rules.quota("s", 1 << 63), f"count: expected 1 to {MAX_COUNT}, got {1 << 63}"),
        (lambda: rules.reservoir(1 << 63), f"count: expected 1 to 100000, got {1 << 63}"),
        (
            lambda: rules.reservoir(1, window_s=-1),
            "window_s: expected at least 1e-09 and less than 1000000000, got -1",
        ),
        (
            lambda: rules.quota("s", 1, window_s=1e9),
            "window_s: expected at least 1e-09 and less than 1000000000, got 1000000000.0",
        ),
        (
            lambda: rules.quota("s", 1, window_s=1e-10),
            "window_s: expected at least 1e-09 and less than 1000000000, got 1e-10",
        ),
        (lambda: rules.fraction(2), "sample: expected a fraction from 0 to 1, got 2"),
        (
            lambda: rules.argmax_in("s", [0, 1 << 63]),
            f"classes: expected at least {-1 << 63} and less than {1 << 63}, got {1 << 63}",
        ),
    ],
)
def test_a_rule_out_of_range_is_refused_at_once(rule, says):
    with pytest.raises(ew.BadInput, match=f"^{re.escape(says)}$"):
        rule()


@pytest.mark.parametrize("number", [-1, LONG])
def test_a_correlation_id_has_64_bits(directory, number):
    says = f"correlation_id: expected at least 0 and less than {LONG}, got {number}"
    with ew.Capture(directory) as capture, pytest.raises(ew.BadInput, match=re.escape(says)):
        capture.capture_next(correlation_id=number)


@pytest.mark.parametrize("number", [1e10, float("inf"), float("nan")])
def test_a_wait_has_an_end(directory, number):
    says = f"timeout_s: expected at least 0 and less than 2147483, got {number}"
    with ew.Capture(directory) as capture:
        with pytest.raises(ew.BadInput, match=re.escape(says)):
            capture.flush(number)
        assert capture.flush(-1.0) in (True, False)  # as 0 does


@pytest.mark.parametrize("number", ["abc", None, b"1", [1]])
def test_what_is_no_number_is_refused_by_name(tmp_path, number):
    with (
        ew.Capture(tmp_path) as capture,
        pytest.raises(ew.BadInput, match="correlation_id: expected at least 0"),
    ):
        capture.capture_next(b"", number)


@pytest.mark.parametrize(
    ("blocks", "least_bytes"),
    [(1 << 30, 128 << 20), (327_680, 128 << 20), (25_600, 10_485_760), (0, 0)],
)
def test_of_a_small_disk_a_tenth_stays_free(directory, monkeypatch, tmp_path, blocks, least_bytes):
    asked = []

    def statvfs(path):
        asked.append(path)
        return types.SimpleNamespace(f_blocks=blocks, f_frsize=4096)

    monkeypatch.setattr("os.statvfs", statvfs)
    assert limits.default_least_free_bytes(tmp_path / "none" / "of these") == least_bytes
    assert asked == [str(tmp_path)]
