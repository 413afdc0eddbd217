"""Run machine-learning models on edge devices: numpy in, numpy out, no copies between.

    import edgeward as ew

    model = ew.load_unsigned("model.tflite")
    scores = model.predict(image)

Importing this opens no engine; the first model that is loaded does.
"""

from edgeward._core import (
    EngineReport,
    Model,
    Quantization,
    Session,
    Signature,
    TensorSpec,
    empty,
)
from edgeward.errors import (
    BadInput,
    Busy,
    Closed,
    EdgewardError,
    EngineFailed,
    EngineMismatch,
    EngineMissing,
    Forked,
    MalformedModel,
    OutOfMemory,
    UnsupportedModel,
)
from edgeward.model import load_unsigned

__version__ = "0.1.0"

__all__ = [
    "BadInput",
    "Busy",
    "Closed",
    "EdgewardError",
    "EngineFailed",
    "EngineMismatch",
    "EngineMissing",
    "EngineReport",
    "Forked",
    "MalformedModel",
    "Model",
    "OutOfMemory",
    "Quantization",
    "Session",
    "Signature",
    "TensorSpec",
    "UnsupportedModel",
    "empty",
    "load_unsigned",
]
