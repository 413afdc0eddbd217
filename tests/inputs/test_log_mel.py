"""The log-mel front end, beside a plain transform, its formulas and published frequencies."""

import cmath
import math

import numpy as np
import pytest

from edgeward.errors import BadInput
from edgeward.inputs import log_mel as module
from edgeward.inputs.log_mel import log_mel, mel_weights
from edgeward.packages.input_plan import mel_frames
from edgeward.packages.recipe import LogMel

RATE_HZ = 8000
SOUND = np.random.default_rng(7).uniform(-1, 1, 300).astype(np.float32)
SMALL = LogMel(window=20, hop=8, bins=5, fft=32, low_hz=100.0, high_hz=3500.0)
YAMNET = LogMel(400, 160, 64, 512, 125.0, 7500.0, power=1, offset=0.001)

# librosa's documentation of mel_frequencies(40), by Slaney's formula.
SLANEY_HZ = [
    0, 85.317, 170.635, 255.952, 341.269, 426.586, 511.904, 597.221, 682.538, 767.855, 853.173,
    938.49, 1024.856, 1119.114, 1222.042, 1334.436, 1457.167, 1591.187, 1737.532, 1897.337,
    2071.84, 2262.393, 2470.47, 2697.686, 2945.799, 3216.731, 3512.582, 3835.643, 4188.417,
    4573.636, 4994.285, 5453.621, 5955.205, 6502.92, 7101.009, 7754.107, 8467.272, 9246.028,
    10096.408, 11025,
]  # fmt: skip


