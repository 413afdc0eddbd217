"""Pictures as text and as PNG files: real pixels, seen again in what comes out."""

import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from edgeward.errors import BadInput
from edgeward.terminal import picture
from edgeward.terminal.picture import Ink, Tile, enlarged, grid, ink, lines, write_contact_sheet

# Light on the left, dark on the right; brighter at the bottom.
SLOPE = np.array([[200, 100, 0], [220, 120, 20], [240, 140, 40], [255, 160, 60]], np.uint8)
CELL = re.compile(r"\x1b\[38;([\d;]+);48;([\d;]+)m(▀+)")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


class AsciiTerminal(Terminal):
    encoding = "ascii"


@pytest.mark.parametrize(
    ("stream", "environment", "expected"),
    [
        (Terminal(), {"COLORTERM": "truecolor"}, Ink.TRUECOLOR),
        (Terminal(), {"COLORTERM": "24bit", "TERM": "xterm-256color"}, Ink.TRUECOLOR),
        (Terminal(), {"TERM": "screen-256color"}, Ink.PALETTE),
        (Terminal(), {"TERM": "linux"}, Ink.ASCII),
        (Terminal(), {"TERM": "dumb"}, Ink.ASCII),
        (Terminal(), {}, Ink.ASCII),
        (Terminal(), {"COLORTERM": "truecolor", "NO_COLOR": "1"}, Ink.ASCII),
        (Terminal(), {"COLORTERM": "truecolor", "NO_COLOR": ""}, Ink.TRUECOLOR),
        (AsciiTerminal(), {"COLORTERM": "truecolor"}, Ink.ASCII),
        (io.StringIO(), {"COLORTERM": "truecolor"}, Ink.ASCII),
    ],
)
def test_colour_only_where_it_is_claimed_and_wanted(stream, environment, expected):
    assert ink(stream, environment) is expected


def colours(line):
    """The (upper, lower) colour of each character, as the terminal would see them."""
    assert line.endswith("\x1b[0m")
    cells = [(upper, lower) for upper, lower, blocks in CELL.findall(line) for _ in blocks]
    assert CELL.sub("", line) == "\x1b[0m"
    return cells


def test_a_half_block_carries_two_pixels_in_24_bits():
    seen = [colours(line) for line in lines(SLOPE, 3, Ink.TRUECOLOR)]
    pixels = SLOPE.tolist()
    expected = [
        [tuple(f"2;{v};{v};{v}" for v in pair) for pair in zip(upper, lower, strict=True)]
        for upper, lower in zip(pixels[::2], pixels[1::2], strict=True)
    ]
    assert seen == expected


@pytest.mark.parametrize(
    ("value", "colour"),
    [(0, "5;16"), (5, "5;16"), (10, "5;232"), (128, "5;244"), (245, "5;255"), (255, "5;231")],
)
def test_a_grey_of_the_palette_is_near_the_one_meant(value, colour):
    (line,) = lines(np.full((2, 1), value, np.uint8), 1, Ink.PALETTE)
    assert colours(line) == [(colour, colour)]


def test_letters_go_from_blank_to_full():
    steps = np.linspace(0, 255, 10).astype(np.uint8).reshape(1, 10)
    assert lines(steps, 10, Ink.ASCII)[0] == " .:-=+*#%@"


@pytest.mark.parametrize("kind", Ink)
def test_a_picture_keeps_its_proportions(kind):
    drawn = lines(np.zeros((8, 8), np.uint8), 24, kind)
    assert len(drawn) == 12
    assert {len(re.sub("\x1b[^m]*m", "", line)) for line in drawn} == {24}


def test_a_picture_enlarged_to_its_own_size_is_itself():
    assert np.array_equal(enlarged(SLOPE, 4, 3), SLOPE)


def test_between_two_pixels_lies_their_blend():
    assert enlarged(np.array([[0, 100]], np.uint8), 1, 4).tolist() == [[0, 25, 75, 100]]


def tiles(count):
    return [Tile(np.full((8, 8), 255, np.uint8), f"caption {i}") for i in range(count)]


@pytest.mark.parametrize(
    ("count", "columns", "rows"),
    [
        (0, 80, []),
        (1, 80, [1]),
        (3, 80, [3]),
        (4, 80, [2, 2]),
        (4, 102, [4]),
        (5, 80, [3, 2]),
        (2, 10, [1, 1]),
    ],
)
def test_tiles_share_rows_evenly(count, columns, rows):
    captions = [line for line in grid(tiles(count), columns, Ink.ASCII) if "caption" in line]
    assert [line.count("caption") for line in captions] == rows


@pytest.mark.parametrize("kind", Ink)
def test_a_caption_stands_below_its_picture(kind):
    long = Tile(np.full((8, 8), 255, np.uint8), "x" * 30)
    text = [re.sub("\x1b[^m]*m", "", line) for line in grid([long, *tiles(1)], 80, kind)]
    assert [line.index("caption") for line in text if "caption" in line] == [32]
    assert {line.rindex(" ") for line in text[:-1]} == {31}


def test_a_contact_sheet_shows_the_pixels_in_order(tmp_path):
    shades = [0, 60, 120, 180, 240]
    path = tmp_path / "sheet.png"
    pictures = [np.full((8, 8), shade, np.uint8) for shade in shades]
    write_contact_sheet(path, "title", [Tile(pixels, "caption") for pixels in pictures])
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        pixels = np.asarray(sheet.convert("L"))
    matches = [np.argwhere(blocks_of(pixels, shade)) for shade in shades]
    assert all(len(match) for match in matches), "a picture is missing"
    corners = [tuple(match[0]) for match in matches]
    assert corners == sorted(corners)
    assert [row for row, _ in corners[:4]] == [corners[0][0]] * 4
    assert corners[4][1] == corners[0][1]


def blocks_of(pixels, shade):
    """Where a square as large as a tile has this one shade: its upper left corners."""
    size = picture.SHEET_TILE
    counts = np.pad((pixels == shade).astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    inside = counts[size:, size:] - counts[:-size, size:] - counts[size:, :-size]
    return inside + counts[:-size, :-size] == size * size


def test_a_contact_sheet_keeps_each_pixel_of_a_tile(tmp_path):
    path = tmp_path / "sheet.png"
    checks = (np.indices((8, 8)).sum(axis=0) % 2 * 200).astype(np.uint8)
    write_contact_sheet(path, "", [Tile(checks, "")])
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("L"))
    rows, columns = np.nonzero(pixels < 255)
    scale = picture.SHEET_TILE // 8
    shown = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert np.array_equal(shown, np.kron(checks, np.ones((scale, scale), np.uint8)))


def test_captions_and_title_leave_ink(tmp_path):
    plain, captioned = tmp_path / "plain.png", tmp_path / "captioned.png"
    white = np.full((8, 8), 255, np.uint8)
    write_contact_sheet(plain, "", [Tile(white, "")])
    write_contact_sheet(captioned, "title", [Tile(white, "caption")])
    with Image.open(plain) as blank, Image.open(captioned) as written:
        assert np.asarray(blank).min() == 255
        dark = np.asarray(written.convert("L")) < 128
    height = picture.SHEET_MARGIN + picture.TITLE_SIZE
    assert dark[: height + picture.SHEET_GAP // 2].any()
    assert dark[height + picture.SHEET_GAP + picture.SHEET_TILE :].any()


def test_without_pillow_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    path = tmp_path / "sheet.png"
    with pytest.raises(BadInput, match=r'pip install "edgeward\[image\]"'):
        write_contact_sheet(path, "title", [])
    assert not path.exists()
