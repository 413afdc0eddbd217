"""Which engine runs a model, and with how many threads."""

import re
import sys

import fakes
import pytest
from models import tflite_models

from edgeward.engines import choice
from edgeward.errors import (
    BadInput,
    EngineFailed,
    EngineMissing,
    MalformedModel,
    OutOfMemory,
    UnsupportedModel,
)


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
            'engine: expected litert, litert-interpreter, onnx, tflite, auto, got "torch"',
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


@pytest.fixture
def wheels(site, monkeypatch):
    """Lays wheels of these engines out; without a Python to start, no engine is probed."""
    monkeypatch.setattr(sys, "executable", "")

    def install(*names):
        for name in names:
            fakes.install(site, name, "7.8.9")

    return install


def opener(answers):
    """An open_model that raises what `answers` has for an engine, else returns its name."""
    asked = []

    def open_model(opening):
        name = opening.engine
        asked.append(name)
        if name in answers:
            raise answers[name]
        return name

    return open_model, asked


TFLITE = tflite_models.add()[: choice.HEAD_BYTES]
UNSUPPORTED, FAILED = UnsupportedModel("not by this one"), EngineFailed("status 3")


@pytest.mark.parametrize(
    ("answers", "chosen", "asked"),
    [
        ({}, "litert", ["litert"]),
        ({"litert": UNSUPPORTED}, "litert-interpreter", ["litert", "litert-interpreter"]),
        ({"litert": FAILED}, "litert-interpreter", ["litert", "litert-interpreter"]),
        (
            {"litert": UNSUPPORTED, "litert-interpreter": FAILED},
            "tflite",
            ["litert", "litert-interpreter", "tflite"],
        ),
    ],
)
def test_the_next_engine_is_asked_when_one_cannot_run_the_model(wheels, answers, chosen, asked):
    wheels("litert", "litert-interpreter", "onnx", "tflite")
    open_model, calls = opener(answers)
    assert choice.opened(open_model, TFLITE, 100, choice.Wish()) == chosen
    assert calls == asked


def test_when_no_engine_can_run_the_model_the_first_says_why(wheels):
    wheels("litert", "tflite")
    open_model, calls = opener(
        {"litert": UNSUPPORTED, "litert-interpreter": FAILED, "tflite": FAILED}
    )
    with pytest.raises(UnsupportedModel, match="not by this one"):
        choice.opened(open_model, TFLITE, 100, choice.Wish())
    assert calls == ["litert", "tflite"]


def test_an_engine_that_is_asked_for_stands_alone(wheels):
    wheels("litert", "tflite")
    open_model, calls = opener({"litert": UNSUPPORTED})
    with pytest.raises(UnsupportedModel):
        choice.opened(open_model, TFLITE, 100, choice.Wish("litert"))
    assert calls == ["litert"]


@pytest.mark.parametrize("error", [MalformedModel("broken"), OutOfMemory("full")])
def test_what_no_other_engine_mends_ends_the_search(wheels, error):
    wheels("litert", "tflite")
    open_model, calls = opener({"litert": error})
    with pytest.raises(type(error)):
        choice.opened(open_model, TFLITE, 100, choice.Wish())
    assert calls == ["litert"]
