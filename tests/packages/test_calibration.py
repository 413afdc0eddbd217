"""A model over its calibration set: bins and counts of every part, against numpy's own."""

from __future__ import annotations

import os

import numpy as np
import pytest
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward.errors import BadInput
from edgeward.packages import calibration
from edgeward.packages.calibration import BIN_COUNT, calibrated
from edgeward.packages.thresholds import SIZES

SEED = int.from_bytes(os.urandom(4), "little")


def reference_of(model, samples, **options):
    with ew.load_unsigned(model) as opened:
        return calibrated(opened, samples, **options)


def parts_of(reference, side="input", name="x"):
    (tensor,) = (
        row for row in reference.report["tensors"] if (row["side"], row["name"]) == (side, name)
    )
    return {f"{part['kind']} {part['name']}".strip(): part for part in tensor["parts"]}


def counted(values, edges):
    """What numpy counts of `values` as floats."""
    places = np.searchsorted(edges, values.astype(np.float32).ravel(), side="right")
    return np.bincount(places, minlength=len(edges) + 1).tolist()


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 4)], ids=str)
def test_each_column_has_bins_of_its_own(shape):
    generator = np.random.default_rng(SEED)
    samples = [
        {"x": (generator.normal(size=shape) * [1, 5, 0, 1] + [0, 100, 3, 0]).astype(np.float32)}
        for _ in range(200)
    ]
    for sample in samples:
        sample["x"][..., 3] = sample["x"][..., 3] > 0.5
    parts = parts_of(reference_of(tflite_models.add(shape), samples))
    every = np.concatenate([sample["x"].reshape(-1, 4) for sample in samples])
    for column in range(4):
        values, part = every[:, column], parts[f"column {column}"]
        assert part["counts"].tolist() == counted(values, part["edges"]), SEED
        assert part["counts"][0] == part["counts"][-1] == 0, "the range is the calibration set's"
        assert part["edges"][0] == values.min()
        assert part["edges"][-1] == np.nextafter(values.max(), np.float32(np.inf))
        assert part["mean"] == pytest.approx(values.mean(dtype=np.float64), abs=1e-6)
    inner = parts["column 1"]["counts"][1:-1]
    assert len(inner) == BIN_COUNT
    assert max(inner) < 1.3 * values.size / BIN_COUNT
    assert parts["column 2"]["edges"].tolist() == [3.0, np.nextafter(np.float32(3), 4)]
    assert parts["column 3"]["edges"].tolist() == [0.0, 1.0, np.nextafter(np.float32(1), 2)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint8", "bool"])
def test_values_of_any_dtype_are_binned_as_floats(dtype):
    generator = np.random.default_rng(SEED)
    samples = [
        {"x": (generator.random((2, 3)) * 20).astype(np.int64).astype(dtype)} for _ in range(50)
    ]
    parts = parts_of(reference_of(onnx_models.identity(dtype), samples))
    for column in range(3):
        values = np.concatenate([sample["x"][:, column] for sample in samples])
        part = parts[f"column {column}"]
        assert part["counts"].tolist() == counted(values, part["edges"]), SEED
        assert len(part["counts"]) == np.unique(values).size + 2


def test_what_numpy_holds_as_bits_is_binned_too():
    generator = np.random.default_rng(SEED)
    values = generator.normal(size=(300, 2, 3)).astype(np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    parts = parts_of(reference_of(onnx_models.identity("bfloat16"), [{"x": row} for row in bits]))
    real = (bits.astype(np.uint32) << 16).view(np.float32)
    part = parts["column 1"]
    assert part["counts"].tolist() == counted(real[..., 1], part["edges"]), SEED
    assert part["counts"][0] == part["counts"][-1] == 0
    assert BIN_COUNT / 2 < len(part["counts"]) <= BIN_COUNT + 2


def test_figures_have_a_value_for_each_sample():
    generator = np.random.default_rng(SEED)
    samples = [{"x": generator.normal(size=4).astype(np.float32)} for _ in range(300)]
    parts = parts_of(reference_of(tflite_models.add((4,)), samples))
    largest = np.array([sample["x"].max() for sample in samples])
    part = parts["figure largest"]
    assert part["counts"].tolist() == counted(largest, part["edges"])
    assert part["counts"][0] == part["counts"][-1] == 0
    assert BIN_COUNT / 2 < len(part["counts"]) <= BIN_COUNT + 2


def test_a_picture_is_counted_as_a_whole(monkeypatch):
    generator = np.random.default_rng(SEED)
    shape = (1, 16, 16, 3)
    samples = [{"x": generator.random(shape).astype(np.float32)} for _ in range(100)]
    monkeypatch.setattr(calibration, "EDGE_SAMPLES", 6_000)
    reference = reference_of(tflite_models.add(shape), samples)
    parts = parts_of(reference)
    values = np.concatenate([sample["x"].ravel() for sample in samples])
    part = parts["values"]
    assert part["counts"].tolist() == counted(values, part["edges"])
    assert part["counts"][0] == part["counts"][-1] == 0
    assert {"figure channel 0", "figure channel 2", "figure mean"} < set(parts)
    assert 0 < reference.thresholds.parts[0].ks[0] < 0.2


def test_what_is_not_finite_is_in_no_bin():
    rows = [[1, np.nan, np.inf, 2], [3, np.nan, -np.inf, np.nan]] * 15
    samples = [{"x": np.array(row, np.float32)} for row in rows]
    parts = parts_of(reference_of(tflite_models.add((4,)), samples))
    assert [parts[f"column {at}"]["finite_count"] for at in range(4)] == [30, 0, 0, 15]
    assert [parts[f"column {at}"]["nan_count"] for at in range(4)] == [0, 30, 0, 15]
    assert parts["column 2"]["infinite_count"] == 30
    assert parts["column 0"]["edges"].tolist()[:2] == [1, 3]
    assert len(parts["column 1"]["edges"]) == 0


def test_the_greatest_float_has_no_edge_above_it():
    most = np.finfo(np.float32).max
    samples = [{"x": np.array([0, most, -most, 1], np.float32)} for _ in range(20)]
    parts = parts_of(reference_of(tflite_models.add((4,)), samples))
    assert parts["column 1"]["edges"].tolist() == [most]
    assert parts["column 1"]["counts"].tolist() == [0, 20]
    assert parts["column 2"]["counts"].tolist() == [0, 20, 0]


def test_thresholds_are_those_of_every_part_in_order():
    generator = np.random.default_rng(SEED)
    samples = [{"x": np.float32([0, 1, *generator.normal(size=2)])} for _ in range(200)]
    reference = reference_of(tflite_models.add((4,)), samples)
    assert reference.thresholds.sizes == SIZES
    parts = [part for row in reference.report["tensors"] for part in row["parts"]]
    assert len(parts) == len(reference.thresholds.parts)
    for part, limits in zip(parts, reference.thresholds.parts, strict=True):
        assert any(limits.wasserstein) == (part["variance"] > 0), part["name"]
        assert all(limits.ks), part["name"]
    few = reference_of(tflite_models.add((4,)), samples[:19])
    assert few.thresholds is None
    assert few.sample_count == 19


def test_neighbours_are_those_of_the_calibration_set():
    samples = [{"x": np.full(4, index, np.float32)} for index in range(100)]
    reference = reference_of(tflite_models.add((4,)), samples)
    part = parts_of(reference)["column 0"]
    assert (part["pair_count"], part["step_squares"]) == (99, 99)
    assert reference.thresholds.block == 10


def test_a_device_counts_in_the_same_bins(tmp_path):
    generator = np.random.default_rng(SEED)
    samples = [{"x": generator.normal(size=4).astype(np.float32)} for _ in range(50)]
    reference = reference_of(tflite_models.add((4,)), samples)
    with (
        ew.load_unsigned(tflite_models.add((4,))) as model,
        ew.Capture(tmp_path, sample=0.0) as capture,
    ):
        capture.attach(model, reference=reference)
        for sample in samples:
            model.predict(sample["x"])
        (statistics,) = model.statistics.values()
    for row, counted_row in zip(
        reference.report["tensors"], statistics.report()["tensors"], strict=True
    ):
        for part, same in zip(row["parts"], counted_row["parts"], strict=True):
            assert part["counts"].tolist() == same["counts"].tolist()


def test_every_sample_is_run_twice():
    seen = []
    samples = [
        {"a": np.full(4, n, np.float32), "b": np.arange(4, dtype=np.float32)} for n in range(9)
    ]
    reference = reference_of(
        tflite_models.sum_product(), samples, progress=lambda *step: seen.append(step)
    )
    assert seen == [(n, 18) for n in range(1, 19)]
    assert reference.sample_count == 9
    assert parts_of(reference, "input", "a")["column 0"]["mean"] == 4
    assert parts_of(reference, "output", "s")["column 2"]["mean"] == 4 + 2


def test_no_samples_and_foreign_ones_are_refused():
    with ew.load_unsigned(tflite_models.sum_product()) as model:
        with pytest.raises(BadInput, match="at least one sample"):
            calibrated(model, [])
        with pytest.raises(BadInput, match="input"):
            calibrated(model, [{"a": np.zeros(4, np.float32)}])
