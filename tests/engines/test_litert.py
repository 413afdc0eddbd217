"""What LiteRT is given, and what comes back: tensors that it would take for one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from models import tflite_models

import edgeward as ew
from edgeward.engines import memory_budget

A, B = np.arange(4, dtype=np.float32), np.full(4, 3, np.float32)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("nameless", ["input_0", "input_1"], ["output_0"]),
        ("equal_names", ["input_0", "input_1"], ["x"]),
        ("shared_outputs", ["a", "b"], ["once", "again", "b"]),
    ],
)
def test_tensors_that_are_alike_have_names_and_memory_of_their_own(
    name: str, inputs: list[str], outputs: list[str]
) -> None:
    model = ew.load_unsigned(tflite_models.ALIKE[name](), engine="litert")
    assert [spec.name for spec in model.inputs] == inputs
    assert [spec.name for spec in model.outputs] == outputs
    expected = {output: B if output == "b" else A - B for output in outputs}
    session = model.session()
    session.inputs[inputs[0]][:], session.inputs[inputs[1]][:] = A, B
    session.run()
    answers = [
        model.predict(dict(zip(inputs, (A, B), strict=True))),
        model.predict(dict(zip(inputs, (A.copy(), B.copy()), strict=True))),
        session.outputs,
    ]
    for answer in answers:
        if not isinstance(answer, np.ndarray):
            got = {output: np.array(answer[output]) for output in outputs}
        else:
            got = {outputs[0]: answer}
        for output, wanted in expected.items():
            np.testing.assert_array_equal(got[output], wanted)
    assert model.engine.node_count == 1


def test_outputs_that_are_one_tensor_are_kept_apart() -> None:
    model = ew.load_unsigned(tflite_models.shared_outputs(), engine="litert")
    first = model.predict({"a": A, "b": B})
    first["once"][:] = 100
    np.testing.assert_array_equal(first["again"], A - B)
    np.testing.assert_array_equal(B, 3)
    once = np.zeros(4, np.float32)
    second = model.predict({"a": B, "b": A}, out={"once": once})
    np.testing.assert_array_equal(once, B - A)
    np.testing.assert_array_equal(second["again"], B - A)
    np.testing.assert_array_equal(second["b"], A)
    np.testing.assert_array_equal(first["again"], A - B)


def test_a_model_that_may_loop_without_end_on_zeros_is_not_run_to_be_reported() -> None:
    model = ew.load_unsigned(tflite_models.loop(), engine="litert")
    assert model.engine.fallback_count == -1
    assert model.predict(x=np.float32([1]), step=np.float32([4])).tolist() == [13]


@pytest.mark.parametrize("build", [tflite_models.add, tflite_models.add_150k, tflite_models.conv])
def test_an_input_may_change_where_it_is_move_and_come_back(build: Callable[[], bytes]) -> None:
    model = ew.load_unsigned(build(), engine="litert")
    session = model.session()
    own = next(iter(session.inputs.values()))
    arrays = [ew.empty(own.shape, own.dtype) for _ in range(2)]
    random = np.random.default_rng(1)
    for index in (0, 0, 1, 0, 1, 1, 0):
        for array in (own, arrays[index]):
            array[:] = random.normal(size=own.shape)
        fresh = arrays[index].copy()
        answers = [model.predict(arrays[index]), model.predict(fresh), model.predict(arrays[index])]
        expected = ew.load_unsigned(build(), engine="litert").predict(fresh)
        for answer in answers:
            np.testing.assert_array_equal(answer, expected)
        session.run()
        expected = ew.load_unsigned(build(), engine="litert").predict(own.copy())
        np.testing.assert_array_equal(next(iter(session.outputs.values())), expected)


def test_a_file_longer_than_a_flatbuffer_can_be_runs(tmp_path: Path) -> None:
    path = tmp_path / "far.tflite"
    begin = (1 << 31) + 16
    tflite_models.write_far_buffers(path, begin)  # a hole on the disk, zeros in memory
    if min(memory_budget.usable_bytes(), available_bytes()) < 2 * begin:
        pytest.skip(f"less than {2 * begin >> 20} MiB of memory available")
    with ew.load_unsigned(path, engine="litert") as model:
        assert model.predict(np.ones(4, np.float32)).tolist() == [1, 2, 3, 4]


def available_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024
