"""Spectrograms: tones where they belong, beside scipy's, and a picture with its axes."""

import numpy as np
import pytest
from PIL import Image
from scipy import signal

from edgeward.terminal.spectrogram import (
    FRAME,
    HEIGHT,
    LEFT,
    RANGE_DB,
    STEP,
    STRIP,
    TOP,
    WIDTH,
    Span,
    levels_db,
    write_spectrogram,
)


def tone(hz, seconds=1.0, rate_hz=8000):
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz).astype(np.float32)


def test_levels_are_those_of_scipy():
    samples = np.random.default_rng(2).standard_normal(4000).astype(np.float32)
    _, _, power = signal.spectrogram(
        samples.astype(np.float64), window="hann", nperseg=FRAME, noverlap=FRAME - STEP,
        detrend=False, scaling="spectrum", mode="magnitude",
    )  # fmt: skip
    expected = 20 * np.log10(power / power.max())
    assert np.allclose(levels_db(samples), np.maximum(expected, -RANGE_DB), atol=1e-6)


@pytest.mark.parametrize("samples", [np.zeros(3, np.float32), np.zeros(9000, np.float32)])
def test_silence_is_as_low_as_there_is(samples):
    assert (levels_db(samples) == -RANGE_DB).all()


def test_a_long_sound_has_a_bounded_number_of_frames():
    assert levels_db(np.ones(1 << 21, np.float32)).shape[1] <= 8 * WIDTH


def test_a_tone_stands_at_its_height(tmp_path):
    samples = np.concatenate([tone(1000), tone(3000)])
    write_spectrogram(tmp_path / "a.png", samples, 8000, ["0.9  low", "0.1  high"])
    sheet = np.asarray(Image.open(tmp_path / "a.png").convert("L")).astype(int)
    drawing = sheet[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
    quarters = drawing[:, WIDTH // 4], drawing[:, 3 * WIDTH // 4]
    for hz, column in zip((1000, 3000), quarters, strict=True):
        assert abs(column.argmax() - HEIGHT * (1 - hz / 4000)) < 4
        assert np.median(column) < 40
    assert sheet[TOP + HEIGHT + 8 :].min() < 80  # text
    assert sheet[:, : LEFT - 10].min() < 80
    assert sheet[0, 0] == 255


def test_spans_stand_below_their_time(tmp_path):
    spans = [
        Span("low", 0, 1),
        Span("a text without any room at all", 1, 1.1),
        Span("high", 1.1, 2.4),
    ]
    write_spectrogram(tmp_path / "a.png", np.concatenate([tone(1000), tone(3000)]), 8000, (), spans)
    sheet = np.asarray(Image.open(tmp_path / "a.png").convert("L")).astype(int)
    strip = sheet[TOP + HEIGHT + 2 : TOP + HEIGHT + STRIP - 1]
    edges = np.flatnonzero((strip < 60).all(axis=0)) - LEFT
    assert edges.tolist() == [-1, WIDTH // 2, round(WIDTH * 0.55), WIDTH]
    dark = np.flatnonzero((strip < 128).any(axis=0)) - LEFT
    halves = [dark[(dark > 2) & (dark < WIDTH // 2)], dark[(dark > WIDTH * 0.56) & (dark < WIDTH)]]
    for part, middle in zip(halves, (WIDTH / 4, WIDTH * 0.775), strict=True):
        assert abs((part.min() + part.max()) / 2 - middle) < 4
