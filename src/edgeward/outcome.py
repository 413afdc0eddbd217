"""Outcome: what a command found, as a document for JSON and as text for people."""

from typing import Any, NamedTuple


class Outcome(NamedTuple):
    report: dict[str, Any]
    text: str
    status: int = 0  # what the program exits with
