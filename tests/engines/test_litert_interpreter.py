"""The Interpreter of ai-edge-litert: what it runs that CompiledModel cannot, bit for bit."""

from __future__ import annotations

import dataclasses
import gc
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sealed
from models import tflite_models, tflite_writer, unwritten_models, value_shapes
from models.tflite_writer import Op, Subgraph, Tensor, constant, model

import edgeward as ew

Arrays = Mapping[str, npt.NDArray[Any]]
NAMES = sorted(value_shapes.ALL)


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


# --- What the file says is what the engine does ---------------------------------------------------


def ints(*values: int) -> npt.NDArray[np.int32]:
    return np.array(values, np.int32)


# An operator of x, as (builtin, its second and further inputs, options): a constant, or None for an
# input of the graph. Whether it leaves its output's shape open.
SHAPING = {
    "TILE by a constant": ("TILE", [ints(1, 2)], {}, False),
    "TILE": ("TILE", [None], {}, True),
    "SUM over a constant": ("SUM", [ints(0)], {"keep_dims": True}, False),
    "SUM": ("SUM", [None], {"keep_dims": True}, True),
    "REDUCE_PROD": ("REDUCE_PROD", [None], {"keep_dims": True}, True),
    "RESHAPE to a constant": ("RESHAPE", [ints(3, 2)], {}, False),
    "RESHAPE": ("RESHAPE", [None], {}, True),
    "STRIDED_SLICE": ("STRIDED_SLICE", [ints(0, 0), ints(1, 1), ints(1, 1)], {}, False),
    "STRIDED_SLICE from": ("STRIDED_SLICE", [None, ints(1, 1), ints(1, 1)], {}, True),
    "STRIDED_SLICE to": ("STRIDED_SLICE", [ints(0, 0), None, ints(1, 1)], {}, True),
    "STRIDED_SLICE by": ("STRIDED_SLICE", [ints(0, 0), ints(1, 1), None], {}, True),
    "SLICE": ("SLICE", [ints(0, 0), ints(1, 1)], {}, False),
    "SLICE from": ("SLICE", [None, ints(1, 1)], {}, True),
    "SLICE of": ("SLICE", [ints(0, 0), None], {}, True),
    "GATHER": ("GATHER", [None], {"axis": 0}, False),
}

# From the shape of x, which is known early, to the sizes of a FILL: a chain of (builtin, further
# inputs, options), and whether kernels have its values before a run.
EARLY = {
    "STRIDED_SLICE": ([("STRIDED_SLICE", [ints(0), ints(1), ints(1)], {})], True),
    "GATHER": ([("GATHER", [ints(0)], {"axis": 0})], True),
    "CONCATENATION": ([("CONCATENATION", [ints(2)], {"axis": 0})], True),
    "MUL": ([("MUL", [ints(2, 2)], {"activation": 0})], True),
    "REDUCE_PROD": ([("REDUCE_PROD", [ints(0)], {"keep_dims": True})], True),
    "RESHAPE": ([("RESHAPE", [ints(2)], {})], True),
    "TILE": ([("TILE", [ints(2)], {})], True),
    "two of them": ([("TILE", [ints(2)], {}), ("GATHER", [ints(0, 3)], {"axis": 0})], True),
    "ADD": ([("ADD", [ints(2, 2)], {"activation": 0})], False),
    "SUM": ([("SUM", [ints(0)], {"keep_dims": True})], False),
    "SLICE": ([("SLICE", [ints(0), ints(1)], {})], False),
    "NEG": ([("NEG", [], {}), ("NEG", [], {})], False),
    "early behind late": ([("NEG", [], {}), ("GATHER", [ints(0)], {"axis": 0})], False),
}


def graph(
    ops: list[tuple[str, list[npt.NDArray[np.int32] | None], dict[str, int]]], is_filling: bool
) -> bytes:
    """x, or its shape, through `ops`, then a NEG called "probe", whose shape follows."""
    tensors = [Tensor("x", "float32", (2, 3)), constant("value", np.array(1, np.float32))]
    inputs, source, chain = ["x"], "x", []
    if is_filling:
        tensors.append(Tensor("shape", "int32", (2,)))
        chain.append(Op("SHAPE", ["x"], ["shape"], {"type": 2}))
        source = "shape"
    dtype = "int32" if is_filling else "float32"
    for number, (builtin, further, options) in enumerate(ops):
        names = [source]
        for slot, values in enumerate(further):
            names.append(f"input {number} {slot}")
            if values is None:
                shape = (1,) if builtin in ("SUM", "REDUCE_PROD") else (2,)
                tensors.append(Tensor(names[-1], "int32", shape))
                inputs.append(names[-1])
            else:
                tensors.append(constant(names[-1], values))
        source = f"output {number}"
        shape, free = ((2,), (-1,)) if is_filling else ((2, 3), (-1, -1))
        tensors.append(Tensor(source, dtype, shape, shape_signature=free))
        chain.append(Op(builtin, names, [source], options))
    if is_filling:
        tensors.append(Tensor("filled", "float32", (2, 3), shape_signature=(-1, -1)))
        chain.append(Op("FILL", [source, "value"], ["filled"]))
        source = "filled"
    tensors.append(Tensor("probe", "float32", (2, 3), shape_signature=(-1, -1)))
    chain.append(Op("NEG", [source], ["probe"]))
    return model([Subgraph(tensors, chain, inputs, ["probe"])])


