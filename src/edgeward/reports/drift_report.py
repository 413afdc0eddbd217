"""Drift as people and programs read it: a table of verdicts in words, plots, and a document.

Pure. What each number means: docs/drift.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.description import title_of
from edgeward.captures.drift import Reference
from edgeward.captures.findings import Finding, called, subject
from edgeward.captures.judged_windows import NS, JudgedWindows
from edgeward.captures.series import Report
from edgeward.captures.verdict import DISTRIBUTION, Array, Part, Verdict
from edgeward.reports.drift_plots import WIDTH, shares_plot, windows_plot
from edgeward.reports.inspection import aligned
from edgeward.terminal.page import Section
from edgeward.terminal.plot import INK, Plot, Shape, Text, moved
from edgeward.terminal.quoting import quoted

MOST_CALM_ROWS = 8  # of parts that have not drifted, in text
MOST_PLOTTED = 12  # parts that are drawn, of one device
MOST_CALM_PLOTS = 2  # of a device that is as expected: what is nearest to its threshold
MOST_LINES = 6  # of one part
MOST_ON_SHEET = 4  # parts that are drawn, of all devices
MOST_SAID = 6  # lines of one device on a sheet
MARGIN, LINE = 24.0, 18.0  # of a sheet
LETTER = 7.4  # the width of a letter of a sheet's lines, about
INDENT = "  "
LEAST_WIDTH, LEAST_PART, MOST_PART = 60, 20, 40  # characters
HEAD = ("part", "verdict", "mean moved", "spread", "distance, threshold", "PSI", "JS")
# What a narrow terminal shows of them.
FORMS = ((0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 4), (0, 1, 2, 4))
TITLES = {
    "psi": "PSI", "jensen_shannon": "JS", "ks": "KS", "wasserstein": "Wasserstein",
    "chi_square": "chi-square",
}  # fmt: skip
SQUARED = ("chi_square", "psi")  # their roots grow as the other distances do
Row = tuple[str, ...]  # a cell for each of HEAD


class Summary(NamedTuple):
    """What is said of a device, or of all of them together, without their windows."""

    device: str | None
    has_drifted: bool
    severity: float
    title: str
    says: Sequence[str]
    rows: Sequence[Row]  # of its table: the name of a tensor, and behind it its parts
    drawable_count: int  # parts that could be drawn
    cause_count: int  # the first so many of them: those that sentences speak of
    plots: Sequence[Plot]
    document: dict[str, Any]


def summaries(
    reference: Reference, entries: Iterable[JudgedWindows], most_plotted: int = 0
) -> list[Summary]:
    """Of each device, the one that has drifted most first, all together last.

    One entry is in memory at a time. Of several devices, documents have the verdicts of what has
    drifted alone, and of those that are as expected the first is drawn.
    """
    devices: list[Summary] = []
    for entry in entries:
        is_drawn = not devices or entry.judgement.has_drifted
        devices.append(_summary(reference, entry, most_plotted if is_drawn else 0))
        if len(devices) > 1:
            for document in (devices[0].document, devices[-1].document):
                verdicts = document["verdicts"]
                document["verdicts"] = [each for each in verdicts if each["episodes"]]
    return sorted(devices, key=lambda each: (each.device is None, -each.severity))


def _summary(reference: Reference, entry: JudgedWindows, most_plotted: int) -> Summary:
    parts = _drawable(entry)
    causes = {_drawn_as(finding.part) for finding in entry.judgement.findings}
    return Summary(
        entry.device,
        entry.judgement.has_drifted,
        max((finding.severity for finding in entry.judgement.findings), default=0.0),
        _title(entry),
        _says(entry),
        _rows(reference, entry),
        len(parts),
        len(causes) or len(parts),
        [_plot(reference, entry, *part) for part in list(parts.items())[:most_plotted]],
        _document(entry),
    )


def has_drifted(devices: Sequence[Summary]) -> bool:
    return any(each.has_drifted for each in devices)


# --- text ---------------------------------------------------------------------------------------


def text(devices: Sequence[Summary], passed_over: Sequence[str], width: int) -> list[str]:
    """Its lines: of each device what has drifted, in words, and a table, the worst first.

    Of several devices those that are as expected have no table. A table is at most `width`
    characters wide, but not less than LEAST_WIDTH.
    """
    lines: list[str] = []
    for each in devices:
        lines += ["", *map(quoted, [each.title, *each.says])]
        if each.has_drifted or len(devices) == 1:
            lines += ["", *_table(each.rows, max(width, LEAST_WIDTH))]
    return lines[1:] + [quoted(f"not judged: {line}") for line in passed_over]


def _table(rows: Sequence[Row], width: int) -> list[str]:
    shown, hidden = _shown(rows)
    shown = [(_shortened(part, MOST_PART), *cells) for part, *cells in shown]
    lines = []
    for form in FORMS:
        lines = aligned([[row[column] for column in form] for row in shown])
        if max(map(len, lines)) <= width:
            break
    else:
        over = max(map(len, lines)) - width
        most = max(LEAST_PART, max(len(quoted(row[0])) for row in shown) - over)
        shown = [(_shortened(part, most), *cells) for part, *cells in shown]
        lines = aligned([[row[column] for column in FORMS[-1]] for row in shown])
    if hidden:
        lines.append(f"and {hidden:,} more that have not drifted: --html has all")
    return lines


def _shown(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Without what is as expected beyond MOST_CALM_ROWS, and how much that is."""
    shown: list[Row] = []
    tensor: Row | None = None
    calm_count = 0
    for row in rows:
        if not any(row[1:]):
            tensor = row
            continue
        calm_count += not row[1].startswith(("drifted", "verdict"))
        if calm_count > MOST_CALM_ROWS and not row[1].startswith("drifted"):
            continue
        if tensor is not None:
            shown.append(tensor)
            tensor = None
        shown.append(row)
    return shown, max(0, calm_count - MOST_CALM_ROWS)


