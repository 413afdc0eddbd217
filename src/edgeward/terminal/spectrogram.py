"""Spectrograms: which frequencies a sound has when, in decibels below its loudest, as PNG files.

Frames of 512 samples, half of one apart, under a Hann window. Needs Pillow, of the extra `image`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.paths import PathLike
from edgeward.terminal.picture import pillow_image
from edgeward.terminal.quoting import quoted

FRAME, STEP = 512, 256  # samples
RANGE_DB = 80.0
WIDTH, HEIGHT = 960, 360  # pixels of the drawing
LEFT, TOP, RIGHT, FOOT = 84, 20, 24, 56
TEXT_SIZE, LINE_SIZE = 18, 22
PAPER, INK = "#ffffff", "#1c2430"
STRIP = 30  # pixels of what stands below the axis of time for each span
SHADES = ((0, 0, 16), (60, 20, 110), (170, 45, 100), (245, 125, 30), (252, 250, 190))


class Span(NamedTuple):
    """What is heard from when to when."""

    text: str
    begin_s: float
    end_s: float


def levels_db(samples: NDArray[Any]) -> NDArray[np.float64]:
    """[frequency, frame], from -RANGE_DB to 0, the loudest; frequencies go up from 0."""
    padded = np.pad(samples.astype(np.float64), (0, max(0, FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)
    most = 4 * WIDTH  # frames, beyond which some are left out
    frames = frames[:: max(STEP, len(frames) // most)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    power = np.abs(np.fft.rfft(frames * window, axis=1)).T ** 2
    if not power.max() > 0:
        return np.full(power.shape, -RANGE_DB)
    share = np.maximum(power / power.max(), 10 ** (-RANGE_DB / 10))
    levels: NDArray[np.float64] = 10 * np.log10(share)
    return levels


def write_spectrogram(
    path: PathLike,
    samples: NDArray[np.float32],
    rate_hz: int,
    lines: Sequence[str] = (),
    spans: Sequence[Span] = (),
) -> None:
    """Writes samples [n] with axes in seconds and kHz, `spans` on a strip and `lines` below.

    Raises BadInput when Pillow is missing, OSError when the file cannot be written.
    """
    image = pillow_image()
    from PIL import ImageDraw, ImageFont

    levels = levels_db(samples)[::-1]
    shares = (levels + RANGE_DB) / RANGE_DB
    stops = np.linspace(0, 1, len(SHADES))
    pixels = np.stack(
        [np.interp(shares, stops, [shade[part] for shade in SHADES]) for part in range(3)], axis=-1
    ).astype(np.uint8)
    font: Any = ImageFont.load_default(TEXT_SIZE)
    strip = STRIP if spans else 0
    height = TOP + HEIGHT + strip + FOOT + len(lines) * LINE_SIZE
    sheet = image.new("RGB", (LEFT + WIDTH + RIGHT, height), PAPER)
    drawing = image.fromarray(pixels).resize((WIDTH, HEIGHT), image.Resampling.BILINEAR)
    sheet.paste(drawing, (LEFT, TOP))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((LEFT - 1, TOP - 1, LEFT + WIDTH, TOP + HEIGHT), outline=INK)
    duration_s = len(samples) / rate_hz
    foot = TOP + HEIGHT + strip
    _draw_spans(draw, font, spans, duration_s)
    for share in np.linspace(0, 1, 5).tolist():
        x, y = LEFT + round(share * WIDTH), TOP + HEIGHT - round(share * HEIGHT)
        draw.line((x, foot, x, foot + 5), INK)
        draw.line((LEFT - 6, y, LEFT - 1, y), INK)
        anchor = "ra" if share == 1 else "la" if share == 0 else "ma"
        draw.text((x, foot + 9), f"{share * duration_s:.3g} s", INK, font, anchor=anchor)
        label = f"{share * rate_hz / 2000:.3g} kHz"
        draw.text((LEFT - 10, y), label, INK, font, anchor="rm")
    for number, line in enumerate(lines):
        y = foot + FOOT - LINE_SIZE // 2 + number * LINE_SIZE
        draw.text((LEFT, y), quoted(line), INK, font)
    sheet.save(path, format="PNG")


def _draw_spans(draw: Any, font: Any, spans: Sequence[Span], duration_s: float) -> None:
    """A box for each below the drawing, with as much of its text as it has room for."""
    top = TOP + HEIGHT
    for span in spans:
        left, right = (
            LEFT + round(WIDTH * min(at_s / duration_s, 1)) for at_s in (span.begin_s, span.end_s)
        )
        draw.rectangle((left - (left == LEFT), top, right, top + STRIP), outline=INK)
        text = quoted(span.text)
        while text and font.getlength(text) > right - left - 6:
            text = text[:-1]
        draw.text(((left + right) / 2, top + STRIP / 2), text, INK, font, anchor="mm")
