"""Plots of drift: a part's shares over its bins, and how its windows stand to their thresholds.

Pure: plain numbers in, a Plot out. A bar is as wide as any other, whatever values its bin spans:
bins are laid so that the calibration set fills them alike, and one that is wider in values would
hide what its neighbours do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from edgeward.terminal.plot import FAINT, INK, PALE, Box, Line, Plot, Shape, Text

WIDTH, HEIGHT = 520.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 52.0, 40.0
REFERENCE, WINDOW, ALARM = "#b8c1cb", "#1f7a6d", "#c2452d"
COLOURS = ("#1f7a6d", "#4a6fa5", "#8a5a9e", "#7a6a1f", "#1c2430", "#58a6cf")  # none near ALARM
METRIC_COLOURS = dict(zip(("PSI", "JS", "KS", "Wasserstein", "chi-square"), COLOURS, strict=False))
MOST_BARS = 40
LABEL_COUNT = 6  # below an axis
LEAST_RATIO = 0.1  # of a distance to its threshold that is told from none
DOT = 5.0  # along a side
LETTER = 6.2  # the width of a letter of 12 units, about


def shares_plot(
    title: str,
    labels: Sequence[str],
    expected: Sequence[float],
    window: Sequence[float],
    called: str,
) -> Plot:
    """Shares of a reference and of a window over the same bins, each adding up to 1.

    `labels` are what stands below each bar, `called` is the window in the legend.
    Of many bars those that differ most are shown.
    """
    shown = _most_changed(expected, window)
    most = max([1e-9, *(max(expected[bar], window[bar]) for bar in shown)])
    top = _round_up(100 * most)
    shapes: list[Shape] = [
        *_frame(title),
        *_legend([("calibration set", REFERENCE), (called, WINDOW)]),
    ]
    for share in (0.0, top / 2, top):
        shapes += _level(1 - share / top, f"{share:.3g} %", PALE)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(shown))
    outline = []
    for index, bar in enumerate(shown):
        left = LEFT + index * step
        base = _y(1 - 100 * expected[bar] / top)
        shapes.append(Box(left, base, step, _y(1) - base, REFERENCE))
        y = _y(1 - 100 * window[bar] / top)
        outline += [(left, y), (left + step, y)]
    shapes.append(Line([(LEFT, _y(1)), *outline, (WIDTH - RIGHT, _y(1))], WINDOW, 2))
    middles = [LEFT + (index + 0.5) * step for index in range(len(shown))]
    shapes += _labels(middles, [labels[bar] for bar in shown])
    return Plot(WIDTH, HEIGHT, shapes)


def windows_plot(
    title: str, labels: Sequence[str], ratios: Mapping[str, Sequence[float | None]]
) -> Plot:
    """Each window's distance over its threshold, by metric; None where it is not known.

    `labels` are what stands below each window. The axis counts in factors of ten.
    """
    known = [ratio for line in ratios.values() for ratio in line if ratio is not None]
    most = max([2.0, *(ratio for ratio in known if math.isfinite(ratio))])
    decades = math.log10(most / LEAST_RATIO) * 1.05

    def depth(ratio: float) -> float:
        """0 at the top of the axis, 1 at its bottom."""
        least = max(LEAST_RATIO, min(ratio, most))
        return 1 - math.log10(least / LEAST_RATIO) / decades

    colours = _colours(ratios)
    shapes: list[Shape] = [*_frame(title), *_legend([*colours.items(), ("threshold", ALARM)])]
    for power in range(-1, int(math.log10(most)) + 1):
        if power:
            shapes += _level(depth(10.0**power), f"{10.0**power:g}", PALE)
    if most > 1.5 * 10 ** int(math.log10(most)):  # the top has no decade's line near it
        shapes += _level(depth(most), f"{most:.2g}", PALE)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    middles = [LEFT + (index + 0.5) * step for index in range(len(labels))]
    limit = _y(depth(1))
    shapes += [
        Line([(LEFT, limit), (WIDTH - RIGHT, limit)], ALARM, 1.5, True),
        Text(LEFT - 6, limit + 4, "1", ALARM, 11, "end"),
    ]
    for name, line in ratios.items():
        points = [
            None if ratio is None or math.isnan(ratio) else (x, _y(depth(ratio)))
            for x, ratio in zip(middles, line, strict=True)
        ]
        shapes += _curve(points, colours[name], min(DOT, max(2.0, step)))
    shapes += _labels(middles, labels)
    return Plot(WIDTH, HEIGHT, shapes)


def _colours(names: Iterable[str]) -> dict[str, str]:
    """A metric has the same colour in every plot; other lines have those that are left."""
    own = {name: METRIC_COLOURS[name] for name in names if name in METRIC_COLOURS}
    free = [colour for colour in COLOURS if colour not in own.values()]
    return own | dict(zip((name for name in names if name not in own), free, strict=False))


def _most_changed(expected: Sequence[float], window: Sequence[float]) -> list[int]:
    bars = range(len(expected))
    by_change = sorted(bars, key=lambda bar: -abs(window[bar] - expected[bar]))
    return sorted(by_change[:MOST_BARS])


def _frame(title: str) -> list[Shape]:
    most = int((WIDTH - 2) / 7.2)
    shown = title if len(title) <= most else title[: most - 1] + "…"
    return [Text(LEFT, 20, shown, INK, 14)]


def _legend(entries: Sequence[tuple[str, str]]) -> list[Shape]:
    shapes: list[Shape] = []
    x = LEFT
    for name, colour in entries:
        shapes += [Box(x, 31, 9, 9, colour), Text(x + 14, 40, name, FAINT, 12)]
        x += 14 + LETTER * len(name) + 18
    return shapes


def _level(depth: float, label: str, colour: str) -> list[Shape]:
    y = _y(depth)
    return [
        Line([(LEFT, y), (WIDTH - RIGHT, y)], colour, 1),
        Text(LEFT - 6, y + 4, label, FAINT, 11, "end"),
    ]


def _curve(points: Sequence[tuple[float, float] | None], colour: str, side: float) -> list[Shape]:
    """Dots, joined where no window between them is unknown."""
    shapes: list[Shape] = []
    run: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            run.append(point)
        elif run:
            if len(run) > 1:
                shapes.append(Line(run, colour, 1.5))
            shapes += [Box(x - side / 2, y - side / 2, side, side, colour) for x, y in run]
            run = []
    return shapes


def _labels(middles: Sequence[float], labels: Sequence[str]) -> list[Shape]:
    """Some of them, spread evenly, so that none touches the next."""
    if not labels:
        return []
    widest = LETTER * max(map(len, labels)) + 12
    most = max(2, min(LABEL_COUNT, int((WIDTH - LEFT - RIGHT) / widest)))
    count = min(most, len(labels))
    y = _y(1)
    shapes: list[Shape] = []
    for step in range(count):
        index = round(step * (len(labels) - 1) / max(1, count - 1))
        x = middles[index]
        shapes += [
            Line([(x, y), (x, y + 4)], FAINT, 1),
            _below(x, y + 17, labels[index]),
        ]
    return shapes


def _below(x: float, y: float, label: str) -> Text:
    """In the middle below `x`, or as near to it as the edges of the plot allow."""
    half = LETTER * len(label) / 2
    if x + half > WIDTH:
        return Text(WIDTH - 2, y, label, FAINT, 11, "end")
    if x - half < 0:
        return Text(2, y, label, FAINT, 11)
    return Text(x, y, label, FAINT, 11, "middle")


def _y(depth: float) -> float:
    """`depth` 0 is the top of the plot's area, 1 its bottom."""
    return TOP + depth * (HEIGHT - TOP - BOTTOM)


def _round_up(number: float) -> float:
    """The least of 1, 2, 4, 5, 8 and 10 times a power of ten that is not below `number`."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= 0.999 * number)
