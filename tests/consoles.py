"""What the documents show of a console, held against what a command prints."""

import re


def blurred(text: str) -> str:
    """Figures that differ from one machine to the next are all the same."""
    return re.sub(r"\d[\d.,]*", "0", re.sub(r"\b[0-9a-f]{16,}\b", "0", text))


def pattern(shown: str) -> str:
    """The text as a regular expression; a line of three dots stands for any number of lines."""
    lines = [re.escape(blurred(line)) for line in shown.splitlines()]
    return "".join("(?:.*\n)*" if line == r"\.\.\." else f"{line}\n" for line in lines)
