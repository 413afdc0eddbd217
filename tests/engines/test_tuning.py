"""The file that says which engine is fastest: taken where it holds, and stopping nothing."""

import json

import pytest
import sealed
from models import tflite_models

import edgeward as ew
from edgeward.engines import tuning

MODEL = tflite_models.add()
SLOW = ("litert-interpreter", 2)  # what nobody gets without a tuning


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "usable_cpus", lambda: 2)
    path = tmp_path / "m.tflite"
    path.write_bytes(MODEL)
    return str(path)


def tune(path, **changes):
    kept = tuning.measured_here(*SLOW, len(MODEL))._replace(**changes)
    tuning.write(path, kept, [])


def loaded(path, **words):
    with ew.load_unsigned(path, engine="auto", **words) as model:
        return model.engine.name, model.threads


def test_a_tuning_that_holds_is_taken(path):
    tune(path)
    assert loaded(path) == loaded(path, threads=2) == SLOW
    with ew.load_unsigned(path) as model:
        assert (model.engine.name, model.threads) == ("litert", 1)


def test_another_number_of_threads_than_it_was_found_for_has_the_default_engine(path):
    tune(path)
    assert loaded(path, threads=1) == ("litert", 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"processor": "another"},
        {"usable_cpus": 3},
        {"model_bytes": len(MODEL) + 1},
        {"engine_version": "2.2.999"},
        {"engine": "tflite"},  # not installed here, or of another version
    ],
)
def test_a_tuning_of_another_machine_version_or_model_is_not_taken(path, changes):
    tune(path, **changes)
    assert loaded(path) == ("litert", 1)


def test_without_a_file_the_default_runs(path):
    assert loaded(path) == ("litert", 1)
    with ew.load_unsigned(MODEL, engine="auto") as model:
        assert model.engine.name == "litert"


def test_what_is_no_tuning_file_is_passed_over_with_a_warning(path):
    tune(path)
    with open(tuning.tuning_path(path), "rb") as file:
        whole = json.load(file)
    bad = [b"", b"[" * 5000, b"[]", b"\xff", b" " * (1 << 17)]
    for name, value in (
        ("engine", "cuda"),
        ("engine", 1),
        ("threads", True),
        ("threads", 0),
        ("threads", 1 << 70),
        ("model_bytes", "1"),
        ("processor", None),
    ):
        bad.append(json.dumps({**whole, name: value}).encode())
    bad += [json.dumps({k: v for k, v in whole.items() if k != name}).encode() for name in whole]
    bad.remove(json.dumps({k: v for k, v in whole.items() if k != "races"}).encode())
    for content in bad:
        with open(tuning.tuning_path(path), "wb") as file:
            file.write(content)
        with pytest.warns(UserWarning, match=r'm\.tflite\.ewt": expected a tuning file, passed'):
            assert loaded(path) == ("litert", 1)


def test_an_engine_that_does_not_run_the_model_is_passed_over_with_a_warning(path):
    pytest.importorskip("onnxruntime")
    tuning.write(path, tuning.measured_here("onnx", 2, len(MODEL)), [])
    with pytest.warns(
        UserWarning, match=r'm\.tflite": expected an engine .* a \.onnx or \.ort model'
    ):
        assert loaded(path) == ("litert", 1)


def test_a_package_has_its_tuning_beside_it(path, tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    package = str(sealed.seal(tmp_path / "camera.ewp", model=MODEL))
    tune(package)
    with ew.load(package, trust=trust, engine="auto") as model:
        assert (model.engine.name, model.threads) == SLOW
    with ew.load(package, trust=trust) as model:
        assert model.engine.name == "litert"
