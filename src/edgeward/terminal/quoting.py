"""Text for terminals from strangers: what a terminal would act on is spelled out instead.

Names come from models, packages, captures and directories. A command quotes each of them; cli.py
quotes all text once more, which leaves lines and the colours of pictures as they are.
"""

import re

COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")  # as pictures are drawn with


def quoted(name: str) -> str:
    """`name` as one line of printable characters; any other is spelled as in Python, "\\x1b".

    Those are control characters, line ends, and what changes the direction of text or is not seen.
    """
    if name.isprintable():
        return name
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in name
    )


def quoted_text(text: str) -> str:
    """`text` with its lines and colours, and nothing else that a terminal acts on."""
    return "\n".join(_quoted_line(line) for line in text.split("\n"))


def _quoted_line(line: str) -> str:
    if line.isprintable():
        return line
    parts = COLOUR.split(line)  # plain and colour by turns
    parts[::2] = map(quoted, parts[::2])
    return "".join(parts)
