"""Metrics: as their definitions and scipy have them, one window at a time or many."""

import math

import counted
import numpy as np
import pytest
from models import tflite_models
from scipy import special, stats
from scipy.spatial import distance
from sklearn import datasets

import edgeward as ew
from edgeward import _core
from edgeward.captures import metrics

EDGES = np.array([-2.0, -1.0, -0.25, 0.0, 0.5, 1.0, 3.0])
PAIRS = [
    ([50, 30, 20, 0, 5, 5, 5, 1], [40, 30, 30, 4, 5, 0, 5, 0]),
    ([1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 7]),
    ([10, 10, 10, 10, 10, 10, 10, 10], [1, 1, 1, 1, 1, 1, 1, 1]),
    ([3, 9, 100, 4, 2, 80, 9, 2], [4000, 10, 0, 12, 5, 99, 1, 7]),
]
ALL = [metrics.psi, metrics.jensen_shannon, metrics.ks, metrics.chi_square]


@pytest.fixture(params=range(len(PAIRS)), ids=str)
def pair(request):
    reference, counts = (np.array(side) for side in PAIRS[request.param])
    return reference, counts


def test_psi_is_its_definition(pair):
    p, q = (np.maximum(side / side.sum(), metrics.MIN_SHARE) for side in pair)
    by_hand = math.fsum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert metrics.psi(*pair) == pytest.approx(by_hand, abs=1e-12)


def test_psi_is_the_symmetric_divergence_of_scipy_where_no_bin_is_empty():
    p, q = np.array([50, 30, 20]), np.array([40, 35, 30])
    by_scipy = stats.entropy(p, q) + stats.entropy(q, p)
    assert metrics.psi(p, q) == pytest.approx(by_scipy, abs=1e-12)


def test_jensen_shannon_is_that_of_scipy(pair):
    assert metrics.jensen_shannon(*pair) == pytest.approx(
        distance.jensenshannon(*pair, base=2), abs=1e-9
    )


def test_chi_square_is_that_of_scipy(pair):
    used = np.stack(pair)[:, sum(pair) > 0]
    by_scipy = stats.chi2_contingency(used, correction=False).statistic
    assert metrics.chi_square_statistic(*pair) == pytest.approx(by_scipy, rel=1e-12)
    n, m = (side.sum() for side in pair)
    assert metrics.chi_square(*pair) == pytest.approx(by_scipy * (1 / n + 1 / m), rel=1e-12)


def values_of(counts):
    """Values that are spread evenly over the inner bins, and lie at the outer edges."""
    lows = np.concatenate([EDGES[:1], EDGES])
    highs = np.concatenate([EDGES, EDGES[-1:]])
    return np.concatenate(
        [
            low + (high - low) * (np.arange(count) + 0.5) / count
            for low, high, count in zip(lows, highs, counts, strict=True)
            if count
        ]
    )


def test_wasserstein_is_that_of_evenly_spread_values(pair):
    many = [1000 * side for side in pair]
    raw = [values_of(side) for side in many]
    by_scipy = stats.wasserstein_distance(*raw) / 2.5
    assert metrics.wasserstein(*pair, EDGES, 2.5) == pytest.approx(by_scipy, abs=1e-3)


def test_outer_values_lie_at_the_outer_edges():
    """However far out of the range a value was, it counts as at the edge."""
    assert metrics.wasserstein([0, 4, 0], [0, 0, 4], [0.0, 1.0], 1.0) == pytest.approx(0.5)
    assert metrics.wasserstein([4, 0, 0], [0, 0, 4], [0.0, 1.0], 1.0) == pytest.approx(1)
    assert np.isfinite(metrics.wasserstein([4, 0, 0], [0, 0, 4], [0.0, np.inf], 1.0))


