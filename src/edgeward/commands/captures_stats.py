"""`edgeward captures stats`: the statistics over every inference, and whether they have drifted."""

from __future__ import annotations

import argparse
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import Package, _core
from edgeward.captures.description import title_of
from edgeward.captures.drift import Reference
from edgeward.captures.findings import Names, called
from edgeward.captures.folders import files_below
from edgeward.captures.joined_windows import Totals
from edgeward.captures.judged_windows import NS, judged
from edgeward.captures.statistics_file import SUFFIXES
from edgeward.captures.verdict import Part
from edgeward.captures.window import Counted, Window
from edgeward.captures.windows import windows_below
from edgeward.commands.captures_records import add_key, read_key, require_captures
from edgeward.commands.options import duration, since
from edgeward.durable import replace_file
from edgeward.errors import BadInput
from edgeward.outcome import Outcome
from edgeward.packages.expectation import expectation
from edgeward.reports import drift_report
from edgeward.reports.inspection import aligned, number
from edgeward.terminal.page import page
from edgeward.terminal.picture import pillow_image
from edgeward.terminal.plot import write_png
from edgeward.terminal.progress import Progress
from edgeward.terminal.quoting import quoted

DRIFTED_STATUS = 1
WIDTH = 120  # of a table, at most
HEAD = "values", "mean", "sd", "min", "max", "NaN", "Inf"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directories",
        metavar="DIR",
        type=Path,
        nargs="+",
        help="the directory of a Capture, or one that gathers those of many devices",
    )
    add_key(parser)
    parser.add_argument(
        "--against",
        metavar="PACKAGE",
        type=Path,
        help="judge by this package's reference; the status is 1 when something has drifted",
    )
    parser.add_argument(
        "--trust", metavar="DIR", type=Path, help="of the package: the trust directory"
    )
    parser.add_argument(
        "--window",
        metavar="TIME",
        type=duration,
        help="join windows to this length, such as 6h (default: as they were counted)",
    )
    parser.add_argument(
        "--since", metavar="TIME", type=since, help="a date, or a duration before now such as 2d"
    )
    parser.add_argument("--png", metavar="FILE", type=Path, help="draw what has drifted")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write it all as a page")


def run(args: argparse.Namespace) -> Outcome:
    if args.against is None and (args.png or args.html):
        raise BadInput("--png, --html: expected --against PACKAGE with them, got none")
    for directory in args.directories:
        require_captures(directory)
    # Refuse before the work, not behind it.
    if args.png is not None:
        pillow_image()
    expected = None if args.against is None else _judged_by(args.against, args.trust)
    refused: list[str] = []
    totals = Totals()
    report: dict[str, Any] = {}
    lines: list[str] = []
    status = 0
    count = len({path for folder in args.directories for path in files_below(folder, *SUFFIXES)})
    with Progress("windows", count) as progress:
        windows = _windows(args, refused, totals, progress)
        if expected is None:
            deque(windows, maxlen=0)
        else:
            lines, status = _judge_into(report, args, *expected, windows)
    entries = [_entry(counted) for counted in totals.counted]
    report = {"statistics": entries, "refused": refused} | report
    if expected is None:
        lines = ["\n\n".join(map(_text, entries)) or "no statistics yet"]
    lines += [f"passed over: {quoted(refusal)}" for refusal in refused]
    return Outcome(report, "\n".join(lines), status)


def _windows(
    args: argparse.Namespace, refused: list[str], totals: Totals, progress: Progress
) -> Iterator[Window]:
    """Those that --since has left, of all directories, one in memory at a time."""
    for window in windows_below(args.directories, read_key(args), refused):
        progress.advance()
        if args.since is None or (window.wall_ns or 0) >= args.since * NS:
            totals.add(window)
            yield window


# --- judged by a package ------------------------------------------------------------------------


