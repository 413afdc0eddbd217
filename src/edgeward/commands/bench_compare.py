"""`edgeward bench --compare`: what boards have measured, line by line, beside the first."""

from __future__ import annotations

import argparse

from edgeward.durable import replace_file
from edgeward.outcome import Outcome
from edgeward.reports import board_comparison, board_page


def run(args: argparse.Namespace) -> Outcome:
    """Raises OSError, BadInput for a file that is no document of a board."""
    boards = board_comparison.read(args.compare)
    text = board_comparison.text(boards)
    if args.html is not None:
        replace_file(args.html, board_page.comparison_page(boards).encode())
        text += f"\n\nwrote {args.html}"
    return Outcome(board_comparison.document(boards), text)
