"""Drawing: which tensors look like a picture, a curve or a spectrogram, and what is where in it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeward.terminal.drawing import FEW_FRAMES, drawing_of, fitted, grey

WIDTH, HEIGHT = 60, 20


def drawn(array):
    return drawing_of(array, WIDTH, HEIGHT)


def test_a_picture_goes_from_black_to_white():
    picture = np.zeros((1, 16, 16, 1), np.float32)
    picture[0, 4:12, 4:12] = 1
    drawing = drawn(picture)
    assert drawing.shape == (16, 16)
    assert (drawing.min(), drawing.max(), drawing[8, 8]) == (0, 255, 255)


@pytest.mark.parametrize(
    ("shape", "dtype", "drawing"),
    [
        ((20, 24), "uint8", (20, 24)),
        ((1, 1, 20, 24), "float32", (20, 24)),
        ((20, 20), "float32", (20, 20)),
        ((1, 20, 24, 3), "uint8", (20, 24, 3)),
        ((3, 20, 24), "uint8", (20, 24, 3)),
        ((3, 20, 3), "uint8", None),
        ((50, 40), "float32", (40, 50)),
        ((1, 50, 40), "float16", (40, 50)),
        ((50, 40), "int8", (40, 50)),
        ((20, 100), "float32", (100, 100)),
        ((1000, 10), "float32", (250, 1000)),
        ((64,), "float32", (HEIGHT, WIDTH)),
        ((1, 64, 1), "int16", (HEIGHT, WIDTH)),
        ((16,), "float32", None),
        ((64,), "bool", None),
        ((4, 4), "uint8", None),
        ((4000, 3000), "uint8", (1000, 750)),
        ((5000, 16), "uint8", None),
        ((2, 16, 16), "uint8", None),
        ((16, 16), "complex64", None),
        ((0, 16), "float32", None),
        ((), "float32", None),
    ],
    ids=str,
)
def test_dtype_and_shape_tell_what_a_tensor_is(shape, dtype, drawing):
    result = drawn(np.ones(shape, dtype))
    assert drawing == (None if result is None else result.shape)


def test_channels_first_and_last_give_the_same():
    image = np.random.default_rng(1).integers(0, 256, (20, 24, 3), np.uint8)
    np.testing.assert_array_equal(drawn(image), drawn(np.moveaxis(image, -1, 0)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(64,), (16, 16), (50, 40)])
def test_what_is_not_finite_is_not_drawn(shape, value):
    array = np.zeros(shape, np.float32)
    array.flat[5] = value
    assert drawn(array) is None


def test_the_range_of_all_doubles_is_drawn():
    greatest = np.finfo(np.float64).max
    drawing = drawn(np.linspace(-1, 1, 64) * greatest)
    assert drawing[-1, 0] == drawing[0, -1] == 255


def test_a_curve_rises_and_falls_where_its_values_do():
    drawing = drawn(np.sin(np.linspace(0, 2 * np.pi, 200)))
    tops = drawing.argmax(axis=0)
    assert tops.argmin() in range(WIDTH // 4 - 5, WIDTH // 4 + 5)
    assert tops.argmax() in range(3 * WIDTH // 4 - 5, 3 * WIDTH // 4 + 5)
    assert drawing.any(axis=0).all(), "a gap"


@pytest.mark.parametrize("at", [0, 1, 4999, 9_998, 9_999])
def test_a_spike_among_many_values_is_seen(at):
    values = np.zeros(10_000, np.float32)
    values[at] = 1
    drawing = drawn(values)
    assert drawing[0].nonzero()[0].tolist() == [at * WIDTH // 10_000]


def test_few_values_are_joined():
    values = np.array([0, 1] * 16, np.float32)
    drawing = drawing_of(values, 310, HEIGHT)
    assert drawing.any(axis=0).all()


def test_time_goes_right_and_features_go_up():
    tone = np.zeros((50, 40), np.float32)
    tone[30:, :10] = 1
    drawing = drawn(tone)
    rows, columns = drawing.nonzero()
    assert (rows.min(), columns.min()) == (30, 30)


def test_a_long_spectrogram_is_averaged():
    tones = np.zeros((10 * FEW_FRAMES + 3, 16), np.float32)
    tones[10:20, 3] = 1
    drawing = drawn(tones)
    assert drawing.shape[1] <= FEW_FRAMES
    assert drawing.max() == 255


def test_grey_of_colour_and_of_grey():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(grey(image), image[..., 1])
    assert grey(image[..., 0]) is not None


@pytest.mark.parametrize("shape", [(100, 60), (100, 60, 3), (61, 100), (100, 1), (8, 8)])
def test_a_drawing_is_fitted(shape):
    small = fitted(np.full(shape, 77, np.uint8), 30)
    assert max(small.shape[:2]) <= 30
    assert min(small.shape) >= 1
    assert (small == 77).all()


def test_a_long_signal_that_would_fill_its_curve_is_a_spectrogram():
    times = np.arange(16_000) / 16_000
    tones = np.sin(2 * np.pi * np.where(times < 0.5, 2000, 6000) * times).astype(np.float32)
    drawing = drawing_of(tones[None], 80, 20)
    assert drawing.shape == (20, 80)
    assert abs(drawing[:, 20].argmax() - 20 * (1 - 2 / 8)) <= 1
    assert abs(drawing[:, 60].argmax() - 20 * (1 - 6 / 8)) <= 1
    assert np.median(drawing) < 64
    quiet = tones * np.where(times < 0.1, 1, 0.01)
    assert set(drawing_of(quiet, 80, 20).flat) == {0, 255}  # a curve
    assert (drawing_of(tones[:4000], 80, 20) == 255).all()


def test_a_long_signal_of_the_greatest_numbers_is_drawn():
    values = np.tile([np.finfo(np.float64).max, -np.finfo(np.float64).max], 3000)
    assert drawing_of(values, 80, 20).shape == (20, 80)
