"""Resampling: a sound at another rate, by a filter of phases that keeps what both rates can hold.

The filter is a sinc under a Kaiser window of beta 5, of ten zero crossings to each side at the
lower of the rates: that of scipy.signal.resample_poly, which the tests compare it with.
"""

import math

import numpy as np
from numpy.typing import NDArray

from edgeward.errors import BadInput

CROSSINGS = 10  # of zero, to each side
BETA = 5.0
MOST_RATIO = 1 << 17  # either part of the ratio of two rates, in lowest terms


def reach(rate_hz: int, wanted_hz: int) -> int:
    """How many samples to each side have a share in one sample of the result."""
    return math.ceil(CROSSINGS * max(rate_hz, wanted_hz) / wanted_hz) + 1


def require_ratio(where: str, rate_hz: int, wanted_hz: int) -> None:
    """Raises BadInput, beginning with `where`, for rates whose filter would be too long."""
    divisor = math.gcd(rate_hz, wanted_hz)
    if max(rate_hz, wanted_hz) // divisor > MOST_RATIO:
        raise BadInput(
            f"{where}: expected a rate whose ratio to {wanted_hz:,} Hz has parts of at most "
            f"{MOST_RATIO:,}, got {rate_hz:,} Hz"
        )


def resampled(samples: NDArray[np.float32], rate_hz: int, wanted_hz: int) -> NDArray[np.float32]:
    """`samples` [n] at `wanted_hz`: ceil(n * wanted_hz / rate_hz) of them, silence around them."""
    divisor = math.gcd(rate_hz, wanted_hz)
    up, down = wanted_hz // divisor, rate_hz // divisor
    if up == down:
        return samples
    half = CROSSINGS * max(up, down)
    positions = np.arange(-half, half + 1) / max(up, down)
    filter_ = np.sinc(positions) * np.kaiser(len(positions), BETA)
    filter_ *= up / filter_.sum()
    count = -(-len(samples) * up // down)
    margin = half // up + 1
    padded = np.pad(samples.astype(np.float64), margin)
    result = np.empty(count)
    for phase in range(min(up, count)):
        first = -(-(phase * down - half) // up)  # of the samples that have a share
        last = (phase * down + half) // up
        weights = filter_[half + phase * down - np.arange(first, last + 1) * up]
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights))
        rows = windows[first + margin :: down]
        into = result[phase::up]
        into[:] = rows[: len(into)] @ weights
    return result.astype(np.float32)
