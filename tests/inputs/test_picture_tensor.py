"""Pictures as tensors: by the documented rule, by a recipe, and none larger than is of use."""

import io
import struct
import zlib
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from edgeward.errors import BadInput
from edgeward.inputs.picture_tensor import View, picture_tensor, size_of, upright, view_of
from edgeward.packages.input_plan import picture_plan
from edgeward.packages.recipe import PictureInput, Values


class Spec(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    quantization: Any = None


IMAGE = Spec("image", "float32", (1, 4, 6, 3))


def same(tensors, expected):
    assert list(tensors) == list(expected)
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape) == (expected[name].dtype, expected[name].shape)
        assert np.array_equal(tensor, expected[name])


def pixels(height=4, width=6, channels=3):
    return np.random.default_rng(5).integers(0, 256, (height, width, channels), np.uint8)


def png(path, values):
    Image.fromarray(values.squeeze()).save(path)
    return path


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("uint8", lambda values: values),
        ("int8", lambda values: (values.astype(np.int16) - 128).astype(np.int8)),
        ("float16", lambda values: (values / np.float32(255)).astype(np.float16)),
        ("float32", lambda values: values / np.float32(255)),
        ("float64", lambda values: (values / np.float32(255)).astype(np.float64)),
    ],
)
def test_values_are_scaled_by_the_documented_rule(tmp_path, dtype, expected):
    tensor = picture_tensor(png(tmp_path / "p.png", pixels()), Spec("x", dtype, (1, 4, 6, 3)))
    same({"x": tensor}, {"x": expected(pixels()[np.newaxis])})


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 4, 6, 3), lambda values: values[np.newaxis]),
        ((-1, -1, -1, 3), lambda values: values[np.newaxis]),
        ((1, 3, 4, 6), lambda values: values.transpose(2, 0, 1)[np.newaxis]),
        ((4, 6, 3), lambda values: values),
        ((3, 4, 6), lambda values: values.transpose(2, 0, 1)),
    ],
    ids=["NHWC", "any NHWC", "NCHW", "HWC", "CHW"],
)
def test_channels_go_where_the_input_has_them(tmp_path, shape, expected):
    tensor = picture_tensor(png(tmp_path / "p.png", pixels()), Spec("x", "uint8", shape))
    same({"x": tensor}, {"x": expected(pixels())})
    assert tensor.flags.c_contiguous


@pytest.mark.parametrize(
    "shape", [(1, 4, 6, 1), (1, 1, 4, 6), (1, 4, 6), (4, 6), (4, 6, 1)], ids=str
)
def test_a_grey_input_takes_a_grey_picture(tmp_path, shape):
    grey = pixels(channels=1)
    tensor = picture_tensor(png(tmp_path / "p.png", grey), Spec("x", "uint8", shape))
    same({"x": tensor}, {"x": grey.reshape(shape)})


def test_a_grey_input_takes_the_brightness_of_a_colour_picture(tmp_path):
    path = png(tmp_path / "p.png", np.full((4, 6, 3), (255, 0, 0), np.uint8))
    assert set(picture_tensor(path, Spec("x", "uint8", (4, 6))).flat) == {76}


def test_a_colour_input_takes_a_grey_picture_three_times(tmp_path):
    grey = pixels(channels=1)
    tensor = picture_tensor(png(tmp_path / "p.png", grey), Spec("x", "uint8", (4, 6, 3)))
    assert np.array_equal(tensor, np.repeat(grey, 3, axis=2))


def test_a_wide_picture_loses_its_sides_not_its_proportions(tmp_path):
    thirds = np.repeat(np.array([10, 120, 240], np.uint8), 16)
    path = png(tmp_path / "p.png", np.tile(thirds, (8, 1)))
    tensor = picture_tensor(path, Spec("x", "uint8", (1, 4, 4, 1)))
    assert set(tensor.flat) == {120}


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
    path = tmp_path / "p.jpg"
    picture = Image.fromarray(np.repeat(np.array([[0], [255]], np.uint8), 8, axis=0).repeat(16, 1))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture.save(path, exif=exif, quality=100)
    tensor = picture_tensor(path, Spec("x", "uint8", (-1, -1, -1, 1)))
    assert tensor[0, 0, 0, 0] > 200 > 50 > tensor[0, -1, 0, 0]


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "bfloat16"])
def test_a_picture_for_another_dtype_is_refused(tmp_path, dtype):
    path = png(tmp_path / "p.png", pixels())
    with pytest.raises(
        BadInput, match=f'^input "x": expected {dtype}, got .*p.png, which gives uint8'
    ):
        picture_tensor(path, Spec("x", dtype, (1, 4, 6, 3)))


def test_sixteen_bits_are_refused_not_clipped(tmp_path):
    path = png(tmp_path / "p.png", np.full((4, 6), 40_000, np.uint16))
    with pytest.raises(BadInput, match="expected 8 bits a channel, got a picture of mode I;16"):
        picture_tensor(path, Spec("x", "uint8", (4, 6)))


