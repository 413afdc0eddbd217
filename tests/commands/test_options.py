"""Options: what their values may be, and what is said of others."""

import argparse
import re

import pytest

from edgeward.commands.options import date, duration, since

SEAL = "seal model.tflite -o p.ewp --name demo --version 1"
ROTATE = "root rotate root.json"
COUNTER = "281474976710655"
BAD_VALUES = [
    ("predict m.tflite x.npy --threads", ["0", "257", "x", "1.5", "-1", ""], "1 to 256"),
    ("bench m.tflite --threads", ["0", "1,257", "1,", "x"], "counts such as 1,2, each 1 to 256"),
    (
        "bench m.tflite --seconds",
        ["0", "-1", "86401", "nan", "inf", "x"],
        "seconds above 0, at most 86400",
    ),
    (
        "predict m.tflite x.raw --shape",
        ["-1", "1,-2", "2.5", "x", "2147483648", "65536,65536"],
        "sizes such as 1,49,10,1, of at most 2147483647 elements",
    ),
    ("captures show captures --last", ["0", "-1", "1000001", "9" * 5000], "1 to 1000000"),
    (
        "captures drain captures --most-bytes",
        ["-1", str(1 << 63), "1e9"],
        "0 to 9223372036854775807",
    ),
    ("keygen --days", ["0", "36501", "soon"], "1 to 36500 days"),
    (f"{ROTATE} --days", ["0", "36501", "1.0"], "1 to 36500 days"),
    (f"{ROTATE} --threshold", ["x", "1.5", ""], "a whole number"),
    (f"{SEAL} --counter", ["0", "-1", str(1 << 48), "x"], f"1 to {COUNTER}"),
    (f"{SEAL} --min-counter", ["0", str(1 << 48), "last"], f'1 to {COUNTER} or "this"'),
    (
        f"{SEAL} --not-after",
        ["tomorrow", "1900-01-01", "1970-01-01", "2027-13-01", "10000-01-01"],
        "a date such as 2027-01-31, after 1970-01-01",
    ),
]
ROWS = [(line, value, range) for line, values, range in BAD_VALUES for value in values]


@pytest.mark.parametrize(
    ("line", "value", "range"), ROWS, ids=[f"{line} {value[:12]}" for line, value, _ in ROWS]
)
def test_a_value_out_of_range_is_told_the_range(typed, line, value, range):
    status, out, err = typed(f"{line}='{value}'")
    program = " ".join(line.split()[: 2 if line.startswith(("root", "captures")) else 1])
    option = line.split()[-1]
    assert (status, out) == (2, "")
    assert err == (
        f'edgeward: bad_input: argument {option}: expected {range}, got "{value}" '
        f"(see edgeward {program} --help)\n"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2027-01-31", 1_801_353_600),
        ("2027-01-31T01:00:00+01:00", 1_801_353_600),
        ("1970-01-02", 86_400),
        ("9999-12-31", 253_402_214_400),
    ],
)
def test_a_date_is_its_first_second_in_utc(text, seconds):
    assert date(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("90s", 90), ("30m", 1800), ("6h", 21_600), ("2d", 172_800), ("007h", 25_200)],
)
def test_a_duration_is_a_number_of_its_unit(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "0h", "-1h", "1.5h", "6", "6 h", "6H", "1w", "36601d", "9" * 5000 + "d", "²h"]
)
def test_another_duration_is_refused(text):
    for read in (duration, since):
        with pytest.raises(argparse.ArgumentTypeError, match=re.escape(f'got "{text}"')):
            read(text)


def test_since_is_a_date_or_so_long_before_now(clock):
    clock(2_000_000_000)
    assert since("2d") == 2_000_000_000 - 172_800
    assert since("2027-01-31") == 1_801_353_600
    assert since("36500d") == 0  # as far as Unix time goes back
