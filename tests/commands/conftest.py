"""Where command lines are typed: a publisher's directory, unless a test module has its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import onnx_models, tflite_models

from edgeward import cli
from edgeward.trust import trust_directory


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a model, samples for it, keys, and a second device's key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEWARD_TRUST", raising=False)
    Path("model.tflite").write_bytes(tflite_models.add((4,)))
    Path("model.onnx").write_bytes(onnx_models.add((4,)))
    np.save("input.npy", np.arange(4, dtype=np.float32))
    np.save("inputs.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    Path("card.md").write_text("# A card")
    Path("labels.txt").write_text("a\nb\nc\nd\n")
    Path("columns.txt").write_text("a\nb\nc\nd\n")
    assert cli.main(["keygen"]) == 0
    assert cli.main(["keygen", "--device", "second.key"]) == 0
    return tmp_path


@pytest.fixture
def no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing where a device's trust directory is: the machine may be a device itself."""
    monkeypatch.setattr(trust_directory, "DEFAULT_DIRECTORY", str(tmp_path / "none"))


@pytest.fixture
def run(workplace: Path, typed: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a command line in the workplace: its status, its output, its errors."""
    return typed


@pytest.fixture
def done(workplace: Path, typed_well: Callable[..., Any]) -> Callable[..., Any]:
    """The document of a command line that must end well in the workplace."""
    return typed_well