# Prints what comes of each picture for an input of 24 x 24, and by how many MiB the process grew.
MEASURED = """
import sys
from pathlib import Path
from types import SimpleNamespace
import PIL.JpegImagePlugin, PIL.PngImagePlugin
from edgeward.errors import BadInput
from edgeward.inputs.picture_tensor import picture_tensor

def peak_mib():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) >> 10

spec = SimpleNamespace(name="x", dtype="uint8", shape=(1, 24, 24, 3), quantization=None)
before = peak_mib()
for name in sys.argv[1:]:
    try:
        tensor = picture_tensor(Path(name), spec)
        print(tensor.min(), tensor.max())
    except BadInput as error:
        print(error)
print(peak_mib() - before)
"""


def black_png(width, height):
    """A PNG of one bit a pixel, which is a thousandth of what it decodes to."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes((1 + (width + 7) // 8) * height))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_a_small_file_of_a_vast_picture_takes_no_memory(tmp_path, run_child):
    (tmp_path / "vast.png").write_bytes(black_png(12_000, 12_000))
    assert (tmp_path / "vast.png").stat().st_size < 100_000
    Image.new("L", (12_000, 10_000)).save(tmp_path / "vast.jpg")
    Image.new("L", (8_000, 6_000), 77).save(tmp_path / "photo.jpg")
    paths = [tmp_path / name for name in ("vast.png", "vast.jpg", "photo.jpg")]
    *lines, grown_mib = run_child(MEASURED, *paths, PYTHONWARNINGS="ignore").splitlines()
    assert "at most 33,554,432 pixels, got 144,000,000" in lines[0]
    assert "at most 33,554,432 pixels, got 120,000,000" in lines[1]
    assert lines[2] == "77 77"  # decoded at an eighth
    assert int(grown_mib) < 64


def test_a_large_input_takes_a_large_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeward.inputs.picture_tensor.MOST_PIXELS", 100)
    values = pixels(20, 30)
    png(tmp_path / "a.png", values)
    tensor = picture_tensor(tmp_path / "a.png", Spec("x", "uint8", (20, 30, 3)))
    assert np.array_equal(tensor, values)
    for shape in ((10, 10, 3), (-1, -1, 3)):
        with pytest.raises(BadInput, match="expected a picture of at most"):
            picture_tensor(tmp_path / "a.png", Spec("x", "uint8", shape))


def test_a_file_that_other_programs_would_decode_is_refused(tmp_path):
    """Pillow starts Ghostscript for this one, whatever its name ends in."""
    Image.fromarray(pixels()).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(BadInput, match="expected a picture"):
        picture_tensor(tmp_path / "a.png", IMAGE)


# --- by a recipe -----------------------------------------------------------------------------


def test_bytes_and_arrays_are_pictures_too(tmp_path):
    path = png(tmp_path / "p.png", pixels())
    expected = picture_tensor(path, IMAGE)
    same({"": picture_tensor(path.read_bytes(), IMAGE)}, {"": expected})
    same({"": picture_tensor(pixels(), IMAGE)}, {"": expected})
    grey = pixels(channels=1)
    spec = Spec("x", "uint8", (1, 4, 6, 1))
    for array in (grey, grey[..., 0]):
        assert np.array_equal(picture_tensor(array, spec), grey[np.newaxis])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (np.zeros((4, 6, 3), np.float32), r"^picture: expected uint8 .*, got float32 \[4, 6, 3\]$"),
        (np.zeros((4, 6, 4), np.uint8), r"got uint8 \[4, 6, 4\]$"),
        (np.zeros((0, 6), np.uint8), r"got uint8 \[0, 6\]$"),
        (7, "^picture: expected a path, bytes or an array, got int$"),
        (b"not a picture", "^picture: expected a picture, got bytes that are not"),
    ],
)
def test_what_is_no_picture_is_refused(source, says):
    with pytest.raises(BadInput, match=says):
        picture_tensor(source, IMAGE)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (PictureInput(values=Values((127.5,), (1 / 127.5,))), lambda p: (p - 127.5) / 127.5),
        (
            PictureInput(values=Values((103.94, 116.78, 123.68), (0.5, 1.0, 2.0)), colours="bgr"),
            lambda p: (p[..., ::-1] - [103.94, 116.78, 123.68]) * [0.5, 1.0, 2.0],
        ),
    ],
    ids=["one mean", "three, of BGR"],
)
def test_mean_scale_and_colours(how, expected):
    tensor = picture_tensor(pixels(), IMAGE, how)
    assert tensor.dtype == np.float32
    assert np.allclose(tensor[0], expected(pixels().astype(np.float64)), rtol=1e-6, atol=1e-5)


def test_a_layout_says_what_the_shape_leaves_open():
    values = pixels(3, 3)
    spec = Spec("x", "uint8", (1, 3, 3, 3))
    assert np.array_equal(picture_tensor(values, spec)[0], values)
    tensor = picture_tensor(values, spec, PictureInput(layout="nchw"))
    assert np.array_equal(tensor[0], values.transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_real_values_are_stored_by_the_inputs_scale(dtype):
    quantization = SimpleNamespace(scales=[0.5], zero_points=[3])
    spec = Spec("x", dtype, (1, 4, 6, 3), quantization)
    how = PictureInput(values=Values((100.0,), (0.25,)))
    real = (pixels().astype(np.float64) - 100) * 0.25
    limits = np.iinfo(dtype)
    expected = np.clip(np.rint(real / 0.5 + 3), limits.min, limits.max)
    assert np.array_equal(picture_tensor(pixels(), spec, how)[0], expected)
    with pytest.raises(BadInput, match=f"expected {dtype} with one scale for mean and scale"):
        picture_tensor(pixels(), spec._replace(quantization=None), how)


def halves(height, width):
    """Red on the left, blue on the right, in a wide picture."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2, 0] = picture[:, width // 2 :, 2] = 200
    return picture


