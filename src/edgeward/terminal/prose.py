"""Prose in a terminal: long lines are folded between words, below their own beginning."""

import textwrap

FEW_COLUMNS = 40  # below which nothing is gained


def folded(line: str, columns: int, indent: int) -> list[str]:
    """`line` in lines of at most `columns`, all but the first begun with `indent` spaces.

    A word that is longer stays whole, so that paths and commands can be copied.
    """
    words = line.lstrip(" ")
    return textwrap.wrap(
        words,
        max(columns, FEW_COLUMNS),
        initial_indent=line[: len(line) - len(words)],
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
