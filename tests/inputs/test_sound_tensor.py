"""Sounds as tensors: mixed, at the recipe's rate, cut or padded, and of the input's numbers."""

import io
import wave
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgeward.errors import BadInput
from edgeward.inputs import sound_tensor as module
from edgeward.inputs.log_mel import log_mel
from edgeward.inputs.resampling import resampled
from edgeward.inputs.sound_tensor import sound_tensor, sound_windows
from edgeward.packages.recipe import LogMel, SoundInput, Values

HOW = SoundInput(16000)
SAMPLES = (np.sin(np.arange(400) / 7) * 0.5).astype(np.float32)


class Spec(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    quantization: Any = None


def wav(samples, rate_hz=16000, channels=1):
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(np.rint(samples * 32768).astype("<i2").tobytes())
    return content.getvalue()


@pytest.mark.parametrize("shape", [(400,), (1, 400), (400, 1), (1, 1, 400), (-1, 400), (1, -1)])
def test_the_samples_go_where_the_input_has_time(shape):
    tensor = sound_tensor(SAMPLES, Spec("x", "float32", shape), HOW)
    assert tensor.shape == tuple(400 if size == 400 else 1 for size in shape[:-1]) + (
        (400,) if shape[-1] in (400, -1) else (1,)
    )
    assert np.array_equal(tensor.reshape(-1), SAMPLES)


@pytest.mark.parametrize("count", [300, 400, 500])
def test_a_sound_is_cut_or_padded_with_silence(count, tmp_path):
    expected = np.pad(SAMPLES, (0, 200))[:count]
    tensor = sound_tensor(SAMPLES, Spec("x", "float32", (count,)), HOW)
    assert np.array_equal(tensor, expected)
    (tmp_path / "a.wav").write_bytes(wav(SAMPLES))
    for source in (wav(SAMPLES), tmp_path / "a.wav"):
        tensor = sound_tensor(source, Spec("x", "float32", (count,)), HOW)
        assert np.abs(tensor - expected).max() < 1 / 32768


def test_channels_are_mixed():
    pair = np.stack([SAMPLES, -SAMPLES / 2], axis=1)
    for source in (pair, wav(pair, channels=2)):
        tensor = sound_tensor(source, Spec("x", "float32", (400,)), HOW)
        assert np.abs(tensor - SAMPLES / 4).max() < 1 / 32768


@pytest.mark.parametrize("rate_hz", [8000, 44100])
@pytest.mark.parametrize("count", [100, -1])
def test_another_rate_is_resampled(rate_hz, count):
    whole = resampled(np.rint(SAMPLES * 32768).astype(np.float32) / 32768, rate_hz, 16000)
    tensor = sound_tensor(wav(SAMPLES, rate_hz), Spec("x", "float32", (count,)), HOW)
    assert len(tensor) == (count if count > 0 else len(whole))
    assert np.abs(tensor - whole[: len(tensor)]).max() < 1e-6


@pytest.mark.parametrize(
    ("dtype", "quantization", "values", "expected"),
    [
        ("float32", None, Values((0.5,), (2.0,)), (SAMPLES - 0.5) * 2),
        ("float16", None, None, SAMPLES.astype(np.float16)),
        ("int16", None, None, np.rint(SAMPLES * 32768)),
        ("int8", (1 / 64, 3), None, np.rint(SAMPLES * 64) + 3),
        ("int16", (2.0, 0), Values((0.0,), (1000.0,)), np.rint(SAMPLES * 500)),
    ],
)
def test_the_numbers_are_those_of_the_input(dtype, quantization, values, expected):
    if quantization is not None:
        scale, zero_point = quantization
        quantization = SimpleNamespace(scales=[scale], zero_points=[zero_point])
    spec = Spec("x", dtype, (400,), quantization)
    tensor = sound_tensor(SAMPLES, spec, HOW._replace(values=values))
    assert tensor.dtype == dtype
    assert np.allclose(tensor, expected, rtol=1e-6, atol=1e-6)


def test_full_amplitude_does_not_turn_over():
    tensor = sound_tensor(np.array([1.0, -1.0]), Spec("x", "int16", (2,)), HOW)
    assert tensor.tolist() == [32767, -32768]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            np.zeros(4, np.int16),
            r"expected floats \[frame\] or \[frame, channel\], got int16 \[4\]",
        ),
        (np.zeros((1, 4, 2)), "got float64"),
        (np.zeros(0), r"got float64 \[0\]"),
        (7, "expected a path, bytes or an array, got int"),
        (b"RIFF", "expected a .wav file"),
    ],
)
def test_what_is_no_sound_is_refused(source, says):
    with pytest.raises(BadInput, match=says):
        sound_tensor(source, Spec("x", "float32", (4,)), HOW)


# --- windows, and the front end --------------------------------------------------------------

MEL = LogMel(window=20, hop=8, bins=4, fft=32, low_hz=0.0, high_hz=8000.0)


