"""What capturing adds to a call: the same model with and without a Capture, in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgeward import Capture, Session
from edgeward.errors import EdgewardError
from edgeward.measuring.timing import alternate, statement_way

LEAST_RING_BYTES = 16 << 20
RECORDS = 4  # that a ring holds at least
SEED = 4

# A black box overwrites its oldest records: none is dropped, and nothing is drained meanwhile.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "a Capture that keeps nothing": {"sample": 0.0, "statistics": False},
    "statistics of every inference": {"sample": 0.0},
    "keeping every inference": {"statistics": False},
}


class Addition(NamedTuple):
    """What a call takes longer: the median of the differences within the rounds."""

    name: str
    added_us: float


class CaptureReport(NamedTuple):
    without_us: float  # of session.run(), beside the first kind; 0 where none could be measured
    additions: list[Addition]
    failures: dict[str, str]  # kinds that do not run here, and why


def report(
    session_with: Callable[[Capture | None], Session], seconds: float, limit_s: float
) -> CaptureReport:
    """Runs sessions of one model, each beside one without a Capture; `seconds` for each kind.

    `session_with` opens the model with a Capture or without. A kind that fails is a result too.
    """
    without_us = 0.0
    additions: list[Addition] = []
    failures: dict[str, str] = {}
    for name, options in KINDS.items():
        try:
            with tempfile.TemporaryDirectory(prefix="edgeward-bench-") as directory:
                rounds = _rounds(session_with, Path(directory), options, seconds, limit_s)
        except (EdgewardError, OSError) as error:
            failures[name] = str(error)
            continue
        pairs = zip(rounds[name_of(True)], rounds[name_of(False)], strict=True)
        additions.append(Addition(name, float(np.median([a - b for a, b in pairs]))))
        without_us = without_us or float(np.median(rounds[name_of(False)]))
    return CaptureReport(without_us, additions, failures)


def name_of(is_captured: bool) -> str:
    return "captured" if is_captured else "plain"


def _rounds(
    session_with: Callable[[Capture | None], Session],
    directory: Path,
    options: Mapping[str, Any],
    seconds: float,
    limit_s: float,
) -> dict[str, list[float]]:
    plain = session_with(None)
    views = [*plain.inputs.values(), *plain.outputs.values()]
    record_bytes = sum(view.nbytes for view in views)
    ring_bytes = max(LEAST_RING_BYTES, 1 << (RECORDS * record_bytes).bit_length())
    with Capture(directory, keep="newest", ring_bytes=ring_bytes, **options) as capture:
        captured = session_with(capture)
        ways = [
            statement_way(name_of(session is captured), "run()", is_ours=True, run=session.run)
            for session in (plain, captured)
        ]
        rounds = alternate(ways, seconds, SEED, limit_s)
        captured.close()
    plain.close()
    return rounds
