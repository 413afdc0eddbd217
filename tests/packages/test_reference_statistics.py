"""Reference statistics against numpy's own, and their bytes, damaged in every way."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from models import tflite_models

import edgeward as ew
from edgeward.errors import BadInput, MalformedPackage
from edgeward.packages.reference_statistics import BIN_COUNT, ReferenceStatistics, _Gathered


def measured(arrays, side="input", edge_samples=1 << 20):
    """What one tensor's statistics are over these arrays."""
    gathered = _Gathered(side, "t", str(arrays[0].dtype), edge_samples)
    for array in arrays:
        gathered.lay(array)
    for array in arrays:
        gathered.count(array)
    return gathered.statistics()


SEED = int.from_bytes(os.urandom(4), "little")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "int32"])
def test_moments_counts_and_bins_are_numpys(dtype):
    generator = np.random.default_rng(SEED)
    arrays = [(generator.standard_normal((3, 50)) * 20 + 5).astype(dtype) for _ in range(40)]
    every = np.concatenate(arrays).astype(np.float64).ravel()
    statistics = measured(arrays)
    assert statistics.finite_count == every.size
    assert (statistics.min, statistics.max) == (every.min(), every.max())
    assert statistics.mean == pytest.approx(every.mean(), rel=1e-12, abs=1e-12)
    assert statistics.variance == pytest.approx(every.var(), rel=1e-12), SEED
    assert sum(statistics.counts) == every.size
    bounds = [-np.inf, *statistics.edges, np.inf]
    for index, count in enumerate(statistics.counts):
        assert count == ((bounds[index] <= every) & (every < bounds[index + 1])).sum(), SEED
    assert list(statistics.edges) == sorted(set(statistics.edges))


def test_bins_hold_about_as_many_each():
    values = np.random.default_rng(SEED).standard_normal(100_000).astype(np.float32)
    counts = measured([values]).counts
    assert len(counts) == BIN_COUNT
    assert max(counts) < 1.1 * len(values) / BIN_COUNT
    assert min(counts) > 0.9 * len(values) / BIN_COUNT


def test_a_value_that_repeats_has_an_edge_of_its_own():
    statistics = measured([np.array([0] * 90 + list(range(1, 11)), np.float32)])
    assert 0.0 in statistics.edges
    assert measured([np.zeros(8, np.float32)]).edges == (0.0,)


def test_what_is_not_finite_is_counted_apart():
    statistics = measured([np.array([1, np.nan, np.inf, -np.inf, 3], np.float32)])
    assert (statistics.finite_count, statistics.nan_count, statistics.infinite_count) == (2, 1, 2)
    assert (statistics.min, statistics.max, statistics.mean, statistics.variance) == (1, 3, 2, 1)
    nothing = measured([np.array([np.nan], np.float32)])
    assert (nothing.finite_count, nothing.min, nothing.max, nothing.variance) == (0, 0, 0, 0)
    assert (nothing.edges, nothing.counts) == ((), (0,))


def test_rows_of_scores_count_their_winners():
    rows = [np.array([[0.1, 0.7, 0.2]], np.float32)] * 3 + [np.array([[1, 0, 0]], np.float32)]
    assert measured(rows, "output").class_counts == (1, 3, 0)
    assert measured(rows, "input").class_counts == ()
    assert measured([np.zeros((2, 2), np.float32)], "output").class_counts == ()


def test_large_tensors_lay_their_bins_by_a_part_and_count_whole():
    values = np.arange(10_000, dtype=np.float32)
    assert sum(measured([values], edge_samples=100).counts) == 10_000


def reference():
    with ew.load_unsigned(tflite_models.sum_product()) as model:
        samples = [
            {"a": np.full(4, n, np.float32), "b": np.arange(4, dtype=np.float32)} for n in range(9)
        ]
        seen = []
        reference = ReferenceStatistics.measure(model, samples, lambda *step: seen.append(step))
    assert seen == [(n, 18) for n in range(1, 19)]
    return reference


def test_a_model_is_run_over_every_sample():
    statistics = reference()
    assert statistics.sample_count == 9
    tensors = {(tensor.side, tensor.name): tensor for tensor in statistics.tensors}
    assert set(tensors) == {("input", "a"), ("input", "b"), ("output", "s"), ("output", "p")}
    assert tensors["input", "a"].mean == 4
    assert tensors["output", "s"].mean == 4 + 1.5


def test_no_samples_and_foreign_ones_are_refused():
    with ew.load_unsigned(tflite_models.sum_product()) as model:
        with pytest.raises(BadInput, match="at least one sample"):
            ReferenceStatistics.measure(model, [])
        with pytest.raises(BadInput, match="input"):
            ReferenceStatistics.measure(model, [{"a": np.zeros(4, np.float32)}])


def test_bytes_and_back():
    statistics = reference()
    assert ReferenceStatistics.from_bytes(statistics.to_bytes(), "here") == statistics


def refused(data):
    try:
        ReferenceStatistics.from_bytes(data, "package")
    except MalformedPackage as refusal:
        return str(refusal).startswith("package: reference.json: expected")
    return False


def test_bytes_that_are_cut_or_changed_do_no_harm():
    data = reference().to_bytes()
    assert all(refused(data[:size]) for size in range(len(data)))
    for bit in range(0, 8 * len(data), 5):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("version",), 2), (("version",), None), (("sample_count",), -1), (("more",), 1),
        (("tensors",), 3), (("tensors", 0), {}), (("tensors", 0, "side"), "middle"),
        (("tensors", 0, "name"), 3), (("tensors", 0, "finite_count"), 1.5),
        (("tensors", 0, "finite_count"), True), (("tensors", 0, "finite_count"), 1 << 63),
        (("tensors", 0, "mean"), "much"), (("tensors", 0, "edges"), [2, 1]),
        (("tensors", 0, "edges"), [1, 1]), (("tensors", 0, "counts"), []),
        (("tensors", 0, "variance"), 1e400),
    ],
    ids=str,
)  # fmt: skip
def test_other_documents_are_refused(field, value):
    document = json.loads(reference().to_bytes())
    at = document
    for step in field[:-1]:
        at = at[step]
    at[field[-1]] = value
    assert refused(json.dumps(document).encode())
    assert refused(b"[" * 100_000)
    assert refused(b"null")
