"""Labelled pictures: where boxes and plates stand, and that text can be read on its ground."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from edgeward.terminal.labelled_picture import (
    COLOURS,
    LEAST_SIDE,
    LINE_SIZE,
    MOST_SIDE,
    Mark,
    _ink_on,
    plate_of,
    write_labelled,
)


def written(path, picture, marks, lines=()):
    write_labelled(path, picture, marks, lines)
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((480, 640), (480, 640)), ((24, 32), (480, 640)), ((4000, 2000), (1600, 800))],
)
def test_a_picture_has_a_size_that_can_be_looked_at(tmp_path, shape, size):
    sheet = written(tmp_path / "a.png", np.full((*shape, 3), 90, np.uint8), [])
    assert sheet.shape == (*size, 3)
    assert (sheet == 90).all()
    assert LEAST_SIDE <= max(sheet.shape) <= MOST_SIDE


def test_a_box_stands_around_its_pixels(tmp_path):
    picture = np.full((320, 640, 3), 90, np.uint8)
    sheet = written(tmp_path / "a.png", picture, [Mark("cat 0.9", 1, 200, 100, 400, 200)])
    colour = ImageColor.getrgb(COLOURS[1])
    assert (sheet[150, [202, 398]] == colour).all()
    assert (sheet[[102, 198], 300] == colour).all()
    assert (sheet[110:190, 210:390] == 90).all()
    plate = sheet[76:100, 200:270]
    assert (plate == colour).all(axis=-1).mean() > 0.4
    assert (plate == 0).all(axis=-1).any()
    assert (sheet[:, 420:] == 90).all()


def test_lines_stand_below(tmp_path):
    picture = np.full((320, 640, 3), 90, np.uint8)
    sheet = written(tmp_path / "a.png", picture, [], ["0.9  cat", "0.1  dog" + "g" * 99])
    assert sheet.shape[0] > 320 + 2 * LINE_SIZE
    assert sheet.shape[1] > 640
    assert (sheet[:320, :640] == 90).all()
    for first in (332, 332 + LINE_SIZE):
        assert sheet[first : first + LINE_SIZE].min() < 60


def test_text_is_plain_on_its_ground():
    """At a contrast of 4.5 by WCAG 2, which is that for text."""

    def luminance(colour):
        shares = np.array(ImageColor.getrgb(colour)) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    for colour in COLOURS:
        bright, dark = sorted((luminance(colour), luminance(_ink_on(colour))), reverse=True)
        assert bright / dark >= 4.5


def test_plates_lie_beside_each_other_and_in_the_picture():
    size, plates = (200, 100), []
    for _ in range(3):
        plates.append(plate_of((150, 10, 190, 60), 90, size, plates))
    for index, (left, top, right, bottom) in enumerate(plates):
        assert 0 <= left < right <= 200
        assert 0 <= top < bottom <= 100
        for other in plates[:index]:
            assert top >= other[3] or bottom <= other[1]


@pytest.mark.parametrize(
    "mark", [(0, 0, 640, 320), (-9, -9, 5, 5), (639, 319, 640, 320), (10, 10, 10.2, 10.2)], ids=str
)
def test_a_box_at_the_edge_is_drawn(tmp_path, mark):
    picture = np.full((320, 640, 3), 90, np.uint8)
    sheet = written(tmp_path / "a.png", picture, [Mark("cat", 0, *mark)])
    assert (sheet == ImageColor.getrgb(COLOURS[0])).all(axis=-1).sum() > 300
