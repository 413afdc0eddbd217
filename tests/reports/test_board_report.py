"""A board in words: what must be known before the numbers, its state, and what is missing."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from edgeward.reports import board_file, board_report

FILE = Path(__file__).parents[2] / "benchmarks" / "boards" / "vm-x86-64.json"


@pytest.fixture
def document():
    return copy.deepcopy(board_file.read(FILE))


@pytest.mark.parametrize(
    ("kind", "warning"),
    [
        ("emulator", board_report.NOT_MEASURED),
        ("virtual machine", board_report.SHARED),
        ("machine", None),
    ],
)
def test_what_is_no_board_is_said_before_any_number(document, kind, warning):
    document["machine"]["kind"] = kind
    lines = board_report.text(document).splitlines()
    assert (lines[1].startswith(warning) if warning else lines[1] == "") is True


def test_the_state_of_a_hot_board_is_told(document):
    document["before"] |= {
        "governors": ["ondemand"],
        "frequencies_mhz": [600.0, 1800.0],
        "temperatures_c": {"cpu-thermal": 51.2},
        "throttled": [],
    }
    document["after"] |= {
        "governors": ["ondemand"],
        "frequencies_mhz": [1000.0, 1000.0],
        "temperatures_c": {"cpu-thermal": 84.9},
        "throttled": ["throttled now"],
        "throttle_count": 7,
    }
    rows = {name: (before, after) for name, before, after in board_report.condition_rows(document)}
    assert rows["governor"] == ("ondemand", "ondemand")
    assert rows["frequency"] == ("600 to 1800 MHz", "1000 MHz")
    assert rows["temperature, cpu-thermal"] == ("51.2 °C", "84.9 °C")
    assert rows["firmware"] == ("nothing throttled", "throttled now")
    assert rows["throttled, times since boot"] == (board_report.NONE, "7")


def test_kinds_of_cores_and_limits_are_told(document):
    document["machine"] |= {
        "board": "Orange Pi 5",
        "cores": [
            {"count": 4, "name": "Cortex-A55", "capacity": 530, "max_mhz": 1800.0},
            {"count": 4, "name": "Cortex-A76", "capacity": 1024, "max_mhz": 2400.0},
        ],
        "cpu_quota": 1.5,
        "memory_limit_bytes": 512_000_000,
    }
    rows = dict(board_report.fact_rows(document["machine"]))
    assert rows["board"] == "Orange Pi 5"
    assert rows["cores"] == (
        "4 x Cortex-A55, 1800 MHz, capacity 530, 4 x Cortex-A76, 2400 MHz, capacity 1024"
    )
    assert rows["cgroup"] == "1.5 processors, memory 512 MB"


def test_all_that_failed_is_named_with_its_reason(document):
    model = document["models"][0]
    model["runs"][0]["failures"] = {"a peer": "ImportError: no module"}
    model["capture"]["failures"] = {"a kind": "no room"}
    document["left_out"] = [{"part": "b.onnx", "reason": "engine_missing: none"}]
    name = model["name"]
    assert board_report.absences(document) == [
        ("b.onnx", "engine_missing: none"),
        (f"{name}: a peer", "ImportError: no module"),
        (f"{name}: a kind", "no room"),
    ]
    text = board_report.text(document)
    assert "ImportError: no module" in text


def test_a_name_is_quoted(document):
    document["models"][0]["name"] = "a\x1b[31m\u202e"
    text = board_report.text(document)
    assert "\x1b" not in text
    assert "\\x1b[31m\\u202e: time per call" in text
