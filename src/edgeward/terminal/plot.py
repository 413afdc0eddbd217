"""Plot: boxes, lines and text on a white ground, as SVG for pages and as pixels for PNG files.

A plot is a value: what it shows can be tested without drawing it. SVG needs nothing, pixels need
Pillow, which the extra `image` installs. Any text is text: it becomes no element of a page.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgeward.paths import PathLike
from edgeward.terminal.picture import pillow_image
from edgeward.terminal.quoting import quoted

if TYPE_CHECKING:
    from PIL.Image import Image

INK, FAINT, PALE, PAPER = "#1c2430", "#6b7580", "#d5dae0", "#ffffff"
ROLES = {INK: "ink", FAINT: "faint", PALE: "pale"}  # colours that a page may have otherwise
FONT = "system-ui, sans-serif"
SHARPNESS = 2  # pixels of a PNG file for each unit of a plot
SAMPLES = 2  # along each side of a pixel, for smooth lines
COLOURS = 256  # of a PNG file, of which most are shades between two
DASH = 5.0  # units of a broken line, and of the gap behind each


class Box(NamedTuple):
    """A filled rectangle."""

    left: float
    top: float
    width: float
    height: float
    colour: str


class Line(NamedTuple):
    """Points (x, y) joined by straight lines."""

    points: Sequence[tuple[float, float]]
    colour: str
    width: float = 1.5
    is_broken: bool = False


class Text(NamedTuple):
    """One line whose baseline is at `y`; at `x` it starts, has its middle or ends."""

    x: float
    y: float
    text: str
    colour: str = INK
    size: float = 12
    anchor: str = "start"  # "start", "middle" or "end"


Shape = Box | Line | Text


class Plot(NamedTuple):
    """Shapes in the order in which they are painted; x goes right, y goes down."""

    width: float
    height: float
    shapes: Sequence[Shape]
    title: str = ""  # above it on a page, and for who does not see it


def moved(shapes: Sequence[Shape], right: float, down: float) -> list[Shape]:
    return [_moved(shape, right, down) for shape in shapes]


def svg(plot: Plot) -> str:
    """An <svg> element."""
    body = "".join(map(_element, plot.shapes))
    label = f' aria-label="{html.escape(quoted(plot.title))}"' if plot.title else ""
    return (
        f'<svg viewBox="0 0 {plot.width:g} {plot.height:g}" width="{plot.width:g}" '
        f'height="{plot.height:g}" role="img"{label} font-family="{FONT}">{body}</svg>'
    )


def write_png(path: PathLike, plot: Plot) -> None:
    """Raises BadInput when Pillow is missing, OSError when the file cannot be written."""
    pixels(plot).quantize(COLOURS).save(path, format="PNG", optimize=True)


def pixels(plot: Plot) -> Image:
    """A Pillow image, SHARPNESS pixels for each unit. Raises BadInput when Pillow is missing."""
    image_module = pillow_image()
    from PIL import ImageDraw, ImageFont

    scale = SHARPNESS * SAMPLES
    size = round(plot.width * scale), round(plot.height * scale)
    image: Image = image_module.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    for shape in plot.shapes:
        if isinstance(shape, Box):
            left, top = shape.left * scale, shape.top * scale
            right, bottom = left + shape.width * scale, top + shape.height * scale
            if right - left >= 1 and bottom - top >= 1:
                draw.rectangle((left, top, right - 1, bottom - 1), shape.colour)
        elif isinstance(shape, Line):
            width = max(1, round(shape.width * scale))
            for piece in _pieces(shape):
                points = [(x * scale, y * scale) for x, y in piece]
                draw.line(points, shape.colour, width, joint="curve")
        else:
            font = ImageFont.load_default(shape.size * scale)
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            place_at = shape.x * scale, shape.y * scale
            draw.text(place_at, quoted(shape.text), shape.colour, font, anchor)
    return image.reduce(SAMPLES)


def _moved(shape: Shape, right: float, down: float) -> Shape:
    if isinstance(shape, Box):
        return shape._replace(left=shape.left + right, top=shape.top + down)
    if isinstance(shape, Line):
        return shape._replace(points=[(x + right, y + down) for x, y in shape.points])
    return shape._replace(x=shape.x + right, y=shape.y + down)


def _element(shape: Shape) -> str:
    if isinstance(shape, Box):
        return (
            f'<rect x="{shape.left:.2f}" y="{shape.top:.2f}" width="{shape.width:.2f}" '
            f'height="{shape.height:.2f}" fill="{_paint(shape.colour)}" '
            'shape-rendering="crispEdges"/>'
        )
    if isinstance(shape, Line):
        points = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.points)
        dashes = f' stroke-dasharray="{DASH:g}"' if shape.is_broken else ""
        return (
            f'<polyline points="{points}" fill="none" stroke="{_paint(shape.colour)}" '
            f'stroke-width="{shape.width:g}" stroke-linejoin="round"{dashes}/>'
        )
    return (
        f'<text x="{shape.x:.2f}" y="{shape.y:.2f}" fill="{_paint(shape.colour)}" '
        f'font-size="{shape.size:g}" text-anchor="{shape.anchor}">'
        f"{html.escape(quoted(shape.text))}</text>"
    )


def _paint(colour: str) -> str:
    """The page's own colour for ink and the like, which in the dark is another one."""
    role = ROLES.get(colour)
    return f"var(--{role}, {colour})" if role else colour


def _pieces(line: Line) -> list[Sequence[tuple[float, float]]]:
    """The line whole, or the dashes of a broken one between its first and its last point."""
    if not line.is_broken:
        return [line.points]
    (left, top), (right, bottom) = line.points[0], line.points[-1]
    length = max(((right - left) ** 2 + (bottom - top) ** 2) ** 0.5, DASH)

    def at(distance: float) -> tuple[float, float]:
        share = min(distance / length, 1.0)
        return left + (right - left) * share, top + (bottom - top) * share

    count = int(length // (2 * DASH)) + 1
    return [(at(2 * index * DASH), at((2 * index + 1) * DASH)) for index in range(count)]
