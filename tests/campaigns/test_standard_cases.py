"""A sample of the ONNX standard's cases runs as onnxruntime runs it; exceptions have reasons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import standard_cases
from standard_cases import EXCEPTIONS, Case, Ending, Tensor, Verdict, endings

SAMPLE = 100


def test_a_sample_gives_the_bits_of_onnxruntime() -> None:
    command = [sys.executable, str(Path(standard_cases.__file__)), "--sample", str(SAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["faults"] == []
    assert done.returncode == 0, done.stderr
    assert report["cases"] == SAMPLE
    assert report["same"] > SAMPLE * 3 / 4


@pytest.fixture(scope="module")
def known() -> dict[str, Case]:
    """All cases by their names."""
    return {case.name: case for case in standard_cases.cases(None)}


def test_exceptions_are_few_and_have_reasons(known: dict[str, Case]) -> None:
    assert EXCEPTIONS.keys() <= known.keys()
    assert len(EXCEPTIONS) <= 40
    for reason in EXCEPTIONS.values():
        assert len(reason) > 20
        assert not any(word in reason for word in ("zero", "empty", "symbol", "declared"))


def test_a_death_costs_one_case_and_is_the_engine_s_or_ours(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, Case]
) -> None:
    sound = known["node/test_abs"]

    def dying() -> tuple[bytes, list[list[Tensor | None]]]:
        os.abort()

    assert endings([sound, Case("dying", dying), sound]) == [
        Ending("node/test_abs", Verdict.SAME, ""),
        Ending("dying", Verdict.ENGINE_DIED, "SIGABRT"),
        Ending("node/test_abs", Verdict.SAME, ""),
    ]

    def abort(*_: object) -> list[str]:
        os.abort()

    monkeypatch.setattr(standard_cases, "differences", abort)
    assert endings([sound]) == [Ending("node/test_abs", Verdict.DIED, "SIGABRT")]


def test_another_bit_is_another_ending(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, Case]
) -> None:
    sound = known["node/test_abs"]
    true_bits = standard_cases.array_of

    def flipped(tensor: Tensor) -> object:
        array = true_bits(tensor).copy()
        array.view("uint8").flat[-1] ^= 1
        return array

    monkeypatch.setattr(standard_cases, "array_of", flipped)
    (ending,) = endings([sound])
    assert ending.verdict is Verdict.OTHER_BITS
    assert ending.said == "predict: y, session: y"