def _judge_into(
    report: dict[str, Any],
    args: argparse.Namespace,
    model: str,
    reference: Reference,
    windows: Iterator[Window],
) -> tuple[list[str], int]:
    """Adds the verdicts to the document; returns the lines of text and the exit status."""
    passed_over: list[str] = []
    entries = judged(reference, model, windows, args.window and args.window * NS, passed_over)
    is_drawn = args.png is not None or args.html is not None
    devices = drift_report.summaries(
        reference, entries, drift_report.MOST_PLOTTED if is_drawn else 0
    )
    if not devices:
        refusals = "; ".join(["got none", *passed_over])
        raise BadInput(f'captures: expected windows of model "{model}" to judge, {refusals}')
    report["drift"] = drift_report.document(devices, passed_over)
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    lines = drift_report.text(devices, passed_over, min(width, WIDTH))
    title = f"Drift of {', '.join(map(str, args.directories))} against {args.against}"
    if args.html is not None:
        sections = drift_report.sections(devices, passed_over)
        replace_file(args.html, page(title, sections).encode())
    if args.png is not None:
        write_png(args.png, drift_report.sheet(devices, title))
    for form in ("png", "html"):
        path = getattr(args, form)
        if path is not None:
            report[form] = str(path)
            lines.append(f"wrote {quoted(str(path))}")
    return lines, DRIFTED_STATUS if drift_report.has_drifted(devices) else 0


def _judged_by(path: Path, trust: Path | None) -> tuple[str, Reference]:
    """The name of the package's model, and its reference.

    The package is to judge by, not to run: it may be older than what runs here, or for another
    machine.
    """
    package = Package.authentic(path, trust=trust)
    reference = expectation(package)
    if reference is None:
        raise BadInput(f'package "{path}": expected a reference in it, got none')
    return package.name, reference


# --- counted ------------------------------------------------------------------------------------


def _entry(counted: Counted) -> dict[str, Any]:
    rows = counted.statistics.report()
    return {
        "model": counted.name,
        "version": counted.version,
        "package_id": counted.package_id,
        "signature": counted.signature,
        "columns": dict(counted.columns),
        "run_count": rows["run_count"],
        "error_count": rows["error_count"],
        "latency_ns": _latency(rows["latency_counts"]),
        "tensors": rows["tensors"],
    }


def _latency(counts: NDArray[np.uint64]) -> dict[str, int]:
    """Percentiles by bucket: each is the least value of its bucket."""
    least = _core.least_latencies()
    total = int(counts.sum())
    if total == 0:
        return {}
    running = np.cumsum(counts)
    return {
        name: int(least[int(np.searchsorted(running, share * total))])
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


def _text(entry: dict[str, Any]) -> str:
    model = title_of(entry["model"], entry["version"])
    latency = "   ".join(f"{name} {ns / 1e3:,.1f} µs" for name, ns in entry["latency_ns"].items())
    names = Names(entry["columns"])
    rows: list[tuple[str, ...]] = []
    for tensor in entry["tensors"]:
        rows.append((f'{tensor["side"]} "{tensor["name"]}"', *HEAD))
        rows += [(f"  {_row_name(tensor, part, names)}", *_cells(part)) for part in tensor["parts"]]
    errors = f", {entry['error_count']:,} failed" if entry["error_count"] else ""
    head = (
        f"{quoted(model)}, {quoted(entry['signature'])}: {entry['run_count']:,} inferences{errors}"
    )
    return "\n".join([head, f"latency  {latency}", "", *aligned(rows)])


def _row_name(tensor: dict[str, Any], part: dict[str, Any], names: Names) -> str:
    """Of a part, below its tensor: a figure is of each inference."""
    if part["kind"] == "figure":
        return f"{part['name']} of each"
    return called(Part(tensor["side"], tensor["name"], part["kind"], part["name"]), names)


def _cells(part: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{part['finite_count']:,}",
        *(number(value) for value in (part["mean"], part["variance"] ** 0.5)),
        *(number(part[end]) for end in ("min", "max")),
        f"{part['nan_count']:,}",
        f"{part['infinite_count']:,}",
    )
