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
from edgeward.captures.judged_windows import NS, JudgedWindows
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
        begins = [f"2026-11-26 {10 + index}:00Z" for index in range(COUNT)]
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


def summaries_of(pump, *entries):
    return drift_report.summaries(pump.reference, entries, drift_report.MOST_PLOTTED)


def lines_of(pump, *entries, width=120):
    return drift_report.text(summaries_of(pump, *entries), [], width)


def test_what_has_drifted_stands_on_top_with_its_numbers(pump):
    lines = lines_of(pump, pump.seen(warmer))
    assert lines[0] == (
        "gate: pump 3, run\\x1b[2J: 4,000 inferences in 8 windows of 1 h, "
        "2026-11-26 10:00Z to 2026-11-26 17:00Z"
    )
    assert lines[1] == "DRIFTED:"
    assert lines[2].startswith('  column 1 (temperature) of input "x" has moved up by 0.6')
    assert lines[2].endswith("since 2026-11-26 14:00Z")
    head, tensor, cells = (re.split(" {2,}", line.strip()) for line in lines[4:7])
    assert head == list(drift_report.HEAD)
    assert tensor == ['input "x"']
    assert cells[:2] == ["column 1 (temperature)", "drifted in 4 of 8"]
    assert float(cells[2].removesuffix(" sd")) == pytest.approx(0.6, abs=0.1)
    assert float(cells[3]) == pytest.approx(1, abs=0.1)
    metric, distance, sign, limit = cells[4].split()
    assert (metric, sign) == ("Wasserstein", ">")
    assert float(distance) == pytest.approx(0.6, abs=0.1)
    assert float(distance) > float(limit)


def test_of_calm_parts_only_some_are_shown(pump):
    lines = lines_of(pump, pump.seen())
    assert lines[1] == "as expected"
    rows = [line for line in lines if "as expected" in line][1:]
    assert len(rows) == drift_report.MOST_CALM_ROWS
    hidden = COLUMNS + len(counted.FIGURES) - drift_report.MOST_CALM_ROWS
    assert lines[-1] == f"and {hidden} more that have not drifted: --html has all"


def test_what_passed_in_too_few_windows_says_in_how_many(pump):
    def odd(values):
        values[:, 1] += 0.6 * 2 * next(steps)
        return values

    steps = iter([1, 0, 1, 0])
    lines = lines_of(pump, pump.seen(odd))
    assert lines[1].startswith("as expected, though ")
    assert lines[1].endswith("passed a threshold in too few windows to be drift")
    assert re.match(r" +column 1 \(temperature\) +passed in 2 of 8 ", lines[5])


def test_of_several_devices_only_those_that_have_drifted_have_a_table(pump):
    lines = lines_of(pump, pump.seen(device="north"), pump.seen(warmer), pump.seen(device="yard"))
    assert [line[:5] for line in lines if not line.startswith(" ")] == [
        "gate:", "DRIFT", "", "part ", "input", "and 2", "", "north", "as ex", "", "yard:", "as ex",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("width", "head"),
    [
        (120, "part verdict mean moved spread distance, threshold PSI JS"),
        (100, "part verdict mean moved spread distance, threshold"),
        (80, "part verdict mean moved distance, threshold"),
        (10, "part verdict mean moved distance, threshold"),
    ],
)
def test_a_table_fits_its_terminal(pump, width, head):
    lines = lines_of(pump, pump.seen(stuck), width=width)
    table = lines[lines.index("") + 1 : -1]
    assert " ".join(table[0].split()) == head
    assert max(map(len, table)) <= max(width, 80)
    assert any("unchanged 100 %, was none" in line for line in table)
    assert any("Wasserstein" in line or "chi-square" in line for line in table)


def test_windows_that_are_too_small_are_no_verdict(pump):
    entry = pump.seen(warmer, size=5)
    lines = lines_of(pump, entry)
    assert lines[1] == "too few inferences to tell"
    assert any(line.startswith("note: ") and "windows of 100 inferences" in line for line in lines)


def test_a_share_says_how_often_and_what_was_expected(pump):
    lines = lines_of(pump, pump.seen(stuck))
    assert 'column 0 (pressure) of input "x" is stuck since 2026-11-26 14:00Z' in lines[2]
    (row,) = (line for line in lines if "unchanged" in line)
    assert "unchanged 100 %, was none" in row


def test_a_name_does_not_steer_the_terminal(pump):
    entry = pump.seen(lambda values: values + np.eye(COLUMNS)[2] * 9)
    text = "\n".join(lines_of(pump, entry))
    assert "\x1b" not in text
    assert "flow\\x1b[2J" in text


