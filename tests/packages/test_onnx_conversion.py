"""From .onnx to .ort: the same answers, nothing written, and a reason when it does not go."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models import onnx_models

import edgeward as ew
from edgeward import _core
from edgeward.errors import UnsupportedModel
from edgeward.packages.onnx_conversion import to_ort

X = np.array([0.5, 1, 2, 3], np.float32)


def test_what_comes_out_is_an_ort_that_answers_the_same(tmp_path):
    model = onnx_models.add((4,))
    (tmp_path / "m.onnx").write_bytes(model)
    for source in (model, str(tmp_path / "m.onnx")):
        file = to_ort(source)
        converted = file.head(file.size_bytes)
        assert _core.model_format(converted[:64]) == "ort"
        with ew.load_unsigned(converted) as ort, ew.load_unsigned(model) as onnx:
            np.testing.assert_array_equal(ort.predict(X), onnx.predict(X))
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_what_does_not_convert_says_so_in_one_line():
    with pytest.raises(UnsupportedModel, match=r"\Amodel: expected one that converts.*seal it as"):
        to_ort(b"\x08\x01nothing")


def test_without_onnxruntime_it_says_what_to_install(tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError")
    program = "from edgeward.packages.onnx_conversion import to_ort; to_ort(b'')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'pip install "edgeward[onnx]"' in done.stderr
