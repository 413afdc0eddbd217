"""From .onnx to .ort: the form that ONNX Runtime opens in place, without a second copy of it.

Why packages hold this form: docs/decisions/0008. Needs the onnxruntime package.
"""

import importlib
import os
from typing import Any

from edgeward import _core
from edgeward.errors import EngineMissing, UnsupportedModel


def to_ort(model: bytes | str) -> _core.ModelFile:
    """The .ort of an .onnx file: its path, or its bytes when all of its data is in them.

    Optimised as far as every CPU can run it. It is a file without a name, in memory. Raises
    EngineMissing without onnxruntime, UnsupportedModel when it cannot convert this model.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the package is imported
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        raise EngineMissing(
            "converting to .ort: expected package onnxruntime, got none: "
            'pip install "edgeward[onnx]"'
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # failures come as exceptions
    # The next level lays weights out for this CPU, and would be wrong on another.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.save_model_format", "ORT")
    number = os.memfd_create("converted.ort", os.MFD_CLOEXEC)
    with open(number, "rb"):
        options.optimized_model_filepath = f"/proc/self/fd/{number}"
        try:
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UnsupportedModel(
                f"model: expected one that converts to .ort, got one that does not ({reason}): "
                "seal it as it is"
            ) from None
        return _core.ModelFile.open(options.optimized_model_filepath)
