"""Drift as people and programs read it: a table of verdicts in words, plots, and a document.

Pure. What each number means: docs/drift.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.description import title_of
from edgeward.captures.drift import Reference
from edgeward.captures.findings import Finding, subject
from edgeward.captures.judged_windows import NS, Judged, JudgedWindows
from edgeward.captures.series import Report
from edgeward.captures.verdict import DISTRIBUTION, Array, Part, Verdict
from edgeward.reports.drift_plots import WIDTH, shares_plot, windows_plot
from edgeward.reports.inspection import aligned
from edgeward.terminal.page import Section
from edgeward.terminal.plot import INK, Plot, Shape, Text, moved
from edgeward.terminal.quoting import quoted

MOST_CALM_ROWS = 8  # of parts that have not drifted, in text
MOST_PLOTTED = 12  # parts that are drawn, of one device
MOST_LINES = 6  # of one part
MOST_ON_SHEET = 12  # parts that are drawn, of all devices
MARGIN, LINE = 24.0, 18.0  # of a sheet
HEAD = ("part", "verdict", "windows", "mean moved", "spread", "distance", "threshold", "PSI", "JS")
TITLES = {
    "psi": "PSI", "jensen_shannon": "JS", "ks": "KS", "wasserstein": "Wasserstein",
    "chi_square": "chi-square",
}  # fmt: skip
SQUARED = ("chi_square", "psi")  # their roots grow as the other distances do


# --- text ---------------------------------------------------------------------------------------


def text(reference: Reference, judged: Judged) -> list[str]:
    """Its lines: of each device what has drifted, in words, and a table, the worst first.

    Of several devices those that are as expected have no table.
    """
    lines: list[str] = []
    for entry in judged.entries:
        lines += ["", *map(quoted, [_title(entry), *_says(entry)])]
        if entry.judgement.has_drifted or len(judged.entries) == 1:
            lines += ["", *_table(reference, entry)]
    return lines[1:] + [quoted(f"not judged: {line}") for line in judged.passed_over]


def _table(reference: Reference, entry: JudgedWindows) -> list[str]:
    rows = _rows(reference, entry)
    calm = sum(verdict.episode is None for verdict in filter(_has_row, entry.judgement.verdicts))
    hidden = max(0, calm - MOST_CALM_ROWS)
    lines = aligned(rows[: len(rows) - hidden])
    if hidden:
        lines.append(f"and {hidden:,} more that have not drifted: --json has all")
    return lines


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
    judged = (verdict for verdict in judgement.verdicts if verdict.what == DISTRIBUTION)
    if judgement.findings:
        lines = ["DRIFTED:", *(f"  {finding.words}" for finding in judgement.findings)]
    elif all(np.isnan(verdict.ratios).all() for verdict in judged):
        lines = ["too few inferences to tell"]
    else:
        lines = ["as expected"]
    return [*lines, *(f"note: {note}" for note in judgement.notes)]


def _rows(reference: Reference, entry: JudgedWindows) -> list[tuple[str, ...]]:
    """What has drifted, but for what follows from something else, comes first."""
    said = {finding.part for finding in entry.judgement.findings}
    verdicts = sorted(
        filter(_has_row, entry.judgement.verdicts),
        key=lambda verdict: (verdict.episode is None, verdict.part not in said),
    )
    return [HEAD, *(_row(reference, verdict) for verdict in verdicts)]


def _has_row(verdict: Verdict) -> bool:
    """Shares are watched in every part: those that are as ever are not worth a line."""
    return verdict.what == DISTRIBUTION or verdict.episode is not None


def _row(reference: Reference, verdict: Verdict) -> tuple[str, ...]:
    passed = int(np.count_nonzero(verdict.ratios > 1))
    known = int(np.count_nonzero(~np.isnan(verdict.ratios)))
    cells = [subject(verdict.part, reference.names), verdict.word, f"{passed:,} of {known:,}"]
    if verdict.what != DISTRIBUTION:
        share, expected = _mean(verdict, verdict.metrics["share"]), verdict.expected["share"]
        occurs = f"{verdict.what} {_percent(share)}, expected {_percent(expected)}"
        return (*cells, "", "", occurs, "", "", "")
    metric = _strongest(verdict)
    moved, spread, distance, limit, psi, js = (
        _mean(verdict, numbers)
        for numbers in (
            verdict.metrics["shift"],
            verdict.metrics["spread"],
            verdict.metrics[metric],
            verdict.limits[metric],
            verdict.metrics["psi"],
            verdict.metrics["jensen_shannon"],
        )
    )
    return (
        *cells,
        "" if math.isnan(moved) else f"{moved:+.2f} sd",
        "" if math.isnan(spread) else f"{spread:.2f}",
        f"{TITLES[metric]} {_number(distance)}",
        *map(_number, (limit, psi, js)),
    )


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
    episode = verdict.episode
    span = slice(episode.begin, episode.end + 1) if episode else slice(None)
    chosen = numbers[span][np.isfinite(numbers[span]) & ~np.isnan(verdict.ratios[span])]
    return float(chosen.mean()) if chosen.size else math.nan


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


def sections(reference: Reference, judged: Judged) -> list[Section]:
    """One for each device, and one of what was not judged."""
    parts = [
        Section(
            _title(entry),
            _says(entry),
            table=_rows(reference, entry),
            plots=list(plots(reference, entry)),
        )
        for entry in judged.entries
    ]
    return [*parts, Section("not judged", judged.passed_over)] if judged.passed_over else parts


def plots(reference: Reference, entry: JudgedWindows) -> Iterator[Plot]:
    """For each part that has drifted, the worst first: its shares, and beside them its windows."""
    # What follows from something else has no finding, and comes behind what has.
    drifted: dict[Part, list[Verdict]] = {
        _drawn_as(finding.part): [] for finding in entry.judgement.findings
    }
    for verdict in entry.judgement.verdicts:
        if verdict.episode is not None:
            drifted.setdefault(_drawn_as(verdict.part), []).append(verdict)
    for part, verdicts in list(drifted.items())[:MOST_PLOTTED]:
        expected, seen = _counts(reference, entry, part, verdicts[0])
        title = subject(verdicts[0].part, reference.names)
        if part.kind == "class":
            title = f'classes of {part.side} "{part.tensor}"'
        shares = shares_plot(title, expected.labels, expected.shares, seen.shares)
        lines = [line for verdict in verdicts for line in _lines(reference, verdict)]
        windows = windows_plot(
            "distance of each window, in thresholds",
            [begin.removeprefix(_shared(entry.begins)) for begin in entry.begins],
            dict(lines[:MOST_LINES]),
        )
        shapes = [*shares.shapes, *moved(windows.shapes, shares.width, 0)]
        yield Plot(shares.width + windows.width, shares.height, shapes)


def sheet(reference: Reference, judged: Judged, title: str) -> Plot:
    """What is said of each device that has drifted, and below it its plots."""
    drifted = [entry for entry in judged.entries if entry.judgement.has_drifted]
    shapes: list[Shape] = [Text(MARGIN, 36, title, INK, 20)]
    y, room = 56.0, MOST_ON_SHEET
    for entry in drifted:
        drawn = list(plots(reference, entry))[:room]
        if not drawn:
            break
        for line in [_title(entry), *_says(entry)]:
            y += LINE
            shapes.append(Text(MARGIN, y, line, INK, 13))
        y += LINE
        for plot in drawn:
            shapes += moved(plot.shapes, 0, y)
            y += plot.height
        room -= len(drawn)
    if room == 0:
        shapes.append(Text(MARGIN, y + LINE, "there may be more: --html draws all of it", INK, 13))
    elif not drifted:
        shapes.append(Text(MARGIN, y + LINE, "nothing has drifted", INK, 13))
    return Plot(2 * WIDTH + MARGIN, y + LINE + MARGIN, shapes)


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
    """The reference's shares, and those of all windows of the episode together."""
    assert verdict.episode is not None
    inside = entry.reports[verdict.episode.begin : verdict.episode.end + 1]
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


def document(judged: Judged) -> dict[str, Any]:
    return {
        "has_drifted": judged.has_drifted,
        "judged": [_entry(entry) for entry in judged.entries],
        "passed_over": judged.passed_over,
    }


def _entry(entry: JudgedWindows) -> dict[str, Any]:
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
        "verdicts": [_verdict(verdict) for verdict in entry.judgement.verdicts],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return finding._asdict() | {"part": finding.part._asdict()}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return verdict._asdict() | {
        "part": verdict.part._asdict(),
        "verdict": verdict.word,
        "metrics": dict(verdict.metrics),
        "limits": dict(verdict.limits),
        "expected": dict(verdict.expected),
        "episode": None if verdict.episode is None else verdict.episode._asdict(),
    }
