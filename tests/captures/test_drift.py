"""Drift: none where nothing changed, seen where it did."""

import math

import numpy as np
import pytest
from models import tflite_models

import edgeward as ew
from edgeward.captures.drift import Drift, drifts, psi
from edgeward.packages.reference_statistics import ReferenceStatistics

EDGES = [-1.0, 0.0, 1.0]


def row(values, name="x", edges=EDGES, side="input"):
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return {
        "side": side,
        "name": name,
        "edges": edges,
        "counts": counts,
        "finite_count": len(values),
        "mean": float(np.mean(values)) if len(values) else 0.0,
        "variance": float(np.var(values)) if len(values) else 0.0,
    }


def test_the_index_is_as_its_definition_says():
    expected, got = [50, 30, 20], [40, 30, 30]
    by_hand = sum(
        (b / 100 - a / 100) * math.log((b / 100) / (a / 100))
        for a, b in zip(expected, got, strict=True)
    )
    assert psi(expected, got) == pytest.approx(by_hand)
    assert psi(expected, [5 * count for count in expected]) == pytest.approx(0)


def test_a_bin_that_one_side_never_saw_counts_as_a_little():
    assert 0 < psi([100, 0], [50, 50]) < math.inf
    assert psi([0, 0], [1, 1]) == psi([1, 1], [0, 0]) == 0


def test_a_shift_of_a_fifth_of_a_deviation_is_seen_and_none_is_not():
    generator = np.random.default_rng(3)
    base = row(generator.normal(size=100_000))
    for _ in range(20):
        (same,) = drifts([base], [row(generator.normal(size=100_000))])
        (moved,) = drifts([base], [row(generator.normal(0.2, size=100_000))])
        assert abs(same.shift) < 0.02 < 0.18 < moved.shift < 0.22
        assert same.psi < 0.001 < 0.02 < moved.psi


def test_it_is_seen_through_what_the_runtime_counts(tmp_path, monkeypatch):
    """A hundred devices with no shift and a hundred with one; each has seen 100,000 values."""
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    generator = np.random.default_rng(3)
    size, runs, devices = 1000, 100, 100
    content = tflite_models.broadcast_chain(1, (size,))
    with ew.load_unsigned(content) as model:
        samples = [{"x": generator.standard_normal(size, np.float32)} for _ in range(runs)]
        reference = ReferenceStatistics.measure(model, samples)
    expected = [tensor._asdict() for tensor in reference.tensors]
    by_shift: dict[float, list[Drift]] = {0.0: [], 0.2: []}
    for device in range(devices):
        for shift, seen in by_shift.items():
            with (
                ew.Capture(tmp_path / f"{device} {shift}", sample=0.0) as capture,
                ew.load_unsigned(content) as model,
            ):
                capture.attach(model, reference=reference)
                for _ in range(runs):
                    model.predict(generator.standard_normal(size, np.float32) + np.float32(shift))
                (statistics,) = model.statistics.values()
                seen += drifts(expected, statistics.report()["tensors"])
    same, moved = by_shift.values()
    assert len(same) == len(moved) == 2 * devices  # of the input and of the output
    assert {drift.value_count for drift in same + moved} == {size * runs}
    for drift in same:
        assert abs(drift.shift) < 0.02
        assert drift.psi < 0.002  # noise grows with the bins, of which there are more here
    for drift in moved:
        assert 0.18 < drift.shift < 0.22
        assert drift.psi > 0.02


def test_what_cannot_be_compared_is_left_out():
    base = row(np.zeros(10))
    assert drifts([base], []) == []
    assert drifts([base], [row(np.zeros(10), name="y")]) == []
    assert drifts([base], [row(np.zeros(10), side="output")]) == []
    assert drifts([base], [row(np.zeros(10), edges=[0.0])]) == []
    assert drifts([base], [row(np.zeros(0))]) == []
    (drift,) = drifts([base], [row(np.ones(10))])
    assert drift.shift is None  # all of the reference's values are the same
