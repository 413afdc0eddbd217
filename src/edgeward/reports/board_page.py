"""A board, or several beside each other, as one page: facts, charts, every number, what is missing.

The page loads nothing and needs no script; all names in it are text. Its numbers are those of the
documents' lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeward.reports import board_comparison
from edgeward.reports.board_charts import BOARDS, OURS, THEIRS, Bar, chart
from edgeward.reports.board_comparison import Boards
from edgeward.reports.board_document import (
    CAPTURE,
    HELD,
    LOAD,
    OPENING,
    OVER,
    P99,
    PACKAGES,
    PER_CALL,
    START,
    THROUGHPUT,
    Document,
    Line,
    lines,
)
from edgeward.reports.board_report import (
    BELOW_ZERO,
    absences,
    condition_rows,
    engine_rows,
    fact_rows,
    grouped,
    warnings,
)
from edgeward.terminal.page import Section, page
from edgeward.terminal.plot import Plot

AXES = {
    THROUGHPUT: "throughput",
    CAPTURE: "added to a call",
    LOAD: "time",
    START: "time",
    HELD: "resident memory",
    OPENING: "plaintext",
}
STROKE = "Bars are medians; the stroke is p99 of single calls, where it is on the scale."


def board_page(document: Document) -> str:
    """The page of one board."""
    machine = document["machine"]
    name = machine["board"] or machine["cpu"]
    facts = [("what", "as its kernel tells"), *fact_rows(machine), *engine_rows(document)]
    conditions = [["", "before", "after"], *condition_rows(document)]
    took = f"measured {document['date']} by Edgeward {document['edgeward']}"
    sections = [
        Section("The machine", [took, *warnings(document)], table=facts),
        Section("Its state", [], table=conditions),
    ]
    measured = lines(document)
    for part in dict.fromkeys(line.part for line in measured):
        sections += _part_sections(part, [line for line in measured if line.part == part])
    missing = absences(document)
    if missing:
        sections.append(Section("Left out", [], table=[("part", "reason"), *missing]))
    return page(f"Edgeward on {name}", sections)


def _part_sections(part: str, measured: Sequence[Line]) -> list[Section]:
    groups = grouped(measured)
    notes = [STROKE, BELOW_ZERO] if part != PACKAGES else []
    plots = [
        _plot(title, rows, groups.get(title.replace(PER_CALL, P99), []))
        for title, rows in groups.items()
        if OVER not in title and P99 not in title
    ]
    sections = [Section(part, notes, plots=plots)]
    ratios = [
        [line.name, line.title.rpartition(", ")[2].rpartition(": ")[2], line.text]
        for line in measured
        if OVER in line.title
    ]
    if ratios:
        head = ["times compared", "engine threads", "ratio"]
        sections.append(Section(f"{part}: {OVER}", [], table=[head, *ratios]))
    return sections


def _plot(title: str, rows: Sequence[Line], tails: Sequence[Line]) -> Plot:
    ticks = {tail.name: tail for tail in tails}
    bars = []
    for row in rows:
        tail = ticks.get(row.name) if PER_CALL in row.title else None
        text = row.text if tail is None else f"{row.text}, p99 {tail.text}"
        colour = OURS if row.is_ours else THEIRS
        bars.append(Bar(row.name, row.value, text, colour, None if tail is None else tail.value))
    return chart(rows[0].title, _axis(rows[0]), rows[0].unit, bars)


def _axis(line: Line) -> str:
    return AXES.get(line.title, "time per call")


def comparison_page(boards: Boards) -> str:
    """The page of several boards, each with a colour of its own."""
    compared = board_comparison.rows(boards)
    head, *facts = board_comparison.fact_table(boards)
    notes = [f"{name}: {note}" for name, doc in boards.items() for note in warnings(doc)]
    sections = [Section("The machines", notes, table=[head, *facts])]
    for title in dict.fromkeys((row.part, row.title) for row in compared):
        chosen = [row for row in compared if (row.part, row.title) == title]
        plots = [] if OVER in title[1] or P99 in title[1] else [_compared_plot(boards, chosen)]
        table = [board_comparison.head(boards), *map(board_comparison.cells, chosen)]
        sections.append(Section(f"{title[0]}: {title[1]}", [], table=table, plots=plots))
    absent = board_comparison.lone_rows(boards)
    if absent:
        sections.append(Section("Not on every board", [], table=[("what", "measured on"), *absent]))
    return page(f"Edgeward on {', '.join(boards)}", sections)


def _compared_plot(boards: Boards, chosen: Sequence[board_comparison.Row]) -> Plot:
    """Each line's bars below each other, one for each board."""
    letters = [name.partition(":")[0] for name in boards]
    bars = [
        Bar(f"{letter}  {line.name}", line.value, line.text, BOARDS[index % len(BOARDS)])
        for row in chosen
        for index, (letter, line) in enumerate(zip(letters, row.lines, strict=True))
    ]
    first = chosen[0].lines[0]
    return chart(first.title, _axis(first), first.unit, bars)
