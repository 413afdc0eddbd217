"""edgeward install: the package that programs on a device load, replaced in one step."""

import os
from pathlib import Path

import numpy as np
import pytest

import edgeward as ew

SEAL = "seal model.tflite --name demo --encrypt-to edgeward-keys/device.pub"
TRUSTED = " --trust edgeward-keys/trust"
INTO = " --into models" + TRUSTED


@pytest.fixture
def sealed_versions(run, done):
    """Packages v1.ewp and v2.ewp, and a directory for what is installed."""
    os.mkdir("models")
    for number in (1, 2):
        done(f"{SEAL} -o v{number}.ewp --version {number} --counter {number}")


def test_a_program_takes_the_next_version_and_the_one_before(run, done, sealed_versions):
    first = done("install v1.ewp" + INTO)
    assert first == {
        "package": "models/demo.ewp",
        "name": "demo",
        "version": "1",
        "package_id": ew.Package.unverified("v1.ewp").package_id,
        "before": None,
    }
    package = ew.Package.open("models/demo.ewp", trust="edgeward-keys/trust")
    with package.load(commit=False) as model:
        second = done("install v2.ewp" + INTO)
        assert second["before"]["package_id"] == first["package_id"]
        # How a running program tells that there is another.
        there = ew.Package.unverified("models/demo.ewp")
        assert there.package_id == second["package_id"] != package.package_id
        model.predict(np.zeros(4, np.float32))
    status, out, _ = run("install --back demo" + INTO)
    assert status == 0
    path, package_id, kept, command = out.splitlines()
    assert path == "models/demo.ewp: demo 1, every byte is as it was signed"
    assert package_id == f"id {first['package_id']}"
    assert kept == "kept: 2; this returns to it:"
    assert run(command.removeprefix("edgeward "))[0] == 0
    assert ew.Package.unverified("models/demo.ewp").package_id == second["package_id"]


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("install" + INTO, 2, "expected either PACKAGE or --back NAME"),
        ("install v1.ewp --back demo" + INTO, 2, "expected either PACKAGE or --back NAME"),
        ("install v1.ewp", 2, "--into"),
        ("install none.ewp" + INTO, 5, "none.ewp"),
        ("install model.tflite" + INTO, 3, "expected a sealed package"),
        ("install v1.ewp --into modles" + TRUSTED, 5, "modles: expected a directory for packages"),
        ("install --back demo" + INTO, 2, "got none"),
        ("install v1.ewp --key second.key" + INTO, 6, "edgeward wrap"),
    ],
)
def test_wrong_use_installs_nothing(run, sealed_versions, line, status, says):
    got, out, err = run(line)
    assert (got, out) == (status, "")
    assert says in err
    assert not Path("models/demo.ewp").exists()


def test_without_a_device_key_it_says_what_was_not_tried(run, sealed_versions):
    os.unlink("edgeward-keys/trust/device.key")
    status, out, _ = run("install v1.ewp" + INTO)
    assert status == 0
    assert "encrypted, and no device key here: whether it opens was not tried" in out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_installs_for_a_service_without_a_complaint(run, sealed_versions):
    for path in (Path("edgeward-keys/trust"), *Path("edgeward-keys/trust").iterdir()):
        os.chown(path, 12345, 12345)
    status, _, err = run("install v1.ewp" + INTO)
    assert (status, err) == (0, "")
    assert run("verify v1.ewp" + TRUSTED)[2] == ""
    # Who runs a model is told whose word is taken.
    assert "its owner decides" in run("bench v1.ewp --seconds 0.01" + TRUSTED)[2]
