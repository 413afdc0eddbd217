"""Metrics: how far two counts over the same bins lie apart. Pure; numpy alone.

Counts are arrays [..., bins] of integers or floats whose leading dimensions broadcast, so that one
reference is compared with many windows in a call; each result has the leading dimensions. Bin 0
lies below edges[0], bin i from edges[i-1] up to but not with edges[i], the last from edges[-1] on:
there is one bin more than edges. Where a side has counted nothing a metric is NaN.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MIN_SHARE = 1e-4  # of a bin that is empty on one side, in the population stability index
LARGEST_EDGE = float(np.finfo(np.float32).max)


def psi(reference: ArrayLike, counts: ArrayLike) -> Array:
    """The population stability index; a share below MIN_SHARE counts as MIN_SHARE."""
    expected, seen = _shares(reference), _shares(counts)
    expected, seen = np.maximum(expected, MIN_SHARE), np.maximum(seen, MIN_SHARE)
    return _array(((seen - expected) * np.log(seen / expected)).sum(axis=-1))


def jensen_shannon(reference: ArrayLike, counts: ArrayLike) -> Array:
    """The Jensen-Shannon distance: the square root of the divergence in bits, 0 to 1."""
    expected, seen = _shares(reference), _shares(counts)
    middle = (expected + seen) / 2
    divergence = (_entropies(expected, middle) + _entropies(seen, middle)).sum(axis=-1) / 2
    return _array(np.sqrt(np.maximum(divergence, 0)))


def ks(reference: ArrayLike, counts: ArrayLike) -> Array:
    """The Kolmogorov-Smirnov distance at the edges, 0 to 1: never more than that of raw values."""
    return _array(np.abs(_steps(reference, counts)).max(axis=-1, initial=0))


def wasserstein(
    reference: ArrayLike, counts: ArrayLike, edges: ArrayLike, deviation: ArrayLike
) -> Array:
    """The Wasserstein-1 distance in `deviation`s of the reference, clipped to the outer edges.

    Values of the outer bins count as the outer edges, those of an inner bin as spread evenly over
    it. NaN where the deviation is 0. `deviation` has the leading dimensions or none.
    """
    places = np.clip(np.asarray(edges, np.float64), -LARGEST_EDGE, LARGEST_EDGE)
    steps = _steps(reference, counts)
    left, right = steps[..., :-1], steps[..., 1:]
    span = np.abs(left) + np.abs(right)
    crossing = left * right < 0  # the difference changes its sign within the bin
    squares = (left * left + right * right) / np.where(crossing, span, 1)
    areas = np.where(crossing, squares, span) / 2
    unit = np.asarray(deviation, np.float64)
    return _array((areas * np.diff(places)).sum(axis=-1) / np.where(unit > 0, unit, np.nan))


def chi_square(reference: ArrayLike, counts: ArrayLike) -> Array:
    """The chi-square distance of shares: sum of (p - q)^2 / pooled share, over bins in use.

    Without drift it falls as 1/n + 1/m, like the squares of the other distances, whatever the
    observations have in common. The pooled share weighs both sides by their totals.
    """
    expected, seen = _counts(reference), _counts(counts)
    totals = expected.sum(axis=-1) + seen.sum(axis=-1)
    pooled = (expected + seen) / np.where(totals > 0, totals, np.nan)[..., None]
    squares = np.square(_shares(expected) - _shares(seen))
    return _array((squares / np.where(pooled == 0, 1, pooled)).sum(axis=-1))


def chi_square_statistic(reference: ArrayLike, counts: ArrayLike) -> Array:
    """The statistic of the two-sample chi-square test, totals equal or not.

    It has its known distribution only where observations are independent; there its degrees of
    freedom are one less than the bins in use.
    """
    expected, seen = _counts(reference).sum(axis=-1), _counts(counts).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _array(chi_square(reference, counts) / (1 / expected + 1 / seen))


def mean_shift(mean: ArrayLike, reference_mean: ArrayLike, reference_variance: ArrayLike) -> Array:
    """How far the mean has moved, in deviations of the reference; NaN where that is 0."""
    variance = np.asarray(reference_variance, np.float64)
    step = np.asarray(mean, np.float64) - np.asarray(reference_mean, np.float64)
    return _array(step / np.sqrt(np.where(variance > 0, variance, np.nan)))


def spread(variance: ArrayLike, reference_variance: ArrayLike) -> Array:
    """The deviation as a part of the reference's; NaN where that is 0."""
    base = np.asarray(reference_variance, np.float64)
    ratio = np.asarray(variance, np.float64) / np.where(base > 0, base, np.nan)
    return _array(np.sqrt(ratio))


