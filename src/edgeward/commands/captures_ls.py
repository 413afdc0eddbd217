"""`edgeward captures ls`: the segments of a directory, and what was captured and lost."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from edgeward import _core
from edgeward.captures import rings
from edgeward.captures.segments import Segment, look_into, segment_paths
from edgeward.commands.captures_records import (
    add_directory,
    add_key,
    read_key,
    require_captures,
    timestamp,
)
from edgeward.outcome import Outcome
from edgeward.paths import PathLike
from edgeward.reports.inspection import aligned, size

COUNTED = {
    "sampled_out": "sampled out",
    "committed": "committed",
    "lost_full": "lost to full rings",
    "lost_large": "too large",
    "overwritten": "overwritten",
}


def add(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)
    add_key(parser)


def run(args: argparse.Namespace) -> Outcome:
    require_captures(args.directory)
    key = read_key(args)
    segments, counters = [], {}
    for path in segment_paths(args.directory):
        segment, last = look_into(path, key)
        segments.append(segment)
        counters.update(last)
    folders = {args.directory, *(os.path.dirname(segment.path) for segment in segments)}
    waiting = sorted(name for folder in folders for name in _waiting_rings(folder))
    report: dict[str, Any] = {
        "segments": [segment._asdict() | {"models": list(segment.models)} for segment in segments],
        "record_count": sum(segment.record_count for segment in segments),
        "size_bytes": sum(segment.size_bytes for segment in segments),
        "rings": [{"ring_id": f"{ring:016x}", **values} for ring, values in counters.items()],
        "waiting_rings": waiting,
    }
    rows = [_row(segment, args.directory) for segment in segments]
    lines = aligned(rows) if rows else ["no segments"]
    if counters:
        totals = {name: sum(ring[name] for ring in counters.values()) for name in COUNTED}
        parts = ", ".join(f"{totals[name]:,} {phrase}" for name, phrase in COUNTED.items())
        lines += ["", f"{report['record_count']:,} records on the disk; of its rings: {parts}"]
    if waiting:
        lines.append(f"{len(waiting)} ring(s) in memory: edgeward captures drain brings them here")
    return Outcome(report, "\n".join(lines))


def _waiting_rings(directory: PathLike) -> list[str]:
    ring_directory = rings.directory_of(directory)
    if not os.path.isdir(ring_directory):
        return []
    names = os.listdir(ring_directory)
    return [name for name in names if name.endswith(_core.RING_SUFFIX)]


def _row(segment: Segment, directory: Path) -> tuple[str, ...]:
    return (
        os.path.relpath(segment.path, directory),
        size(segment.size_bytes),
        f"{segment.record_count:,} records",
        _span(segment),
        _state(segment),
        ", ".join(segment.models),
    )


def _state(segment: Segment) -> str:
    parts = [segment.state]
    if segment.fault:
        parts[0] += f" at {segment.fault}"
    if segment.state == "recovered":
        parts.append("the end is not proved: a crash cut it")
    if segment.state == "unauthenticated":
        parts.append("format 1 proves neither order nor end")
    if segment.is_encrypted:
        parts.append(
            "encrypted" if segment.is_readable else "encrypted, not checked without its key"
        )
    return ", ".join(parts)


def _span(segment: Segment) -> str:
    if segment.first_ns is None or segment.last_ns is None:
        return ""
    return f"{timestamp(segment.first_ns)} to {timestamp(segment.last_ns)}"
