"""Outcome: what a command found, as a document for JSON and as text for people.

A command is a module with `add(parser)`, which adds its arguments, and `run(args)`, which returns
an Outcome or raises. cli.py prints the one or the other; a command prints nothing.
"""

from typing import Any, NamedTuple


class Outcome(NamedTuple):
    report: dict[str, Any] | None  # plain values and arrays; None where there is text alone
    text: str
    status: int = 0  # what the program exits with
