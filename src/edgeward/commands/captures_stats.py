"""`edgeward captures stats`: the statistics over every inference, and how far they have drifted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import Package, _core
from edgeward.captures.description import title_of
from edgeward.captures.drift import Drift, drifts
from edgeward.captures.statistics_file import gather_statistics
from edgeward.commands.captures_records import add_directory, add_key, read_key, require_captures
from edgeward.errors import BadInput
from edgeward.outcome import Outcome
from edgeward.reports.inspection import aligned, number
from edgeward.terminal.quoting import quoted


def add(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)
    add_key(parser)
    parser.add_argument(
        "--against", metavar="PACKAGE", type=Path, help="compare with this package's reference"
    )
    parser.add_argument(
        "--trust", metavar="DIR", type=Path, help="of the package: the trust directory"
    )


def run(args: argparse.Namespace) -> Outcome:
    require_captures(args.directory)
    gathered = gather_statistics(args.directory, read_key(args))
    reference = None
    if args.against is not None:
        reference = Package.authentic(args.against, trust=args.trust).reference
        if reference is None:
            raise BadInput(f'package "{args.against}": expected a reference in it, got none')
    entries = []
    lines = []
    for statistics in gathered.counted:
        rows = statistics.statistics.report()
        entry: dict[str, Any] = {
            "model": statistics.name,
            "version": statistics.version,
            "package_id": statistics.package_id,
            "signature": statistics.signature,
            "run_count": rows["run_count"],
            "error_count": rows["error_count"],
            "latency_ns": _latency(rows["latency_counts"]),
            "tensors": [_plain(row) for row in rows["tensors"]],
        }
        lines.append(_text(entry))
        if reference is not None:
            moved = drifts([tensor._asdict() for tensor in reference.tensors], rows["tensors"])
            entry["drift"] = [drift._asdict() for drift in moved]
            lines += ["", *_drift_lines(moved)]
        entries.append(entry)
    lines += [f"passed over: {quoted(refusal)}" for refusal in gathered.refused]
    report = {"statistics": entries, "refused": gathered.refused}
    return Outcome(report, "\n".join(lines) or "no statistics yet")


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


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A tensor's row for JSON."""
    parts = [
        {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in part.items()
        }
        for part in row["parts"]
    ]
    return {**row, "class_counts": row["class_counts"].tolist(), "parts": parts}


def _text(entry: dict[str, Any]) -> str:
    model = title_of(entry["model"], entry["version"])
    latency = "   ".join(f"{name} {ns / 1e3:,.1f} µs" for name, ns in entry["latency_ns"].items())
    rows = [("tensor", "", "values", "mean", "sd", "min", "max", "NaN", "Inf")]
    rows += [
        (
            row["side"],
            f"{row['name']} {part['name']}".rstrip(),
            f"{part['finite_count']:,}",
            number(part["mean"]),
            number(part["variance"] ** 0.5),
            number(part["min"]),
            number(part["max"]),
            f"{part['nan_count']:,}",
            f"{part['infinite_count']:,}",
        )
        for row in entry["tensors"]
        for part in row["parts"]
    ]
    errors = f", {entry['error_count']:,} failed" if entry["error_count"] else ""
    head = (
        f"{quoted(model)}, {quoted(entry['signature'])}: {entry['run_count']:,} inferences{errors}"
    )
    return "\n".join([head, f"latency  {latency}", "", *aligned(rows)])


def _drift_lines(moved: Sequence[Drift]) -> list[str]:
    rows = [("drift", "tensor", "PSI", "mean moved by")]
    for drift in moved:
        shift = "" if drift.shift is None else f"{drift.shift:+.2f} sd"
        rows.append((drift.side, drift.name, f"{drift.psi:.3f}", shift))
    return aligned(rows)
