"""Outcome: what a command found, as a document for JSON and as text for people.

A command is a module with `add(parser)`, which adds its arguments, and `run(args)`, which returns
an Outcome or raises. cli.py prints the one or the other; a command prints nothing, unless what was
asked for is a file on standard output.
"""

from typing import Any, NamedTuple


class Outcome(NamedTuple):
    report: dict[str, Any] | None  # plain values and arrays; None where there is text alone
    text: str  # empty when the command has written to standard output what was asked for
    status: int = 0  # what the program exits with
