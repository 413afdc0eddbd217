"""The line of progress: what it says, when it is drawn, and where it is silent."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import termios

import pytest

from edgeward.terminal.progress import BAR_COLUMNS, Progress, text


class Screen(io.StringIO):
    """A stream that claims to be a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


class AsciiScreen(Screen):
    encoding = "ascii"


class Clock:
    """Seconds that pass only when told to."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture(autouse=True)
def a_capable_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def last_line(screen):
    """What a person sees at the end: each \\r\\x1b[K wipes the line."""
    return screen.getvalue().split("\r\x1b[K")[-1]


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "says"),
    [
        (0, 599, 0.0, ["0 of 599"]),
        (0, 599, 5.0, ["0 of 599"]),
        (1, 4, 0.5, ["1 of 4", "2.0/s", "0:02 left"]),
        (30, 1200, 10.0, ["30 of 1,200", "3.0/s", "6:30 left"]),
        (10, 100_000, 10.0, ["10 of 100,000", "1.0/s", "27:46:30 left"]),
        (599, 599, 0.02, ["599 of 599", "29,950/s", "0.02 s"]),
        (10, 10, 100.0, ["10 of 10", "0.1/s", "1:40"]),
        (0, 0, 1.0, ["0 of 0"]),
    ],
)
def test_the_line_says_how_much_how_fast_and_how_long(done, total, elapsed_s, says):
    noun, _bar, *rest = re.split("  +", text("reading", done, total, elapsed_s))
    assert (noun, rest) == ("reading", says)


@pytest.mark.parametrize(("done", "filled"), [(0, 0), (1, 2), (6, 12), (11, 22), (12, 24)])
def test_the_bar_fills_with_the_work(done, filled):
    bar = text("reading", done, 12, 1.0).split("  ")[1]
    assert bar == "━" * filled + "─" * (BAR_COLUMNS - filled)


def test_what_is_no_terminal_stays_empty():
    stream = io.StringIO()
    with Progress("reading", 2, stream) as progress:
        progress.advance(2)
    assert stream.getvalue() == ""


def test_a_terminal_that_cannot_move_its_cursor_stays_empty(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    with Progress("reading", 2, screen) as progress:
        progress.advance(2)
    assert screen.getvalue() == ""


def test_it_is_drawn_ten_times_a_second_however_often_it_advances():
    screen, clock = Screen(), Clock()
    with Progress("reading", 1000, screen, clock) as progress:
        for _ in range(1000):
            clock.now_s += 0.001
            progress.advance()
    frames = screen.getvalue().count("\r\x1b[K")
    assert 10 <= frames <= 12


def test_the_finished_line_stays():
    screen, clock = Screen(), Clock()
    with Progress("reading", 3, screen, clock) as progress:
        clock.now_s += 2.0
        progress.advance(3)
    assert last_line(screen).endswith("3 of 3  1.5/s  2.00 s\n")


def test_an_interrupted_line_is_wiped():
    screen = Screen()
    progress = Progress("reading", 3, screen)
    with contextlib.suppress(KeyboardInterrupt), progress:
        progress.advance()
        raise KeyboardInterrupt
    assert "0 of 3" in screen.getvalue()
    assert last_line(screen) == ""


def test_a_terminal_without_line_drawing_gets_letters():
    screen = AsciiScreen()
    with Progress("reading", 2, screen) as progress:
        progress.advance()
    assert last_line(screen).isascii()
    assert "=" * (BAR_COLUMNS // 2) + "-" * (BAR_COLUMNS // 2) in last_line(screen)


def test_a_frame_is_narrower_than_the_terminal():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        with Progress("reading", 1000, terminal) as progress:
            progress.advance(1000)
        shown = b""
        while b"\n" not in shown:  # a terminal hands on what it has, not what was written
            shown += os.read(ours, 65536)
    os.close(ours)
    frames = shown.decode().rstrip("\r\n").split("\r\x1b[K")[1:]
    assert len(frames) >= 2
    assert {len(frame) for frame in frames} == {39}
