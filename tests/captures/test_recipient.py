"""A ring's recipient: nobody else reads what was captured, whoever brings it to the disk."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sealed
from models import tflite_models
from programs import CANARY, Program, comes_true, values

import edgeward as ew

VALUE = float(np.frombuffer(CANARY, np.float32)[0])
ENCRYPTED = "encrypt_to=sealed.DEVICE.public"


@pytest.fixture(autouse=True)
def _rings_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "memory" / "rings"))


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "disk" / "captures"


def leaks(directory: Path, canary: bytes = CANARY) -> list[str]:
    """The files on the disk that hold the canary, also in Base64 within a document."""
    paths = [path for path in directory.parent.rglob("*") if path.is_file()]
    assert paths, f"expected files below {directory.parent}, got none"
    return [path.name for path in paths if any(canary in content for content in contents(path))]


def contents(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix == ".json":
        for value in json.loads(path.read_bytes()).values():
            if isinstance(value, str):
                try:
                    yield base64.b64decode(value, validate=True)
                except ValueError:
                    continue


def killed(directory: Path, options: str) -> None:
    """A program that ran on the canary and was killed before its own drain had read its ring."""
    with Program(directory, options) as program:
        program("run(1)")
        assert program("capture.flush()")
        program("allow_files_of(1000)")
        program("run_on(b'" + CANARY.decode() + "')")
        program.kill()


def drained(directory: Path, typed_well) -> None:
    assert typed_well(f"captures drain {directory}")["records"] > 0


def restarted(directory: Path, typed_well) -> None:
    with ew.Capture(directory):
        pass


def restarted_for_another(directory: Path, typed_well) -> None:
    with ew.Capture(directory, encrypt_to=sealed.key("other", "x25519").public):
        pass


@pytest.mark.parametrize("keep", ["oldest", "newest"])
@pytest.mark.parametrize("follow", [drained, restarted, restarted_for_another])
def test_a_killed_programs_records_are_sealed_to_its_recipient(directory, keep, follow, typed_well):
    killed(directory, f"{ENCRYPTED}, keep='{keep}'")
    follow(directory, typed_well)
    assert leaks(directory) == []
    assert values(directory, key=sealed.DEVICE)[-1] == VALUE


def test_another_process_that_drains_seals_them_too(directory):
    with Program(directory) as holder, Program(directory, ENCRYPTED) as secret:
        secret("run_on(b'" + CANARY.decode() + "')")
        holder("run(7)")
        assert holder("capture.flush()")
        assert secret("capture.flush()")
        assert leaks(directory) == []
        assert comes_true(lambda: sorted(values(directory, key=sealed.DEVICE)) == [7.0, VALUE])
        holder.end()
        secret.end()
    assert leaks(directory) == []


def test_a_drain_with_a_recipient_leaves_others_records_readable(directory):
    with Program(directory, ENCRYPTED) as holder, Program(directory) as plain:
        plain("run(7)")
        assert holder("capture.flush()")
        assert plain("capture.flush()")
        segments = [path for path in directory.iterdir() if path.suffix in (".ewc", ".open")]
        assert any(np.full(4, 7, np.float32).tobytes() in path.read_bytes() for path in segments)


def test_the_statistics_are_sealed_too(directory):
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory, encrypt_to=sealed.DEVICE.public) as capture:
        capture.attach(model, name=CANARY.decode())
        model.predict(a=np.full(4, VALUE, np.float32), b=np.zeros(4, np.float32))
    assert leaks(directory) == []  # the model's name
    assert leaks(directory, np.float64(VALUE).tobytes()) == []  # the largest value
    with pytest.raises(ew.WrongKey):
        ew.read_statistics(directory)
    (counted,) = ew.read_statistics(directory, key=sealed.DEVICE)
    assert counted.statistics.report()["run_count"] == 1


def test_nothing_that_was_captured_is_open_to_everybody(directory):
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory) as capture:
        capture.attach(model)
        model.predict(a=np.ones(4, np.float32), b=np.ones(4, np.float32))
        assert capture.flush()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o007} == {}
