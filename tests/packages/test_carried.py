"""What a model knows of the package that it came in."""

import gc

import numpy as np
import pytest
import sealed

import edgeward as ew
from edgeward import Contents, Package

LABELS = ["none", "person", "größer", "car"]
FACTS = ("name", "version", "package_id", "labels", "card")


@pytest.mark.parametrize("encrypt_to", [[], [sealed.DEVICE.public]], ids=["signed", "encrypted"])
def test_a_model_knows_its_package_when_that_is_gone(encrypt_to, tmp_path):
    contents = Contents(labels=LABELS, card="# Finds people\n")
    path = sealed.seal(tmp_path / "demo.ewp", contents=contents, encrypt_to=encrypt_to)
    trust = sealed.trust_at(tmp_path / "trust")
    package_id = Package.open(path, trust=trust).package_id
    model = ew.load(path, trust=trust)
    path.unlink()
    gc.collect()
    assert [getattr(model, fact) for fact in FACTS] == [
        "demo", "1.0", package_id, tuple(LABELS), "# Finds people\n",
    ]  # fmt: skip
    assert model.read_member("labels.txt") == "".join(f"{label}\n" for label in LABELS).encode()
    assert model.read_member("model.tflite") is None
    model.close()
    assert model.labels == tuple(LABELS)


def test_what_a_package_does_not_have_is_none(tmp_path):
    model = ew.load(sealed.seal(tmp_path / "demo.ewp"), trust=sealed.trust_at(tmp_path / "trust"))
    assert (model.name, model.labels, model.card) == ("demo", None, None)


def test_nothing_is_known_of_a_model_that_nobody_signed():
    model = ew.load_unsigned(sealed.MODEL)
    assert [getattr(model, fact) for fact in FACTS] == [None] * 5
    assert model.read_member("labels.txt") is None


def test_what_is_known_cannot_be_set():
    model = ew.load_unsigned(sealed.MODEL)
    for fact in FACTS:
        with pytest.raises(AttributeError):
            setattr(model, fact, "mine")


def test_a_package_loads_with_a_capture_as_load_does(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    samples = [{"x": np.full(4, n, np.float32)} for n in range(5)]
    contents = Contents(labels=list("abcd"), columns={"x": list("efgh")}, calibration=samples)
    path = sealed.seal(tmp_path / "demo.ewp", contents=contents)
    trust = sealed.trust_at(tmp_path / "trust")
    loads = {
        "load": lambda capture: ew.load(path, trust=trust, capture=capture),
        "Package.load": lambda capture: Package.open(path, trust=trust).load(capture=capture),
    }
    records = []
    for name, load in loads.items():
        with ew.Capture(tmp_path / name) as capture:
            model = load(capture)
            model.predict(np.ones(4, np.float32))
            assert model.drift(Package.open(path, trust=trust).reference).verdicts
        records += ew.read_captures(tmp_path / name)
    facts = [(record.model, record.version, record.package_id, record.labels) for record in records]
    package_id = Package.open(path, trust=trust).package_id
    assert facts == [("demo", "1.0", package_id, tuple("abcd"))] * 2
