"""Rules: each keeps what it says, alone and together with others."""

import numpy as np
import pytest
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward.captures import rules

ONES = np.ones(4, np.float32)


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """The values of `values` that a rule keeps, as input a of a model that gives s = a + 1."""
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))

    def choose(rule, values):
        with ew.Capture(tmp_path / "captures", when=rule) as capture:
            model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
            for value in values:
                a = np.asarray(value, np.float32)
                model.predict(a=np.broadcast_to(a, 4).copy(), b=ONES)
        return [record.inputs["a"][0] for record in ew.read_captures(tmp_path / "captures")]

    return choose


VALUES = list(range(10))


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (rules.every(4), [0, 4, 8]),
        (rules.fraction(0), []),
        (rules.fraction(1), VALUES),
        (rules.per_second(3), [0, 1, 2]),
        (rules.below("s", 3), [0, 1]),
        (rules.above("s", 8), [8, 9]),
        (rules.between("s", 3, 5), [2, 3, 4]),
        (rules.failed(), []),
        (rules.below("s", 3) | rules.above("s", 9), [0, 1, 9]),
        (rules.above("s", 3) & rules.below("s", 6), [3, 4]),
        (rules.above("s", 3) & (rules.every(2) | rules.above("s", 9)), [4, 6, 8, 9]),
        (rules.quota("s", 2, window_s=3600), [0, 1]),
        (rules.margin("s", 0.5), VALUES),
        (rules.entropy("s", 1.3), VALUES),
        (rules.entropy("s", 1.4), []),
    ],
)
def test_what_a_rule_keeps(chosen, rule, kept):
    assert chosen(rule, VALUES) == kept


def test_the_class_is_the_place_of_the_largest(chosen):
    rows = np.eye(4, dtype=np.float32) * 10
    assert chosen(rules.argmax_in("s", [1, 3]), rows) == [0, 0]
    assert [row[0] for row in rows[[1, 3]]] == [0, 0]


def test_a_nan_is_found(chosen):
    assert np.isnan(chosen(rules.not_a_number("s"), [1, np.nan, 2])).tolist() == [True]


def test_a_reservoir_says_that_it_is_one():
    assert (rules.every(2) | rules.reservoir(5)).has_reservoir
    assert not rules.every(2).has_reservoir


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.fraction(1.1),
        lambda: rules.fraction(float("nan")),
        lambda: rules.every(-1),
        lambda: rules.reservoir(1, window_s=-1),
    ],
)
def test_what_means_nothing_is_refused_at_once(make):
    with pytest.raises(ew.BadInput):
        make()


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (rules.every(0), "at least 1"),
        (rules.per_second(0), "more than 0"),
        (rules.above("z", 1), '"z"'),
        (rules.above("s", float("nan")), "NaN"),
        (rules.reservoir(10**6), "at most"),
        (rules.quota("s", 1, window_s=0), "window"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_when_it_is_attached(chosen, rule, says):
    with pytest.raises(ew.BadInput, match=says):
        chosen(rule, [])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"when": rules.above("y", 1)}, 'output "y": expected real numbers, got string'),
        ({"tensors": ["y"]}, 'tensors: "y": expected a tensor of numbers, got one of strings'),
    ],
    ids=["a rule", "tensors"],
)
def test_what_names_a_tensor_of_strings_is_refused(chosen, message, tmp_path):
    """Neither a rule nor a record could ever have it."""
    with (
        ew.Capture(tmp_path / "captures", **chosen) as capture,
        pytest.raises(ew.BadInput, match=message),
    ):
        ew.load_unsigned(onnx_models.strings(), capture=capture)