def _shortened(part: str, most: int) -> str:
    """Names that the terminal is shown spelled are as long as they are spelled."""
    shown = quoted(part)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _title(entry: JudgedWindows) -> str:
    counted = entry.counted
    model = title_of(counted.name, counted.version)
    device = "all devices together" if entry.device is None else entry.device
    runs = sum(report["run_count"] for report in entry.reports)
    length = _length(max(window.end_ns - window.begin_ns for window in entry.windows))
    count = "1 window" if len(entry.windows) == 1 else f"{len(entry.windows):,} windows"
    return (
        f"{device}: " * bool(device) + f"{model}, {counted.signature}: {runs:,} inferences in "
        f"{count} of {length}, {' to '.join(dict.fromkeys([entry.begins[0], entry.begins[-1]]))}"
    )


def _says(entry: JudgedWindows) -> list[str]:
    """The verdict, a line for each finding, and what could not be judged."""
    judgement = entry.judgement
    words = [verdict.word for verdict in judgement.verdicts if verdict.what == DISTRIBUTION]
    passed = sum(verdict.word == "passed" for verdict in judgement.verdicts)
    if judgement.findings:
        lines = ["DRIFTED:", *(f"  {finding.words}" for finding in judgement.findings)]
    elif set(words) <= {"too few to tell"}:
        lines = ["too few inferences to tell"]
    elif passed:
        parts = "1 part" if passed == 1 else f"{passed:,} parts"
        lines = [f"as expected, though {parts} passed a threshold in too few windows to be drift"]
    else:
        lines = ["as expected"]
    return [*lines, *(f"note: {note}" for note in judgement.notes)]


def _rows(reference: Reference, entry: JudgedWindows) -> list[Row]:
    """By tensor; what has drifted, but for what follows from something else, comes first."""
    said = {finding.part for finding in entry.judgement.findings}
    verdicts = sorted(
        filter(_has_row, entry.judgement.verdicts),
        key=lambda verdict: (
            verdict.episode is None, verdict.part not in said, verdict.passed_count == 0,
        ),
    )  # fmt: skip
    by_tensor: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        by_tensor.setdefault(verdict.part[:2], []).append(verdict)
    tensors = sorted(
        by_tensor.items(), key=lambda item: (item[1][0].episode is None, item[0][0] != "input")
    )
    rows: list[Row] = [HEAD]
    for (side, name), of_tensor in tensors:
        rows.append((f'{side} "{name}"', *[""] * (len(HEAD) - 1)))
        rows += [_row(reference, verdict) for verdict in of_tensor]
    return rows


