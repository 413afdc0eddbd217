"""A line of progress on the error stream: how much is done, how fast, and how long it still takes.

Draws only on a terminal, a few times a second. The finished line stays, an interrupted line is
cleared. One thread at a time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TextIO

REDRAW_INTERVAL_S = 0.1
BAR_COLUMNS = 24


class Progress:
    """Counts `total` steps of `noun`. Use as a context manager; call advance() after each step."""

    def __init__(
        self,
        noun: str,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._noun = noun
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._draws = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._line = "━─" if "utf" in (self._stream.encoding or "").lower() else "=-"
        self._done = 0
        self._start_s = clock()
        self._next_draw_s = self._start_s

    def __enter__(self) -> Progress:
        self._draw_when_due()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._draws:
            return
        if kind is None:
            self._draw(self._clock())
            self._stream.write("\n")
        else:
            self._stream.write("\r\x1b[K")
        self._stream.flush()

    def advance(self, count: int = 1) -> None:
        self._done += count
        self._draw_when_due()

    def _draw_when_due(self) -> None:
        if not self._draws:
            return
        now_s = self._clock()
        if now_s >= self._next_draw_s:
            self._draw(now_s)
            self._next_draw_s = now_s + REDRAW_INTERVAL_S

    def _draw(self, now_s: float) -> None:
        line = text(self._noun, self._done, self._total, now_s - self._start_s, self._line)
        # One column short of the edge: a full line would wrap, and \r would miss its start.
        columns = _columns(self._stream) - 1
        self._stream.write("\r\x1b[K" + line[:columns])
        self._stream.flush()


def announce(line: str) -> None:
    """Writes to the error stream what comes next. A closed error stream fails no command."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def text(noun: str, done: int, total: int, elapsed_s: float, line: str = "━─") -> str:
    """One line. `line` is what its bar is drawn with: the part done, the part left."""
    filled = BAR_COLUMNS * done // total if total else BAR_COLUMNS
    bar = line[0] * filled + line[1] * (BAR_COLUMNS - filled)
    parts = [noun, bar, f"{done:,} of {total:,}"]
    if done and elapsed_s > 0:
        rate_per_s = done / elapsed_s
        parts.append(f"{rate_per_s:,.0f}/s" if rate_per_s >= 10 else f"{rate_per_s:.1f}/s")
        if done < total:
            parts.append(f"{_duration((total - done) / rate_per_s)} left")
        else:
            parts.append(f"{elapsed_s:.2f} s" if elapsed_s < 10 else _duration(elapsed_s))
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    """As a clock shows it, rounded up: "0:03", "12:07", "3:00:00"."""
    whole_s = -int(-seconds // 1)
    hours, minutes = divmod(whole_s // 60, 60)
    clock = f"{minutes:02}:{whole_s % 60:02}" if hours else f"{minutes}:{whole_s % 60:02}"
    return f"{hours}:{clock}" if hours else clock


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
