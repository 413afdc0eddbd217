"""Drift as people and programs read it: the worst first, in words, drawn, and as a document."""

from __future__ import annotations

import json
import re

import counted
import numpy as np
import pytest

from edgeward import cli
from edgeward.captures.drift import Reference, judge
from edgeward.captures.findings import Names
from edgeward.captures.judged_windows import NS, Judged, JudgedWindows
from edgeward.captures.window import Counted, Window
from edgeward.reports import drift_report
from edgeward.terminal.page import page
from edgeward.terminal.plot import Text

X = ("input", "x")
NAMES = Names({"x": ["pressure", "temperature", "flow\x1b[2J"]})
HOUR_NS = 3600 * NS
BEGIN_NS = 1_795_687_200 * NS  # 2026-11-26 10:00
COLUMNS, SIZE, COUNT, FIRST_BAD = 30, 500, 8, 4


class Pump:
    """Hourly windows of 30 columns; what `change` does to them from the fifth on is drift."""

    def __init__(self):
        report = counted.report({X: self._draw(np.random.default_rng(5), 5000)})
        self.reference = Reference(report, counted.thresholds_of(report), NAMES)

    def _draw(self, generator, size):
        return generator.normal(5, 2, (size, COLUMNS))

    def seen(self, change=lambda values: values, *, size=SIZE, device="gate", is_known=True):
        generator = np.random.default_rng(6)
        reports, windows = [], []
        for index in range(COUNT):
            values = self._draw(generator, size)
            values = change(values) if index >= FIRST_BAD else values
            reports.append(counted.report({X: values}, self.reference.report))
            release = Counted("pump", "3", "ab", "run\x1b[2J", None)
            wall_ns = BEGIN_NS + index * HOUR_NS if is_known else None
            begin_ns = index * HOUR_NS
            windows.append(
                Window(release, "", bytes(16), begin_ns, begin_ns + HOUR_NS, wall_ns, device)
            )
        begins = [f"2026-11-26 {10 + index}:00" for index in range(COUNT)]
        judgement = judge(self.reference, reports, begins)
        return JudgedWindows(device, windows, reports, begins, judgement)


@pytest.fixture(scope="module")
def pump():
    return Pump()


def warmer(values):
    values[:, 1] += 0.6 * 2
    return values


def stuck(values):
    values[:, 0] = 5.0
    return values


def lines_of(pump, *entries):
    return drift_report.text(pump.reference, Judged(list(entries), []))


def test_what_has_drifted_stands_on_top_with_its_numbers(pump):
    lines = lines_of(pump, pump.seen(warmer))
    assert lines[0] == (
        "gate: pump 3, run\\x1b[2J: 4,000 inferences in 8 windows of 1 h, "
        "2026-11-26 10:00 to 2026-11-26 17:00"
    )
    assert lines[1] == "DRIFTED:"
    assert lines[2].startswith('  column 1 (temperature) of input "x" has moved up by 0.6')
    assert lines[2].endswith("since 2026-11-26 14:00")
    head, cells = (re.split(" {2,}", line) for line in lines[4:6])
    assert head == list(drift_report.HEAD)
    assert cells[:3] == ['column 1 (temperature) of input "x"', "drifted", "4 of 8"]
    assert float(cells[3].removesuffix(" sd")) == pytest.approx(0.6, abs=0.1)
    assert float(cells[4]) == pytest.approx(1, abs=0.1)
    metric, distance = cells[5].split()
    assert metric == "Wasserstein"
    assert float(distance) == pytest.approx(0.6, abs=0.1)
    assert float(distance) > float(cells[6])


def test_of_calm_parts_only_some_are_shown(pump):
    lines = lines_of(pump, pump.seen())
    assert lines[1] == "as expected"
    rows = [line for line in lines if "as expected" in line][1:]
    assert len(rows) == drift_report.MOST_CALM_ROWS
    hidden = COLUMNS + len(counted.FIGURES) - drift_report.MOST_CALM_ROWS
    assert lines[-1] == f"and {hidden} more that have not drifted: --json has all"


def test_of_several_devices_only_those_that_have_drifted_have_a_table(pump):
    lines = lines_of(pump, pump.seen(device="north"), pump.seen(warmer), pump.seen(device="yard"))
    heads = [index for index, line in enumerate(lines) if line.startswith("part ")]
    assert heads == [7]
    assert [lines[index] for index in (1, 4, -1)] == ["as expected", "DRIFTED:", "as expected"]


