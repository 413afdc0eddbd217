"""Lines of prose, folded between words."""

import pytest

from edgeward.terminal.prose import FEW_COLUMNS, folded


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("trust     " + "word " * 9,
         ["trust     word word word word word word", " " * 10 + "word word word"]),
        ("  " + "x" * 50 + " y", ["  " + "x" * 50, "          y"]),
        ("copy " + "/a-path/that-is/long/" * 3 + " there",
         ["copy", " " * 10 + "/a-path/that-is/long/" * 3, " " * 10 + "there"]),
    ],
    ids=["empty", "short", "words", "indented", "path"],
)  # fmt: skip
def test_lines_end_between_words(line, lines):
    assert folded(line, FEW_COLUMNS, 10) == lines
    assert folded(line, 0, 10) == lines  # as much as is of use
