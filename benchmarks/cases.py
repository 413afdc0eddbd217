"""The models that are measured: what each is called, where its bytes come from, what kind it is.

Self-made ones always; those of ../shared/models, beside the checkout, when that folder is there.
"""

import enum
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "src" / "edgeward" / "digits"
SHARED = ROOT.parent / "shared" / "models"

sys.path.insert(0, str(ROOT / "tests"))
from models import onnx_models, stateful_models, tflite_models  # noqa: E402


class Kind(enum.Enum):
    """What a model shows, which says which budgets bind it."""

    ONE_OP = "the cost of a call"
    BIG = "the cost of moving 150 kB in and out"
    REAL = "a network"
    STATEFUL = "the cost of the initial state"


class Case(NamedTuple):
    name: str  # of its file
    kind: Kind
    read: Callable[[], bytes]


SPEECH = stateful_models.Sizes(time=32, width=40, cells=128)
SEQUENCE = "UNIDIRECTIONAL_SEQUENCE_LSTM"


def cases() -> list[Case]:
    generated = [
        Case("one_op.tflite", Kind.ONE_OP, tflite_models.add),
        Case("one_op.onnx", Kind.ONE_OP, onnx_models.add),
        Case("150k.tflite", Kind.BIG, tflite_models.add_150k),
        Case("150k.onnx", Kind.BIG, onnx_models.add_150k),
        Case("conv.tflite", Kind.REAL, tflite_models.conv),
        Case("conv_int8.tflite", Kind.REAL, tflite_models.conv_int8),
        Case("conv.onnx", Kind.REAL, onnx_models.conv),
        Case("mobilenet_25.tflite", Kind.REAL, partial(tflite_models.mobilenet, 0.25)),
        Case("mobilenet_25.onnx", Kind.REAL, partial(onnx_models.mobilenet, 0.25)),
        Case("mobilenet.tflite", Kind.REAL, tflite_models.mobilenet),
        Case("mobilenet_int8.tflite", Kind.REAL, tflite_models.mobilenet_int8),
        Case("mobilenet.onnx", Kind.REAL, onnx_models.mobilenet),
        Case(
            "lstm.tflite",
            Kind.STATEFUL,
            partial(stateful_models.lstm, SEQUENCE, "float32", sizes=SPEECH),
        ),
        Case(
            "lstm_hybrid.tflite",
            Kind.STATEFUL,
            partial(stateful_models.lstm, SEQUENCE, "int8", sizes=SPEECH),
        ),
        Case(
            "lstm_int8.tflite", Kind.STATEFUL, partial(stateful_models.lstm_int8, SEQUENCE, SPEECH)
        ),
        Case(
            "window.tflite", Kind.STATEFUL, partial(stateful_models.filtered_window, 15, 512, 512)
        ),
    ]
    shipped = [DIGITS / "digits.tflite", DIGITS / "digits.onnx", *sorted(SHARED.glob("*.tflite"))]
    return generated + [Case(path.name, Kind.REAL, path.read_bytes) for path in shipped]
