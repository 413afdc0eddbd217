"""Series: what windows counted of a part, beside the reference."""

import counted
import numpy as np
import pytest

from edgeward.captures.series import groups, tensors

X, Y = ("input", "x"), ("output", "y")


@pytest.fixture
def reference():
    generator = np.random.default_rng(1)
    return counted.report(
        {X: generator.normal(size=(500, 3)), Y: generator.normal(size=(500, 4))},
    )


def window(reference, size=50, seed=2):
    generator = np.random.default_rng(seed)
    arrays = {X: generator.normal(size=(size, 3)), Y: generator.normal(size=(size, 4))}
    return counted.report(arrays, reference)


def test_windows_are_rows_and_parts_are_numbered_through(reference):
    windows = [window(reference, 50), window(reference, 70)]
    x, y = tensors(reference, windows)
    assert [series.part.name for series in x.series[:4]] == ["0", "1", "2", "mean"]
    assert [series.row_index for tensor in (x, y) for series in tensor.series] == list(range(15))
    for series in x.series + y.series:
        assert series.totals.tolist() == [50, 70]
        assert series.counts.sum(axis=1).tolist() == [50, 70]
        assert series.base_total == 500
    assert y.class_counts.sum(axis=1).tolist() == [50, 70]
    assert x.class_counts.shape == (2, 0)


def test_a_window_that_lacks_a_part_has_nothing_there(reference):
    lacking = window(reference)
    del lacking["tensors"][1]
    lacking["tensors"][0]["parts"].pop(0)
    x, y = tensors(reference, [lacking, window(reference)])
    assert x.series[0].totals.tolist() == [0, 50]
    assert x.series[1].totals.tolist() == [50, 50]
    assert all(series.totals.tolist() == [0, 50] for series in y.series)
    assert y.class_counts.sum(axis=1).tolist() == [0, 50]


def test_other_bins_and_other_classes_stay_apart(reference):
    odd = window(reference)
    odd["tensors"][0]["parts"][1] |= {
        "edges": np.array([0.0]),
        "counts": np.array([20, 30], np.uint64),
        "min": -2.0,
        "max": 2.0,
    }
    odd["tensors"][1]["class_counts"] = np.array([50])
    x, y = tensors(reference, [window(reference), odd])
    (other,) = x.series[1].others
    assert other.window == 1
    assert other.edges.tolist() == [-2, 0, np.nextafter(np.float32(2), np.float32(3))]
    assert other.counts.tolist() == [0, 20, 30, 0]
    assert x.series[1].counts[1].sum() == 0
    assert not x.series[0].others
    assert y.class_counts[1].sum() == 0


def test_a_part_without_neighbours_follows_those_that_are_most_alike(reference):
    steady = window(reference)
    steady["tensors"][0]["parts"][0]["step_squares"] /= 100
    x, _ = tensors(reference, [window(reference), steady])
    assert x.leader is x.series[0]
    windows, base = x.leader.effects
    assert windows[1] > 10 * windows[0]
    assert 1 <= base < 2
    assert x.leader.worth[1] < 0.1 < x.leader.worth[0] <= 1


def test_windows_added_up_are_as_if_counted_at_once(reference):
    generator = np.random.default_rng(4)
    values = generator.normal(100, 1, size=(120, 3))
    parts = [values[:30], values[30:40], values[40:]]
    apart = tensors(reference, [counted.report({X: part}, reference) for part in parts])[0]
    (at_once, _) = tensors(reference, [counted.report({X: values}, reference)])
    for series, whole in zip(apart.series, at_once.series, strict=True):
        together = series.gathered(np.array([2, 2, 2]))
        assert together.counts.tolist()[:2] == np.zeros((2, whole.counts.shape[1])).tolist()
        assert together.counts[2].tolist() == whole.counts[0].tolist()
        for field in ("finite_count", "mean", "variance"):
            assert together.values[field][2] == pytest.approx(whole.values[field][0])
        assert together.values["pair_count"][2] == 120 - 3  # a window knows no neighbours outside


@pytest.mark.parametrize(
    ("sizes", "ends"),
    [
        ([50, 50, 50, 50], [0, 1, 2, 3]),  # each large enough
        ([30, 30, 30, 30, 30], [1, 1, 3, 3, 4]),
        ([12, 12, 12, 12, 12, 12, 12, 12, 12], [3, 3, 3, 3, 7, 7, 7, 7, 8]),
        ([50, 0, 0, 50], [0, 1, 2, 3]),  # empty ones do not count
        ([10, 10], [0, 1]),  # all together are too few
        ([], []),
    ],
    ids=str,
)
def test_windows_are_grouped_until_most_are_large_enough(reference, sizes, ends):
    series = tensors(reference, [])[0].series[0]
    count = np.array(sizes, float)
    values = dict.fromkeys(series.values, 0 * count)
    values |= {"finite_count": count, "variance": 0 * count + 1}
    series = series._replace(values=values, counts=np.zeros((count.size, series.counts.shape[-1])))
    assert groups(series, 500, 45).tolist() == ends


def test_bins_that_counted_nothing_may_be_missing(reference):
    empty = window(reference)
    empty["tensors"][0]["parts"][0] |= {"edges": np.empty(0), "counts": np.empty(0, np.uint64)}
    x, _ = tensors(reference, [empty])
    assert not x.series[0].others
    assert not x.series[0].counts.any()
    x, _ = tensors(empty, [empty, window(reference)])
    assert x.series[0].base_counts.tolist() == [0]
    assert not x.series[0].has_range
    assert [other.window for other in x.series[0].others] == [1]
    assert x.series[1].has_range


def test_columns_are_added_up_where_the_reference_has_all_values(reference):
    """As one of version 1 has; bins that all columns have are kept."""
    edges = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    values = np.random.default_rng(3).normal([0, 1, 2], 1, (60, 3)).clip(-2.9, 2.9)
    values = values.astype(np.float32).astype(np.float64)
    window = counted.report({X: values}, counted.report({X: values}))
    for part, column in zip(window["tensors"][0]["parts"][:3], values.T, strict=True):
        own = edges if part["name"] != "1" else np.array([-3.0, 0.0, 0.5, 1.0, 3.0])
        part |= {"edges": own, "counts": counted.counts_of(column, own)}
        part |= {"min": column.min(), "max": column.max()}
    bare = reference["tensors"][0]
    whole = bare["parts"][0] | {"kind": "values", "name": "", "edges": edges, "counts": np.ones(6)}
    (tensor,) = tensors({"run_count": 500, "tensors": [bare | {"parts": [whole]}]}, [window])
    (series,) = tensor.series
    assert series.values["finite_count"].tolist() == [180]
    assert series.values["mean"] == pytest.approx(values.mean())
    assert series.values["variance"] == pytest.approx(values.var())
    (other,) = series.others
    assert other.edges.tolist() == [-3, 0, 1, 3]
    assert other.counts.tolist() == counted.counts_of(values.ravel(), other.edges).tolist()


def test_columns_of_which_nothing_was_counted_add_up_to_nothing(reference):
    bare = reference["tensors"][0]
    whole = bare["parts"][0] | {"kind": "values", "name": ""}
    empty = window(reference, 1)
    for part in empty["tensors"][0]["parts"]:
        part |= {"finite_count": 0, "counts": np.zeros(0), "edges": np.zeros(0)}
    (tensor,) = tensors({"run_count": 500, "tensors": [bare | {"parts": [whole]}]}, [empty])
    assert tensor.series[0].others == []
    assert tensor.series[0].values["finite_count"].tolist() == [0]
