"""Sounds as tensors: mixed, at the recipe's rate, cut or padded, and of the input's numbers."""

import io
import wave
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgeward.errors import BadInput
from edgeward.inputs.resampling import resampled
from edgeward.inputs.sound_tensor import sound_tensor
from edgeward.packages.recipe import SoundInput, Values

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
