"""Thresholds against windows that are drawn anew: how many pass without drift, and with some."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from edgeward.packages import thresholds as room
from edgeward.packages.thresholds import (
    LEAST_SAMPLES,
    METRICS,
    SIZES,
    Part,
    least_shifts,
    thresholds,
)

SEED = 20


def part_of(values, bin_count=32):
    """One value a sample, in as many bins as its quantiles give, between its least and largest."""
    values = values.astype(np.float32)
    distinct = np.unique(values)
    if distinct.size > bin_count:
        distinct = np.unique(np.quantile(values, np.arange(1, bin_count) / bin_count))
    end = np.nextafter(values.max(), np.float32(np.inf))
    edges = np.unique(np.concatenate([[values.min()], distinct, [end]])).astype(np.float64)
    counts = np.zeros((values.size, edges.size + 1), np.uint8)
    counts[np.arange(values.size), np.searchsorted(edges, values, side="right")] = 1
    return Part(counts, edges, float(values.std()))


def counted(part, windows):
    return np.array(
        [
            np.bincount(
                np.searchsorted(part.edges, window.astype(np.float32), side="right"),
                minlength=part.edges.size + 1,
            )
            for window in windows
        ]
    )


def passing(part, limits, windows):
    """Which of the windows pass a threshold of the first size."""
    distances = room._distances(part, part.counts.sum(axis=0), counted(part, windows))
    first = np.array([getattr(limits.parts[0], metric)[0] for metric in METRICS])
    return (distances > first[:, None]).any(axis=0)


def autoregressive(random, correlation, shape):
    noise = random.standard_normal(shape) * math.sqrt(1 - correlation**2)
    noise[0] = random.standard_normal(shape[1:])
    for index in range(1, shape[0]):
        noise[index] += correlation * noise[index - 1]
    return noise


@pytest.mark.parametrize(
    ("draw", "change", "size"),
    [
        (np.random.Generator.standard_normal, lambda values: values + 0.07, 10_000),
        (np.random.Generator.standard_normal, lambda values: values + 0.15, 1_000),
        (np.random.Generator.standard_normal, lambda values: values * 1.08, 10_000),
        (
            lambda random, count: random.lognormal(0, 1, count),
            lambda values: values + 0.03 * math.sqrt((math.e - 1) * math.e),
            10_000,
        ),
    ],
    ids=["shift", "shift of a small window", "scale", "shift of a skewed value"],
)
def test_small_drift_of_10_000_samples_passes_and_chance_does_not(draw, change, size):
    random = np.random.default_rng(SEED)
    chance, drift = [], []
    for _ in range(6):
        part = part_of(draw(random, 10_000))
        limits = thresholds([part], 0.01, [size])
        windows = [draw(random, size) for _ in range(40)]
        chance.append(passing(part, limits, windows).mean())
        drift.append(passing(part, limits, [change(window) for window in windows]).mean())
    assert np.mean(chance) <= 0.02
    assert np.mean(drift) >= 0.9


@pytest.mark.parametrize("correlation", [0.5, 0.9, 0.99])
def test_samples_that_resemble_their_neighbours_are_drawn_in_blocks(correlation):
    random = np.random.default_rng(SEED)
    alarms, blocks = [], []
    for column in autoregressive(random, correlation, (10_000, 12)).T:
        part = part_of(column)
        limits = thresholds([part], 0.01, [3_000])
        blocks.append(limits.block)
        windows = autoregressive(random, correlation, (3_000, 40)).T
        alarms.append(passing(part, limits, windows).mean())
    time = correlation / (1 - correlation)
    assert 5 * time < np.median(blocks) < 15 * time
    assert np.mean(alarms) <= 0.04


def test_elements_of_a_sample_that_resemble_each_other_count_as_fewer():
    random = np.random.default_rng(SEED)

    def sample(count):
        shared = random.standard_normal((count, 1))
        return (shared + random.standard_normal((count, 64))) / math.sqrt(2)

    alarms = []
    for _ in range(12):
        values = sample(1_000)
        edges = part_of(values.ravel()[:10_000]).edges
        part = Part(counted(Part(np.empty(0), edges, 1), values), edges, float(values.std()))
        limits = thresholds([part], 0.01, [300])
        assert limits.block < 20
        alarms.append(passing(part, limits, [sample(300).ravel() for _ in range(20)]).mean())
    assert np.mean(alarms) <= 0.04


@pytest.mark.parametrize("share", [0.001, 0.01])
def test_a_rare_value_passes_no_threshold_by_coming_twice(share):
    random = np.random.default_rng(SEED)
    part = part_of(random.random(10_000) < share)
    limits = thresholds([part], 1e-5, [100])
    alarms = passing(part, limits, random.random((20_000, 100)) < share)
    assert alarms.mean() <= 1e-3
    assert passing(part, limits, [np.arange(100) < 20]).all()


def test_more_parts_have_higher_thresholds():
    random = np.random.default_rng(SEED)
    parts = [part_of(random.standard_normal(1_000)) for _ in range(30)]
    alone = thresholds(parts[:1], 0.01, [1_000]).parts[0]
    among = thresholds(parts, 0.01, [1_000]).parts[0]
    assert all(most > least for most, least in zip(among, alone, strict=True))


def test_a_larger_window_has_lower_thresholds_which_the_reference_ends():
    random = np.random.default_rng(SEED)
    limits = thresholds([part_of(random.standard_normal(1_000))])
    assert limits.sizes == SIZES
    for values in limits.parts[0]:
        assert all(later < 1.02 * earlier for earlier, later in itertools.pairwise(values))
        assert values[-1] < values[0] / 2
        assert values[-1] > values[2] / 3  # of 100,000 and of 1,000: the reference has 1,000
    shifts = least_shifts(limits)
    assert 0.1 < shifts[-1] < shifts[0] < 1


def test_what_never_varies_may_vary_once_in_as_many_samples():
    part = part_of(np.full(1_000, 3.0))
    limits = thresholds([part], sizes=[1_000])
    windows = [np.where(np.arange(1_000) < count, 4.0, 3.0) for count in (0, 1, 3, 20, 1_000)]
    assert passing(part, limits, windows).tolist() == [False, False, False, True, True]
    assert limits.parts[0].wasserstein == (0,)
    assert math.isnan(least_shifts(limits)[0])


def test_few_samples_have_no_thresholds():
    random = np.random.default_rng(SEED)
    assert thresholds([part_of(random.standard_normal(LEAST_SAMPLES - 1))]) is None
    assert thresholds([]) is None
    assert thresholds([part_of(random.standard_normal(LEAST_SAMPLES))]).block <= 10


def test_the_fewest_samples_raise_no_more_alarms_than_many():
    random = np.random.default_rng(SEED)
    alarms = []
    for _ in range(20):
        parts = [part_of(random.standard_normal(LEAST_SAMPLES)) for _ in range(8)]
        limits = thresholds(parts, 0.001, [1_000])
        windows = [random.standard_normal(1_000) for _ in range(4)]
        alarms += [
            passing(part, limits._replace(parts=[own]), windows).any()
            for part, own in zip(parts, limits.parts, strict=True)
        ]
    assert np.mean(alarms) <= 0.02


def test_samples_that_hold_nothing_finite_are_passed_over():
    random = np.random.default_rng(SEED)
    part = part_of(random.standard_normal(200))
    part.counts[::7] = 0
    part.counts[-1] = 0
    empty = part._replace(counts=np.zeros_like(part.counts))
    limits = thresholds([part, empty])
    assert all(0 < value < math.inf for values in limits.parts[0] for value in values)
    assert all(value == 0 for values in limits.parts[1] for value in values)


def test_thresholds_are_the_same_each_time():
    random = np.random.default_rng(SEED)
    part = part_of(random.standard_normal(300))
    assert thresholds([part]) == thresholds([part])
