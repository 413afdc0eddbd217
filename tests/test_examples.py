"""The programs in examples/, run as their own pages say."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sealed
from models import tflite_models

import edgeward as ew

EXAMPLES = Path(__file__).parents[1] / "examples"
TESTED = {"watch_folder.py", "http_server.py"}
TESTED |= {"camera.cc", "camera.js"}  # tests/agent/test_camera_examples.py


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == TESTED


def deliver(inbox: Path, name: str, content: bytes) -> None:
    part = inbox / f"{name}.part"
    part.write_bytes(content)
    part.rename(inbox / name)


def npy(values: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def wav(samples: list[int]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(np.array(samples, "<i2").tobytes())
    return file.getvalue()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """watch_folder.py with the folders "inbox" and "captures" of `tmp_path`."""
    recipe = {"inputs": {"x": {"kind": "sound", "rate_hz": 8000}}}
    contents = ew.Contents(labels=list("abcd"), recipe=recipe)
    package = sealed.seal(tmp_path / "sum.ewp", contents=contents)
    sealed.trust_at(tmp_path / "trust")
    (tmp_path / "inbox").mkdir()
    options = ("--captures", tmp_path / "captures", "--trust", tmp_path / "trust")
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "watch_folder.py", package, tmp_path / "inbox", *options],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"EDGEWARD_RINGS": str(tmp_path / "rings")},
    )
    yield process
    process.kill()
    process.communicate()


def test_a_folder_is_watched_until_the_service_is_ended(
    service: subprocess.Popen[str], tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    assert service.stdout is not None
    deliver(inbox, "1.npy", npy(np.ones(4, np.float32)))
    scores = {"a": 1, "b": 2, "c": 3, "d": 4}
    assert json.loads(service.stdout.readline()) == {"file": "1.npy", "y": scores}
    deliver(inbox, "2.npy", b"no array")
    assert "error" in json.loads(service.stdout.readline())
    deliver(inbox, "3.wav", wav([-32768, -32768]))
    scores = {"a": -1, "b": 0, "c": 2, "d": 3}
    assert json.loads(service.stdout.readline()) == {"file": "3.wav", "y": scores}
    deliver(inbox, "4.jpg", b"no picture")
    assert "expected a sound, got a picture" in json.loads(service.stdout.readline())["error"]
    service.send_signal(signal.SIGTERM)
    assert service.wait(timeout=60) == 0
    assert list(inbox.iterdir()) == []
    assert len(list(ew.read_captures(tmp_path / "captures"))) == 2


@pytest.fixture
def http_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_models.add())
    monkeypatch.setenv("MODEL", str(path))
    spec = importlib.util.spec_from_file_location("http_server", EXAMPLES / "http_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def posted(application: Callable[..., Any], body: bytes) -> tuple[str, bytes]:
    statuses: list[str] = []
    environment = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    answer = b"".join(application(environment, lambda status, _: statuses.append(status)))
    return statuses[0], answer


def test_an_array_that_is_posted_gives_one_back(http_server: ModuleType) -> None:
    (spec,) = http_server.model().inputs
    x = np.ones(spec.shape, np.float32)
    status, body = posted(http_server.application, npy(x))
    assert status == "200 OK"
    assert np.array_equal(np.load(io.BytesIO(body)), http_server.model().predict(x))
    for wrong in (b"", b"no array", npy(x)[:-1]):
        status, body = posted(http_server.application, wrong)
        assert (status, body) == (
            "400 Bad Request",
            b"body: expected an array in .npy, got other bytes\n",
        )
    assert posted(http_server.application, npy(x[:0]))[0] == "400 Bad Request"


def test_a_model_that_is_not_there_is_the_answer(
    http_server: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL", "none.tflite")
    status, body = posted(http_server.application, npy(np.ones(4, np.float32)))
    assert (status, b"none.tflite" in body) == ("500 Internal Server Error", True)
