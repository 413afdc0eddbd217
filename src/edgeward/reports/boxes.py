"""Boxes: what a detector's outputs name in a picture, as its recipe or TFLite's operator says.

Coordinates go from the outputs' to shares of the input, and from there to pixels of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import Signature
from edgeward.errors import BadInput
from edgeward.packages.recipe import BoxOutputs
from edgeward.reports.inspection import aligned, real_values, shortened

MOST_BOXES = 300
POSTPROCESS = "TFLite_Detection_PostProcess"  # names its outputs by its own name and a number

Array = NDArray[Any]


class Candidates(NamedTuple):
    """What outputs say of boxes, in their own units."""

    coordinates: Array  # [box, 4]
    scores: Array  # [box]
    classes: Array  # [box]


class Box(NamedTuple):
    label: str
    class_index: int
    score: float
    left: float  # in pixels of the picture
    top: float
    right: float
    bottom: float


def postprocess_outputs(signature: Signature) -> BoxOutputs | None:
    """The boxes of a model that ends in TFLite_Detection_PostProcess; None of any other."""
    names = [POSTPROCESS, *(f"{POSTPROCESS}:{number}" for number in (1, 2, 3))]
    if sorted(spec.name for spec in signature.outputs) != names:
        return None
    tensors = dict(zip(("boxes", "classes", "scores", "count"), names, strict=True))
    return BoxOutputs("detections", tensors, "yxyx", "normalised")


def boxes_of(
    signature: Signature,
    outputs: Mapping[str, Array],
    how: BoxOutputs,
    input_size: tuple[int, int],
    labels: Sequence[str],
) -> list[Box]:
    """Those that count, in shares of the input, the one of the greatest score first.

    `input_size` is the input's width and height. Raises BadInput for outputs of other shapes.
    """
    specs = {spec.name: spec for spec in signature.outputs}
    real = {
        role: real_values(outputs[name], specs[name].quantization).astype(np.float64)
        for role, name in how.tensors.items()
    }
    rows, scores, classes = _candidates(real, how)
    corners = _corners(rows, how.order)
    if how.unit == "pixels":
        corners = corners / np.array([*input_size, *input_size])
    with np.errstate(invalid="ignore"):
        counts = np.isfinite(corners).all(axis=1) & np.isfinite(classes) & (scores >= how.least)
        counts &= (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    order = np.flatnonzero(counts)[np.argsort(-scores[counts], kind="stable")][:MOST_BOXES]
    if how.layout != "detections":
        order = _apart(corners, classes, order, how.overlap)
    return [
        Box(
            _label(int(classes[index]) - how.first_class, int(classes[index]), labels),
            int(classes[index]),
            float(scores[index]),
            *corners[index].tolist(),
        )
        for index in order.tolist()
    ]


def in_picture(
    boxes: Sequence[Box], view: tuple[float, float, float, float], size: tuple[int, int]
) -> list[Box]:
    """Boxes in shares of the input, in pixels of a picture of this width and height.

    `view` is the part of the picture that the model saw, in shares of it. What reaches beyond the
    picture is cut off.
    """
    left, top, right, bottom = view
    moved = []
    for box in boxes:
        across, down = (
            [float(np.clip((begin + share * (end - begin)) * extent, 0, extent)) for share in pair]
            for begin, end, extent, pair in (
                (left, right, size[0], (box.left, box.right)),
                (top, bottom, size[1], (box.top, box.bottom)),
            )
        )
        if across[1] > across[0] and down[1] > down[0]:
            moved.append(Box(*box[:3], across[0], down[0], across[1], down[1]))
    return moved


def report(boxes: Sequence[Box]) -> list[dict[str, Any]]:
    """For JSON: a box is left, top, right, bottom, to a tenth of a pixel."""
    return [
        {
            "label": box.label,
            "class": box.class_index,
            "score": box.score,
            "box": [round(side, 1) for side in (box.left, box.top, box.right, box.bottom)],
        }
        for box in boxes
    ]


def text(boxes: Sequence[Box], how: BoxOutputs, name: str, size: tuple[int, int]) -> str:
    """For people, in lines of at most 80 columns."""
    head = f"{name}, {size[0]} x {size[1]} pixels"
    if not boxes:
        return f"{head}\n  no box of score {how.least:g} or more"
    rows = [["", "score", "left", "top", "right", "bottom"]]
    for box in boxes:
        sides = (box.left, box.top, box.right, box.bottom)
        rows.append([shortened(box.label), f"{box.score:.2f}", *(f"{side:.0f}" for side in sides)])
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    rows = [
        [row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    return "\n".join([head, *(f"  {line}" for line in aligned(rows))])


def _label(index: int, class_index: int, labels: Sequence[str]) -> str:
    return labels[index] if 0 <= index < len(labels) else f"class {class_index}"


def _candidates(real: Mapping[str, Array], how: BoxOutputs) -> Candidates:
    if how.layout in ("yolov5", "yolov8"):
        rows = _rows(real["output"], how.tensors["output"])
        if how.layout == "yolov8":
            rows = rows.T
        first = 5 if how.layout == "yolov5" else 4
        if rows.shape[1] <= first or not len(rows):
            raise BadInput(
                f'output "{how.tensors["output"]}": expected {first} numbers of a box and a score '
                f"of each class, got {rows.shape[1]} numbers"
            )
        by_class = rows[:, first:] * (rows[:, 4:5] if first == 5 else 1)
        return Candidates(rows[:, :4], by_class.max(axis=1), by_class.argmax(axis=1))
    rows = _rows(real["boxes"], how.tensors["boxes"])
    if rows.shape[1] != 4:
        raise BadInput(f'output "{how.tensors["boxes"]}": expected boxes of 4, got {rows.shape[1]}')
    if how.layout == "class-scores":
        by_class = _rows(real["scores"], how.tensors["scores"])
        scores, classes = by_class.max(axis=1), by_class.argmax(axis=1).astype(np.float64)
    else:
        scores, classes = real["scores"].reshape(-1), real["classes"].reshape(-1)
    counts = {len(rows), len(scores), len(classes)}
    if len(counts) != 1:
        raise BadInput(
            f"boxes: expected as many boxes, scores and classes, got {len(rows)}, {len(scores)}, "
            f"{len(classes)}"
        )
    count = len(rows)
    if "count" in real and real["count"].size == 1 and np.isfinite(real["count"]).all():
        count = max(0, min(count, int(real["count"].item())))
    return Candidates(rows[:count], scores[:count], classes[:count])


def _rows(array: Array, name: str) -> Array:
    """[row, number] of one picture."""
    if array.ndim < 2 or array.size != array.shape[-2] * array.shape[-1] or not array.size:
        raise BadInput(
            f'output "{name}": expected [1, count, numbers] of one picture, got {list(array.shape)}'
        )
    return array.reshape(array.shape[-2:])


def _corners(rows: Array, order: str) -> Array:
    """[box, 4]: left, top, right, bottom."""
    if order == "yxyx":
        return rows[:, [1, 0, 3, 2]]
    if order == "xyxy":
        return rows
    middle, half = rows[:, :2], rows[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def _apart(corners: Array, classes: Array, order: Array, most: float) -> Array:
    """Of boxes of a class that overlap by more than `most`, the one of the greatest score."""
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    kept: list[int] = []
    rest = order
    while len(rest):
        first, rest = int(rest[0]), rest[1:]
        kept.append(first)
        upper = np.maximum(corners[first, :2], corners[rest, :2])
        lower = np.minimum(corners[first, 2:], corners[rest, 2:])
        shared = np.clip(lower - upper, 0, None).prod(axis=1)
        overlap = shared / (areas[first] + areas[rest] - shared)
        rest = rest[(overlap <= most) | (classes[rest] != classes[first])]
    return np.array(kept, np.intp)
