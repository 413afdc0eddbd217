"""Quoting: whatever a terminal would act on is spelled out, everything else is as it was."""

import sys
import unicodedata

import pytest

from edgeward.terminal.quoting import quoted, quoted_text


@pytest.mark.parametrize(
    "text",
    ["", "scores", "dense/BiasAdd:0", "Übergröße 画像 שלום", 'a "quoted" \\ name', "µ · ━ ▀"],
)
def test_a_name_that_can_be_shown_stays(text):
    assert quoted(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("cat\u202egpj.exe", "cat\\u202egpj.exe"),
        ("\u2066\u2069\u200f\u061c", "\\u2066\\u2069\\u200f\\u061c"),
        ("\u2028\u2029\ufeff\u200b", "\\u2028\\u2029\\ufeff\\u200b"),
        ("\ud800\udcff", "\\ud800\\udcff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_a_terminal_acts_on_is_spelled(text, shown):
    assert quoted(text) == shown


def test_no_character_is_left_that_is_not_shown():
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    kinds = {unicodedata.category(character) for character in quoted(every)}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert quoted(every).isprintable()


COLOURED = "\x1b[38;5;16;48;5;231m▀\x1b[0m"


@pytest.mark.parametrize("text", ["", "a\nb\n", f"{COLOURED}\nscores  0.1", f"{COLOURED} x"])
def test_lines_and_colours_of_a_text_stay(text):
    assert quoted_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J\nb\u2028", "a\\x1b[2J\nb\\u2028"),
        (f"{COLOURED}\x1b]0;t\x07\r", f"{COLOURED}\\x1b]0;t\\x07\\r"),
        ("\x1b[\x1b[0mm", "\\x1b[\x1b[0mm"),
    ],
)
def test_nothing_else_of_a_text_does(text, shown):
    assert quoted_text(text) == shown
