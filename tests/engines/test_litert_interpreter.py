"""The Interpreter of ai-edge-litert: what it runs that CompiledModel cannot, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from models import tflite_models, value_shapes

import edgeward as ew

Arrays = Mapping[str, npt.NDArray[Any]]
NAMES = sorted(value_shapes.ALL)
SHARED_MODEL = "value_shapes_topk.tflite"


def official(content: bytes, inputs: Iterator[Arrays]) -> list[Arrays]:
    """What the package's own class gives for each call, in turn."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    names = {
        detail["name"].removeprefix("serve_"): detail for detail in interpreter.get_input_details()
    }
    answers = []
    for arrays in inputs:
        for name, array in arrays.items():
            if list(names[name]["shape_signature"]) != list(array.shape):
                interpreter.resize_tensor_input(names[name]["index"], array.shape)
        interpreter.allocate_tensors()
        for name, array in arrays.items():
            interpreter.set_tensor(names[name]["index"], array)
        interpreter.invoke()
        details = interpreter.get_output_details()
        answers.append({detail["name"]: shaped(interpreter, detail["index"]) for detail in details})
    return answers


def shaped(interpreter: Any, index: int) -> npt.NDArray[Any]:
    """A tensor, of which the class cannot show one without elements."""
    detail = interpreter._get_tensor_details(index, 0)
    if 0 in detail["shape"]:
        return np.zeros(detail["shape"], detail["dtype"])
    return np.array(interpreter.get_tensor(index))


def by_name(model: ew.Model, answer: Any) -> Arrays:
    return answer if isinstance(answer, dict) else {model.outputs[0].name: answer}


def assert_same(got: Arrays, expected: Arrays) -> None:
    assert got.keys() == expected.keys()
    for name, wanted in expected.items():
        np.testing.assert_array_equal(got[name], wanted, strict=True)


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> value_shapes.ValueShapes:
    return value_shapes.ALL[request.param]


def test_it_is_chosen_for_what_only_it_can_run(case: value_shapes.ValueShapes) -> None:
    with ew.load_unsigned(case.content()) as model:
        assert model.engine.name == "litert-interpreter"
        assert model.engine.version == ew.load_unsigned(tflite_models.add()).engine.version
        assert model.engine.node_count >= 1
        assert model.engine.fallback_count == -1


def test_litert_refuses_it_at_load_by_the_operators_name(case: value_shapes.ValueShapes) -> None:
    with pytest.raises(ew.UnsupportedModel) as refusal:
        ew.load_unsigned(case.content(), engine="litert")
    message = str(refusal.value)
    assert message.startswith(f"litert: subgraph 0, {case.operator}: expected ")
    assert 'engine="litert-interpreter"' in message


def test_answers_are_those_of_the_packages_own_class(case: value_shapes.ValueShapes) -> None:
    expected = official(case.content(), case.calls())
    with ew.load_unsigned(case.content()) as model:
        held = []
        for inputs, wanted in zip(case.calls(), expected, strict=True):
            held.append((by_name(model, model.predict(inputs)), wanted))
        # Arrays from before are still theirs, though the engine's memory has moved.
        for got, wanted in held:
            assert_same(got, wanted)


def test_a_session_gives_the_same(case: value_shapes.ValueShapes) -> None:
    expected = official(case.content(), case.calls())
    with ew.load_unsigned(case.content()) as model, model.session() as session:
        held = []
        for inputs, wanted in zip(case.calls(), expected, strict=True):
            session.resize({name: array.shape for name, array in inputs.items()})
            for name, array in inputs.items():
                session.inputs[name][...] = array
            session.run()
            held.append((dict(session.outputs), wanted))
        assert_same(held[-1][0], held[-1][1])


def test_eight_threads_at_once(case: value_shapes.ValueShapes) -> None:
    expected = official(case.content(), case.calls())
    failures: list[BaseException] = []
    with ew.load_unsigned(case.content()) as model:
        model.gil = "release"

        def work() -> None:
            try:
                for _ in range(20):
                    for inputs, wanted in zip(case.calls(), expected, strict=True):
                        assert_same(by_name(model, model.predict(inputs)), wanted)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