@pytest.mark.parametrize(
    ("count", "begins"),
    [
        (50, [0]),
        (100, [0]),
        (101, [0, 40]),
        (140, [0, 40]),
        (141, [0, 40, 80]),
        (400, range(0, 321, 40)),
    ],
)
def test_windows_cover_the_sound(count, begins, tmp_path):
    how, spec = HOW._replace(step=40), Spec("x", "float32", (1, 100))
    (tmp_path / "a.wav").write_bytes(wav(SAMPLES[:count]))
    padded = np.pad(SAMPLES[:count], (0, 100))
    for source in (SAMPLES[:count], tmp_path / "a.wav"):
        windows = list(sound_windows(source, spec, how))
        assert [round(window.begin_s * 16000) for window in windows] == list(begins)
        for begin, window in zip(begins, windows, strict=True):
            assert window.end_s == (begin + 100) / 16000
            assert np.abs(window.tensor[0] - padded[begin : begin + 100]).max() < 1 / 32768
    first = sound_tensor(SAMPLES[:count], spec, how)
    assert np.array_equal(first, next(sound_windows(SAMPLES[:count], spec, how)).tensor)


@pytest.mark.parametrize(("length", "begins"), [(150, [0]), (151, [0, 150]), (300, [0, 150])])
def test_a_step_longer_than_a_window_leaves_gaps(length, begins):
    spec = Spec("x", "float32", (100,))
    windows = list(sound_windows(SAMPLES[:length], spec, HOW._replace(step=150)))
    assert [round(window.begin_s * 16000) for window in windows] == begins


@pytest.mark.parametrize("count", [100, -1])
def test_without_a_step_there_is_one_window(count):
    windows = list(sound_windows(SAMPLES, Spec("x", "float32", (count,)), HOW))
    length = 400 if count < 0 else count
    assert [(begin_s, end_s) for begin_s, end_s, _ in windows] == [(0, length / 16000)]
    assert np.array_equal(windows[0].tensor, SAMPLES[:length])


def test_more_windows_than_anybody_reads_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST_WINDOWS", 4)
    spec = Spec("x", "float32", (100,))
    assert len(list(sound_windows(SAMPLES[:130], spec, HOW._replace(step=10)))) == 4
    with pytest.raises(BadInput, match="expected at most 4 windows, got 5, a step of 10 samples"):
        sound_windows(SAMPLES[:131], spec, HOW._replace(step=10))


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 10, 4, 1), "frames-bins"), ((4, 10), "bins-frames"), ((1, 40), "frames-bins"),
        ((40,), "bins-frames"), ((-1, 4), "frames-bins"), ((1, 1, 4, -1), "bins-frames"),
    ],
    ids=str,
)  # fmt: skip
def test_levels_go_where_the_input_has_them(shape, layout):
    how = HOW._replace(log_mel=MEL._replace(layout=layout), values=Values((-2.0,), (0.5,)))
    levels = (log_mel(SAMPLES, MEL, 16000) + 2) * np.float32(0.5)
    tensor = sound_tensor(SAMPLES, Spec("x", "float32", shape), how)
    count = len(levels) if -1 in shape else 10
    expected = levels[:count] if layout == "frames-bins" else levels[:count].T
    assert tensor.shape == tuple(count if size == -1 else size for size in shape)
    assert np.array_equal(tensor.reshape(-1), expected.reshape(-1))


def test_levels_of_a_later_window_are_those_of_its_samples():
    how = HOW._replace(step=48, log_mel=MEL)
    windows = list(sound_windows(SAMPLES, Spec("x", "float32", (10, 4)), how))
    assert len(windows) == 8  # of 92 samples each
    expected = log_mel(SAMPLES[96:188], MEL, 16000)
    assert np.array_equal(windows[2].tensor, expected)


def test_quantized_levels_are_rounded_and_limited():
    spec = Spec("x", "int8", (10, 4), SimpleNamespace(scales=[0.25], zero_points=[10]))
    tensor = sound_tensor(SAMPLES, spec, HOW._replace(log_mel=MEL))
    levels = log_mel(SAMPLES[:92], MEL, 16000)
    assert tensor.dtype == np.int8
    assert np.array_equal(tensor, np.clip(np.rint(levels / 0.25 + 10), -128, 127))


@pytest.mark.parametrize(
    ("content", "how", "says"),
    [
        (wav(SAMPLES, 1), HOW._replace(rate_hz=767_999), r"got 1 Hz$"),
        (wav(SAMPLES, 767_999), HOW, r"got 767,999 Hz$"),
        (
            wav(SAMPLES, 1),
            HOW._replace(rate_hz=131_072),
            "expected at most 33,554,432 samples at 131,072 Hz, got 400 at 1 Hz",
        ),
    ],
)
def test_rates_that_make_much_of_little_are_refused(content, how, says):
    with pytest.raises(BadInput, match=says):
        sound_tensor(content, Spec("x", "float32", (-1,)), how)