def _has_row(verdict: Verdict) -> bool:
    """Shares are watched in every part: those that are as ever are not worth a line."""
    return verdict.what == DISTRIBUTION or verdict.passed_count > 0


def _row(reference: Reference, verdict: Verdict) -> Row:
    name = INDENT + called(verdict.part, reference.names).removeprefix("the ")
    is_counted = verdict.word in ("drifted", "passed")
    windows = f" in {verdict.passed_count:,} of {verdict.telling_count:,}" if is_counted else ""
    cells = name, verdict.word + windows
    if verdict.what != DISTRIBUTION:
        share, expected = _mean(verdict, verdict.metrics["share"]), verdict.expected["share"]
        # Nothing is out of the reference's range in itself: that is what chance makes of it.
        base = "chance" if verdict.what == "out of range" else "was"
        occurs = f"{verdict.what} {_percent(share)}, {base} {_percent(expected)}"
        return (*cells, "", "", occurs, "", "")
    metric = _strongest(verdict)
    moved, spread, psi, js = (
        _mean(verdict, verdict.metrics[name])
        for name in ("shift", "spread", "psi", "jensen_shannon")
    )
    return (
        *cells,
        "" if math.isnan(moved) else f"{moved:+.2f} sd",
        "" if math.isnan(spread) else f"{spread:.2f}",
        _distance(verdict, metric),
        *map(_number, (psi, js)),
    )


def _distance(verdict: Verdict, metric: str) -> str:
    """Of this metric, beside its threshold."""
    distance, limit = (
        _mean(verdict, numbers) for numbers in (verdict.metrics[metric], verdict.limits[metric])
    )
    if math.isnan(distance) or math.isnan(limit):
        return ""
    sign = ">" if distance > limit else "<"
    return f"{TITLES[metric]} {_number(distance)} {sign} {_number(limit)}"


def _strongest(verdict: Verdict) -> str:
    """The metric that is farthest beyond its threshold, or nearest to it."""
    means = {name: _mean(verdict, ratios(verdict, name)) for name in verdict.limits}
    return max(means, key=lambda name: -1.0 if math.isnan(means[name]) else means[name])


def ratios(verdict: Verdict, metric: str) -> Array:
    """For each window its distance over the threshold, comparable between metrics."""
    if verdict.what != DISTRIBUTION:
        return verdict.ratios
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = verdict.metrics[metric] / verdict.limits[metric]
    return np.sqrt(ratio) if metric in SQUARED else ratio


def _mean(verdict: Verdict, numbers: Array) -> float:
    """Over the windows of the episode, or all; NaN where none tells."""
    span = _span(verdict)
    chosen = numbers[span][np.isfinite(numbers[span]) & ~np.isnan(verdict.ratios[span])]
    return float(chosen.mean()) if chosen.size else math.nan


def _span(verdict: Verdict) -> slice:
    """The windows of the strongest episode, or all."""
    episode = verdict.episode
    return slice(episode.begin, episode.end + 1) if episode else slice(None)


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:,.{3 if value < 0.1 else 2 if value < 10 else 0}f}"


def _percent(share: float) -> str:
    if math.isnan(share):
        return ""
    return "none" if share == 0 else f"{100 * share:.{1 if share < 0.095 else 0}f} %"


def _length(ns: int) -> str:
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if ns >= unit_s * NS:
            return f"{ns / NS / unit_s:.3g} {unit}"
    return f"{ns / NS:.3g} s"


# --- pages and pictures -------------------------------------------------------------------------


def sections(devices: Sequence[Summary], passed_over: Sequence[str]) -> list[Section]:
    """One for each device, and one of what was not judged."""
    parts = [Section(each.title, each.says, table=each.rows, plots=each.plots) for each in devices]
    return [*parts, Section("not judged", passed_over)] if passed_over else parts


