"""Reference statistics as bytes: both versions, and documents that are damaged in every way."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from models import tflite_models

import edgeward as ew
from edgeward import _core
from edgeward.errors import MalformedPackage
from edgeward.packages.calibration import calibrated
from edgeward.packages.reference_statistics import ReferenceStatistics
from edgeward.packages.thresholds import SIZES

FIRST = {
    "version": 1,
    "sample_count": 9,
    "tensors": [
        {
            "side": "output", "name": "p", "dtype": "float32", "finite_count": 36, "nan_count": 1,
            "infinite_count": 2, "min": 0.0, "max": 8.0, "mean": 4.0, "variance": 6.5,
            "edges": [1.0, 2.5, 7.0], "counts": [4, 12, 12, 8], "class_counts": [3, 6],
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def reference():
    generator = np.random.default_rng(3)
    samples = [
        {name: generator.normal(size=4).astype(np.float32) for name in "ab"} for _ in range(100)
    ]
    with ew.load_unsigned(tflite_models.sum_product()) as model:
        return calibrated(model, samples)


@pytest.fixture(scope="module")
def document(reference):
    return json.loads(reference.to_bytes())


def read(document):
    return ReferenceStatistics.from_bytes(json.dumps(document).encode(), "package")


def refused(data):
    """Whether these bytes, or this document, are refused as the package's."""
    try:
        content = data if isinstance(data, bytes) else json.dumps(data).encode()
        ReferenceStatistics.from_bytes(content, "package")
    except MalformedPackage as refusal:
        return str(refusal).startswith("package: reference.json: expected")
    return False


def changed(document, path, value):
    """A copy of `document` with `value` at `path`."""
    copy = json.loads(json.dumps(document))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return copy


# --- version 2 ---------------------------------------------------------------------------------


def test_bytes_and_back(reference):
    again = ReferenceStatistics.from_bytes(reference.to_bytes(), "here")
    assert again.thresholds == reference.thresholds
    assert again.sample_count == reference.sample_count == 100
    assert again.edges == reference.edges
    assert again.to_bytes() == reference.to_bytes()
    tensors = zip(again.report["tensors"], reference.report["tensors"], strict=True)
    for row, same in tensors:
        assert str(row) == str(same)


def test_edges_are_those_that_a_counter_takes(reference):
    assert set(reference.edges) == {
        ("input", "a"),
        ("input", "b"),
        ("output", "s"),
        ("output", "p"),
    }
    with ew.load_unsigned(tflite_models.sum_product()) as model:
        (signature,) = model.signatures.values()
    counter = _core.make_statistics_counter(signature, reference.edges)
    zeros = np.zeros(4, np.float32)
    counter.add({"a": zeros, "b": zeros}, {"s": zeros, "p": zeros})
    for row, parts in zip(
        counter.take().report()["tensors"], reference.edges.values(), strict=True
    ):
        assert [part["edges"].tolist() for part in row["parts"]] == parts


def test_a_reference_of_few_samples_has_no_thresholds(document):
    without = read(document | {"thresholds": None})
    assert without.thresholds is None
    assert without.sample_count == 100


def test_bytes_that_are_cut_or_changed_do_no_harm(reference):
    data = reference.to_bytes()
    for size in range(0, len(data), 7):
        assert refused(data[:size])
    for bit in range(0, 8 * len(data), 61):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(bytes(flipped))


