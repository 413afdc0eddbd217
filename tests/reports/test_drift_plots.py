"""Plots of drift: bars as high as the shares, and dots above the line where a window passes it."""

from __future__ import annotations

import math

import pytest

from edgeward.reports.drift_plots import (
    ALARM,
    COLOURS,
    HEIGHT,
    MOST_BARS,
    REFERENCE,
    WIDTH,
    WINDOW,
    shares_plot,
    windows_plot,
)
from edgeward.terminal.plot import Box, Line, Text

EXPECTED = [0.0, 0.5, 0.25, 0.25, 0.0]
LATER = [0.1, 0.1, 0.1, 0.2, 0.5]
LABELS = ["below", "1", "2", "3", "above"]


def texts(plot):
    return [shape.text for shape in plot.shapes if isinstance(shape, Text)]


def boxes(plot, colour):
    """Those of the area of the plot, not of its legend."""
    return [
        shape
        for shape in plot.shapes
        if isinstance(shape, Box) and shape.colour == colour and shape.top > 50
    ]


def corners(plot):
    for shape in plot.shapes:
        if isinstance(shape, Line):
            yield from shape.points
        elif isinstance(shape, Box):
            yield shape.left, shape.top
            yield shape.left + shape.width, shape.top + shape.height


def test_bars_are_as_high_as_the_shares_on_one_axis():
    plot = shares_plot("input x", LABELS, EXPECTED, LATER, "windows")
    heights = [box.height for box in boxes(plot, REFERENCE)]
    assert heights == pytest.approx([share / 0.5 * heights[1] for share in EXPECTED])
    (outline,) = (shape for shape in plot.shapes if getattr(shape, "colour", "") == WINDOW
                  and isinstance(shape, Line))  # fmt: skip
    base = outline.points[0][1]
    tops = [base - y for _, y in outline.points[1:-1:2]]
    assert tops == pytest.approx([share / 0.5 * heights[1] for share in LATER])
    assert texts(plot)[0] == "input x"
    assert [text for text in texts(plot) if text in LABELS] == LABELS
    assert {"0 %", "50 %"} <= set(texts(plot))


def test_of_many_bars_those_that_changed_are_shown():
    expected = [1 / 1000] * 1000
    later = [*expected]
    later[500], later[501] = 0.0, 2 / 1000
    plot = shares_plot("classes", [str(n) for n in range(1000)], expected, later, "windows")
    assert len(boxes(plot, REFERENCE)) == MOST_BARS
    assert "501" in texts(plot)


@pytest.mark.parametrize(("expected", "later"), [([], []), ([0.0], [0.0]), ([1.0], [1.0])])
def test_what_has_no_shares_is_drawn_too(expected, later):
    plot = shares_plot("x" * 500, ["1"] * len(expected), expected, later, "windows")
    assert len(texts(plot)[0]) < 80


def test_a_dot_lies_above_the_line_where_its_window_passes_the_threshold():
    ratios = [0.5, 0.99, 1.01, 40.0, None, math.inf, 0.0, math.nan]
    plot = windows_plot("distances", [str(n) for n in range(8)], {"ks": ratios})
    (limit,) = {y for shape in plot.shapes if getattr(shape, "colour", "") == ALARM
                and isinstance(shape, Line) for _, y in shape.points}  # fmt: skip
    dots = [box.top + box.height / 2 for box in boxes(plot, COLOURS[0])]
    assert [y < limit for y in dots] == [False, False, True, True, True, False]
    lines = [shape for shape in plot.shapes if getattr(shape, "colour", "") == COLOURS[0]
             and isinstance(shape, Line)]  # fmt: skip
    assert [len(line.points) for line in lines] == [4, 2]  # the window in between is not known
    assert "threshold" in texts(plot)


def test_a_metric_has_one_colour_in_every_plot_and_never_the_thresholds():
    def colour_of(name, ratios):
        plot = windows_plot("distances", ["1"], ratios)
        index = next(i for i, shape in enumerate(plot.shapes) if getattr(shape, "text", "") == name)
        return plot.shapes[index - 1].colour

    alone = colour_of("chi-square", {"chi-square": [1.0]})
    beside = {"KS": [1.0], "chi-square": [1.0], "class 3": [1.0]}
    assert colour_of("chi-square", beside) == alone
    assert len({alone, colour_of("KS", beside), colour_of("class 3", beside), ALARM}) == 4


def test_the_top_of_the_axis_has_a_number():
    assert "8.3" in texts(windows_plot("distances", ["1", "2"], {"KS": [8.3, 1.0]}))


@pytest.mark.parametrize("count", [0, 1, 2, 90 * 24])
def test_all_of_it_lies_within_the_plot(count):
    by_window = windows_plot(
        "distances", [f"2026-11-27 {n:02}:00" for n in range(count)],
        {name: [10.0 ** (n % 5 - 2) for n in range(count)] for name in ("a", "b", "c")},
    )  # fmt: skip
    for plot in (by_window, shares_plot("x", LABELS, EXPECTED, LATER, "windows")):
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners(plot))
