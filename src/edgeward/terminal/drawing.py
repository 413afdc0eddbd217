"""What a tensor looks like: a picture, a curve, or a spectrogram, by its dtype and shape alone.

A picture is [height, width] with any number of axes of extent 1, or has 3 channels first or last.
A float or signed tensor [time, feature], with at most one axis of extent 1 before these, is a
spectrogram unless it is square. What has one axis of some length is a curve; a long one that would
blacken most of its drawing, such as a sound, is a spectrogram too: of its frequencies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward.terminal.spectrogram import RANGE_DB, levels_db

MIN_EXTENT, MAX_EXTENT = 8, 4096  # pixels along a side of a picture
MIN_CURVE = 32  # values
MIN_SOUND = 4096  # values
MAX_ASPECT = 4  # of a spectrogram
MANY_PIXELS = 1024  # along a side of a picture, beyond which some are left out
FEW_FRAMES = 1024  # of a spectrogram, beyond which neighbours are averaged

Drawing = NDArray[np.uint8]  # [height, width] or [height, width, 3]


def drawing_of(array: NDArray[Any], width: int, height: int) -> Drawing | None:
    """The tensor in grey or colour, from the least value, black, to the greatest; None for others.

    A curve has this width and height in pixels, at least 1 each; a picture has its own. Values that
    are not finite are not drawn, nor is anything beside them.
    """
    shape = [extent for extent in array.shape if extent != 1]
    if array.dtype.kind not in "uifb" or array.size == 0 or not np.isfinite(array).all():
        return None
    if len(shape) == 1 and array.size >= MIN_CURVE and array.dtype.kind != "b":
        values = _halved(array.reshape(-1))
        curve = _curve(values, width, height)
        is_sound = values.size >= MIN_SOUND and 2 * np.count_nonzero(curve) > curve.size
        return _frequencies(values, width, height) if is_sound else curve
    image = array.reshape(shape)
    if len(shape) == 3 and shape[0] == 3 and shape[-1] != 3:
        image = np.moveaxis(image, 0, -1)
    if not (len(shape) == 2 or (len(shape) == 3 and image.shape[-1] == 3)):
        return None
    if _is_over_time(array):
        return _spectrogram(image)
    if not all(MIN_EXTENT <= extent <= MAX_EXTENT for extent in image.shape[:2]):
        return None
    step = -(-max(image.shape[:2]) // MANY_PIXELS)
    return _scaled(_halved(image[::step, ::step]))


def grey(drawing: Drawing) -> Drawing:
    """[height, width], of a drawing in colour or not."""
    return drawing if drawing.ndim == 2 else drawing.mean(axis=-1).astype(np.uint8)


def fitted(drawing: Drawing, most: int) -> Drawing:
    """At most so many pixels along each side: of blocks that are too many, the mean."""
    factor = -(-max(drawing.shape[:2]) // most)
    if factor == 1:
        return drawing
    height, width = (extent // factor * factor for extent in drawing.shape[:2])
    if height == 0 or width == 0:
        return drawing[::factor, ::factor]
    cut = drawing[:height, :width].astype(np.float64)
    blocks = cut.reshape(height // factor, factor, width // factor, factor, *drawing.shape[2:])
    mean: Drawing = blocks.mean(axis=(1, 3)).astype(np.uint8)
    return mean


def _is_over_time(array: NDArray[Any]) -> bool:
    shape = array.shape[1:] if array.ndim == 3 and array.shape[0] == 1 else array.shape
    return len(shape) == 2 and shape[0] != shape[1] and array.dtype.kind in "if"


def _curve(values: NDArray[np.float64], width: int, height: int) -> Drawing:
    """A line from the least to the greatest value that each column of pixels stands for."""
    edges = np.arange(width + 1) * (values.size - 1) / width
    at_edges = np.interp(edges, np.arange(values.size), values)
    least, most = np.minimum(at_edges[:-1], at_edges[1:]), np.maximum(at_edges[:-1], at_edges[1:])
    columns = np.minimum(np.arange(values.size) * width // values.size, width - 1)
    np.minimum.at(least, columns, values)
    np.maximum.at(most, columns, values)
    low, high = values.min(), values.max()
    step = (high - low) / (height - 1) if high > low and height > 1 else 1.0
    bottom, top = (np.rint((edge - low) / step) for edge in (least, most))
    rows = np.arange(height - 1, -1, -1)[:, None]
    is_line = (bottom <= rows) & (rows <= top)
    drawing: Drawing = np.where(is_line, 255, 0).astype(np.uint8)
    return drawing


def _frequencies(values: NDArray[np.float64], width: int, height: int) -> Drawing:
    """Time goes to the right, frequencies go up; of those that share a pixel, the loudest."""
    shares = values / (np.abs(values).max() or 1.0)
    levels = (levels_db(shares - shares.mean()) + RANGE_DB) * (255 / RANGE_DB)
    for axis, count in ((0, height), (1, width)):
        extent = levels.shape[axis]
        if extent > count:
            firsts = np.arange(count) * extent // count
            levels = np.maximum.reduceat(levels, firsts, axis=axis)
        else:
            levels = levels.take(np.arange(count) * extent // count, axis=axis)
    return levels[::-1].astype(np.uint8)


def _spectrogram(image: NDArray[Any]) -> Drawing | None:
    """Time goes to the right, features go up."""
    frames, features = image.shape
    if min(frames, features) < MIN_EXTENT or features > MAX_EXTENT:
        return None
    values = _halved(image)
    factor = -(-frames // FEW_FRAMES)
    if factor > 1:
        firsts = np.arange(0, frames, factor)
        counts = np.diff(np.append(firsts, frames))
        values = np.add.reduceat(values, firsts, axis=0) / counts[:, None]
    picture = _scaled(values.T[::-1])
    height, width = picture.shape
    picture = picture.repeat(max(1, width // (MAX_ASPECT * height)), axis=0)
    return picture.repeat(max(1, height // width), axis=1)


def _halved(values: NDArray[Any]) -> NDArray[np.float64]:
    """The range of all doubles does not fit a double."""
    return values.astype(np.float64) / 2


def _scaled(values: NDArray[np.float64]) -> Drawing:
    least, most = values.min(), values.max()
    if not most > least:
        return np.zeros(values.shape, np.uint8)
    scaled: Drawing = ((values - least) / (most - least) * 255).astype(np.uint8)
    return scaled