def proportion_z(
    count: ArrayLike,
    total: ArrayLike,
    reference_count: ArrayLike,
    reference_total: ArrayLike,
    effects: tuple[ArrayLike, ArrayLike] = (1.0, 1.0),
) -> Array:
    """By how many standard deviations a share lies above the reference's; below it, negative.

    The signed root of the likelihood ratio of two proportions, with a continuity correction of
    half an observation: unlike the usual quotient it holds for rare events. `effects` are the
    design effects of both sides, by which their observations count as fewer. NaN where a side has
    none.
    """
    x, m = (np.asarray(value, np.float64) / np.asarray(effects[0]) for value in (count, total))
    y, n = (
        np.asarray(value, np.float64) / np.asarray(effects[1])
        for value in (reference_count, reference_total)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (x + y) / (m + n)
        gap = x - m * pooled  # the same, with the other sign, of the reference
        sign = np.sign(gap)
        gap = np.maximum(np.abs(gap) - 0.5, 0) * sign
        x, y = m * pooled + gap, n * pooled - gap
        ratio = (
            _log_part(x, m * pooled)
            + _log_part(m - x, m - m * pooled)
            + _log_part(y, n * pooled)
            + _log_part(n - y, n - n * pooled)
        )
        return _array(np.where((m > 0) & (n > 0), sign * np.sqrt(2 * np.maximum(ratio, 0)), np.nan))


def design_effect(step_squares: ArrayLike, pair_count: ArrayLike, variance: ArrayLike) -> Array:
    """By how much neighbours that are alike inflate the variance of a mean: at least 1.

    (1 + r) / (1 - r) of a first-order autoregression, whose lag-1 correlation r is told by the
    squared differences of neighbours (von Neumann's ratio). At most the number of observations:
    of values that are all the same, which are worth one. 1 where there are no pairs.
    """
    pairs = np.asarray(pair_count, np.float64)
    scale = 2 * pairs * np.asarray(variance, np.float64)
    steps = np.asarray(step_squares, np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        away = np.where(scale > 0, np.minimum(steps / scale, 1), 0)  # 1 - r
        effect = np.where(away > 0, (2 - away) / away, np.inf)
    return _array(np.minimum(effect, pairs + 1))


def folded(edges: ArrayLike, counts: ArrayLike) -> tuple[Array, Array]:
    """Bins without the outer edges: what lies out of a reference's range, with its neighbours.

    Fewer than four bins stay as they are: of values that are all the same only the outer bins tell.
    """
    places, bins = np.asarray(edges, np.float64), _counts(counts)
    if bins.shape[-1] < 4:
        return places, bins
    inner = bins[..., 1:-1].copy()
    inner[..., 0] += bins[..., 0]
    inner[..., -1] += bins[..., -1]
    return places[1:-1], _array(inner)


def bounded(
    edges: ArrayLike, counts: ArrayLike, least: float, largest: float
) -> tuple[Array, Array]:
    """The same with edges at the least and above the largest value, outside which nothing lies."""
    places, bins = np.asarray(edges, np.float64), _counts(counts)
    if bins[-1] > 0:
        above = np.nextafter(np.float32(largest), np.float32(np.inf))
        places, bins = np.append(places, above), np.append(bins, 0.0)
    if bins[0] > 0 and (not places.size or least < places[0]):
        places, bins = np.append(least, places), np.append(0.0, bins)
    return places, bins


def common_bins(
    edges: ArrayLike, counts: ArrayLike, other_edges: ArrayLike, other_counts: ArrayLike
) -> tuple[Array, Array, Array]:
    """Two counts over the finest bins into which both divide without error: edges and counts.

    An edge is kept when each side has it, or has nothing in the bin that it divides. Bins that
    adapt to their values are nested, and so keep the edges of the coarser side.
    """
    sides = [
        (np.asarray(side, np.float64), _counts(bins))
        for side, bins in ((edges, counts), (other_edges, other_counts))
    ]
    kept = np.union1d(sides[0][0], sides[1][0])
    for side, bins in sides:
        bin = np.searchsorted(side, kept, side="left")
        kept = kept[np.isin(kept, side) | (bins[bin] == 0)]
    first, second = (
        _between(bins, np.searchsorted(side, kept, side="left")) for side, bins in sides
    )
    return kept, first, second


def coarse_bins(
    edges: Array, reference: Array, counts: Array, most: int
) -> tuple[Array, Array, Array]:
    """At most so many bins, joined so that each holds about as much of the reference."""
    if edges.size < most:
        return edges, reference, counts
    below = np.cumsum(reference)
    ranks = np.searchsorted(below, below[-1] * np.arange(1, most) / most)
    kept = np.unique(ranks[ranks < edges.size])
    return edges[kept], _between(reference, kept), _between(counts, kept)


def _between(bins: Array, kept: NDArray[np.intp]) -> Array:
    """Counts of joined bins, of which each ends with the bin of this index, the last with all."""
    return np.diff(np.cumsum(bins)[kept], prepend=0.0, append=bins.sum())


def _array(values: Any) -> Array:
    return np.asarray(values, np.float64)


def _counts(counts: ArrayLike) -> Array:
    return np.asarray(counts, np.float64)


def _shares(counts: ArrayLike) -> Array:
    bins = _counts(counts)
    total = bins.sum(axis=-1, keepdims=True)
    return _array(bins / np.where(total > 0, total, np.nan))


def _steps(reference: ArrayLike, counts: ArrayLike) -> Array:
    """By how much more of the counts than of the reference lies below each edge, as shares."""
    return _array(np.cumsum(_shares(counts) - _shares(reference), axis=-1)[..., :-1])


def _entropies(shares: Array, middle: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(shares == 0, 0, shares * np.log2(shares / middle))


def _log_part(seen: Array, expected: Array) -> Array:
    return np.where(seen > 0, seen * np.log(seen / expected), 0)
