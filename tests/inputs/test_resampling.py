"""Resampling, beside scipy's, and on tones that both rates hold."""

import numpy as np
import pytest
from scipy import signal

from edgeward.inputs.resampling import reach, resampled

RATES = [
    (8000, 16000), (16000, 8000), (44100, 16000), (48000, 16000), (22050, 44100), (11025, 16000),
    (16000, 15999),
]  # fmt: skip


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), RATES)
@pytest.mark.parametrize("count", [1, 2, 30, 1000])
def test_it_is_what_scipy_gives(rate_hz, wanted_hz, count):
    samples = np.random.default_rng(3).standard_normal(count).astype(np.float32)
    expected = signal.resample_poly(samples.astype(np.float64), wanted_hz, rate_hz)
    got = resampled(samples, rate_hz, wanted_hz)
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_the_same_rate_changes_nothing():
    samples = np.arange(5, dtype=np.float32)
    assert resampled(samples, 16000, 16000) is samples


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), RATES)
def test_a_beginning_is_that_of_the_whole(rate_hz, wanted_hz):
    samples = np.random.default_rng(4).standard_normal(4000).astype(np.float32)
    count = 100
    cut = samples[: -(-count * rate_hz // wanted_hz) + reach(rate_hz, wanted_hz)]
    whole = resampled(samples, rate_hz, wanted_hz)[:count]
    assert np.allclose(resampled(cut, rate_hz, wanted_hz)[:count], whole, atol=1e-6)


@pytest.mark.parametrize(("hz", "is_kept"), [(440, True), (3000, True), (6000, False)])
def test_a_tone_stays_or_goes_as_the_lower_rate_can_hold_it(hz, is_kept):
    times = np.arange(44100) / 44100
    got = resampled(np.sin(2 * np.pi * hz * times).astype(np.float32), 44100, 8000)[1000:-1000]
    expected = np.sin(2 * np.pi * hz * np.arange(8000) / 8000)[1000:-1000] if is_kept else 0
    assert np.abs(got - expected).max() < 0.01


def test_every_ratio_of_small_rates_is_what_scipy_gives():
    generator = np.random.default_rng(5)
    for rate_hz in range(1, 14):
        for wanted_hz in range(1, 14):
            samples = generator.standard_normal(int(generator.integers(1, 30))).astype(np.float32)
            expected = signal.resample_poly(samples.astype(np.float64), wanted_hz, rate_hz)
            got = resampled(samples, rate_hz, wanted_hz)
            assert got.shape == expected.shape
            assert np.allclose(got, expected, rtol=1e-5, atol=1e-5)
