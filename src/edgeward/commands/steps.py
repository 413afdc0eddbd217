"""Steps: the commands within a command, such as `edgeward root rotate`.

A command with steps is a table of them; each is a module like a command's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from edgeward.outcome import Outcome


class StepModule(Protocol):
    def add(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> Outcome: ...


class Step(NamedTuple):
    name: str
    description: str
    module: StepModule


def add_steps(parser: argparse.ArgumentParser, steps: Sequence[Step]) -> None:
    parsers = parser.add_subparsers(metavar="STEP", required=True)
    for step in steps:
        help = step.description[0].lower() + step.description[1:-1]
        step_parser = parsers.add_parser(step.name, help=help, description=step.description)
        step.module.add(step_parser)
        step_parser.set_defaults(run_step=step.module.run)


def run_step(args: argparse.Namespace) -> Outcome:
    """What the step that was chosen found."""
    outcome: Outcome = args.run_step(args)
    return outcome
