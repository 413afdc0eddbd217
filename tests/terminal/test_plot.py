"""Plots: the same shapes as an element of a page and as pixels, in which every name is text."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from edgeward.terminal.plot import SHARPNESS, Box, Line, Plot, Text, moved, pixels, svg, write_png
from edgeward.terminal.quoting import quoted

RED, GREEN = "#ff0000", "#00ff00"


def colours_at(plot, *points):
    """Of the pixels in whose middle the points (x, y) of the plot lie."""
    array = np.asarray(pixels(plot))
    return [tuple(array[int(y * SHARPNESS), int(x * SHARPNESS)].tolist()) for x, y in points]


def test_a_box_covers_what_it_says_and_nothing_beside_it():
    pytest.importorskip("PIL")
    plot = Plot(20, 10, [Box(4, 2, 8, 6, RED)])
    inside = colours_at(plot, (4.1, 2.1), (11.9, 7.9))
    outside = colours_at(plot, (3.4, 5), (12.4, 5), (8, 1.4), (8, 8.4))
    assert inside == [(255, 0, 0)] * 2
    assert outside == [(255, 255, 255)] * 4


def test_what_comes_later_lies_above():
    pytest.importorskip("PIL")
    plot = Plot(10, 10, [Box(0, 0, 10, 10, RED), Line([(0, 5), (10, 5)], GREEN, 4)])
    assert colours_at(plot, (5, 5), (5, 1)) == [(0, 255, 0), (255, 0, 0)]


def test_a_broken_line_has_gaps():
    pytest.importorskip("PIL")
    array = np.asarray(pixels(Plot(100, 4, [Line([(0, 2), (100, 2)], RED, 2, True)])))
    is_red = array[2 * SHARPNESS, :, 1] < 128
    assert 8 <= np.count_nonzero(np.diff(is_red.astype(int)) == 1) <= 11


@pytest.mark.parametrize("shape", [
    Box(1, 2, 3, 4, RED), Line([(1, 2), (4, 6)], RED), Text(1, 2, "name"),
], ids=["box", "line", "text"])  # fmt: skip
def test_every_shape_moves(shape):
    (elsewhere,) = moved([shape], 10, 20)
    ((before,), (after,)) = (
        ElementTree.fromstring(svg(Plot(50, 50, [which]))) for which in (shape, elsewhere)
    )
    numbers = {key: value for key, value in before.items() if key in ("x", "y", "points")}
    assert numbers
    if "points" in numbers:
        assert after.get("points") == "11.00,22.00 14.00,26.00"
    else:
        assert (after.get("x"), after.get("y")) == ("11.00", "22.00")


@pytest.mark.parametrize("name", ["</svg><script>", '" onload="x', "a & b", "\x1b[31m\u202eho"])
def test_a_name_in_a_plot_is_text(name):
    element = ElementTree.fromstring(svg(Plot(9, 9, [Text(0, 5, name)])))
    (text,) = element
    assert list(text) == []
    assert text.text == quoted(name)


def test_a_plot_as_a_file(tmp_path):
    image = pytest.importorskip("PIL.Image")
    write_png(tmp_path / "a.png", Plot(30, 20, [Text(2, 15, "shares", RED)]))
    with image.open(tmp_path / "a.png") as opened:
        assert opened.size == (30 * SHARPNESS, 20 * SHARPNESS)
        assert np.asarray(opened).min() < 64