def frame_of(sound, begin, window, fft):
    """The magnitudes of one frame, by the definition of the transform."""
    tapered = [
        sound[begin + n] * math.sin(math.pi * n / window) ** 2 if 0 <= begin + n < len(sound) else 0
        for n in range(window)
    ]
    return [
        abs(sum(x * cmath.exp(-2j * math.pi * k * n / fft) for n, x in enumerate(tapered)))
        for k in range(fft // 2 + 1)
    ]


def htk(hz):
    return 2595 * math.log10(1 + hz / 700)


def triangle(at, left, middle, right):
    if left < at <= middle:
        return (at - left) / (middle - left)
    return (right - at) / (right - middle) if middle < at < right else 0.0


def levels_of(sound, how, begins):
    """The same, number by number."""
    step = (htk(how.high_hz) - htk(how.low_hz)) / (how.bins + 1)
    rows = []
    for begin in begins:
        powers = [m**how.power for m in frame_of(sound, begin, how.window, how.fft)]
        row = []
        for index in range(how.bins):
            corners = [htk(how.low_hz) + step * (index + part) for part in range(3)]
            total = sum(
                power * triangle(htk(k * RATE_HZ / how.fft), *corners)
                for k, power in enumerate(powers)
            )
            row.append(math.log(max(total + how.offset, how.floor)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(
    "change",
    [{}, {"power": 1, "offset": 0.001}, {"fft": 33}, {"window": 21}, {"hop": 50}, {"floor": 30.0},
     {"bins": 1}, {"low_hz": 0.0, "high_hz": 4000.0}],
    ids=str,
)  # fmt: skip
def test_levels_are_those_of_a_plain_transform(change):
    how = SMALL._replace(**change)
    begins = range(0, len(SOUND) - how.window + 1, how.hop)
    expected = levels_of(SOUND.tolist(), how, begins)
    levels = log_mel(SOUND, how, RATE_HZ)
    assert levels.dtype == np.float32
    assert levels.shape == (mel_frames(how, len(SOUND)), how.bins)
    np.testing.assert_allclose(levels, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fft", [32, 33])
@pytest.mark.parametrize("window", [20, 31])
def test_padded_frames_have_their_middle_at_multiples_of_the_hop(fft, window):
    how = SMALL._replace(fft=fft, window=window, pad="zeros")
    count = mel_frames(how, len(SOUND))
    begins = [index * how.hop - fft // 2 + (fft - window) // 2 for index in range(count)]
    expected = levels_of(SOUND.tolist(), how, begins)
    np.testing.assert_allclose(log_mel(SOUND, how, RATE_HZ), expected, rtol=1e-4, atol=1e-4)
    mirrored = np.concatenate([SOUND[fft // 2 : 0 : -1], SOUND, SOUND[-2 : -2 - fft // 2 : -1]])
    expected = levels_of(mirrored.tolist(), how, [begin + fft // 2 for begin in begins])
    levels = log_mel(SOUND, how._replace(pad="reflect"), RATE_HZ)
    np.testing.assert_allclose(levels, expected, rtol=1e-4, atol=1e-4)


def test_the_corners_of_slaneys_bins_are_the_published_ones():
    how = LogMel(2, 1, 38, 22050, 0.0, 11025.0, filters="slaney")
    weights = mel_weights(how, 22050)  # a frequency for each Hz
    assert np.abs(weights.argmax(axis=0) - SLANEY_HZ[1:-1]).max() <= 0.5
    for index in range(38):
        inside = np.flatnonzero(weights[:, index])
        assert SLANEY_HZ[index] <= inside[0] <= SLANEY_HZ[index] + 1
        assert SLANEY_HZ[index + 2] - 1 <= inside[-1] <= SLANEY_HZ[index + 2]
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-3)  # of area 1, in Hz


def test_htk_in_hz_has_the_same_corners_and_straight_sides():
    how = LogMel(2, 1, 10, 16000, 20.0, 8000.0)
    bent = mel_weights(how, 16000)
    straight = mel_weights(how._replace(filters="htk-hz"), 16000)
    assert np.array_equal(bent > 0, straight > 0)
    for index in range(10):
        sides = np.diff(straight[:, index], 2)
        assert np.count_nonzero(np.abs(sides) > 1e-9) <= 6  # two at each corner
        assert 0.99 < straight[:, index].max() <= 1


def test_a_tone_is_loudest_in_its_bin():
    at = np.arange(16000) / 16000
    levels = log_mel(np.sin(2 * np.pi * 1000 * at).astype(np.float32), YAMNET, 16000)
    assert levels.shape == (98, 64)
    step = (htk(7500) - htk(125)) / 65
    assert set(levels.argmax(axis=1)) == {round((htk(1000) - htk(125)) / step) - 1}
    silence = log_mel(np.zeros(16000, np.float32), YAMNET, 16000)
    assert np.array_equal(silence, np.full((98, 64), math.log(0.001), np.float32))


def test_a_range_lifts_what_is_far_below_the_loudest():
    plain = log_mel(SOUND, SMALL._replace(log="log10"), RATE_HZ)
    np.testing.assert_allclose(plain * math.log(10), log_mel(SOUND, SMALL, RATE_HZ), rtol=1e-5)
    levels = log_mel(SOUND, SMALL._replace(log="log10", range=0.5), RATE_HZ)
    np.testing.assert_allclose(levels, np.maximum(plain, plain.max() - 0.5), rtol=1e-6)
    assert levels.min() > plain.min()


def test_blocks_make_no_difference(monkeypatch):
    whole = log_mel(SOUND, SMALL, RATE_HZ)
    monkeypatch.setattr(module, "BLOCK", 100)
    np.testing.assert_allclose(log_mel(SOUND, SMALL, RATE_HZ), whole, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 19])
@pytest.mark.parametrize("pad", ["none", "zeros", "reflect"])
def test_a_sound_shorter_than_a_frame_has_one(count, pad):
    levels = log_mel(SOUND[:count], SMALL._replace(pad=pad, hop=100), RATE_HZ)
    assert levels.shape == (1, 5)
    assert np.isfinite(levels).all()


def test_more_levels_than_memory_should_hold_are_refused():
    how = SMALL._replace(hop=1, bins=512)
    with pytest.raises(BadInput, match="expected at most 67,108,864 levels, got 33,554,413 frames"):
        log_mel(np.broadcast_to(np.float32(0), 1 << 25), how, RATE_HZ)
