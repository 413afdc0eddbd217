"""Models whose open dimensions cannot be 1: they load, and the first shapes decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sealed
from engines_here import ENGINES
from models import tflite_models

import edgeward as ew

Load = Callable[..., ew.Model]

TFLITE_ENGINES = [name for name in ENGINES if name != "onnx"]


def samples(count: int) -> Any:
    return np.arange(count, dtype=np.float32)


def test_the_first_shapes_decide(load: Load) -> None:
    with load("frames") as model:
        assert model.engine.name
        for count in (8, 4, 12):
            assert (model.predict(samples(count)) == samples(count).reshape(-1, 4)).all()


def test_shapes_that_cannot_be_leave_the_model_and_the_session_as_they_were(load: Load) -> None:
    with load("frames") as model, model.session() as session:
        for _ in range(2):
            with pytest.raises(ew.EngineFailed):
                model.predict(samples(3))
            assert model.predict(samples(8)).shape == (2, 4)
        if model.engine.name == "onnx":
            return  # it finds out in the run
        for _ in range(2):
            with pytest.raises(ew.EngineFailed):
                session.resize({"x": (3,)})
        session.resize({"x": (8,)})
        session.inputs["x"][...] = samples(8)
        session.run()
        assert (session.outputs["y"] == samples(8).reshape(2, 4)).all()


@pytest.mark.parametrize("engine", TFLITE_ENGINES)
def test_a_session_without_shapes_asks_for_some(engine: str) -> None:
    expected = r"session: expected resize\(\) first, .*input \"x\" \[-1\] with 1 for each -1"
    with (
        ew.load_unsigned(tflite_models.frames(), engine=engine) as model,
        model.session() as session,
    ):
        for use in (
            lambda: session.inputs,
            lambda: session.outputs,
            session.run,
            lambda: session.time_bare_runs(1),
        ):
            with pytest.raises(ew.BadInput, match=expected):
                use()
        session.reset()
        session.resize({"x": (4,)})
        session.run()


def test_packages_with_golden_cases_and_references_of_such_a_model(tmp_path: Path) -> None:
    trust = sealed.trust_at(tmp_path / "trust")
    cases = [ew.Case({"x": samples(count)}) for count in (4, 8)]
    with pytest.warns(UserWarning, match="calibration set"):
        path = sealed.seal(
            tmp_path / "frames.ewp",
            model=tflite_models.frames(),
            contents=ew.Contents(
                golden=cases, calibration=[{"x": samples(4 * count)} for count in range(1, 9)]
            ),
        )
    with ew.load(path, trust=trust) as model:
        assert model.predict(samples(8)).shape == (2, 4)


def test_the_commands_on_such_a_model(tmp_path: Path, typed: Callable[[str], Any]) -> None:
    path = tmp_path / "frames.tflite"
    path.write_bytes(tflite_models.frames())
    status, text, _ = typed(f"inspect --engine litert {path}")
    assert status == 0
    assert "[-1, 4]" in text
    assert " with ," not in text
    status, _, errors = typed(f"bench --engine litert --seconds 0.01 {path}")
    assert status != 0
    assert 'bench: expected --input for "x", of a shape that the model runs on, got none' in errors
