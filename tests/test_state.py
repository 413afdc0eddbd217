"""Models whose runs depend on earlier ones, against the engine's own interpreter, step by step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sealed
from models import stateful_models, tflite_models
from models.tflite_writer import NONE, Op, Subgraph, Tensor, model

import edgeward
from edgeward.reports import inspection

pytest.importorskip("ai_edge_litert")
from ai_edge_litert.interpreter import Interpreter

STEPS = 50
Arrays = dict[str, npt.NDArray[Any]]


@pytest.fixture(params=sorted(stateful_models.ALL))
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return written(tmp_path, stateful_models.ALL[request.param]())


def test_a_model_says_whether_it_has_state(path: Path) -> None:
    assert edgeward.load_unsigned(path).is_stateful
    assert "until reset()" in inspection.text(
        inspection.report(str(path), edgeward.load_unsigned(path))
    )
    stateless = written(path.parent, tflite_models.add())
    assert not edgeward.load_unsigned(stateless).is_stateful
    report = inspection.report(str(stateless), edgeward.load_unsigned(stateless))
    assert "reset()" not in inspection.text(report)


def written(directory: Path, content: bytes) -> Path:
    path = directory / "model.tflite"
    path.write_bytes(content)
    return path


def inputs(model: edgeward.Model, seed: int) -> Iterator[Arrays]:
    """STEPS values of each input, drawn from `seed`."""
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        yield {
            spec.name: rng.integers(-100, 100, spec.shape, np.int8)
            if spec.dtype == np.int8
            else rng.normal(0, 1, spec.shape).astype(spec.dtype)
            for spec in model.inputs
        }


def stepped(session: edgeward.Session, steps: Iterator[Arrays]) -> list[bytes]:
    """The bytes of all outputs after each step."""
    answers = []
    for values in steps:
        for name, value in values.items():
            session.inputs[name][...] = value
        session.run()
        answers.append(b"".join(array.tobytes() for array in session.outputs.values()))
    return answers


def interpreted(path: Path, steps: Iterator[Arrays]) -> list[bytes]:
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    indices = [detail["index"] for detail in interpreter.get_output_details()]
    answers = []
    for values in steps:
        for detail, value in zip(interpreter.get_input_details(), values.values(), strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        answers.append(b"".join(interpreter.get_tensor(index).tobytes() for index in indices))
    return answers


def test_fifty_steps_are_those_of_the_interpreter(path: Path) -> None:
    model = edgeward.load_unsigned(path, engine="litert")
    answers = stepped(model.session(), inputs(model, 1))
    assert answers == interpreted(path, inputs(model, 1))
    assert len(set(answers)) > STEPS // 2


def test_reset_gives_the_first_answers_again(path: Path) -> None:
    model = edgeward.load_unsigned(path, engine="litert")
    session = model.session()
    first = stepped(session, inputs(model, 2))
    assert stepped(session, inputs(model, 2)) != first
    session.reset()
    assert stepped(session, inputs(model, 2)) == first


def test_predict_is_a_function_of_its_inputs(path: Path) -> None:
    model = edgeward.load_unsigned(path, engine="litert")
    session = model.session()
    for values in list(inputs(model, 3))[:5]:
        session.reset()
        expected = stepped(session, iter([values]))[0]
        for _ in range(3):
            answer = model.predict(values)
            outputs = answer.values() if isinstance(answer, dict) else [answer]
            assert b"".join(output.tobytes() for output in outputs) == expected


def test_sessions_of_eight_threads_have_states_of_their_own(path: Path) -> None:
    model = edgeward.load_unsigned(path, engine="litert")
    answers: dict[int, list[bytes]] = {}

    def work(seed: int) -> None:
        session = model.session()
        stepped(session, inputs(model, 100 + seed))
        session.reset()
        answers[seed] = stepped(session, inputs(model, seed))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(8):
        assert answers[seed] == stepped(model.session(), inputs(model, seed))


def test_a_constant_kept_by_name_is_no_state(tmp_path: Path) -> None:
    model = edgeward.load_unsigned(
        written(tmp_path, stateful_models.weights_by_name()), engine="litert"
    )
    x = np.arange(4, dtype=np.float32)
    session = model.session()
    session.inputs["x"][...] = x
    for _ in range(2):
        session.run()
        assert np.array_equal(session.outputs["y"], x + 1)
        assert np.array_equal(model.predict(x), x + 1)


@pytest.mark.parametrize("engine", ["litert", "litert-interpreter"])
def test_a_value_that_is_only_assigned_is_there_in_the_next_step(
    tmp_path: Path, engine: str
) -> None:
    # The engine's own interpreter ends the process unless it does without XNNPACK.
    model = edgeward.load_unsigned(written(tmp_path, stateful_models.delay()), engine=engine)
    session = model.session()
    before = np.zeros(4, np.float32)
    for values in inputs(model, 5):
        session.inputs["x"][...] = values["x"]
        session.run()
        assert np.array_equal(session.outputs["y"], before + before)
        before = values["x"]
    assert np.array_equal(model.predict(before), np.zeros(4))


def test_a_signature_shows_the_files_inputs_alone(tmp_path: Path) -> None:
    model = edgeward.load_unsigned(
        written(tmp_path, stateful_models.two_layers(True)), engine="litert"
    )
    assert [spec.name for spec in model.inputs] == ["sound"]
    assert [spec.name for spec in model.outputs] == ["y"]


@pytest.mark.parametrize("encrypt_to", [[], [sealed.DEVICE.public]], ids=["signed", "encrypted"])
@pytest.mark.parametrize("name", ["two_layers_signature", "accumulator", "called_late"])
def test_a_sealed_model_with_state_is_captured_step_by_step(
    tmp_path: Path, name: str, encrypt_to: list[edgeward.PublicKey]
) -> None:
    content = stateful_models.ALL[name]()
    model = edgeward.load_unsigned(content, engine="litert")
    expected = stepped(model.session(), inputs(model, 6))
    steps = list(inputs(model, 6))

    path = sealed.seal(
        tmp_path / "model.ewp",
        contents=edgeward.Contents(golden=[edgeward.Case(steps[0]), edgeward.Case(steps[1])]),
        encrypt_to=encrypt_to,
        model=content,
    )
    trust = sealed.trust_at(tmp_path / "trust")
    with edgeward.Capture(tmp_path / "captures") as capture:
        loaded = edgeward.load(path, trust=trust, engine="litert", capture=capture)
        assert stepped(loaded.session(), iter(steps)) == expected
        assert capture.flush()
    kept = list(edgeward.read_captures(tmp_path / "captures"))
    assert [
        b"".join(array.tobytes() for array in record.outputs.values()) for record in kept
    ] == expected


@pytest.mark.parametrize("engine", [None, "litert", "litert-interpreter"])
def test_a_variable_without_a_first_value_is_not_read(engine):
    """The engines would give what its memory held before."""
    shape = (4,)
    tensors = [
        Tensor("h", "resource", ()),
        *(Tensor(name, "float32", shape) for name in ("old", "x", "y")),
    ]
    ops = [
        Op("VAR_HANDLE", [], ["h"], {"container": "", "name": "v"}),
        Op("READ_VARIABLE", ["h"], ["old"]),
        Op("ADD", ["old", "x"], ["y"], {"activation": NONE}),
        Op("ASSIGN_VARIABLE", ["h", "y"], []),
    ]
    content = model([Subgraph(tensors, ops, ["x"], ["y"])])
    with pytest.raises(edgeward.UnsupportedModel, match="got one without a first value"):
        edgeward.load_unsigned(content, engine=engine)
