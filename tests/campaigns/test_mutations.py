"""Damaged model files end in an error, not in a dead process: a campaign, and known killers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mutations
import numpy as np
import pytest
from models import custom_models, onnx_models, unwritten_models
from models.tflite_writer import (
    NONE,
    VALID,
    Op,
    Quantization,
    Subgraph,
    Tensor,
    constant,
    model,
)
from mutations import Verdict, campaign, mutation, run_checked

import edgeward as ew

CAMPAIGNS = [("litert", 2000), ("litert-interpreter", 600), ("onnx", 600)]


@pytest.mark.parametrize(("engine", "count"), CAMPAIGNS, ids=[name for name, _ in CAMPAIGNS])
def test_no_mutation_kills_or_hangs_the_process(engine: str, count: int) -> None:
    command = [sys.executable, str(Path(mutations.__file__)), "--engine", engine]
    done = subprocess.run(
        [*command, "--count", str(count), "--seed", "1"], capture_output=True, text=True
    )
    report = json.loads(done.stdout)
    assert report["killers"] == []
    assert done.returncode == 0
    assert report["refused_by_check"] > 0
    assert report["ran"] > 0
    assert report["refused_by_check"] + report["refused_by_engine"] + report["ran"] == count


def test_a_model_whose_shapes_are_unknown_runs() -> None:
    pytest.importorskip("onnxruntime")
    assert run_checked("onnx", onnx_models.negated(None)) is Verdict.RAN


def test_a_mutation_is_made_again_from_its_number() -> None:
    first = [mutation("litert", 7, index) for index in range(50)]
    assert first == [mutation("litert", 7, index) for index in range(50)]
    assert len(set(first)) > 45


def test_a_death_and_a_hang_cost_one_file_each(monkeypatch: pytest.MonkeyPatch) -> None:
    files_in_order = [mutation("litert", 3, index)[1] for index in range(100)]
    first = next(start for start in range(95) if len(set(files_in_order[start : start + 6])) == 6)
    indices, files = range(first, first + 6), files_in_order[first : first + 6]

    def run(file: bytes) -> Verdict:
        if file == files[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        if file == files[4]:
            signal.pause()
        return Verdict.RAN

    monkeypatch.setattr(mutations, "TIME_LIMIT_S", 1)
    outcome = campaign("litert", 3, indices, run)
    ran = Verdict.RAN
    assert outcome.verdicts == [ran, Verdict.DEATH, ran, ran, Verdict.HANG, ran]
    assert outcome.signals == {indices[1]: signal.SIGKILL, indices[4]: signal.SIGALRM}


def int8_sum(*scales: float | None) -> bytes:
    """y = a + b over int8; each tensor with its scale, or with none."""
    tensors = [
        Tensor(name, "int8", (4,), quantization=Quantization([scale], [0]) if scale else None)
        for name, scale in zip("aby", scales, strict=True)
    ]
    op = Op("ADD", ["a", "b"], ["y"], {"activation": NONE})
    return model([Subgraph(tensors, [op], ["a", "b"], ["y"])])


def depthwise(*bias: str) -> bytes:
    weights = np.ones((1, 2, 2, 2), np.float32)
    tensors = [
        Tensor("x", "float32", (1, 4, 4, 2)),
        constant("weights", weights),
        constant("bias", np.zeros(2, np.float32)),
        Tensor("y", "float32", (1, 3, 3, 2)),
    ]
    options = {"padding": VALID, "stride_w": 1, "stride_h": 1, "depth_multiplier": 1}
    op = Op("DEPTHWISE_CONV_2D", ["x", "weights", *bias], ["y"], options)
    return model([Subgraph(tensors, [op], ["x"], ["y"])])


def changed(file: bytes, source: bytes, replacement: bytes) -> bytes:
    assert file.count(source) == 1
    return file.replace(source, replacement)


DETECTIONS = unwritten_models.detections()
# The keys' offset and width in its options, and how many keys there are.
KEYS = b"\x0c\0\0\0\1\0\0\0\t"
FAR_KEYS = b"\xff\xff\xff\x7f\1\0\0\0\t"

# Files that each end the process of an engine given them unchecked; then their like that run.
KILLERS = {
    "output scale far below the inputs'": (int8_sum(0.5, 0.5, 8.5e-22), "out of range"),
    "output scale that overflows": (int8_sum(0.5, 0.5, 1.7e38), "out of range"),
    "scale that is no normal number": (int8_sum(0.5, 2.8e-45, 0.5), "normal positive number"),
    "integers added without a scale": (int8_sum(None, None, None), "without a scale"),
    "no place for a bias": (depthwise(), "2 inputs, expected 3"),
    "options whose keys are far away": (
        changed(DETECTIONS, KEYS, FAR_KEYS),
        "an offset of 2147483647 bytes back",
    ),
    "rotation of size 0": (custom_models.rotation(0), "hadamard_size 0"),
}
SOUND = {
    "sum": int8_sum(0.5, 0.5, 0.5),
    "depthwise": depthwise("bias"),
    "detections": DETECTIONS,
    "spectrogram": custom_models.spectrogram(),
    "rotation": custom_models.rotation(),
}


@pytest.mark.parametrize("name", KILLERS)
def test_a_known_killer_is_refused(name: str) -> None:
    file, reason = KILLERS[name]
    with pytest.raises(ew.MalformedModel, match=reason):
        ew.load_unsigned(file, engine="litert")


@pytest.mark.parametrize("name", SOUND)
def test_the_sound_model_beside_it_runs(name: str) -> None:
    with ew.load_unsigned(SOUND[name], engine="litert", threads=1) as sound:
        inputs = {spec.name: np.ones(spec.shape, spec.dtype) for spec in sound.inputs}
        outputs = sound.predict(inputs)
        first = outputs[sound.outputs[0].name] if isinstance(outputs, dict) else outputs
        assert first.shape == sound.outputs[0].shape