def engine_leaves_open(content: bytes) -> bool:
    """Whether the engine has planned the last operator once it has allocated tensors."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (probe,) = interpreter.get_output_details()
    try:
        interpreter.get_tensor(probe["index"])
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("name", SHAPING)
def test_an_operator_leaves_a_shape_open_where_the_engine_does(name: str) -> None:
    builtin, further, options, is_open = SHAPING[name]
    content = graph([(builtin, further, options)], is_filling=False)
    assert engine_leaves_open(content) is is_open
    # A file with fixed inputs and outputs of any size is refused in other words.
    with pytest.raises(ew.UnsupportedModel) as refusal:
        ew.load_unsigned(content, engine="litert")
    assert (f"operator 0 ({builtin})" in str(refusal.value)) is is_open


@pytest.mark.parametrize("name", EARLY)
def test_values_are_early_where_the_engine_has_them_early(name: str) -> None:
    ops, is_early = EARLY[name]
    content = graph(ops, is_filling=True)
    assert engine_leaves_open(content) is not is_early
    with pytest.raises(ew.UnsupportedModel) as refusal:
        ew.load_unsigned(content, engine="litert")
    assert ("(FILL)" in str(refusal.value)) is not is_early


# --- State, captures, packages --------------------------------------------------------------------


def test_state_lasts_through_runs_until_reset_and_predict_has_none() -> None:
    x = np.ones((1, 1, 1), np.float32)
    with ew.load_unsigned(tflite_models.counter(), engine="litert-interpreter") as counter:
        assert [float(counter.predict(x)[0, 0, 0]) for _ in range(3)] == [1, 1, 1]
        session = counter.session()
        session.inputs["x"][...] = 1
        counted = []
        for _ in range(3):
            session.run()
            counted.append(float(session.outputs["y"][0, 0, 0]))
        session.reset()
        session.run()
        assert [*counted, float(session.outputs["y"][0, 0, 0])] == [1, 2, 3, 1]


def test_captures_hold_each_shape_that_ran(tmp_path: Path) -> None:
    case = value_shapes.ALL["where"]
    expected = official(case.content(), case.calls())
    capture = ew.Capture(tmp_path / "captures")
    with capture, ew.load_unsigned(case.content(), capture=capture) as model:
        for inputs in case.calls():
            model.predict(inputs)
    records = list(ew.read_captures(tmp_path / "captures"))
    assert len(records) == len(expected)
    for record, wanted in zip(records, expected, strict=True):
        assert_same(record.outputs, wanted)


def test_an_encrypted_package_replays_its_golden_cases(tmp_path: Path) -> None:
    case = value_shapes.ALL["top_k"]
    trust = sealed.trust_at(tmp_path / "trust")
    golden = [ew.Case(inputs) for inputs in case.calls()]
    path = sealed.seal(
        tmp_path / "top.ewp",
        model=case.content(),
        encrypt_to=[sealed.DEVICE.public],
        contents=ew.Contents(golden=golden),
    )
    with ew.load(path, trust=trust) as model:
        assert model.engine.name == "litert-interpreter"
    differences = ew.Package.open(path, trust=trust).replay()
    assert len(differences) == 2 * len(golden)
    assert all(difference.passed for difference in differences)


def test_arrays_outlive_a_session_and_a_model_that_end() -> None:
    case = value_shapes.ALL["where"]
    (wanted, *_) = official(case.content(), case.calls())
    model = ew.load_unsigned(case.content())
    got = model.predict(next(case.calls()))
    session = model.session()
    for name, array in next(case.calls()).items():
        session.inputs[name][...] = array
    session.run()
    outputs = dict(session.outputs)
    session.close()
    model.close()
    del session, model
    gc.collect()
    assert_same(got, wanted)
    assert_same(outputs, wanted)
    again = ew.load_unsigned(case.content())
    with pytest.raises(ew.BadInput, match="depends on values"):
        again.predict(next(case.calls()), out={"picked": np.zeros((3, 3), np.float32)})


# --- Strings --------------------------------------------------------------------------------------


def packed(*strings: bytes) -> bytes:
    """A constant of strings as the format has it."""
    offsets = np.cumsum([4 + 4 * (len(strings) + 1), *map(len, strings)])
    return np.array([len(strings), *offsets], "<i4").tobytes() + b"".join(strings)


def reshaped_strings(dims: tuple[int, ...], free: tuple[int, ...], to: list[int]) -> bytes:
    shape = tuple(max(dim, 1) for dim in to)
    tensors = [
        Tensor("x", "string", dims, shape_signature=free),
        constant("to", np.array(to, np.int32)),
        Tensor("y", "string", shape, shape_signature=to),
    ]
    return model([Subgraph(tensors, [Op("RESHAPE", ["x", "to"], ["y"])], ["x"], ["y"])])


@pytest.mark.parametrize(
    "strings",
    [
        [b"a", b"", b"\x00\xff in between \x00", b"long" * 1000],
        [b"", b"", b"", b""],
        ["one", "zwei", "drei\0", "четыре"],
    ],
    ids=["bytes", "empty", "text"],
)
def test_strings_come_through(strings: list[Any]) -> None:
    with ew.load_unsigned(tflite_models.strings()) as loaded:
        assert loaded.engine.name == "litert-interpreter"
        assert [spec.dtype for spec in (*loaded.inputs, *loaded.outputs)] == ["string", "string"]
        expected = [text.encode() if isinstance(text, str) else text for text in strings]
        got = loaded.predict(np.array(strings, object))
        assert got.shape == (2, 2)
        session = loaded.session()
        session.inputs["x"][...] = np.array(strings, object)
        session.run()
        for answer in (got, session.outputs["y"]):
            flat = [text.encode() if isinstance(text, str) else text for text in answer.ravel()]
            assert flat == expected


@pytest.mark.parametrize("text", [b"", b"one", b"ends in zero\0"])
def test_one_string_without_dimensions(text: bytes) -> None:
    with ew.load_unsigned(reshaped_strings((), (), [1])) as loaded:
        (got,) = loaded.predict(np.array(text, object))
        assert (got.encode() if isinstance(got, str) else got) == text


def test_as_many_strings_as_come() -> None:
    with ew.load_unsigned(reshaped_strings((1,), (-1,), [-1, 1])) as loaded:
        for count in (1, 5, 2):
            strings = np.array([b"\xff" * size for size in range(1, count + 1)], object)
            got = loaded.predict(strings)
            assert got.tolist() == [[text] for text in strings]


def test_labels_are_picked_from_strings_of_the_file() -> None:
    tensors = [
        Tensor("best", "int32", (2,)),
        Tensor("labels", "string", (3,), packed(b"cat", b"", "пёс".encode())),
        Tensor("y", "string", (2,)),
    ]
    op = Op("GATHER", ["labels", "best"], ["y"], {"axis": 0})
    with ew.load_unsigned(model([Subgraph(tensors, [op], ["best"], ["y"])])) as loaded:
        assert loaded.predict(ints(2, 0)).tolist() == ["пёс", "cat"]
        assert loaded.predict(ints(1, 1)).tolist() == ["", ""]
    with pytest.raises(ew.UnsupportedModel, match=r'output "y".*string.*"litert-interpreter"'):
        ew.load_unsigned(model([Subgraph(tensors, [op], ["best"], ["y"])]), engine="litert")


def top_k_before(builtin: str) -> bytes:
    """An operator behind a TOPK_V2 whose k is an input: no engine plans it before a run."""
    tensors = [
        Tensor("x", "float32", (2, 16)),
        Tensor("k", "int32", ()),
        Tensor("values", "float32", (2, 1), shape_signature=(2, -1)),
        Tensor("places", "int32", (2, 1), shape_signature=(2, -1)),
        Tensor("y", "float32", (2, 1), shape_signature=(2, -1)),
    ]
    ops = [Op("TOPK_V2", ["x", "k"], ["values", "places"]), Op(builtin, ["values"], ["y"])]
    return model([Subgraph(tensors, ops, ["x", "k"], ["y", "places"])])


@pytest.mark.parametrize("name", ["FlexErf", "MadeUp"])
@pytest.mark.parametrize("engine", [None, "litert-interpreter"])
def test_an_operator_that_the_engine_lacks_is_named_at_load_wherever_it_stands(name, engine):
    with pytest.raises(ew.UnsupportedModel) as caught:
        ew.load_unsigned(top_k_before(name), engine=engine)
    assert str(caught.value).startswith(f'litert-interpreter: operator "{name}": expected one that')


def test_a_custom_operator_that_the_engine_has_may_stand_there():
    tensors, operator = unwritten_models.detector()
    tensors.append(Tensor("k", "int32", ()))
    for name, dtype in (("best", "float32"), ("places", "int32")):
        tensors.append(Tensor(name, dtype, (1, 1), shape_signature=(1, -1)))
    ops = [operator, Op("TOPK_V2", ["scores", "k"], ["best", "places"])]
    content = model([Subgraph(tensors, ops, ["x", "k"], ["best", "count"])])
    assert ew.load_unsigned(content).engine.name == "litert-interpreter"


def test_a_model_whose_tensors_are_preserved_loads_in_silence_and_leaves_warnings_on(monkeypatch):
    newer = dataclasses.replace(tflite_writer.BUILTINS["NEG"], version=99)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ew.load_unsigned(unwritten_models.negated_detections(), engine="litert-interpreter")
        monkeypatch.setitem(tflite_writer.BUILTINS, "NEG", newer)
        with pytest.raises(ew.UnsupportedModel, match="NEG"):
            ew.load_unsigned(unwritten_models.negated_detections(), engine="litert-interpreter")
        assert caught == []
        warnings.warn("of the program's own", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["of the program's own"]