def test_a_picture_that_is_contained_is_whole_between_what_fills():
    how = PictureInput(fit="contain", fill=(7, 8, 9), filter="nearest")
    tensor = picture_tensor(halves(20, 40), Spec("x", "uint8", (1, 40, 40, 3)), how)[0]
    assert (tensor[:10] == (7, 8, 9)).all()
    assert (tensor[30:] == (7, 8, 9)).all()
    assert np.array_equal(tensor[10:30], halves(20, 40))
    blue = how._replace(colours="bgr")
    turned = picture_tensor(halves(20, 40), Spec("x", "uint8", (1, 40, 40, 3)), blue)[0]
    assert (turned[:10] == (7, 8, 9)).all()
    assert np.array_equal(turned[10:30], halves(20, 40)[..., ::-1])


def test_a_picture_that_is_stretched_is_whole():
    how = PictureInput(fit="stretch", filter="nearest")
    tensor = picture_tensor(halves(20, 40), Spec("x", "uint8", (1, 20, 20, 3)), how)[0]
    assert np.array_equal(tensor, halves(20, 20))


def test_a_short_side_leaves_the_margins_out():
    """As a resize to 8 and a crop of 4 do: half of the height, a quarter of the width."""
    picture = np.arange(16 * 32, dtype=np.int64).reshape(16, 32) % 251
    how = PictureInput(short_side=8, filter="nearest")
    tensor = picture_tensor(picture.astype(np.uint8), Spec("x", "uint8", (4, 4)), how)
    assert np.array_equal(tensor, picture[5:12:2, 13:20:2])


@pytest.mark.parametrize(
    ("how", "view"),
    [
        (PictureInput(), View(0.25, 0, 0.75, 1)),
        (PictureInput(fit="stretch"), View(0, 0, 1, 1)),
        (PictureInput(fit="contain"), View(0, -0.5, 1, 1.5)),
        (PictureInput(short_side=20), View(0.375, 0.25, 0.625, 0.75)),
    ],
    ids=["cover", "stretch", "contain", "short side"],
)
def test_what_the_model_sees_of_a_picture(how, view):
    plan = picture_plan(Spec("x", "uint8", (1, 10, 10, 3)), how, "")
    assert view_of(200, 100, plan, how) == pytest.approx(view)


def test_an_open_input_has_the_recipes_size():
    spec = Spec("x", "uint8", (1, -1, -1, 3))
    assert picture_tensor(pixels(), spec, PictureInput(size=(8, 12))).shape == (1, 8, 12, 3)
    assert picture_tensor(pixels(), spec).shape == (1, 4, 6, 3)
    half = Spec("x", "uint8", (1, -1, 12, 3))
    assert picture_tensor(pixels(), half).shape == (1, 4, 12, 3)


def test_a_recipes_size_bounds_what_is_decoded(monkeypatch):
    monkeypatch.setattr("edgeward.inputs.picture_tensor.MOST_PIXELS", 100)
    content = io.BytesIO()
    Image.fromarray(pixels(20, 30)).save(content, format="PNG")
    spec = Spec("x", "uint8", (1, -1, -1, 3))
    picture_tensor(content.getvalue(), spec, PictureInput(size=(20, 30)))
    with pytest.raises(BadInput, match="expected a picture of at most 100 pixels, got 600"):
        picture_tensor(content.getvalue(), spec, PictureInput(size=(2, 2)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_size_is_that_of_the_picture_upright(orientation):
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels(10, 20)).save(content, format="JPEG", exif=exif)
    picture = upright(content.getvalue(), 4, 4)
    assert (
        size_of(content.getvalue(), 4, 4) == picture.size == ((20, 10), (10, 20))[orientation > 4]
    )
    assert size_of(pixels(10, 20), 4, 4) == (20, 10)


def test_a_size_is_told_of_no_picture_that_is_too_large(monkeypatch):
    monkeypatch.setattr("edgeward.inputs.picture_tensor.MOST_PIXELS", 100)
    content = io.BytesIO()
    Image.fromarray(pixels(20, 30)).save(content, format="PNG")
    with pytest.raises(BadInput, match="expected a picture of at most 100 pixels, got 600"):
        size_of(content.getvalue(), 4, 4)
