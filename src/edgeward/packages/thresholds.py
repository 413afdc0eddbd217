"""Thresholds: how far a window lies from a reference by chance alone, for each size of a window.

Pure; numpy alone. A reference and a window are drawn again and again from the calibration set, in
blocks of its own order: so the thresholds know what neighbouring samples have in common, and what
the elements of a sample have. Why it is done so:
docs/decisions/0018-thresholds-are-drawn-from-the-calibration-set.md.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.captures import metrics
from edgeward.captures.drift import PartThresholds, Thresholds

SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)  # inferences of a window
FALSE_ALARMS = 0.001  # of windows without drift, over all parts and metrics
LEAST_SAMPLES = 100  # what fewer teach of chance is too little: there are no thresholds then
WANTED_SAMPLES = 1_000

RESAMPLES = 500
SEED = 0  # fixed, so that a calibration set always gives the same thresholds
POWER = 0.25  # of a distance: what chance makes of it is nearly normal, far out too
LEAST_BLOCKS = 10
BLOCK_TIMES = 10  # a block is this many correlation times long
SUMMED_TIMES = 5  # a correlation is summed over this many, after A. Sokal
LEAST_CLUMP = 1e-3
NEWTON_STEPS = 20
MOST_WEIGHTS = 1 << 22  # samples times resamples that are in memory at once
NORMAL = NormalDist()

METRICS = PartThresholds._fields

Array = NDArray[np.float64]


class Part(NamedTuple):
    """What has bins of its own: the elements of a tensor, one of its columns, or a figure."""

    counts: NDArray[Any]  # [samples, edges + 1], in the order of the calibration set
    edges: Array  # ascending
    deviation: float


def thresholds(
    parts: Sequence[Part], false_alarms: float = FALSE_ALARMS, sizes: Sequence[int] = SIZES
) -> Thresholds | None:
    """The thresholds of `parts`, all counted over the same samples; None of fewer than 100.

    Where the calibration set fills one bin only, those of the Wasserstein distance are 0.
    """
    sample_count = len(parts[0].counts) if parts else 0
    if sample_count < LEAST_SAMPLES:
        return None
    time = max(_correlation_time(part.counts) for part in parts)
    used_count = sum(int(np.count_nonzero(part.counts.any(axis=0)) > 1) for part in parts)
    resampling = _Resampling(sample_count, time, _level(false_alarms, used_count))
    references = resampling.draw(sample_count, parts)
    limits = []
    for size in sizes:
        windows = resampling.draw(size, parts)
        limits.append(
            [
                resampling.limits(part, reference, window, size)
                for part, reference, window in zip(parts, references, windows, strict=True)
            ]
        )
    return Thresholds(
        tuple(sizes),
        false_alarms,
        resampling.block,
        tuple(
            PartThresholds(*(tuple(column) for column in zip(*rows, strict=True)))
            for rows in zip(*limits, strict=True)
        ),
    )


def least_shifts(limits: Thresholds) -> list[float]:
    """The least shift of a mean, in deviations, that 9 in 10 windows of each size show.

    By the Wasserstein distance, and of the part in the middle. NaN where no part has any.
    """
    shifts = np.array([part.wasserstein for part in limits.parts if any(part.wasserstein)])
    if not shifts.size:
        return [math.nan] * len(limits.sizes)
    level = _level(limits.false_alarms, sum(any(part.chi_square) for part in limits.parts))
    margin = 1 - NORMAL.inv_cdf(0.9) / NORMAL.inv_cdf(level)
    return [float(shift) for shift in np.median(shifts, axis=0) * margin]


class _Resampling:
    """Counts of references and windows, drawn in blocks; every part has the same draws."""

    def __init__(self, sample_count: int, time: float, level: float) -> None:
        most = sample_count // LEAST_BLOCKS
        self.block = min(most, max(1, math.ceil(BLOCK_TIMES * time)))
        block_count = sample_count / self.block
        # Resamples vary less than samples: a block knows nothing of its neighbours, and all of the
        # blocks together have the mean from which each is measured.
        self._variance = (1 - min(0.5, time / self.block)) * (1 - 1 / block_count)
        self._sample_count = sample_count
        self._level = level
        self._deviations = _student(NORMAL.inv_cdf(1 - level), block_count - 1)
        self._random = np.random.default_rng(SEED)

    def draw(self, size: int, parts: Sequence[Part]) -> list[Array]:
        """Counts [resamples, bins] of each part in windows of `size` samples."""
        rows = max(1, MOST_WEIGHTS // max(size, self._sample_count))
        chunks = []
        for first in range(0, RESAMPLES, rows):
            weights = self._weights(min(rows, RESAMPLES - first), size)
            chunks.append([weights @ part.counts.astype(np.float32) for part in parts])
        return [np.concatenate(column).astype(np.float64) for column in zip(*chunks, strict=True)]

    def _weights(self, rows: int, size: int) -> NDArray[np.float32]:
        """How often each sample is in a window of `size`: [rows, samples].

        A block that passes the last sample goes on at the first.
        """
        count = self._sample_count
        block_count = -(-size // self.block)
        # The same draws on every processor, as numbers that an array there can have for an index.
        draws = self._random.integers(0, count, (rows, block_count), np.int64)
        begins = draws.astype(np.intp, copy=False)
        begins += 2 * count * np.arange(rows)[:, None]
        ends = begins + self.block
        ends[:, -1] -= block_count * self.block - size
        steps = np.bincount(begins.ravel(), minlength=2 * count * rows + 1)
        steps -= np.bincount(ends.ravel(), minlength=2 * count * rows + 1)
        drawn = np.cumsum(steps[:-1], dtype=np.int32).reshape(rows, 2, count)
        return np.asarray(drawn.sum(axis=1), np.float32)

    def limits(self, part: Part, reference: Array, window: Array, size: int) -> list[float]:
        """The threshold of each metric."""
        scale = np.array([self._variance, self._variance**0.5, self._variance**0.5])
        drawn = _distances(part, reference, window) / scale[:, None]
        roots = drawn**POWER
        normal = (roots.mean(axis=-1) + self._deviations * roots.std(axis=-1)) ** (1 / POWER)
        drawn_most = np.quantile(drawn, 1 - max(self._level, 1 / RESAMPLES), axis=-1)
        total = part.counts.sum(axis=0, dtype=np.float64)
        rare = _distances(part, total, self._rare_windows(part.counts, size)).max(axis=-1)
        return [float(limit) for limit in np.maximum.reduce([normal, drawn_most, rare])]

    def _rare_windows(self, counts: NDArray[Any], size: int) -> Array:
        """Windows [bins, bins]: as expected, but each with the most that chance gives one bin.

        What is in a bin less than once a window, no number of resamples shows. Where all values
        are in one bin, others may have come once in as many samples, a block of them at once.
        """
        blocks = counts[: len(counts) // self.block * self.block]
        sums = blocks.reshape(-1, self.block, counts.shape[-1]).sum(axis=1, dtype=np.float64)
        mean, variance = sums.mean(axis=0), sums.var(axis=0)
        is_known = mean > 0
        unseen = size / len(counts) if np.count_nonzero(is_known) == 1 else 0
        clump = np.where(is_known, variance / np.where(is_known, mean, 1), mean.sum())
        clump = np.maximum(LEAST_CLUMP, clump)
        expected = counts.sum(axis=0, dtype=np.float64) * size / len(counts)
        events = np.where(is_known, expected / clump, unseen)
        most = clump * _poisson_limit(events, self._level / len(expected))
        return np.asarray(np.where(np.eye(len(expected), dtype=bool), most, expected))


def _level(false_alarms: float, part_count: int) -> float:
    """The level of one metric of one part, by C. E. Bonferroni."""
    return false_alarms / (len(METRICS) * max(1, part_count))


def _distances(part: Part, reference: Array, window: Array) -> Array:
    """The metrics [3, ...] of counts [..., bins]; 0 where they say nothing."""
    edges, expected = metrics.folded(part.edges, reference)
    _, counts = metrics.folded(part.edges, window)
    return np.nan_to_num(
        np.stack(
            [
                metrics.chi_square(expected, counts),
                metrics.ks(expected, counts),
                metrics.wasserstein(expected, counts, edges, part.deviation),
            ]
        )
    )


def _correlation_time(counts: NDArray[Any]) -> float:
    """How many samples a sample's mean bin resembles after it: the sum of the correlations.

    Up to the first lag that is SUMMED_TIMES as long as what they add up to.
    """
    sample_count = len(counts)
    weights = counts.sum(axis=1, dtype=np.float64)
    bins = counts @ np.arange(counts.shape[1], dtype=np.float64)
    values = np.where(weights > 0, bins / np.where(weights > 0, weights, 1), np.nan)
    values = np.nan_to_num(values - (np.nanmean(values) if weights.any() else 0))
    spectrum = np.abs(np.fft.rfft(values, 2 * sample_count)) ** 2
    covariances = np.fft.irfft(spectrum)[:sample_count]
    if covariances[0] <= 1e-9 * sample_count:
        return 0.0
    times = np.cumsum(covariances[1:]) / covariances[0]
    is_enough = np.arange(1, sample_count) >= SUMMED_TIMES * (1 + 2 * times)
    last = int(np.argmax(is_enough)) if is_enough.any() else sample_count - 2
    return max(0.0, float(times[last]))


def _poisson_limit(mean: Array, level: float) -> Array:
    """What a Poisson variable passes with a probability below `level`, by H. Chernoff's bound."""
    goal = -math.log(level)
    base = np.where(mean > 0, mean, 1)
    limit = base + np.sqrt(2 * base * goal) + goal  # above the root, from where Newton descends
    for _ in range(NEWTON_STEPS):
        ratio = np.log(limit / base)
        limit = limit - (limit * ratio - limit + base - goal) / ratio
    return np.where(mean > 0, limit, 0)


def _student(normal: float, freedom: float) -> float:
    """Student's quantile where the normal one is `normal`, after D. P. Gaver and K. Kafadar."""
    growth = (freedom - 1.5) / (freedom - 1) ** 2
    return math.sqrt(freedom * math.expm1(normal * normal * growth))
