"""No byte of memory that a run leaves unwritten is shown: not the heap's, and no earlier answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sealed
from engines_here import ENGINES
from models import unwritten_models as models

import edgeward as ew

TFLITE_ENGINES = [name for name in ENGINES if name != "onnx"]
BINDING_ENGINES = [name for name in TFLITE_ENGINES if name != "litert-interpreter"]

# Every byte that the C library hands out or takes back is filled: with these, inverted, and these.
FILLS = (0x11, 0xC8)

# Prints, by model, the bytes of every answer: twice by predict, then by a session.
ANSWERS = """
import json
import sys
from itertools import islice

import numpy as np
from engines_here import models_of
from models import custom_models, single_operators, unwritten_models

import edgeward as ew

engine = sys.argv[1]
makers = models_of(engine).ALL | unwritten_models.of(engine)
if engine != "onnx":
    makers |= custom_models.ALL | dict(islice(single_operators.ALL.items(), 0, None, 12))

def answers(model):
    generator = np.random.default_rng(1)
    def argument(spec):
        shape = tuple(max(1, dim) for dim in spec.shape)
        like = ew.empty(shape, spec.dtype)
        return generator.integers(0, 2, like.shape).astype(like.dtype)
    session = model.session()
    for _ in range(2):
        inputs = {spec.name: argument(spec) for spec in model.inputs}
        outputs = model.predict(inputs)
        yield from outputs.values() if isinstance(outputs, dict) else [outputs]
        for tensor, values in inputs.items():
            session.inputs[tensor][...] = values
        session.run()
        yield from [view.copy() for view in session.outputs.values()]

shown = {}
for name, make in makers.items():
    try:
        model = ew.load_unsigned(make(), engine=engine)
        if "string" in [spec.dtype for spec in (*model.inputs, *model.outputs)]:
            continue  # whose arrays hold addresses
        shown[name] = [output.tobytes().hex() for output in answers(model)]
    except ew.EdgewardError:
        continue  # some of the generated models are refused, or divide by zero
print(json.dumps(shown))
"""


def scores(count: int) -> np.ndarray:
    """What makes the detector detect `count` times."""
    x = np.zeros((1, models.ANCHOR_COUNT, 1 + models.CLASS_COUNT), np.float32)
    x[0, :count, 1] = 0.75
    return x


@pytest.mark.parametrize("engine", TFLITE_ENGINES)
def test_rows_past_the_count_are_zero(engine: str) -> None:
    model = ew.load_unsigned(models.detections(), engine=engine)
    session = model.session()
    target = {spec.name: np.empty(spec.shape, np.float32) for spec in model.outputs}
    for count in (models.MAX_DETECTIONS, 2, 0, 1):
        x = scores(count)
        session.inputs["x"][...] = x
        session.run()
        fresh, own = model.predict(x), dict(session.outputs)
        model.predict(x, out=target)
        for outputs in (fresh, own, target):
            assert outputs["count"] == count
            assert (outputs["scores"][0, :count] == 0.75).all()
            assert all(
                not outputs[name][0, count:].any() for name in ("boxes", "scores", "classes")
            )


@pytest.mark.parametrize("engine", ENGINES)
def test_answers_do_not_depend_on_what_memory_held(
    engine: str, run_child: Callable[..., str]
) -> None:
    first, second = (
        json.loads(
            run_child(
                ANSWERS,
                engine,
                MALLOC_PERTURB_=str(fill),
                # Blocks that threads keep for themselves would be handed out as they are.
                GLIBC_TUNABLES="glibc.malloc.tcache_count=0",
            )
        )
        for fill in FILLS
    )
    assert set(models.of(engine)) <= set(first)
    assert len(first) > (10 if engine == "onnx" else 90)
    assert {name for name in first if first[name] != second[name]} == set()


@pytest.mark.parametrize("engine", BINDING_ENGINES)
def test_unwritten_rows_that_another_operator_reads_are_refused(engine: str) -> None:
    """Their memory is the engine's: no one can zero it before each run."""
    with pytest.raises(ew.UnsupportedModel, match="expected outputs that no other operator reads"):
        ew.load_unsigned(models.negated_detections(), engine=engine)


def test_unwritten_rows_that_another_operator_reads_are_zero() -> None:
    with ew.load_unsigned(models.negated_detections()) as model:
        assert model.engine.name == "litert-interpreter"
        for count in (models.MAX_DETECTIONS, 1):
            outputs = model.predict(scores(count))
            assert (outputs["y"][0, :count] == -0.75).all()
            assert not outputs["y"][0, count:].any()


@pytest.mark.parametrize("engine", TFLITE_ENGINES)
def test_an_output_that_is_computed_once_is_refused(engine: str) -> None:
    """The engines leave the memory for it as it is."""
    with pytest.raises(ew.UnsupportedModel, match=r"DEQUANTIZE.*an engine computes once"):
        ew.load_unsigned(models.dequantized_constant(), engine=engine)


def test_golden_answers_of_a_detector_hold(tmp_path: Path) -> None:
    """Rows past the count would differ between recording and replaying."""
    case = ew.Case({"x": scores(1)})
    path = sealed.seal(
        tmp_path / "detector.ewp",
        model=models.detections(),
        contents=ew.Contents(golden=[case, ew.Case({"x": scores(3)})]),
    )
    assert path.exists()