def sheet(devices: Sequence[Summary], title: str) -> Plot:
    """What is said of the devices that have drifted most, and below it what it speaks of.

    Where nothing has drifted, of the first device, and what is nearest to its threshold.
    """
    drifted = [each for each in devices if each.has_drifted]
    shapes: list[Shape] = [Text(MARGIN, 36, title, INK, 20)]
    y, room = 56.0, MOST_ON_SHEET if drifted else MOST_CALM_PLOTS

    def say(text: str) -> None:
        nonlocal y
        for line in wrap(text, int(2 * WIDTH / LETTER), subsequent_indent=2 * INDENT):
            y += LINE
            shapes.append(Text(MARGIN, y, line, INK, 13))

    chosen = drifted or devices[:1]
    drawn_count = 0
    for each in chosen:
        plots = each.plots[: min(room, each.cause_count)]
        if not plots:
            break
        says = each.says[:MOST_SAID]
        for line in [each.title, *says]:
            say(line)
        if len(each.says) > len(says):
            say(f"  and {len(each.says) - len(says):,} more lines")
        y += LINE
        for plot in plots:
            shapes += moved(plot.shapes, 0, y)
            y += plot.height
        room -= len(plots)
        drawn_count += len(plots)
    left_count = sum(each.drawable_count for each in chosen) - drawn_count
    if drifted and left_count:
        parts = (
            "1 more part that has" if left_count == 1 else f"{left_count:,} more parts that have"
        )
        say(f"and {parts} drifted: --html draws up to {MOST_PLOTTED} of each device")
    calm_count = len(devices) - len(drifted) - (not drifted)
    if calm_count:
        others = "1 more device is" if calm_count == 1 else f"{calm_count:,} more devices are"
        say(f"{others} as expected")
    return Plot(2 * WIDTH + MARGIN, y + LINE + MARGIN, shapes)


def _drawable(entry: JudgedWindows) -> dict[Part, list[Verdict]]:
    """What is drawn together: parts that have drifted, or that are nearest to their thresholds.

    The worst first; what follows from something else has no finding, and comes behind what has.
    """
    judgement = entry.judgement
    parts: dict[Part, list[Verdict]] = {
        _drawn_as(finding.part): [] for finding in judgement.findings
    }
    for verdict in judgement.verdicts:
        if verdict.episode is not None:
            parts.setdefault(_drawn_as(verdict.part), []).append(verdict)
    if not parts:
        telling = [verdict for verdict in judgement.verdicts if verdict.what == DISTRIBUTION]
        telling = [verdict for verdict in telling if verdict.telling_count]
        parts = {verdict.part: [verdict] for verdict in telling[:MOST_CALM_PLOTS]}
    return parts


def _plot(
    reference: Reference, entry: JudgedWindows, part: Part, verdicts: Sequence[Verdict]
) -> Plot:
    """Its shares, and beside them its windows."""
    expected, seen = _counts(reference, entry, part, verdicts[0])
    title = subject(verdicts[0].part, reference.names)
    if part.kind == "class":
        title = f'classes of {part.side} "{part.tensor}"'
    called_windows = "drifted windows" if verdicts[0].episode else "all windows"
    shares = shares_plot(title, expected.labels, expected.shares, seen.shares, called_windows)
    lines = [line for verdict in verdicts for line in _lines(reference, verdict)]
    windows = windows_plot(
        "distance of each window, in thresholds",
        [begin.removeprefix(_shared(entry.begins)) for begin in entry.begins],
        dict(lines[:MOST_LINES]),
    )
    shapes = [*shares.shapes, *moved(windows.shapes, shares.width, 0)]
    return Plot(shares.width + windows.width, shares.height, shapes)


def _shared(begins: Sequence[str]) -> str:
    """The year and its hyphen where all of them have it."""
    years = {begin[:5] for begin in begins}
    year = years.pop()
    return year if not years and year.endswith("-") else ""


def _drawn_as(part: Part) -> Part:
    """All classes of a tensor are drawn together."""
    return part._replace(name="") if part.kind == "class" else part


