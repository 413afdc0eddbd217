"""Pictures with labelled boxes in them and lines below, as PNG files. Needs Pillow, of the extra
`image`.

Text stands on a plate of its box's colour, in black or white, whichever is the plainer; a plate
lies on no other as far as there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.paths import PathLike
from edgeward.terminal.picture import pillow_image
from edgeward.terminal.quoting import quoted

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

LEAST_SIDE, MOST_SIDE = 640, 1600  # pixels of the longer side, as it is drawn
TEXT_SIZE, LINE_SIZE = 18, 22
MARGIN = 12
COLOURS = (
    "#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6",
    "#bcf60c", "#008080",
)  # fmt: skip
EDGE = "#000000"
PAPER, INK = "#ffffff", "#1c2430"

Plate = tuple[int, int, int, int]  # left, top, right, bottom


class Mark(NamedTuple):
    """A box with its text; marks of one kind have one colour."""

    text: str
    kind: int
    left: float  # in pixels of the picture
    top: float
    right: float
    bottom: float


def write_labelled(
    path: PathLike, picture: NDArray[np.uint8], marks: Sequence[Mark], lines: Sequence[str] = ()
) -> None:
    """Writes [height, width, 3] with its marks, and `lines` below it.

    Raises BadInput when Pillow is missing, OSError when the file cannot be written.
    """
    image = pillow_image()
    from PIL import ImageDraw, ImageFont

    height, width = picture.shape[:2]
    longer = max(height, width)
    scale = min(max(longer, LEAST_SIDE), MOST_SIDE) / longer
    size = max(1, round(width * scale)), max(1, round(height * scale))
    foot = len(lines) * LINE_SIZE + 2 * MARGIN if lines else 0
    font: Any = ImageFont.load_default(TEXT_SIZE)
    texts = [quoted(line) for line in lines]
    widest = max([size[0], *(round(font.getlength(text)) + 2 * MARGIN for text in texts)])
    sheet = image.new("RGB", (widest, size[1] + foot), PAPER)
    sampling = image.Resampling.NEAREST if scale > 4 else image.Resampling.LANCZOS
    sheet.paste(image.fromarray(np.ascontiguousarray(picture)).resize(size, sampling), (0, 0))
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(texts):
        draw.text((MARGIN, size[1] + MARGIN + number * LINE_SIZE), text, INK, font)
    plates: list[Plate] = []
    for mark in reversed(marks):  # the first lies above the others
        corners = [round(side * scale) for side in mark[2:]]
        colour = COLOURS[mark.kind % len(COLOURS)]
        draw.rectangle(corners, outline=EDGE, width=5)
        left, top, right, bottom = corners
        if right - left > 2 and bottom - top > 2:
            draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=3)
    for mark in marks:
        corners = [round(side * scale) for side in mark[2:]]
        text = quoted(mark.text)
        plates.append(plate_of(corners, round(font.getlength(text)) + 8, size, plates))
        _draw_plate(draw, plates[-1], text, COLOURS[mark.kind % len(COLOURS)], font)
    sheet.save(path, format="PNG")


def plate_of(
    corners: Sequence[int], width: int, size: tuple[int, int], others: Sequence[Plate]
) -> Plate:
    """Where a text of this width stands: above its box, below its top, or where no other is."""
    height = TEXT_SIZE + 6
    left = max(0, min(corners[0], size[0] - width))
    tops = [corners[1] - height, corners[1] + 1, corners[3] - height, corners[3] + 1]
    tops += list(range(max(0, corners[1]), size[1] - height, height))
    plates = [
        (left, top, left + width, top + height) for top in tops if 0 <= top <= size[1] - height
    ]
    free = [plate for plate in plates if not any(_touch(plate, other) for other in others)]
    return (free or plates or [(left, 0, left + width, height)])[0]


def _touch(plate: Plate, other: Plate) -> bool:
    return (
        plate[0] < other[2] and other[0] < plate[2] and plate[1] < other[3] and other[1] < plate[3]
    )


def _draw_plate(draw: ImageDraw, plate: Plate, text: str, colour: str, font: Any) -> None:
    draw.rectangle(plate, fill=colour, outline=EDGE)
    middle = (plate[1] + plate[3]) / 2
    draw.text((plate[0] + 4, middle), text, _ink_on(colour), font, anchor="lm")


def _ink_on(colour: str) -> str:
    """Black or white, whichever has the greater contrast by the luminance of WCAG 2."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"
