"""`edgeward bench --board`: all that matters on one board, in a few minutes.

Each part runs in a process of its own, or is left out with its reason; the parts share the time
that there is. The models are measured by `edgeward bench` itself.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from edgeward import __version__
from edgeward.durable import replace_file
from edgeward.engines.choice import MAX_THREADS
from edgeward.engines.processors import doubling_counts, usable_cpus
from edgeward.errors import EdgewardError
from edgeward.measuring import capturing, machine, opening, starting
from edgeward.measuring.child_part import PartError, output_of
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports import board_document, board_page, board_report

DIGITS = Path(__file__).parents[1] / "digits"
SHIPPED = ("digits.tflite", "digits.onnx")
PARTS_S = 180.0  # for all that takes as long as it is told to
ALL_S = 285.0  # when the last part ends
BENCH = 'import runpy; runpy.run_module("edgeward", run_name="__main__", alter_sys=True)'
START_TURNS = 5
INCOMPLETE_STATUS = 1

Say = Callable[[str], None]


class Subject(NamedTuple):
    """A model that is measured."""

    name: str
    path: str
    is_asked_for: bool  # rather than one that is measured on every board


class Board:
    """Measures the parts one after another, and keeps what they gave or why they did not run."""

    def __init__(self, args: argparse.Namespace, subjects: Sequence[Subject], say: Say) -> None:
        self._trust, self._key, self._say = args.trust, args.key, say
        self._end_s = time.monotonic() + ALL_S
        self._counts = doubling_counts(min(usable_cpus(), MAX_THREADS))
        parts = len(self._counts) * (2 + len(self._counts)) + len(capturing.KINDS)
        self._share_s = PARTS_S / (parts * len(subjects) + len(opening.CIPHERS))
        self._seconds = min(args.seconds, self._share_s)
        self.left_out: list[dict[str, str]] = []

    def model(self, subject: Subject) -> dict[str, Any] | None:
        """All of one model; None when it is left out."""
        self._say(f"{subject.name}: it is opened")
        threads = ",".join(map(str, self._counts))
        words = ["bench", "--json", "--capture", "--threads", threads]
        words += ["--seconds", f"{self._seconds:.4f}", "--limit", f"{self._share_s:.4f}"]
        words += [] if self._is_package(subject) else ["--vs"]
        for option, value in (("--trust", self._trust), ("--key", self._key)):
            if value is not None and self._is_package(subject):
                words += [option, str(value)]
        try:
            printed = output_of(
                BENCH,
                [*words, "--", subject.path],
                self._left_s(),
                lambda step: self._say(f"{subject.name}: {step}"),
            )
        except PartError as error:
            self._leave_out(subject.name, subject, error)
            return None
        document: dict[str, Any] = json.loads(printed)
        del document["machine"], document["edgeward"], document["model"]
        return {"name": subject.name, **document, "start": self._start(subject)}

    def packages(self) -> list[dict[str, Any]]:
        try:
            openings = opening.report(self._counts, self._seconds, self._say)
        except (OSError, EdgewardError) as error:
            self.left_out.append({"part": "opening a package", "reason": str(error)})
            return []
        return [opened._asdict() for opened in openings]

    def _start(self, subject: Subject) -> dict[str, Any] | None:
        turns = max(1, round(START_TURNS * min(1.0, self._seconds)))
        self._say(f"{subject.name}: start of a program, {turns} times")
        try:
            return starting.report(
                subject.path,
                self._is_package(subject),
                self._trust,
                self._key,
                turns,
                self._left_s,
            )._asdict()
        except PartError as error:
            self._leave_out(f"{subject.name}: {board_document.START}", subject, error)
            return None

    def _leave_out(self, part: str, subject: Subject, error: PartError) -> None:
        reason = str(error).replace(subject.path, subject.name)
        self.left_out.append({"part": part, "reason": reason})

    def _is_package(self, subject: Subject) -> bool:
        return is_package(subject.path)

    def _left_s(self) -> float:
        return self._end_s - time.monotonic()


def subjects(paths: Sequence[str]) -> list[Subject]:
    """The shipped models and those at `paths`, with names that differ. Raises OSError."""
    for path in paths:
        os.stat(path)  # now, not after minutes
    chosen = [Subject(name, str(DIGITS / name), False) for name in SHIPPED]
    counts = Counter(SHIPPED)
    for path in paths:
        name = os.path.basename(path)
        counts[name] += 1
        chosen.append(
            Subject(name if counts[name] == 1 else f"{name} ({counts[name]})", path, True)
        )
    return chosen


def measured(args: argparse.Namespace, chosen: Sequence[Subject], say: Say) -> dict[str, Any]:
    """The document of this board."""
    before, start_s = machine.conditions(), time.monotonic()
    board = Board(args, chosen, say)
    packages = board.packages()
    models = [model for model in map(board.model, chosen) if model is not None]
    return {
        board_document.KIND: board_document.VERSION,
        "edgeward": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "took_s": round(time.monotonic() - start_s, 1),
        "machine": machine.machine(),
        "before": before,
        "after": machine.conditions(),
        "models": models,
        "packages": packages,
        "left_out": board.left_out,
    }


def run(args: argparse.Namespace, say: Say) -> Outcome:
    """Measures, and writes what was asked for. The status is 1 when a model that was named, or
    all of them, are left out."""
    for path in (args.output, args.html):
        if path is not None:
            os.stat(path.parent)  # before the minutes, not after them
    chosen = subjects(args.models)
    document = measured(args, chosen, say)
    lines = [board_report.text(document)]
    if args.output is not None:
        replace_file(args.output, json.dumps(document, indent=1).encode() + b"\n")
        lines.append(f"wrote {args.output}")
    if args.html is not None:
        replace_file(args.html, board_page.board_page(document).encode())
        lines.append(f"wrote {args.html}")
    names = {model["name"] for model in document["models"]}
    asked = {subject.name for subject in chosen if subject.is_asked_for}
    is_complete = bool(names) and asked <= names
    return Outcome(document, "\n".join(lines), 0 if is_complete else INCOMPLETE_STATUS)
