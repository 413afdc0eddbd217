"""`edgeward captures`: what a program captured, looked at and taken elsewhere, step by step."""

import argparse

from edgeward.commands import (
    captures_drain,
    captures_export,
    captures_ls,
    captures_recover,
    captures_show,
    captures_stats,
)
from edgeward.commands.steps import Step, add_steps, run_step
from edgeward.outcome import Outcome

STEPS = (
    Step("ls", "List the segments, and what was captured and lost.", captures_ls),
    Step("show", "Show captured inferences, pictures as pictures.", captures_show),
    Step("export", "Write captured inferences for other tools.", captures_export),
    Step("stats", "Show the statistics over every inference, kept or not.", captures_stats),
    Step("recover", "Seal segments that a crash left open.", captures_recover),
    Step(
        "drain",
        "Bring what rings hold to the disk, also of programs that were killed.",
        captures_drain,
    ),
)


def add(parser: argparse.ArgumentParser) -> None:
    add_steps(parser, STEPS)


def run(args: argparse.Namespace) -> Outcome:
    return run_step(args)