def test_windows_that_are_too_small_are_no_verdict(pump):
    entry = pump.seen(warmer, size=5)
    lines = lines_of(pump, entry)
    assert lines[1] == "too few inferences to tell"
    assert any(line.startswith("note: ") and "windows of 100 inferences" in line for line in lines)


def test_a_share_says_how_often_and_what_was_expected(pump):
    lines = lines_of(pump, pump.seen(stuck))
    assert 'column 0 (pressure) of input "x" is stuck since 2026-11-26 14:00' in lines[2]
    (row,) = (line for line in lines if "unchanged" in line)
    assert "unchanged 100 %, expected none" in row


def test_a_name_does_not_steer_the_terminal(pump):
    entry = pump.seen(lambda values: values + np.eye(COLUMNS)[2] * 9)
    text = "\n".join(lines_of(pump, entry))
    assert "\x1b" not in text
    assert "flow\\x1b[2J" in text


def test_the_document_holds_each_number_of_each_window(pump):
    entries = [pump.seen(warmer), pump.seen(size=5, is_known=False, device="yard")]
    document = drift_report.document(Judged(entries, ["roof: ..."]))
    document = json.loads(cli._document(document), parse_constant=pytest.fail)
    assert document["has_drifted"] is True
    assert document["passed_over"] == ["roof: ..."]
    gate, yard = document["judged"]
    assert (gate["device"], gate["has_drifted"], yard["has_drifted"]) == ("gate", True, False)
    assert [window["wall_ns"] for window in yard["windows"]] == [None] * COUNT
    worst = gate["verdicts"][0]
    assert worst["part"] == {"side": "input", "tensor": "x", "kind": "column", "name": "1"}
    assert worst["verdict"] == "drifted"
    assert worst["episode"] == {"begin": FIRST_BAD, "end": COUNT - 1, "is_lasting": True}
    assert [len(numbers) for numbers in worst["metrics"].values()] == [COUNT] * len(
        worst["metrics"]
    )
    assert [ratio > 1 for ratio in worst["ratios"]] == [False] * FIRST_BAD + [True] * FIRST_BAD
    assert worst["drifted"] == [False] * 6 + [True] * 2
    assert gate["findings"][0]["words"].startswith("column 1")
    assert yard["findings"] == []


def test_each_drifted_part_has_a_plot_of_its_shares_and_of_its_windows(pump):
    entry = pump.seen(warmer)
    plots = list(drift_report.plots(pump.reference, entry))
    parts = {verdict.part for verdict in entry.judgement.verdicts if verdict.episode}
    assert len(plots) == len(parts)
    texts = [shape.text for shape in plots[0].shapes if isinstance(shape, Text)]
    assert texts[0] == 'column 1 (temperature) of input "x"'
    assert "distance of each window, in thresholds" in texts
    right = max(shape.x for shape in plots[0].shapes if isinstance(shape, Text))
    assert plots[0].width > right > plots[0].width / 2
    assert list(drift_report.plots(pump.reference, pump.seen())) == []


def test_the_page_says_what_the_text_says(pump):
    judged = Judged([pump.seen(warmer), pump.seen(device="yard")], ["roof: no reference"])
    text = page("Drift", drift_report.sections(pump.reference, judged))
    assert text.count("<svg ") == len(list(drift_report.plots(pump.reference, judged.entries[0])))
    for said in ("has moved up by 0.6", "<td>drifted</td>", "yard: pump 3", "roof: no reference"):
        assert said in text
    assert "\x1b" not in text


def test_a_sheet_has_room_for_the_worst(pump):
    wild = pump.seen(lambda values: values * 3)
    judged = Judged([wild, pump.seen(warmer, device="yard")], [])
    sheet = drift_report.sheet(pump.reference, judged, "Drift")
    texts = [shape.text for shape in sheet.shapes if isinstance(shape, Text)]
    assert texts.count("distance of each window, in thresholds") == drift_report.MOST_ON_SHEET
    assert "there may be more: --html draws all of it" in texts
    calm = drift_report.sheet(pump.reference, Judged([pump.seen()], []), "Drift")
    assert [shape.text for shape in calm.shapes] == ["Drift", "nothing has drifted"]