FIRST_PART = ("thresholds", "tensors", 0, "parts", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 3), (("version",), True), (("version",), None), (("version",), [2]),
        (("sample_count",), -1), (("sample_count",), 101), (("sample_count",), 1 << 63),
        (("more",), 1), (("statistics",), None), (("statistics",), "EWSTAT02"),
        (("statistics",), "!"), (("thresholds",), []), (("thresholds",), {}),
        (("thresholds", "sizes"), []), (("thresholds", "sizes"), [0, *SIZES[1:]]),
        (("thresholds", "sizes"), SIZES[::-1]), (("thresholds", "sizes"), [100] * 7),
        (("thresholds", "sizes"), SIZES[1:]), (("thresholds", "sizes", 6), 1 << 63),
        (("thresholds", "sizes"), list(range(1, 100))), (("thresholds", "sizes", 0), 1.5),
        (("thresholds", "false_alarms"), 0), (("thresholds", "false_alarms"), 1),
        (("thresholds", "false_alarms"), 1e-10),
        (("thresholds", "false_alarms"), float("nan")), (("thresholds", "block"), 0),
        (("thresholds", "block"), 101), (("thresholds", "tensors"), []),
        (("thresholds", "tensors"), None), (("thresholds", "tensors", 0), 1),
        (("thresholds", "tensors", 0, "name"), "b"),
        (("thresholds", "tensors", 0, "side"), "output"),
        (("thresholds", "tensors", 0, "parts"), []), (FIRST_PART, {}), (FIRST_PART, None),
        ((*FIRST_PART, "psi"), [1] * 7), ((*FIRST_PART, "ks"), []), ((*FIRST_PART, "ks"), [1] * 6),
        ((*FIRST_PART, "ks", 0), -1), ((*FIRST_PART, "ks", 0), "0.5"),
        ((*FIRST_PART, "ks", 0), None), ((*FIRST_PART, "ks", 0), True),
        ((*FIRST_PART, "ks", 0), float("nan")), ((*FIRST_PART, "ks", 0), float("inf")),
        ((*FIRST_PART, "ks", 0), 10**400), (("thresholds", "false_alarms"), 10**400),
    ],
    ids=str,
)  # fmt: skip
def test_other_documents_are_refused(document, path, value):
    assert refused(changed(document, path, value))


