"""RESULTS.md: every number that the project claims, one row each, drawn anew when rows are added.

A row has the day, the commit, the machine and the command. Rows are never edited: a new measurement
is a new row. The page has one table a subject, the latest row first, and before them a summary of
the latest row of each line in SUMMARY.
"""

import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from edgeward.engines.processors import usable_cpus
from edgeward.measuring.machine import cpu_model

FILE = Path(__file__).with_name("RESULTS.md")
HEADER = "| what | number | budget | date | commit | command | machine |"


class Result(NamedTuple):
    what: str
    number: str


class Row(NamedTuple):
    what: str
    number: str
    budget: str  # "at most 1.10: holds"; empty where none binds it
    date: str
    commit: str
    command: str
    machine: str

    @property
    def text(self) -> str:
        return "| " + " | ".join(self) + " |"


class Subject(NamedTuple):
    """One table of the page; a row belongs to the first whose pattern its command matches."""

    title: str
    command: str


SUBJECTS = (
    Subject("Running a model", r"benchmarks/(run|test_budgets|tuning)\.py"),
    Subject("Opening a package", r"benchmarks/(opening|big_models)\.py|package_flips"),
    Subject("Capturing", r"benchmarks/capture(_soak|_files|_drain)?\.py"),
    Subject("Serving by the agent", r"benchmarks/serving\.py"),
    Subject("Drift", r"drift_power|merge_windows"),
    Subject("Memory of sessions", r"benchmarks/memory\.py"),
    Subject("Processes of one model", r"benchmarks/processes\.py"),
    Subject("Threads and load cycles", r"benchmarks/(threads|load_cycles)\.py"),
    Subject(
        "Kills, mutations and model checking",
        r"ring_kills|ring_model|mutations|(killed|ended|rival|forked)_programs",
    ),
    Subject("Fuzzing", r"fuzz_"),
    Subject("Other processors", r"tools/(aarch64|armv7)"),
)

# What a stranger asks first, and the row that answers it.
SUMMARY = (
    (
        "`session.run()` against the engine's bare C call",
        "one_op.tflite: litert: session.run() / litert: bare engine call",
    ),
    (
        "`predict(x)` against LiteRT's Interpreter, one operation",
        "one_op.tflite: litert: predict(x) / ai_edge_litert Interpreter",
    ),
    (
        "`predict(x)` against ONNX Runtime, one operation",
        "one_op.onnx: onnx: predict(x) / onnxruntime run",
    ),
    (
        "`predict(x)` against LiteRT's Interpreter, MobileNet",
        "mobilenet.tflite: litert: predict(x) / ai_edge_litert Interpreter",
    ),
    (
        "150 kB in and out, in place, against LiteRT's Interpreter",
        "150k.tflite: litert: session.run() / ai_edge_litert Interpreter",
    ),
    ("`import edgeward` beyond `import numpy`", "import edgeward over import numpy"),
    ("size of the wheel", "wheel"),
    (
        "speed of opening an encrypted package against libcrypto alone",
        "speed of open, 1 thread / libcrypto, 1 thread",
    ),
    (
        "a program's start with a package against the plain file",
        "model.tflite: package / the plain file",
    ),
    (
        "a Capture that keeps nothing, against none",
        "one op: with a Capture that keeps nothing / without",
    ),
    ("a Capture that keeps everything adds to a call", "one op: keeping everything adds to a call"),
    (
        "statistics, by the element",
        "statistics of a float32 tensor of 16384 elements, by the element",
    ),
)

INTRODUCTION = """\
# Results

A number that is not here is not claimed. The commands in [README.md](README.md) add rows with
`--record`; rows of campaigns are added by hand from what they print. A row is never edited: a new
measurement is a new row. The commit is the one that was checked out, with a plus when files
differed from it. The machine is the processor as its kernel names it, the cores the process could
use, and the kernel.

A ratio is a time over a time, so below 1 is faster: the median of the ratios within the rounds of
one process, then the least and greatest of the rounds. Times are medians over the rounds. Compare
numbers of one row; other days and machines have other times. A path in a command is that of its
commit.
"""