@pytest.mark.parametrize("size", [50, 1000])
def test_ks_and_wasserstein_of_bins_come_close_to_those_of_raw_values(size):
    generator = np.random.default_rng(5)
    for _ in range(10):
        raw = generator.normal(size=20 * size), generator.normal(0.3, 1.2, size=size)
        edges = np.quantile(raw[0], np.arange(1, 32) / 32)
        counts = [
            np.bincount(np.searchsorted(edges, side, side="right"), minlength=32) for side in raw
        ]
        by_scipy = stats.ks_2samp(*raw).statistic
        assert by_scipy - 0.03 < metrics.ks(*counts) <= by_scipy + 1e-12
        clipped = [np.clip(side, edges[0], edges[-1]) for side in raw]
        assert metrics.wasserstein(*counts, edges, 1.0) == pytest.approx(
            stats.wasserstein_distance(*clipped), abs=0.02
        )


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_many_windows_are_compared_in_one_call(metric):
    references, windows = (np.array(side) for side in zip(*PAIRS, strict=True))
    for index, reference in enumerate(references):
        together = metric(reference, windows)
        assert together.shape == (len(PAIRS),)
        assert together[index] == metric(reference, windows[index])
    assert metric(references, windows)[1] == metric(references[1], windows[1])
    assert metric(references[:, None], windows).shape == (len(PAIRS), len(PAIRS))


def test_many_windows_have_their_wasserstein_in_one_call():
    references, windows = (np.array(side) for side in zip(*PAIRS, strict=True))
    together = metrics.wasserstein(references, windows, EDGES, [1.0, 2.0, 4.0, 8.0])
    for index in range(len(PAIRS)):
        alone = metrics.wasserstein(references[index], windows[index], EDGES, 2.0**index)
        assert together[index] == alone


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_the_same_shares_are_no_distance_apart_and_nothing_is_no_number(metric):
    counts = np.array([5, 0, 7, 1])
    assert metric(counts, 3 * counts) == pytest.approx(0, abs=1e-7)
    assert metric(counts, [0, 5, 0, 0]) > 0
    assert np.isnan(metric(counts, 0 * counts))
    assert np.isnan(metric(0 * counts, counts))


def test_counts_near_the_largest_are_compared():
    counts = np.array([2**63, 2**62, 1, 0], np.uint64)
    for metric in ALL:
        assert 0 <= metric(counts, np.array([1, 1, 1, 1])) < math.inf


def test_what_has_no_deviation_has_no_shift_spread_or_wasserstein():
    assert np.isnan(metrics.mean_shift(3.0, 1.0, 0.0))
    assert np.isnan(metrics.spread(3.0, 0.0))
    assert np.isnan(metrics.wasserstein([0, 1, 0], [0, 0, 1], [0.0, 1.0], 0.0))
    assert metrics.mean_shift([3.0, 0.0], 1.0, 4.0).tolist() == [1.0, -0.5]
    assert metrics.spread([4.0, 0.0], 1.0).tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("count", "total", "reference_count", "reference_total"),
    [
        (5, 100, 0, 10_000),
        (240, 3600, 500, 10_000),
        (40, 10_000, 0, 1000),
        (700, 1000, 5000, 10_000),
    ],
)
def test_a_share_is_as_improbable_as_the_exact_test_of_fisher_says(
    count, total, reference_count, reference_total
):
    z = metrics.proportion_z(count, total, reference_count, reference_total)
    table = [
        [count, total - count],
        [reference_count, reference_total - reference_count],
    ]
    exact = stats.norm.isf(stats.fisher_exact(table, alternative="greater").pvalue)
    assert z == pytest.approx(exact, rel=0.07)


def test_a_share_that_falls_is_negative_and_the_same_share_is_nothing():
    assert metrics.proportion_z(10, 1000, 1000, 10_000) < -5
    assert metrics.proportion_z(100, 1000, 1000, 10_000) == 0
    assert metrics.proportion_z(0, 1000, 0, 10_000) == 0
    assert np.isnan(metrics.proportion_z(0, 0, 1, 10))
    assert np.isnan(metrics.proportion_z(1, 2, 0, 0))
    z = metrics.proportion_z([60, 60], [1000, 1000], 400, 10_000, effects=([1.0, 4.0], 4.0))
    assert z[0] > z[1] > 0


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.5, 0.9, 0.99])
def test_the_design_effect_is_by_how_much_the_variance_of_a_mean_grows(correlation):
    generator = np.random.default_rng(11)
    values = np.zeros(200_000)
    noise = generator.normal(size=values.size)
    for index in range(1, values.size):
        values[index] = correlation * values[index - 1] + noise[index]
    steps = np.square(np.diff(values)).sum()
    effect = metrics.design_effect(steps, values.size - 1, values.var())
    expected = (1 + correlation) / (1 - correlation)
    assert effect == pytest.approx(max(1, expected), rel=0.1)


