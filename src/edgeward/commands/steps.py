"""Steps: the commands within a command, such as `edgeward root rotate`.

A command with steps is a table of them; each is a module like a command's. Without a step, the
error is shown with the help that names them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, Protocol

from edgeward.outcome import Outcome


class StepModule(Protocol):
    def add(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> Outcome: ...


class Step(NamedTuple):
    name: str
    description: str
    module: StepModule


def add_steps(parser: argparse.ArgumentParser, steps: Sequence[Step]) -> None:
    parsers = parser.add_subparsers(metavar="STEP")
    require_step(parser, "run_step", [step.name for step in steps])
    for step in steps:
        help = step.description[0].lower() + step.description[1:-1]
        step_parser = parsers.add_parser(step.name, help=help, description=step.description)
        step.module.add(step_parser)
        step_parser.set_defaults(run_step=step.module.run)


def run_step(args: argparse.Namespace) -> Outcome:
    """What the step that was chosen found."""
    outcome: Outcome = args.run_step(args)
    return outcome


class StepMissing(Exception):  # noqa: N818 - named by what is wrong
    """Raised for a command that lacks its next word: bad input, and the help that names it."""

    def __init__(self, parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
        super().__init__(f"{parser.prog}: expected one of {', '.join(names)}, got none")
        self.help = parser.format_help().rstrip()


def require_step(parser: argparse.ArgumentParser, run: str, names: Sequence[str]) -> None:
    """Has the argument `run`, unless one of the steps `names` sets it, raise StepMissing."""

    def refuse(args: argparse.Namespace) -> NoReturn:
        raise StepMissing(parser, names)

    parser.set_defaults(**{run: refuse})
