"""Names of columns: held against the model, and their bytes, damaged in every way."""

import json

import pytest
from models import onnx_models, tflite_models
from onnx import helper

import edgeward as ew
from edgeward.errors import BadInput, MalformedPackage
from edgeward.packages import column_names

COLUMNS = {"a": ("temperature", "ü", "", "d"), "p": ("e", "f", "g", "h")}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"z": ["a"]}, 'expected tensors of the model\'s, "a", "b", "s", "p", got "z"'),
        ({"a": ["a", "b", "c"]}, 'expected 4 names for "a", got 3'),
        ({"p": []}, 'expected 4 names for "p", got 0'),
        ({"a": ["a", "b", "a", "c"]}, 'expected each name for "a" once, got "a" again'),
    ],
    ids=str,
)
def test_names_that_do_not_fit_the_model_are_refused(columns, says):
    with ew.load_unsigned(tflite_models.sum_product()) as model:
        signatures = list(model.signatures.values())
    column_names.require_columns(COLUMNS, signatures)
    with pytest.raises(BadInput, match=says):
        column_names.require_columns(columns, signatures)


def test_a_dimension_of_any_size_has_any_number_of_names():
    tensors = [[onnx_models._value(name, "float32", ("n",))] for name in ("x", "y")]
    opposite = onnx_models._model([helper.make_node("Neg", ["x"], ["y"])], *tensors)
    with ew.load_unsigned(opposite) as model:
        assert list(model.inputs[0].shape) == [-1]
        column_names.require_columns({"x": ["a", "b"]}, model.signatures.values())


def test_bytes_and_back():
    assert column_names.from_bytes(column_names.to_bytes(COLUMNS), "here") == COLUMNS


def refused(data):
    try:
        column_names.from_bytes(data, "package")
    except MalformedPackage as refusal:
        return str(refusal).startswith("package: columns.json: expected")
    return False


def test_bytes_that_are_cut_or_changed_do_no_harm():
    data = column_names.to_bytes(COLUMNS)
    assert all(refused(data[:size]) for size in range(len(data)))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed))


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"version": 2, "columns": {}}, {"version": 1, "columns": []},
        {"version": 1, "columns": {"a": "names"}}, {"version": 1, "columns": {"a": [1]}},
        {"version": 1, "columns": {"a": ["b", "b"]}}, {"version": 1, "columns": {"a": {"b": 1}}},
        {"version": 1, "columns": {}, "more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_other_documents_are_refused(document):
    assert refused(json.dumps(document).encode())


def test_documents_that_are_too_large_or_deep_are_refused():
    assert refused(b"[" * 100_000)
    assert refused(column_names.to_bytes({"a": [f"{index:>20}" for index in range(60_000)]}))
