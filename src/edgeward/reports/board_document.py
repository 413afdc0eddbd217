"""What `edgeward bench --board` measured, as a document and as lines: one number each, with a name.

The lines are what pages and comparisons show, so that both say what the document says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from edgeward.reports.inspection import duration, size

KIND = "edgeward_board"  # the key that holds the version of a document
VERSION = 1
TIME, MEMORY, SPEED, RATE, RATIO = "us", "bytes", "MB/s", "predictions/s", "ratio"
PER_CALL, P99 = "time per call", "p99 of single calls"
OVER = "time over time, below 1 is faster"
THROUGHPUT = "predictions per second of all calling threads"
LOAD, HELD = "load and first run", "memory of the process that measured"
CAPTURE, START, OPENING = (
    "what capturing adds to session.run()",
    "start of a program",
    "opening an encrypted package",
)
PACKAGES = "packages"


class Line(NamedTuple):
    part: str  # a model's name, or PACKAGES
    title: str
    name: str
    value: float
    unit: str
    is_ours: bool = True

    @property
    def text(self) -> str:
        if self.unit == TIME:
            return duration(self.value)
        if self.unit == MEMORY:
            return size(int(self.value))
        if self.unit == RATIO:
            return f"{self.value:.2f}"
        if self.unit == RATE:
            return f"{self.value:,.0f}/s"
        return f"{self.value:,.0f} {self.unit}"

    @property
    def is_less_better(self) -> bool:
        return self.unit in (TIME, MEMORY, RATIO)


Document = Mapping[str, Any]


def lines(document: Document) -> list[Line]:
    """Every number that was measured, in the order in which pages show it."""
    measured = [line for model in document["models"] for line in _model_lines(model)]
    measured += [
        Line(
            PACKAGES, OPENING, f"{opened['cipher']}, threads: {opened['threads']}",
            opened["mb_per_s"], SPEED,
        )
        for opened in document["packages"]
    ]  # fmt: skip
    return measured


def _model_lines(model: Document) -> Iterator[Line]:
    name = model["name"]
    for part in model["runs"]:
        threads = f"engine threads: {part['threads']}"
        for way in part["ways"]:
            yield Line(
                name, f"{PER_CALL}, {threads}", way["name"], way["per_call_us"], TIME,
                way["is_ours"],
            )  # fmt: skip
        for way in part["ways"]:
            p99_us = way["latency"]["p99_us"]
            yield Line(name, f"{P99}, {threads}", way["name"], p99_us, TIME, way["is_ours"])
        for over in part["ratios"]:
            label = f"{over['ours']} / {over['theirs']}"
            yield Line(name, f"{OVER}, {threads}", label, over["median"], RATIO)
    for part in model["runs"]:
        for calls in part["throughput"]:
            label = f"threads: engine {part['threads']}, calling {calls['callers']}"
            yield Line(name, THROUGHPUT, label, calls["per_s"], RATE)
    if model["capture"] is not None:
        for added in model["capture"]["additions"]:
            yield Line(name, CAPTURE, added["name"], added["added_us"], TIME)
    load = model["load"]
    for label, key in (
        ("load, engine library included", "first_ms"),
        ("load again", "again_ms"),
        ("first run", "first_run_ms"),
    ):
        yield Line(name, LOAD, label, load[key] * 1e3, TIME)
    if model["start"] is not None:
        start = model["start"]
        yield Line(name, START, "import edgeward", start["import_ms"] * 1e3, TIME)
        yield Line(name, START, "import to first answer", start["answer_ms"] * 1e3, TIME)
        yield Line(name, START, "process, whole", start["process_ms"] * 1e3, TIME)
    for label, key in (
        ("before", "before_bytes"),
        ("after load", "loaded_bytes"),
        ("after first run", "run_bytes"),
    ):
        yield Line(name, HELD, label, load[key], MEMORY)
    yield Line(name, HELD, "of which the model", load["model"]["total_bytes"], MEMORY)
    if model["start"] is not None:
        peak = model["start"]["peak_bytes"]
        yield Line(name, HELD, "peak of a program that runs it once", peak, MEMORY)
