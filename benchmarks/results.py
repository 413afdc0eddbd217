"""Rows of RESULTS.md: one number each, with the day, the commit, the machine and the command."""

import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from edgeward.commands.bench import cpu_model
from edgeward.engines.processors import usable_cpus

FILE = Path(__file__).with_name("RESULTS.md")


class Result(NamedTuple):
    what: str
    number: str


def record(command: str, results: Iterable[Result]) -> None:
    """Appends a row for each result. Needs the checkout to be a git one."""
    day = datetime.now(timezone.utc).date().isoformat()
    machine = f"{cpu_model()}, {usable_cpus()} cores, Linux {platform.release()}"
    commit = _commit()
    with FILE.open("a", encoding="utf-8") as file:
        for result in results:
            cells = (day, commit, machine, f"`{command}`", result.what, result.number)
            file.write("| " + " | ".join(cells) + " |\n")


def _commit() -> str:
    """The short hash, with a plus when files of the project differ from that commit."""
    git = ("git", "-C", str(FILE.parent))
    commit = subprocess.check_output((*git, "rev-parse", "--short", "HEAD"), text=True).strip()
    # Rows recorded a moment ago are no change of what was measured.
    changes = (*git, "status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/RESULTS.md")
    return commit + "+" if subprocess.check_output(changes, text=True) else commit
