"""Bars of time in a PNG file, drawn with Pillow, which the extra `image` installs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgeward.terminal.picture import pillow_image

WIDTH, LEFT, RIGHT, MARGIN = 1100, 340, 950, 40
TOP, ROW, GAP, FOOT = 108, 38, 54, 56
INK, FAINT, OURS, THEIRS = "#1c2430", "#7d8794", "#1f7a6d", "#b8c1cb"


class Bar(NamedTuple):
    """One row: a bar as long as `length_us` with `text` beside it, and a tick at `tick_us`."""

    label: str
    is_ours: bool
    length_us: float
    tick_us: float
    text: str


class Group(NamedTuple):
    title: str
    bars: Sequence[Bar]


def write(path: str, title: str, subtitle: str, groups: Sequence[Group], note: str) -> None:
    """All groups below each other, on one scale. Raises BadInput when Pillow is not installed."""
    image_module = pillow_image()
    from PIL import ImageDraw, ImageFont

    heading, font = ImageFont.load_default(size=26), ImageFont.load_default(size=17)
    height = TOP + FOOT + sum(GAP + ROW * len(group.bars) for group in groups)
    image = image_module.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, 28), title, INK, heading)
    draw.text((MARGIN, 66), subtitle, FAINT, font)
    # Bars set the scale: one stray tick must not squeeze them. It then stands at the edge.
    full_us = 1.1 * max(bar.length_us for group in groups for bar in group.bars)
    y = TOP
    for group in groups:
        draw.text((LEFT, y + 16), group.title, FAINT, font)
        y += GAP
        for bar in group.bars:
            end, tick = (
                LEFT + round((RIGHT - LEFT) * min(1.0, us / full_us))
                for us in (bar.length_us, bar.tick_us)
            )
            middle = y + ROW // 2
            colour = OURS if bar.is_ours else THEIRS
            draw.text((LEFT - 16, middle), bar.label, INK, font, anchor="rm")
            draw.rounded_rectangle((LEFT, y + 8, max(end, LEFT + 3), y + ROW - 8), 3, colour)
            draw.line((tick, y + 5, tick, y + ROW - 5), INK, 2)
            draw.text((WIDTH - MARGIN, middle), bar.text, INK, font, anchor="rm")
            y += ROW
    draw.text((LEFT, height - 38), note, FAINT, font)
    image.save(path, "PNG")