def test_statistics_whose_bytes_are_changed_are_refused(document):
    content = bytearray(base64.b64decode(document["statistics"]))
    for bit in range(0, 8 * len(content), 41):
        content[bit // 8] ^= 1 << bit % 8
        assert refused(document | {"statistics": base64.b64encode(content).decode()})
        content[bit // 8] ^= 1 << bit % 8


def test_thresholds_of_other_statistics_are_refused(document):
    with ew.load_unsigned(tflite_models.add((4,))) as model:
        other = calibrated(model, [{"x": np.zeros(4, np.float32)}] * 100)
    statistics = json.loads(other.to_bytes())["statistics"]
    assert refused(document | {"statistics": statistics})


def test_documents_that_are_too_large_or_deep_are_refused():
    assert refused(b"[" * 100_000)
    assert refused(b"null")
    assert refused(b" " * (16 << 20) + b"{}")


def test_a_refusal_is_one_line_of_bounded_length(document):
    lines = "a name\nof lines" * 100_000
    for damaged in (changed(FIRST, ("tensors", 0, "name"), lines), document | {"version": lines}):
        with pytest.raises(MalformedPackage) as refusal:
            read(changed(damaged, ("sample_count",), 1) | {"more": 1})
        assert "\n" not in str(refusal.value)
        assert len(str(refusal.value)) < 400
    with pytest.raises(MalformedPackage, match="bins of tensor") as refusal:
        read(changed(changed(FIRST, ("tensors", 0, "name"), lines), ("tensors", 0, "edges"), [1]))
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_the_rarest_false_alarms_still_tell_a_least_shift(document):
    (few,) = read(changed(document, ("thresholds", "false_alarms"), 1e-9)).shortcomings
    assert "shows no mean that has moved by less than" in few


def test_what_a_reference_cannot_tell_is_said(document, reference):
    (few,) = reference.shortcomings
    assert few.startswith("expected a calibration set of at least 1,000 samples, got 100: even a")
    (none,) = read(document | {"thresholds": None}).shortcomings
    assert none.endswith("got 100: too few for thresholds of drift")
    _, alike = read(changed(document, ("thresholds", "block"), 10)).shortcomings
    assert alike.startswith("expected samples that resemble few of their neighbours")


# --- version 1 ---------------------------------------------------------------------------------


def test_version_1_is_read_as_one_part_of_each_tensor():
    reference = read(FIRST)
    assert (reference.sample_count, reference.thresholds) == (9, None)
    assert reference.edges == {("output", "p"): [[1.0, 2.5, 7.0]]}
    (tensor,) = reference.report["tensors"]
    (part,) = tensor["parts"]
    assert tensor["class_counts"].tolist() == [3, 6]
    assert (part["kind"], part["name"]) == ("values", "")
    assert part["counts"].tolist() == [4, 12, 12, 8]
    assert {**FIRST["tensors"][0], **part, "edges": 0, "counts": 0, "class_counts": 0} == {
        **FIRST["tensors"][0], "edges": 0, "counts": 0, "class_counts": 0, "kind": "values",
        "name": "", "clipped_count": 36, "unchanged_count": 36, "pair_count": 0,
        "step_squares": 0.0, "is_adaptive": False,
    }  # fmt: skip


def test_version_1_has_the_fields_that_statistics_have():
    with ew.load_unsigned(tflite_models.add((4,))) as model:
        (signature,) = model.signatures.values()
    row = _core.make_statistics_counter(signature).take().report()["tensors"][0]
    (tensor,) = read(FIRST).report["tensors"]
    assert set(tensor) == set(row)
    assert set(tensor["parts"][0]) == set(row["parts"][0])


def test_edges_of_version_1_become_floats_that_part_the_same_values():
    edges = [-1e300, 0.1, 0.1 + 1e-12, 16_777_217.0, 1e300]
    wide = changed(FIRST, ("tensors", 0, "edges"), edges)
    reference = read(changed(wide, ("tensors", 0, "counts"), [1, 2, 3, 4, 5, 6]))
    part = reference.report["tensors"][0]["parts"][0]
    above = float(np.nextafter(np.float32(0.1), np.float32(1)))
    least = [float(-np.finfo(np.float32).max), 0.1, 16_777_218.0]
    least[1] = above if np.float32(0.1) < 0.1 + 1e-12 else float(np.float32(0.1))
    assert part["edges"].tolist() == [float(edge) for edge in least]
    assert part["counts"].tolist() == [1, 5, 4, 11]
    for value in np.float32([-3e38, -1, above, np.nextafter(np.float32(above), 0), 2**24, 3e38]):
        bin = np.searchsorted(part["edges"], value, side="right")
        among = np.searchsorted([edges[0], edges[2], edges[3]], float(value), side="right")
        assert bin == among, value


def test_bytes_of_version_1_that_are_cut_or_changed_do_no_harm():
    data = json.dumps(FIRST).encode()
    assert all(refused(data[:size]) for size in range(len(data)))
    for bit in range(0, 8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(bytes(flipped))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2), (("version",), None), (("sample_count",), -1), (("more",), 1),
        (("tensors",), 3), (("tensors", 0), {}), (("tensors", 0, "side"), "middle"),
        (("tensors", 0, "side"), []), (("tensors", 0, "name"), 3),
        (("tensors", 0, "name"), "\ud800"), (("tensors", 0, "finite_count"), 1.5),
        (("tensors", 0, "finite_count"), True),
        (("tensors", 0, "finite_count"), 1 << 63), (("tensors", 0, "counts", 0), 1 << 63),
        (("tensors", 0, "mean"), "much"), (("tensors", 0, "edges"), [2, 1, 3]),
        (("tensors", 0, "edges"), [1, 1, 2]), (("tensors", 0, "edges", 0), float("nan")),
        (("tensors", 0, "counts"), []), (("tensors", 0, "variance"), 1e400),
        (("tensors", 0, "variance"), -1), (("tensors", 0, "edges", 0), -(10**400)),
    ],
    ids=str,
)  # fmt: skip
def test_other_documents_of_version_1_are_refused(path, value):
    assert refused(changed(FIRST, path, value))
