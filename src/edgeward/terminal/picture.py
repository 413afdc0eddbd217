"""Grey pictures: as text in a terminal, and as a contact sheet in a PNG file.

A picture is a two-dimensional uint8 array, 0 black to 255 white. Nothing depends on its subject.
Text needs numpy alone; the contact sheet needs Pillow, which the extra `image` installs.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from edgeward.errors import BadInput
from edgeward.paths import PathLike

Picture = NDArray[np.uint8]

SHADES = " .:-=+*#%@"  # dark to light, as ink on a dark screen
TILE_COLUMNS = 24
GAP_COLUMNS = 2

SHEET_MARGIN = 40
SHEET_TILE = 192
SHEET_GAP = 28
SHEET_COLUMNS = 4
SHEET_PAPER = (255, 255, 255)
SHEET_TEXT = (34, 34, 34)
TITLE_SIZE = 26
CAPTION_SIZE = 16


@dataclass(frozen=True)
class Tile:
    """A picture with one line below it. For files it may be in colour: [height, width, 3]."""

    picture: Picture
    caption: str


class Ink(enum.Enum):
    """How a stream can show grey."""

    TRUECOLOR = "truecolor"
    PALETTE = "palette"  # black, white and the 24 greys of the 256-colour palette
    ASCII = "ascii"


def ink(stream: TextIO, environment: Mapping[str, str]) -> Ink:
    """What `stream` can show. Colour only on a terminal that claims it, never against NO_COLOR."""
    if not stream.isatty() or environment.get("NO_COLOR"):
        return Ink.ASCII
    if "utf" not in (stream.encoding or "").lower():
        return Ink.ASCII  # no half blocks to colour
    if environment.get("COLORTERM") in ("truecolor", "24bit"):
        return Ink.TRUECOLOR
    return Ink.PALETTE if "256color" in environment.get("TERM", "") else Ink.ASCII


def lines(picture: Picture, columns: int, ink: Ink) -> list[str]:
    """The picture as text, `columns` wide; a character counts as twice as high as wide."""
    height, width = picture.shape
    count = max(1, round(columns * height / width / 2))
    if ink is Ink.ASCII:
        shades = enlarged(picture, count, columns).astype(np.uint16) * len(SHADES) // 256
        return ["".join(SHADES[shade] for shade in row) for row in shades]
    pixels = enlarged(picture, 2 * count, columns)
    return [_half_blocks(pixels[2 * i], pixels[2 * i + 1], ink) for i in range(count)]


def grid(tiles: Sequence[Tile], columns: int, ink: Ink) -> list[str]:
    """The tiles as text side by side, in rows no wider than `columns` where that is possible."""
    cell = max([TILE_COLUMNS, *(len(tile.caption) for tile in tiles)])
    most = max(1, (columns + GAP_COLUMNS) // (cell + GAP_COLUMNS))
    row_count = math.ceil(len(tiles) / most)
    per_row = (
        math.ceil(len(tiles) / row_count) if tiles else 1
    )  # rows of equal length, not full rows and a short last one
    gap = " " * GAP_COLUMNS
    text: list[str] = []
    for first in range(0, len(tiles), per_row):
        row = tiles[first : first + per_row]
        # A line of colour is longer than it looks, so the padding is counted, not formatted.
        pad = " " * (cell - TILE_COLUMNS)
        drawn = [lines(tile.picture, TILE_COLUMNS, ink) for tile in row]
        text += [(pad + gap).join(parts).rstrip() for parts in zip(*drawn, strict=True)]
        text += [gap.join(tile.caption.ljust(cell) for tile in row).rstrip(), ""]
    return text[:-1]


def enlarged(picture: Picture, rows: int, columns: int) -> Picture:
    """The picture with this many pixels, those between two of its own blended from both."""
    values = picture.astype(np.float64)
    for axis, count in enumerate((rows, columns)):
        size = picture.shape[axis]
        centre = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
        below = np.floor(centre).astype(np.intp)
        above = np.minimum(below + 1, size - 1)
        weight = np.expand_dims(centre - below, 1 - axis)
        values = np.take(values, below, axis) * (1 - weight) + np.take(values, above, axis) * weight
    return np.rint(values).astype(np.uint8)


def write_contact_sheet(path: PathLike, title: str, tiles: Sequence[Tile]) -> None:
    """Writes a PNG file: the title, then the tiles in rows, each above its caption.

    Raises BadInput when Pillow is missing, OSError when the file cannot be written.
    """
    image = pillow_image()
    from PIL import ImageDraw, ImageFont

    title_font = ImageFont.load_default(TITLE_SIZE)
    caption_font = ImageFont.load_default(CAPTION_SIZE)
    pitch = SHEET_TILE + 2 * CAPTION_SIZE + SHEET_GAP
    top = SHEET_MARGIN + TITLE_SIZE + SHEET_GAP
    row_count = max(1, math.ceil(len(tiles) / SHEET_COLUMNS))
    width = 2 * SHEET_MARGIN + SHEET_COLUMNS * (SHEET_TILE + SHEET_GAP) - SHEET_GAP
    height = top + row_count * pitch - SHEET_GAP + SHEET_MARGIN
    sheet = image.new("RGB", (width, height), SHEET_PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((SHEET_MARGIN, SHEET_MARGIN), title, SHEET_TEXT, title_font)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, SHEET_COLUMNS)
        x = SHEET_MARGIN + column * (SHEET_TILE + SHEET_GAP)
        y = top + row * pitch
        picture = image.fromarray(np.ascontiguousarray(tile.picture))
        scale = SHEET_TILE / max(picture.size)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        sheet.paste(picture.resize(size, image.Resampling.NEAREST), (x, y))
        draw.text((x, y + SHEET_TILE + CAPTION_SIZE // 2), tile.caption, SHEET_TEXT, caption_font)
    sheet.save(path, format="PNG")


def pillow_image() -> ModuleType:
    """Pillow's Image module. Raises BadInput when Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise BadInput(
            'pictures: expected Pillow, which is not installed: pip install "edgeward[image]"'
        ) from None
    return Image


def _half_blocks(upper: Picture, lower: Picture, ink: Ink) -> str:
    """A line of text that shows two rows of pixels: block in one colour, ground in the other."""
    text, last = [], None
    for top, bottom in zip(upper.tolist(), lower.tolist(), strict=True):
        if (top, bottom) != last:
            text.append(f"\x1b[38;{_grey(top, ink)};48;{_grey(bottom, ink)}m")
            last = top, bottom
        text.append("▀")
    return "".join(text) + "\x1b[0m"


def _grey(value: int, ink: Ink) -> str:
    if ink is Ink.TRUECOLOR:
        return f"2;{value};{value};{value}"
    step = round(value / 255 * 25)
    return f"5;{16 if step == 0 else 231 if step == 25 else 231 + step}"