def test_the_document_holds_each_number_of_each_window(pump):
    devices = summaries_of(pump, pump.seen(warmer))
    document = drift_report.document(devices, ["roof: ..."])
    document = json.loads(cli._document(document), parse_constant=pytest.fail)
    assert document["has_drifted"] is True
    assert document["passed_over"] == ["roof: ..."]
    (gate,) = document["judged"]
    assert (gate["device"], gate["has_drifted"]) == ("gate", True)
    worst = gate["verdicts"][0]
    part = {"side": "input", "tensor": "x", "kind": "column", "name": "1"}
    assert worst["part"] == part
    assert worst["verdict"] == "drifted"
    (episode,) = worst["episodes"]
    assert episode.pop("severity") == worst["severity"] > 1
    assert episode == {"begin": FIRST_BAD, "end": COUNT - 1, "is_lasting": True}
    assert {len(numbers) for numbers in worst["metrics"].values()} == {COUNT}
    assert [ratio > 1 for ratio in worst["ratios"]] == [False] * FIRST_BAD + [True] * FIRST_BAD
    assert worst["drifted"] == [False] * 6 + [True] * 2
    (finding,) = gate["findings"]
    assert finding["words"].startswith("column 1")
    assert finding["parts"] == [part]
    calm = [verdict for verdict in gate["verdicts"] if verdict["verdict"] == "as expected"]
    assert {verdict["what"] for verdict in calm} == {"distribution"}


def test_of_several_devices_the_document_has_what_has_drifted(pump):
    entries = [pump.seen(warmer), pump.seen(is_known=False, device="yard")]
    gate, yard = drift_report.document(summaries_of(pump, *entries), [])["judged"]
    assert {verdict["verdict"] for verdict in gate["verdicts"]} == {"drifted"}
    assert (yard["has_drifted"], yard["verdicts"], yard["findings"]) == (False, [], [])
    assert [window["wall_ns"] for window in yard["windows"]] == [None] * COUNT
    (alone,) = drift_report.document(summaries_of(pump, entries[1]), [])["judged"]
    assert len(alone["verdicts"]) == COLUMNS + len(counted.FIGURES)


def texts_of(plot):
    return [shape.text for shape in plot.shapes if isinstance(shape, Text)]


def test_each_drifted_part_has_a_plot_of_its_shares_and_of_its_windows(pump):
    entry = pump.seen(warmer)
    (summary,) = summaries_of(pump, entry)
    parts = {verdict.part for verdict in entry.judgement.verdicts if verdict.episode}
    assert len(summary.plots) == summary.drawable_count == len(parts)
    texts = texts_of(summary.plots[0])
    assert texts[0] == 'column 1 (temperature) of input "x"'
    assert {"distance of each window, in thresholds", "drifted windows"} <= set(texts)
    right = max(shape.x for shape in summary.plots[0].shapes if isinstance(shape, Text))
    assert summary.plots[0].width > right > summary.plots[0].width / 2


def test_where_nothing_has_drifted_the_nearest_to_their_thresholds_are_drawn(pump):
    entry = pump.seen()
    (summary,) = summaries_of(pump, entry)
    assert len(summary.plots) == drift_report.MOST_CALM_PLOTS
    nearest = entry.judgement.verdicts[0].part
    texts = texts_of(summary.plots[0])
    assert texts[0].startswith(f"column {nearest.name}" if nearest.kind == "column" else "the ")
    assert "all windows" in texts
    (mute,) = summaries_of(pump, pump.seen(size=5))
    assert mute.plots == []


def test_without_pictures_nothing_is_drawn(pump):
    (summary,) = drift_report.summaries(pump.reference, [pump.seen(warmer)])
    assert summary.plots == []


def test_the_page_says_what_the_text_says(pump):
    devices = summaries_of(pump, pump.seen(warmer), pump.seen(device="yard"))
    text = page("Drift", drift_report.sections(devices, ["roof: no reference"]))
    assert text.count("<svg ") == len(devices[0].plots) > 0
    assert devices[1].plots == []
    for said in ("has moved up by 0.6", "<td>drifted in 4 of 8</td>", "yard: pump 3", "roof: no"):
        assert said in text
    assert "\x1b" not in text


def test_a_sheet_has_room_for_the_worst_and_says_what_is_left_out(pump):
    wild = pump.seen(lambda values: values * 3)
    devices = summaries_of(pump, wild, pump.seen(warmer, device="yard"), pump.seen(device="west"))
    sheet = drift_report.sheet(devices, "Drift")
    texts = texts_of(sheet)
    assert texts.count("distance of each window, in thresholds") == drift_report.MOST_ON_SHEET
    left = sum(each.drawable_count for each in devices[:2]) - drift_report.MOST_ON_SHEET
    assert f"and {left} more parts that have drifted: --html draws up to 12 of each device" in texts
    assert "1 more device is as expected" in texts
    assert sheet.height < 1600


def test_a_sheet_of_what_is_as_expected_shows_what_is_nearest(pump):
    texts = texts_of(drift_report.sheet(summaries_of(pump, pump.seen()), "Drift"))
    assert texts[0] == "Drift"
    assert "as expected" in texts
    assert texts.count("distance of each window, in thresholds") == drift_report.MOST_CALM_PLOTS
    assert not any("more" in text for text in texts)
