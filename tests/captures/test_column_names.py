"""Names of columns are held against the model, and come with its counts."""

import json

import pytest
from models import onnx_models, tflite_models
from onnx import helper

import edgeward as ew
from edgeward.captures.column_names import MOST_BYTES, described, require_columns

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
    require_columns(COLUMNS, signatures)
    with pytest.raises(ew.BadInput, match=says):
        require_columns(columns, signatures)


def test_a_dimension_of_any_size_has_any_number_of_names():
    tensors = [[onnx_models._value(name, "float32", ("n",))] for name in ("x", "y")]
    opposite = onnx_models._model([helper.make_node("Neg", ["x"], ["y"])], *tensors)
    with ew.load_unsigned(opposite) as model:
        assert list(model.inputs[0].shape) == [-1]
        require_columns({"x": ["a", "b"]}, model.signatures.values())


@pytest.mark.parametrize(("size", "is_kept"), [(0, True), (1, False)])
def test_what_takes_too_much_room_is_left_out(size, is_kept):
    columns = {"a": ["ü", ""]}
    columns["a"][1] = "x" * (MOST_BYTES - len(json.dumps(columns)) + size)
    assert bool(described(columns)) == is_kept


def test_a_window_with_as_many_names_as_may_be_is_read_back(directory):
    model = ew.load_unsigned(tflite_models.sum_product())
    names = [f"{index}" + "ü" * (MOST_BYTES // 24 - 10) for index in range(4)]
    with ew.Capture(directory) as capture:
        capture.attach(model, name="n" * (55 << 10), columns={"a": names})
        model.session().run()
    (window,) = ew.read_windows(directory)
    assert window.counted.columns == {"a": tuple(names)}
