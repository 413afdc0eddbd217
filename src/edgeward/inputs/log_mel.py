"""Log-mel front end: the logarithm of how loud each bin of frequencies is in each frame of a sound.

Frames under a periodic Hann window, their spectrum's magnitudes or energies, and of these sums
under triangles that are even in mel. "htk" has the mel of the HTK Book (Young et al., 2006, section
5.4), 1127 ln(1 + f / 700), and triangles that are straight in it, as
tf.signal.linear_to_mel_weight_matrix; "htk-hz" the same corners and triangles that are straight in
Hz, as torchaudio; "slaney" the mel of Slaney's Auditory Toolbox (1998), triangles straight in Hz
and of area 1, as librosa and Whisper.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgeward.errors import BadInput
from edgeward.packages.input_plan import mel_frames
from edgeward.packages.recipe import LogMel

BLOCK = 1 << 20  # numbers that are transformed at once
MOST_LEVELS = 1 << 26  # of a sound of any length
LINEAR_HZ, LINEAR_MEL = 1000.0, 15.0  # up to here Slaney's mel is linear;
LOG_STEP = math.log(6.4) / 27  # beyond, a mel is as much further in the logarithm


def log_mel(samples: NDArray[np.float32], how: LogMel, rate_hz: int) -> NDArray[np.float32]:
    """[frame, bin] of samples [n] at `rate_hz`; a sound shorter than a frame is padded to one.

    Raises BadInput for more than MOST_LEVELS, before memory is taken for them.
    """
    count = max(1, mel_frames(how, len(samples)))
    if count * how.bins > MOST_LEVELS:
        raise BadInput(
            f"sound: expected at most {MOST_LEVELS:,} levels, got {count:,} frames of {how.bins} "
            "bins"
        )
    length = how.window if how.pad == "none" else how.fft
    padded = samples
    if how.pad != "none":
        mode = "reflect" if how.pad == "reflect" else "constant"
        padded = np.pad(samples, how.fft // 2, mode=mode)  # type: ignore[call-overload]
    padded = np.pad(padded, (0, max(0, length - len(padded))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: how.hop]
    taper = np.zeros(length)
    begin = (length - how.window) // 2
    taper[begin : begin + how.window] = 0.5 - 0.5 * np.cos(
        2 * np.pi * np.arange(how.window) / how.window
    )
    weights = mel_weights(how, rate_hz)
    levels = np.empty((count, how.bins), np.float32)
    block = max(1, BLOCK // how.fft)
    for first in range(0, count, block):
        spectrum = np.abs(np.fft.rfft(frames[first : first + block] * taper, how.fft))
        sums = (spectrum if how.power == 1 else spectrum**2) @ weights
        logs = np.log(np.maximum(sums + how.offset, how.floor))
        levels[first : first + block] = logs if how.log == "ln" else logs / math.log(10)
    if how.range is not None:
        np.maximum(levels, levels.max() - np.float32(how.range), out=levels)
    return levels


@lru_cache(maxsize=8)
def mel_weights(how: LogMel, rate_hz: int) -> NDArray[np.float64]:
    """[frequency, bin]: what share each frequency of the spectrum has in each bin."""
    to_mel, to_hz = (_slaney, _hz_of_slaney) if how.filters == "slaney" else (_htk, _hz_of_htk)
    low, high = to_mel(np.array([how.low_hz, how.high_hz])).tolist()
    corners = np.linspace(low, high, how.bins + 2)
    frequencies = np.arange(how.fft // 2 + 1, dtype=np.float64) * (rate_hz / how.fft)
    if how.filters == "htk":
        frequencies = to_mel(frequencies)
    else:
        corners = to_hz(corners)
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    rising = (frequencies[:, None] - left) / (middle - left)
    falling = (right - frequencies[:, None]) / (right - middle)
    weights: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return weights * (2 / (right - left)) if how.filters == "slaney" else weights


def _htk(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127 * np.log1p(hz / 700)


def _hz_of_htk(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700 * np.expm1(mel / 1127)


def _slaney(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    beyond = LINEAR_MEL + np.log(np.maximum(hz, LINEAR_HZ) / LINEAR_HZ) / LOG_STEP
    return np.where(hz < LINEAR_HZ, hz * (LINEAR_MEL / LINEAR_HZ), beyond)


def _hz_of_slaney(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    beyond = LINEAR_HZ * np.exp(LOG_STEP * np.maximum(mel - LINEAR_MEL, 0))
    return np.where(mel < LINEAR_MEL, mel * (LINEAR_HZ / LINEAR_MEL), beyond)
