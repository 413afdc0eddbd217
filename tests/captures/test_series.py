"""Series: what windows counted of a part, beside the reference."""

import counted
import numpy as np
import pytest

from edgeward.captures.series import tensors

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
    odd["tensors"][0]["parts"][1]["edges"] = np.array([0.0])
    odd["tensors"][0]["parts"][1]["counts"] = np.array([20, 30], np.uint64)
    odd["tensors"][1]["class_counts"] = np.array([50])
    x, y = tensors(reference, [window(reference), odd])
    (other,) = x.series[1].others
    assert (other.window, other.edges.tolist(), other.counts.tolist()) == (1, [0], [20, 30])
    assert x.series[1].counts[1].sum() == 0
    assert not x.series[0].others
    assert y.class_counts[1].sum() == 0


def test_a_tensor_is_as_correlated_as_its_most_correlated_part(reference):
    steady = window(reference)
    steady["tensors"][0]["parts"][0]["step_squares"] /= 100
    x, _ = tensors(reference, [window(reference), steady])
    windows, base = x.effects
    assert windows[1] > 10 * windows[0]
    assert 1 <= base < 2