def test_values_that_are_all_the_same_are_worth_one():
    assert metrics.design_effect([0.0, 0.0], [999, 0], [0.0, 0.0]).tolist() == [1000, 1]


def test_outer_bins_fold_into_their_neighbours():
    edges, counts = metrics.folded([1, 2, 3, 4], [[1, 2, 3, 4, 5], [0, 1, 0, 1, 0]])
    assert (edges.tolist(), counts.tolist()) == ([2, 3], [[3, 3, 9], [1, 0, 1]])
    edges, counts = metrics.folded([1, 2, 3], [1, 2, 3, 4])
    assert (edges.tolist(), counts.tolist()) == ([2], [3, 7])
    edges, counts = metrics.folded([1, 2], [1, 2, 3])
    assert (edges.tolist(), counts.tolist()) == ([1, 2], [1, 2, 3])


def adaptive(values, fraction):
    """Bins by the top bits of a float32, as far as the values reach: their edges, and counts."""
    width = 23 - fraction
    keys = values.astype(np.float32).view(np.uint32) >> width
    edges = (np.arange(keys.min(), keys.max() + 2, dtype=np.uint32) << width).view(np.float32)
    counts = np.bincount(keys - keys.min() + 1, minlength=edges.size + 1)
    return edges.astype(np.float64), counts


@pytest.mark.parametrize("fraction", [4, 6, 9])
def test_adaptive_bins_meet_in_those_of_the_coarser(fraction):
    generator = np.random.default_rng(2)
    values = generator.lognormal(size=5000), generator.lognormal(0.5, 0.3, size=300)
    sides = adaptive(values[0], 4), adaptive(values[1], fraction)
    edges, *counts = metrics.common_bins(*sides[0], *sides[1])
    assert set(sides[0][0]) <= set(edges)
    for side, seen in zip(values, counts, strict=True):
        by_hand = np.bincount(np.searchsorted(edges, side, side="right"), minlength=edges.size + 1)
        assert seen.tolist() == by_hand.tolist()


def test_bins_that_nothing_divides_without_error_are_not_divided():
    edges, first, second = metrics.common_bins([0, 2, 4], [0, 5, 5, 0], [1, 2, 3], [1, 1, 0, 1])
    assert (edges.tolist(), first.tolist(), second.tolist()) == ([2], [5, 5], [2, 1])
    edges, first, second = metrics.common_bins([], [5], [1.0], [2, 3])
    assert (edges.tolist(), first.tolist(), second.tolist()) == ([], [5], [5])


def test_bounded_bins_end_with_the_values_that_they_hold():
    edges, counts = metrics.bounded([1.0, 2.0], [3, 0, 4], 0.5, 9.0)
    assert edges.tolist() == [0.5, 1, 2, np.nextafter(np.float32(9), np.float32(10))]
    assert counts.tolist() == [0, 3, 0, 4, 0]
    edges, counts = metrics.bounded([1.0, 2.0], [0, 5, 0], 1.0, 1.5)
    assert (edges.tolist(), counts.tolist()) == ([1, 2], [0, 5, 0])
    edges, counts = metrics.bounded([], [5], 1.0, 1.0)
    assert (edges[0], counts.tolist()) == (1, [0, 5, 0])


def test_adaptive_bins_that_share_no_value_are_as_far_apart_as_can_be():
    generator = np.random.default_rng(2)
    sides = []
    for low in (1.0, 100.0):
        values = generator.uniform(low, 1.5 * low, 500).astype(np.float32)
        edges, counts = adaptive(values, 8)
        sides += metrics.bounded(edges[1:-1], counts[1:-1], values.min(), values.max())
    _, *counts = metrics.common_bins(*sides)
    assert metrics.ks(*counts) == pytest.approx(1)
    assert metrics.jensen_shannon(*counts) == pytest.approx(1)


