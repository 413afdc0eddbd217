"""Which engine runs a model, and with how many threads."""

import re

import fakes
import pytest

from edgeward.engines import choice
from edgeward.errors import BadInput, EngineMissing


@pytest.fixture
def site(monkeypatch, tmp_path):
    return fakes.lone_site(monkeypatch, tmp_path / "site")


@pytest.mark.parametrize(
    ("model_format", "requested", "present", "chosen"),
    [
        ("tflite", None, ("litert", "onnx", "tflite"), "litert"),
        ("tflite", None, ("onnx", "tflite"), "tflite"),
        ("tflite", "tflite", ("litert", "tflite"), "tflite"),
        ("tflite", "litert", ("litert", "tflite"), "litert"),
        ("onnx", None, ("litert", "onnx"), "onnx"),
        ("ort", None, ("litert", "onnx"), "onnx"),
        ("ort", "onnx", ("onnx",), "onnx"),
    ],
)
def test_the_engine_is_the_requested_one_or_the_first_that_is_here(
    site, model_format, requested, present, chosen
):
    for name in present:
        fakes.install(site, name, "7.8.9")
    assert next(choice.candidates(model_format, requested)).name == chosen


@pytest.mark.parametrize(
    ("model_format", "requested", "command"),
    [
        ("tflite", None, "pip install ai-edge-litert"),
        ("tflite", "tflite", "pip install edgeward[tflite]"),
        ("onnx", None, "pip install edgeward[onnx]"),
        ("ort", "onnx", "pip install edgeward[onnx]"),
    ],
)
def test_without_an_engine_the_message_says_what_to_install(site, model_format, requested, command):
    with pytest.raises(EngineMissing, match=re.escape(command)):
        next(choice.candidates(model_format, requested))


@pytest.mark.parametrize(
    ("model_format", "requested", "message"),
    [
        ("onnx", "litert", 'engine "litert": expected a .tflite model, got .onnx'),
        ("ort", "tflite", 'engine "tflite": expected a .tflite model, got .ort'),
        ("tflite", "onnx", 'engine "onnx": expected a .onnx or .ort model, got .tflite'),
        (
            "tflite",
            "torch",
            'engine: expected litert, litert-interpreter, onnx, tflite, got "torch"',
        ),
    ],
)
def test_an_engine_that_cannot_run_the_format_is_bad_input(model_format, requested, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        next(choice.candidates(model_format, requested))


@pytest.mark.parametrize(
    ("cpus", "size_bytes", "threads"),
    [(1, 1 << 30, 1), (2, 1 << 20, 2), (4, 1 << 30, 4), (64, 1 << 30, 4), (64, (1 << 20) - 1, 1)],
)
def test_small_models_get_one_thread_and_others_a_few(cpus, size_bytes, threads):
    assert choice.default_threads(cpus, size_bytes) == threads
