"""`edgeward captures recover`: segments that a crash left open, sealed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from edgeward import _core
from edgeward.captures.segments import segment_paths
from edgeward.commands.captures_records import add_directory
from edgeward.errors import Busy, MalformedCapture
from edgeward.outcome import Outcome
from edgeward.reports.inspection import aligned
from edgeward.terminal.progress import Progress


def add(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)


def run(args: argparse.Namespace) -> Outcome:
    paths = [path for path in segment_paths(args.directory) if path.endswith(_core.OPEN_SUFFIX)]
    recovered: list[dict[str, Any]] = []
    busy: Busy | None = None
    with Progress("segments", len(paths)) as progress:
        for path in paths:
            try:
                recovered.append({"segment": path, **_core.recover_segment(path)})
            except Busy as error:
                busy = error
            except MalformedCapture as error:
                recovered.append({"segment": path, "path": None, "error": str(error)})
            progress.advance()
    if busy is not None:
        raise busy
    rows = [_row(segment, args.directory) for segment in recovered]
    lines = aligned(rows) if rows else ["nothing to recover"]
    return Outcome({"recovered": recovered}, "\n".join(lines))


def _row(segment: dict[str, Any], directory: Path) -> tuple[str, str]:
    kept = (
        segment.get("error")
        or f"{segment['frame_count']:,} frames kept, {segment['lost_bytes']:,} bytes lost"
    )
    return os.path.relpath(segment["segment"], directory), kept