def test_coarse_bins_hold_about_as_much_of_the_reference_each():
    edges = np.arange(1.0, 1000.0)
    reference, counts = np.ones(1000), np.arange(1000.0)
    fewer, joined, seen = metrics.coarse_bins(edges, reference, counts, 10)
    assert fewer.tolist() == list(range(100, 1000, 100))
    assert joined.tolist() == [100] * 10
    assert seen.tolist() == [sum(range(first, first + 100)) for first in range(0, 1000, 100)]
    fewer, joined, seen = metrics.coarse_bins(edges[:2], np.array([5, 90, 5]), np.ones(3), 10)
    assert fewer.tolist() == [1, 2]
    fewer, joined, seen = metrics.coarse_bins(np.empty(0), np.array([7.0]), np.array([2.0]), 10)
    assert (fewer.size, joined.tolist(), seen.tolist()) == (0, [7], [2])


def test_our_own_bytes_of_thirty_real_columns_tell_what_raw_values_tell():
    data = datasets.load_breast_cancer().data.astype(np.float32)
    generator = np.random.default_rng(7)
    (signature,) = ew.load_unsigned(tflite_models.add((1, 30))).signatures.values()

    def drawn():  # smoothed, so that values do not repeat (B. Silverman's rule)
        width = 1.06 * data.std(axis=0) * len(data) ** -0.2
        noise = generator.normal(size=(2000, 30))
        return (generator.choice(data, 2000) + width * noise).astype(np.float32)

    expected = drawn()
    laid = [counted.edges_of(column) for column in expected.T]
    apart_ks, apart_wasserstein = [], []
    for shift in (0, 0.1, 0.3, 1):
        seen = (drawn() + shift * data.std(axis=0)).astype(np.float32)
        rows = [counted_columns(signature, laid, values) for values in (expected, seen)]
        for column, edges, base, row in zip(range(30), laid, *rows, strict=True):
            assert row["edges"].tolist() == edges.tolist()
            assert row["counts"].tolist() == counted.counts_of(seen[:, column], edges).tolist()
            ours = metrics.ks(base["counts"], row["counts"])
            apart_ks.append(abs(ours - stats.ks_2samp(expected[:, column], seen[:, column])[0]))
            inner, base_counts = metrics.folded(base["edges"], base["counts"])
            inner, counts = metrics.folded(row["edges"], row["counts"])
            deviation = math.sqrt(base["variance"])
            ours = metrics.wasserstein(base_counts, counts, inner, deviation)
            raw = (np.clip(side[:, column], inner[0], inner[-1]) for side in (expected, seen))
            theirs = stats.wasserstein_distance(*raw) / deviation
            apart_wasserstein.append(abs(ours - theirs))
            p, q = (np.maximum(side / side.sum(), 1e-4) for side in (base_counts, counts))
            assert metrics.psi(base_counts, counts) == pytest.approx(
                special.rel_entr(p, q).sum() + special.rel_entr(q, p).sum(), abs=1e-9
            )
            assert metrics.jensen_shannon(base_counts, counts) == pytest.approx(
                distance.jensenshannon(base_counts, counts, 2), abs=1e-9
            )
    assert len(apart_ks) == 120
    assert np.mean(apart_ks) < 0.005
    assert max(apart_ks) < 0.02
    assert np.mean(apart_wasserstein) < 0.005


def counted_columns(signature, laid, values):
    """Rows of a report for each column of the input, through the bytes of statistics."""
    (spec,) = signature.inputs
    figures = [[]] * (len(_core.part_names(spec, False)) - len(laid))
    counter = _core.make_statistics_counter(
        signature, {("input", spec.name): [edges.tolist() for edges in laid] + figures}
    )
    (output,) = signature.outputs
    for rows in np.split(values, 10):  # of more elements in one call only some would be counted
        counter.add({spec.name: rows}, {output.name: rows})
    data = counter.take().to_bytes()
    return ew.Statistics.from_bytes(data).report()["tensors"][0]["parts"][:30]
