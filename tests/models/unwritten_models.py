"""Models whose operators leave bytes of an output unwritten, or keep an output to themselves.

"x" is their input.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flatbuffers import flexbuffers

from .tflite_writer import NONE, Op, Quantization, Subgraph, Tensor, constant, model

ANCHOR_COUNT = 6
CLASS_COUNT = 2
MAX_DETECTIONS = 5

_DETECTIONS = {
    "boxes": (1, MAX_DETECTIONS, 4),
    "classes": (1, MAX_DETECTIONS),
    "scores": (1, MAX_DETECTIONS),
    "count": (1,),
}


def detector() -> tuple[list[Tensor], Op]:
    """Input "x" [1, anchors, 1 + classes], scores; a box for each anchor, none of which overlap."""
    boxes = np.zeros((1, ANCHOR_COUNT, 4), np.float32)
    anchors = np.array([[10 * i, 10 * i, 1, 1] for i in range(ANCHOR_COUNT)], np.float32)
    tensors = [
        Tensor("x", "float32", (1, ANCHOR_COUNT, 1 + CLASS_COUNT)),
        constant("encodings", boxes),
        constant("anchors", anchors),
        *(Tensor(name, "float32", shape) for name, shape in _DETECTIONS.items()),
    ]
    options = {
        "max_detections": MAX_DETECTIONS,
        "max_classes_per_detection": 1,
        "num_classes": CLASS_COUNT,
        "nms_score_threshold": 0.5,
        "nms_iou_threshold": 0.5,
        "y_scale": 10.0,
        "x_scale": 10.0,
        "h_scale": 5.0,
        "w_scale": 5.0,
    }
    op = Op(
        "TFLite_Detection_PostProcess",
        ["encodings", "x", "anchors"],
        list(_DETECTIONS),
        custom_options=bytes(flexbuffers.Dumps(options)),
    )
    return tensors, op


def detections() -> bytes:
    """The rows of boxes, classes and scores past `count` are unwritten."""
    tensors, op = detector()
    return model([Subgraph(tensors, [op], ["x"], list(_DETECTIONS))])


def negated_detections() -> bytes:
    """y = -scores: the unwritten rows reach the output through another operator."""
    tensors, op = detector()
    tensors.append(Tensor("y", "float32", _DETECTIONS["scores"]))
    return model([Subgraph(tensors, [op, Op("NEG", ["scores"], ["y"])], ["x"], ["y", "count"])])


def _beside(tensors: list[Tensor], op: Op, output: str) -> bytes:
    """x [4] + 1, and an operator of constants beside it whose result is an output too."""
    tensors += [
        Tensor("x", "float32", (4,)),
        constant("one", np.ones(1, np.float32)),
        Tensor("sum", "float32", (4,)),
    ]
    add = Op("ADD", ["x", "one"], ["sum"], {"activation": NONE})
    return model([Subgraph(tensors, [add, op], ["x"], ["sum", output])])


def dequantized_constant() -> bytes:
    """y = [0, 0.5, 1, 1.5], which the kernel computes once, in memory of its own."""
    stored = constant("stored", np.arange(4, dtype=np.int8), Quantization([0.5], [0]))
    tensors = [stored, Tensor("y", "float32", (4,))]
    return _beside(tensors, Op("DEQUANTIZE", ["stored"], ["y"]), "y")


def of(engine: str) -> dict[str, Callable[[], bytes]]:
    """Those that `engine` runs."""
    models = {} if engine == "onnx" else {"detections": detections}
    if engine == "litert-interpreter":
        models["negated_detections"] = negated_detections
    return models