def finish(program: str, results: Iterable[Result], *, is_recorded: bool) -> int:
    """As report(); a budget does not hold where a number says so."""
    findings = ((*result, not result.number.endswith("does not hold")) for result in results)
    return report(program, findings, is_recorded=is_recorded)


def report(program: str, findings: Iterable[tuple[str, str, bool]], *, is_recorded: bool) -> int:
    """Print what benchmarks/`program` finds, as it does, and record it if asked.

    A finding is what was measured, its number, and whether its budget holds. Returns the status to
    end with.
    """
    results, misses = [], 0
    for what, number, holds in findings:
        print(f"{what}: {number}", flush=True)
        results.append(Result(what, number))
        misses += not holds
    if is_recorded:
        record(" ".join(["python", f"benchmarks/{program}", *sys.argv[1:]]), results)
    return 1 if misses else 0


def record(command: str, results: Iterable[Result]) -> None:
    """Adds a row for each result. Needs the checkout to be a git one."""
    day = datetime.now(timezone.utc).date().isoformat()
    machine = f"{cpu_model()}, {usable_cpus()} cores, Linux {platform.release()}"
    commit = _commit()
    rows = [
        Row(result.what, *parted(result.number), day, commit, f"`{command}`", machine)
        for result in results
    ]
    FILE.write_text(page([*rows, *rows_of(FILE.read_text())]))


def parted(number: str) -> tuple[str, str]:
    """A number as a benchmark prints it, parted from its budget: "1.08, limit 1.10 holds"."""
    match = re.fullmatch(r"(.*?)[,;] limit (.+?);? (holds|does not hold)", number)
    return (match[1], f"{match[2]}: {match[3]}") if match else (number, "")


def rows_of(text: str) -> list[Row]:
    """The rows of all tables but the summary, in their order."""
    rows = []
    for table in text.split(f"{HEADER}\n")[1:]:
        for line in table.splitlines()[1:]:
            if not line.startswith("|"):
                break
            rows.append(Row(*(cell.strip() for cell in line.strip("|").split(" | "))))
    return rows


def page(rows: Sequence[Row]) -> str:
    """The whole of RESULTS.md. Rows of one day keep their order. Raises ValueError for a stray."""
    parts = [INTRODUCTION, "## In a minute\n", summary(rows)]
    latest_first = sorted(rows, key=lambda row: row.date, reverse=True)
    by_subject: dict[str, list[Row]] = {subject.title: [] for subject in SUBJECTS}
    for row in latest_first:
        by_subject[subject_of(row).title].append(row)
    for title, chosen in by_subject.items():
        lines = [HEADER, "|---|---|---|---|---|---|---|", *(row.text for row in chosen)]
        parts += [f"## {title}\n", "\n".join(lines) + "\n"]
    return "\n".join(parts)


def subject_of(row: Row) -> Subject:
    for subject in SUBJECTS:
        if re.search(subject.command, row.command):
            return subject
    raise ValueError(f"{row.command}: expected a command of a subject in SUBJECTS")


def summary(rows: Sequence[Row]) -> str:
    lines = ["| question | latest answer | budget | measured |", "|---|---|---|---|"]
    for question, what in SUMMARY:
        answers = [row for row in rows if row.what == what]
        if answers:
            latest = max(answers, key=lambda row: row.date)
            measured = f"{latest.date}, {latest.commit}"
            lines.append(f"| {question} | {latest.number} | {latest.budget} | {measured} |")
    return "\n".join(lines) + "\n"


def _commit() -> str:
    """The short hash, with a plus when files of the project differ from that commit."""
    git = ("git", "-C", str(FILE.parent))
    commit = subprocess.check_output((*git, "rev-parse", "--short", "HEAD"), text=True).strip()
    # Rows recorded a moment ago are no change of what was measured.
    changes = (*git, "status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/RESULTS.md")
    return commit + "+" if subprocess.check_output(changes, text=True) else commit
