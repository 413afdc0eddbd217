"""Charts of boards: bars in proportion, inside the picture, on a scale whose end is round."""

from __future__ import annotations

import pytest

from edgeward.reports import board_charts
from edgeward.reports.board_charts import Bar, chart, nice_end
from edgeward.reports.board_document import MEMORY, TIME
from edgeward.terminal.plot import Box, Line, Text


@pytest.mark.parametrize("most", [1e-3, 0.3, 1.0, 3.1, 17.9, 99.9, 101, 5e6])
def test_a_scale_ends_a_little_above_the_most(most):
    assert most <= nice_end(most) <= 1.6 * most


def test_bars_are_in_proportion_and_inside():
    bars = [Bar("a", 10.0, "10", "#111111", 900.0), Bar("b", 5.0, "5", "#222222"),
            Bar("c", -1.0, "-1", "#333333")]  # fmt: skip
    plot = chart("title", "time", TIME, bars)
    first, second, third = (shape for shape in plot.shapes if isinstance(shape, Box))
    assert first.width == pytest.approx(2 * second.width)
    assert third.width == 1.0
    for shape in plot.shapes:
        xs = [x for x, _ in shape.points] if isinstance(shape, Line) else []
        xs += [shape.x] if isinstance(shape, Text) else []
        xs += [shape.left, shape.left + shape.width] if isinstance(shape, Box) else []
        assert all(0 <= x <= plot.width for x in xs)
    ink = [shape for shape in plot.shapes if isinstance(shape, Line) and shape.width == 2]
    assert ink == []  # a stroke beyond the scale is not drawn at a false place


@pytest.mark.parametrize(
    ("full", "unit", "text"),
    [(0.3, TIME, "ns"), (30.0, TIME, "us"), (3e4, TIME, "ms"), (3e7, MEMORY, "MB")],
)
def test_a_scale_is_written_in_the_unit_of_its_end(full, unit, text):
    assert board_charts.unit_of(full, unit) == text
    assert float(board_charts.scale_text(full, full, unit)) in (3, 30, 300)
