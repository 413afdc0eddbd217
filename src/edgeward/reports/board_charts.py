"""Numbers of boards as bars: each below its name, its value behind it, a scale with a unit below.

A chart is as wide as a phone's page, so that its text is as large there as anywhere. Colours
follow the page, dark or light.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from edgeward.reports.board_document import MEMORY, TIME
from edgeward.reports.inspection import duration, size
from edgeward.terminal.plot import FAINT, INK, PALE, Box, Line, Plot, Shape, Text

WIDTH, LEFT, RIGHT = 350.0, 1.0, 12.0
HEAD, ROW, BAR, FOOT = 12.0, 36.0, 10.0, 40.0
LETTER = 6.2  # units of a letter, about
OURS, THEIRS = "#1f8a7a", "#8d99a6"
BOARDS = ("#1f8a7a", "#c7742e", "#6b6fc4", "#b0568f", "#8d99a6")
TICKS = 3


class Bar(NamedTuple):
    """A bar with its value as text; `tick` is a further value, drawn as a stroke."""

    label: str
    value: float
    text: str
    colour: str
    tick: float | None = None


def chart(title: str, axis: str, unit: str, bars: Sequence[Bar]) -> Plot:
    """`axis` says what the scale counts, in `unit` of reports.board_document."""
    full = nice_end(max((bar.value for bar in bars), default=0.0))
    scale = (WIDTH - LEFT - RIGHT) / full
    shapes: list[Shape] = []
    bottom = HEAD + ROW * len(bars)
    for index in range(TICKS + 1):
        value = full * index / TICKS
        x = LEFT + value * scale
        anchor = "start" if index == 0 else "end" if index == TICKS else "middle"
        shapes.append(Line([(x, HEAD), (x, bottom)], PALE, 1))
        shapes.append(Text(x, bottom + 14, scale_text(value, full, unit), FAINT, 11, anchor))
    shapes.append(Text(LEFT, bottom + 31, f"{axis}, {unit_of(full, unit)}", FAINT, 11))
    for index, bar in enumerate(bars):
        y = HEAD + ROW * index
        shapes.append(Text(LEFT + 3, y + 14, fitted(bar.label, bar.text), INK, 12))
        shapes.append(Text(WIDTH - RIGHT, y + 14, bar.text, INK, 12, "end"))
        length = max(1.0, min(max(bar.value, 0.0), full) * scale)
        shapes.append(Box(LEFT, y + 19, length, BAR, bar.colour))
        if bar.tick is not None and bar.tick <= full:
            x = LEFT + bar.tick * scale
            shapes.append(Line([(x, y + 17), (x, y + 31)], INK, 2))
    return Plot(WIDTH, bottom + FOOT, shapes, title)


def nice_end(most: float) -> float:
    """The least of 3, 6, 9, 15 and so on times a power of ten that `most` fits in."""
    if most <= 0:
        return 3.0
    power: float = 10.0 ** math.floor(math.log10(most))
    ends = (end * power / 10 for end in (12, 15, 18, 24, 30, 36, 45, 60, 75, 90, 120))
    return next(end for end in ends if end >= most * (1 - 1e-9))


def unit_of(full: float, unit: str) -> str:
    """The unit in which a scale that ends at `full` is written."""
    if unit == TIME:
        return duration(full).split()[1]
    return size(int(full)).split()[1] if unit == MEMORY else unit


def scale_text(value: float, full: float, unit: str) -> str:
    """A number of the scale, in the unit of its end."""
    end = unit_of(full, unit)
    factors = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6, "kB": 1e3, "MB": 1e6, "GB": 1e9}
    number = value / factors.get(end, 1.0)
    return f"{number:,.0f}" if number >= 100 else f"{number:.4g}"


def fitted(label: str, text: str) -> str:
    """The beginning of `label` that has room before `text`."""
    letters = int((WIDTH - LEFT - RIGHT) / LETTER) - len(text) - 1
    return label if len(label) <= letters else f"{label[: letters - 2]}.."
