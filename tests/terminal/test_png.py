"""PNG files: another reader finds the same pixels in them."""

from __future__ import annotations

import io

import numpy as np
import pytest

from edgeward.terminal.png import png

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 300), (1, 1, 3), (7, 4, 3)])
def test_pillow_reads_the_same_pixels(shape):
    picture = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(png(picture))) as image:
        image.verify()
    with Image.open(io.BytesIO(png(picture))) as image:
        assert image.mode == ("L" if len(shape) == 2 else "RGB")
        np.testing.assert_array_equal(np.asarray(image), picture)


def test_a_view_of_a_larger_array_is_written_as_seen():
    picture = np.arange(200, dtype=np.uint8).reshape(10, 20)[::-1, ::2]
    with Image.open(io.BytesIO(png(picture))) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)
