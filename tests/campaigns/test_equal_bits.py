"""Edgeward gives the Interpreter's bits: a sample of the generated models, and the verdicts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import equal_bits
import numpy as np
import pytest
from equal_bits import EXCEPTIONS, Verdict, compare_in_child, reason, same_bits
from models import custom_models, single_operators, tflite_models
from models.tflite_writer import BUILTINS

ELSEWHERE = {
    "UNIDIRECTIONAL_SEQUENCE_RNN", "DENSIFY", "IF", "LSTM", "SVDF", "RNN", "CUSTOM",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN",
    "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE", "WHILE",
}  # fmt: skip
OPERATORS = {name.split("/")[0] for name in single_operators.ALL}


def test_there_are_models_of_every_operator_and_a_model_for_every_exception() -> None:
    assert len(single_operators.ALL) > 800
    # These have a state or a subgraph, or are made elsewhere.
    assert set(BUILTINS) - OPERATORS <= ELSEWHERE
    for pattern in EXCEPTIONS:
        assert any(equal_bits.fnmatch(name, pattern) for name in single_operators.ALL), pattern
    assert 10 < sum(bool(reason(name)) for name in single_operators.ALL) < 40


def test_a_sample_of_the_generated_models_gives_equal_bits() -> None:
    command = [sys.executable, str(Path(equal_bits.__file__)), "--every", "12", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["unexpected"] == []
    assert done.returncode == 0
    assert (
        f"{report['files']}/{report['files']}\n" in done.stderr
    )  # text mode reads \r as a line end
    assert report["run_by_interpreter"] > 60
    assert report["verdicts"]["equal"] > 60


@pytest.mark.parametrize("name", ["outer_buffers", "sparse_weights", "conv_int8", "two_signatures"])
def test_other_models_give_equal_bits(name: str) -> None:
    assert compare_in_child(name, tflite_models.ALL[name]()).verdict == Verdict.EQUAL


@pytest.mark.parametrize("name", tflite_models.ALIKE)
def test_models_of_tensors_that_are_alike_give_equal_bits(name: str) -> None:
    assert compare_in_child(name, tflite_models.ALIKE[name]()).verdict == Verdict.EQUAL


@pytest.mark.parametrize("name", custom_models.ALL)
def test_models_of_custom_operators_give_equal_bits(name: str) -> None:
    assert compare_in_child(name, custom_models.ALL[name]()).verdict == Verdict.EQUAL


def test_a_file_that_only_the_interpreter_runs_is_unexpected(tmp_path: Path) -> None:
    refused = "MUL/int8/declared_float32"
    (tmp_path / "a.tflite").write_bytes(single_operators.ALL[refused]())
    (tmp_path / "b.tflite").write_bytes(b"no model")
    command = [sys.executable, str(Path(equal_bits.__file__)), str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["unexpected"] == [str(tmp_path / "a.tflite")]
    assert done.returncode == 1
    assert report["run_by_interpreter"] == 1
    assert [comparison["verdict"] for comparison in report["comparisons"]] == [
        Verdict.REFUSED,
        Verdict.REFUSED_BY_INTERPRETER,
    ]


def test_a_death_and_a_hang_cost_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(file: bytes, begin: equal_bits.Callable[[], None]) -> None:
        if file != b"in the Interpreter":
            begin()
        if file == b"hang":
            signal.pause()
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(equal_bits, "compare", die)
    monkeypatch.setattr(equal_bits, "TIME_LIMIT_S", 1)
    assert compare_in_child("", b"die").verdict == Verdict.DIED
    assert compare_in_child("", b"hang").verdict == Verdict.HUNG
    assert compare_in_child("", b"in the Interpreter").verdict == Verdict.DIED_IN_INTERPRETER


def test_bits_are_compared_and_not_values() -> None:
    floats = np.array([0.0, np.nan], np.float32)
    assert same_bits(floats, floats.copy())
    assert not same_bits(floats, np.array([-0.0, np.nan], np.float32))
    assert not same_bits(floats, floats.astype(np.float64))
    assert not same_bits(floats, floats.reshape(1, 2))
    words = np.array([b"a", "naïve"], object)
    assert same_bits(words, np.array(["a", "naïve".encode()], object))
    assert not same_bits(words, words[::-1])
