"""Boxes: every layout of outputs, into the pixels of a picture, and outputs that are no boxes."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgeward.errors import BadInput
from edgeward.packages.recipe import BoxOutputs
from edgeward.reports import boxes
from edgeward.reports.boxes import POSTPROCESS, Box, boxes_of, in_picture, postprocess_outputs

LABELS = ["cat", "dog"]
SIZE = 100, 50  # of the input: width, height
CORNERS = [(0.1, 0.2, 0.5, 0.6), (0.6, 0.6, 0.9, 0.8)]  # left, top, right, bottom, in shares
NAMES = {"boxes": "b", "scores": "s", "classes": "c"}


def signature_of(outputs, quantization=None):
    specs = [SimpleNamespace(name=name, quantization=quantization) for name in outputs]
    return SimpleNamespace(outputs=specs)


def seen(outputs, how, labels=LABELS):
    arrays = {name: np.asarray(array, np.float32) for name, array in outputs.items()}
    return boxes_of(signature_of(arrays), arrays, how, SIZE, labels)


def sides(box):
    return [box.left, box.top, box.right, box.bottom]


def ordered(corners, order, unit="normalised"):
    left, top, right, bottom = corners
    if unit == "pixels":
        left, right, top, bottom = left * 100, right * 100, top * 50, bottom * 50
    if order == "xywh":
        return ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return (left, top, right, bottom) if order == "xyxy" else (top, left, bottom, right)


@pytest.mark.parametrize("order", ["xyxy", "yxyx", "xywh"])
@pytest.mark.parametrize("unit", ["normalised", "pixels"])
def test_each_order_and_unit(order, unit):
    how = BoxOutputs("detections", NAMES, order, unit)
    rows = [ordered(corners, order, unit) for corners in CORNERS]
    got = seen({"b": [rows], "s": [[0.7, 0.9]], "c": [[1, 0]]}, how)
    assert [(box.label, box.class_index) for box in got] == [("dog", 1), ("cat", 0)][::-1]
    assert [box.score for box in got] == pytest.approx([0.9, 0.7])
    assert np.allclose([sides(box) for box in got], CORNERS[::-1], atol=1e-6)


def of_classes(how, first=0):
    """Two boxes of a class that overlap by 0.9, and one of another where they are."""
    rows = np.array([ordered(CORNERS[0], how.order, how.unit)] * 3, np.float32)
    shift = 0.02 * (100 if how.unit == "pixels" else 1)
    rows[1, 0 if how.order != "yxyx" else 1] += shift
    scores = np.array([[0.9, 0.1], [0.8, 0.1], [0.1, 0.7]], np.float32)
    return rows, scores


@pytest.mark.parametrize("layout", ["class-scores", "yolov5", "yolov8"])
def test_overlapping_boxes_of_a_class_are_one(layout):
    if layout == "class-scores":
        how = BoxOutputs(layout, {"boxes": "b", "scores": "s"}, "yxyx", "normalised")
        rows, scores = of_classes(how)
        outputs = {"b": rows[None], "s": scores[None]}
    else:
        how = BoxOutputs(layout, {"output": "y"}, "xywh", "pixels")
        rows, scores = of_classes(how)
        parts = (
            [rows, np.ones((3, 1), np.float32), scores] if layout == "yolov5" else [rows, scores]
        )
        joined = np.concatenate(parts, axis=1)
        outputs = {"y": (joined if layout == "yolov5" else joined.T)[None]}
    got = seen(outputs, how)
    assert [(box.label, round(box.score, 2)) for box in got] == [("cat", 0.9), ("dog", 0.7)]
    assert np.allclose([sides(box) for box in got], [CORNERS[0]] * 2, atol=1e-5)
    assert len(seen(outputs, how._replace(overlap=0.95))) == 3
    assert len(seen(outputs, how._replace(least=0.85))) == 1


def test_yolov5_multiplies_by_what_there_is_of_an_object():
    how = BoxOutputs("yolov5", {"output": "y"}, "xywh", "pixels", least=0.1)
    (box,) = seen({"y": [[[50, 25, 10, 10, 0.5, 0.2, 0.9]]]}, how)
    assert (box.label, round(box.score, 3)) == ("dog", 0.45)


def test_a_count_limits_and_a_first_class_shifts_the_labels():
    names = {**NAMES, "count": "n"}
    how = BoxOutputs("detections", names, "xyxy", "normalised", first_class=1)
    outputs = {"b": [CORNERS], "s": [[0.9, 0.8]], "c": [[1, 2]], "n": [1]}
    assert [box.label for box in seen(outputs, how)] == ["cat"]
    assert [box.label for box in seen({**outputs, "n": [99]}, how)] == ["cat", "dog"]
    assert seen({**outputs, "n": [-5]}, how) == []
    outputs["c"] = [[0, 17]]
    assert [box.label for box in seen({**outputs, "n": [2]}, how)] == ["class 0", "class 17"]


@pytest.mark.parametrize(
    "change",
    [
        {"b": [[(np.nan, 0, 1, 1), CORNERS[1]]]}, {"b": [[(0, 0, np.inf, 1), CORNERS[1]]]},
        {"b": [[(0.5, 0, 0.5, 1), CORNERS[1]]]}, {"b": [[(0.6, 0, 0.5, 1), CORNERS[1]]]},
        {"s": [[np.nan, 0.8]]}, {"s": [[0.4, 0.8]]}, {"c": [[np.nan, 0]]},
    ],
    ids=str,
)  # fmt: skip
def test_a_box_that_is_none_does_not_count(change):
    how = BoxOutputs("detections", NAMES, "xyxy", "normalised")
    outputs = {"b": [CORNERS], "s": [[0.9, 0.8]], "c": [[0, 0]], **change}
    (box,) = seen(outputs, how)
    assert np.allclose(sides(box), CORNERS[1])


@pytest.mark.parametrize(
    ("layout", "names", "outputs", "says"),
    [
        ("detections", NAMES, {"b": [CORNERS], "s": [[1]], "c": [[1, 1]]}, "got 2, 1, 2"),
        (
            "detections",
            NAMES,
            {"b": [[1, 2]], "s": [[1]], "c": [[1]]},
            "expected boxes of 4, got 2",
        ),
        ("detections", NAMES, {"b": [CORNERS] * 2, "s": [[1]], "c": [[1]]}, r"got \[2, 2, 4\]"),
        ("yolov8", {"output": "y"}, {"y": np.zeros((1, 4, 9))}, "expected 4 numbers of a box"),
        ("yolov5", {"output": "y"}, {"y": np.zeros((1, 9, 5))}, "expected 5 numbers of a box"),
        ("yolov5", {"output": "y"}, {"y": np.zeros((1, 0, 9))}, "of one picture, got"),
        ("yolov5", {"output": "y"}, {"y": np.zeros(9)}, r"of one picture, got \[9\]"),
    ],
)
def test_outputs_of_other_shapes_are_refused(layout, names, outputs, says):
    with pytest.raises(BadInput, match=says):
        seen(outputs, BoxOutputs(layout, names, "xyxy", "normalised"))


def test_stored_values_are_read_as_what_they_stand_for():
    quantization = SimpleNamespace(scales=[0.1], zero_points=[3], axis=0)
    how = BoxOutputs("detections", NAMES, "xyxy", "normalised", least=0.1)
    arrays = {
        "b": np.array([[[4, 5, 8, 9]]], np.int8), "s": np.array([[8]], np.int8),
        "c": np.array([[13]], np.int8),
    }  # fmt: skip
    (box,) = boxes_of(signature_of(arrays, quantization), arrays, how, SIZE, LABELS)
    assert (box.label, box.score) == ("dog", pytest.approx(0.5))
    assert sides(box) == pytest.approx(CORNERS[0])


def test_the_operator_of_tflite_is_known_by_its_outputs():
    names = [POSTPROCESS, *(f"{POSTPROCESS}:{number}" for number in (1, 2, 3))]
    how = postprocess_outputs(signature_of(names))
    assert how.tensors == dict(zip(("boxes", "classes", "scores", "count"), names, strict=True))
    assert (how.order, how.unit) == ("yxyx", "normalised")
    assert postprocess_outputs(signature_of(names[:3])) is None
    assert postprocess_outputs(signature_of(["a", "b", "c", "d"])) is None


def test_boxes_of_the_input_are_boxes_of_the_picture():
    box = Box("cat", 0, 0.9, 0.0, 0.25, 1.0, 0.75)
    (moved,) = in_picture([box], (0.25, 0, 0.75, 1), (400, 200))
    assert sides(moved) == [100, 50, 300, 150]
    (moved,) = in_picture([box], (0, -0.5, 1, 1.5), (400, 200))
    assert sides(moved) == [0, 0, 400, 200]
    assert in_picture([box._replace(top=0.0, bottom=0.2)], (0, -0.5, 1, 1.5), (400, 200)) == []


def test_a_box_is_a_line_of_80_columns():
    how = BoxOutputs("detections", NAMES, "xyxy", "normalised")
    many = [Box("x" * 99, 0, 0.5, 10_000.4, 1, 16_000, 16_000), Box("cat", 0, 0.25, 0, 1, 2, 3)]
    lines = boxes.text(many, how, "cat.jpg", (640, 480)).splitlines()
    assert lines[0] == "cat.jpg, 640 x 480 pixels"
    assert lines[1].split() == ["score", "left", "top", "right", "bottom"]
    assert lines[2].split() == ["x" * 30 + "..", "0.50", "10000", "1", "16000", "16000"]
    assert lines[3].split() == ["cat", "0.25", "0", "1", "2", "3"]
    assert max(map(len, lines)) <= 80
    assert boxes.text([], how, "a", (1, 1)) == "a, 1 x 1 pixels\n  no box of score 0.5 or more"
    assert boxes.report(many[1:]) == [
        {"label": "cat", "class": 0, "score": 0.25, "box": [0, 1, 2, 3]}
    ]