def _lines(reference: Reference, verdict: Verdict) -> Iterator[tuple[str, list[float]]]:
    """What the legend calls each number that decides, and its ratio in each window."""
    for name, limit in verdict.limits.items():
        if not np.isnan(limit).all():
            title = TITLES.get(name, verdict.what)
            if verdict.part.kind == "class":
                title = subject(verdict.part, reference.names).partition(" of ")[0]
            yield title, ratios(verdict, name).tolist()


class _Shares(NamedTuple):
    """Of all bins or classes, with what stands below each."""

    labels: list[str]
    shares: list[float]


def _counts(
    reference: Reference, entry: JudgedWindows, part: Part, verdict: Verdict
) -> tuple[_Shares, _Shares]:
    """The reference's shares, and those of all windows of the episode, or of all, together."""
    inside = entry.reports[_span(verdict)]
    base = _tensor(reference.report, part)
    tensors = [row for report in inside if (row := _tensor(report, part))]
    if part.kind == "class":
        counts = np.asarray(base["class_counts"], np.float64)
        known = reference.names.classes
        labels = [
            known[index] if index < len(known) else str(index) for index in range(counts.size)
        ]
        rows = [np.asarray(row["class_counts"], np.float64) for row in tensors]
        seen = sum((row for row in rows if row.size == counts.size), np.zeros(counts.size))
        return _shares(labels, counts), _shares(labels, seen)
    row = _part(base, part)
    edges, counts = np.asarray(row["edges"]), np.asarray(row["counts"], np.float64)
    seen = np.zeros(counts.size)
    for tensor in tensors:
        other = _part(tensor, part)
        if other and np.array_equal(np.asarray(other["edges"]), edges):
            seen += np.asarray(other["counts"], np.float64)
    labels = _bin_labels(edges)
    return _shares(labels, counts), _shares(labels, seen)


def _bin_labels(edges: NDArray[np.float64]) -> list[str]:
    if edges.size == 0:
        return ["all"]
    return [f"< {edges[0]:.3g}", *(f"{edge:.3g}" for edge in edges[:-1]), f"> {edges[-1]:.3g}"]


def _shares(labels: list[str], counts: NDArray[np.float64]) -> _Shares:
    return _Shares(labels, (counts / max(counts.sum(), 1)).tolist())


def _tensor(report: Report, part: Part) -> dict[str, Any]:
    rows = ((row["side"], row["name"], row) for row in report["tensors"])
    return next((row for side, name, row in rows if (side, name) == part[:2]), {})


def _part(tensor: Mapping[str, Any], part: Part) -> dict[str, Any]:
    rows = tensor.get("parts", ())
    return next((row for row in rows if (row["kind"], row["name"]) == part[2:]), {})


# --- documents ----------------------------------------------------------------------------------


def document(devices: Sequence[Summary], passed_over: Sequence[str]) -> dict[str, Any]:
    return {
        "has_drifted": has_drifted(devices),
        "judged": [each.document for each in devices],
        "passed_over": list(passed_over),
    }


def _document(entry: JudgedWindows) -> dict[str, Any]:
    counted = entry.counted
    return {
        "device": entry.device,
        "model": counted.name,
        "version": counted.version,
        "package_id": counted.package_id,
        "signature": counted.signature,
        "has_drifted": entry.judgement.has_drifted,
        "notes": list(entry.judgement.notes),
        "windows": [
            {
                "boot_id": window.boot_id.hex(),
                "begin_ns": window.begin_ns,
                "end_ns": window.end_ns,
                "wall_ns": window.wall_ns,
                "run_count": report["run_count"],
            }
            for window, report in zip(entry.windows, entry.reports, strict=True)
        ],
        "findings": [_finding(finding) for finding in entry.judgement.findings],
        "verdicts": [
            _verdict(verdict) for verdict in entry.judgement.verdicts if _has_row(verdict)
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    parts = [part._asdict() for part in finding.parts]
    return finding._asdict() | {"part": finding.part._asdict(), "parts": parts}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return verdict._asdict() | {
        "part": verdict.part._asdict(),
        "verdict": verdict.word,
        "metrics": dict(verdict.metrics),
        "limits": dict(verdict.limits),
        "expected": dict(verdict.expected),
        "severity": verdict.severity,
        "episodes": [episode._asdict() for episode in verdict.episodes],
    }
