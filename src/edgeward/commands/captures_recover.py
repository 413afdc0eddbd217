"""`edgeward captures recover`: segments that a crash left open, sealed."""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgeward import _core
from edgeward.captures.captured import segment_paths
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
    with ExitStack() as locks, Progress("segments", len(paths)) as progress:
        folders = {Path(path).parent for path in paths}
        if (args.directory / _core.DRAIN_LOCK_NAME).exists():
            folders.add(args.directory)
        for folder in sorted(folders):
            locks.enter_context(_alone(folder))
        for path in paths:
            try:
                recovered.append({"segment": path, **_core.recover_segment(path)})
            except MalformedCapture as error:
                recovered.append({"segment": path, "path": None, "error": str(error)})
            progress.advance()
    rows = [_row(segment, args.directory) for segment in recovered]
    lines = aligned(rows) if rows else ["nothing to recover"]
    return Outcome({"recovered": recovered}, "\n".join(lines))


def _row(segment: dict[str, Any], directory: Path) -> tuple[str, str]:
    kept = (
        segment.get("error")
        or f"{segment['frame_count']:,} frames kept, {segment['lost_bytes']:,} bytes lost"
    )
    return os.path.relpath(segment["segment"], directory), kept


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Holds the drain's lock, so that an open segment is one that a crash left. Raises Busy."""
    with open(directory / _core.DRAIN_LOCK_NAME, "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f'captures "{directory}": expected nobody who drains into it, got a process that '
                "does: it seals its segments itself"
            ) from None
        yield
