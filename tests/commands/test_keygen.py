"""edgeward keygen: the first keys, and one more."""

import os
import stat
from pathlib import Path

import pytest
from models import tflite_models

import edgeward as ew

SEAL = "seal model.tflite -o p.ewp --name demo --version 1.0"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A directory with a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEWARD_TRUST", raising=False)
    Path("model.tflite").write_bytes(tflite_models.add((4,)))
    return tmp_path


def key_id(path):
    return ew.PublicKey.read(path).id.hex()


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256"])
def test_keygen_makes_all_that_the_first_package_needs(done, algorithm):
    report = done(f"keygen some/keys --algorithm {algorithm} --days 30")
    assert report == {
        "root_key": "some/keys/root.key",
        "publisher_key": "some/keys/publisher.key",
        "device_public_key": "some/keys/device.pub",
        "trust": "some/keys/trust",
    }
    for name in ("root.key", "publisher.key", "trust/device.key"):
        assert stat.S_IMODE(os.stat(f"some/keys/{name}").st_mode) == 0o600
    assert ew.PublicKey.read("some/keys/publisher.pub").algorithm == algorithm
    assert ew.PublicKey.read("some/keys/device.pub").algorithm == "x25519"
    done(SEAL + " --keys some/keys --encrypt-to some/keys/device.pub")
    assert done("verify p.ewp --trust some/keys/trust")["members_checked"] is True
    root = ew.Trust("some/keys/trust").root
    assert root.expires_s - root.issued_s == 30 * 86_400


def test_keygen_says_in_three_lines_what_to_keep_where(run):
    status, out, _ = run("keygen")
    assert status == 0
    lines = out.splitlines()
    assert len(lines) == 3
    assert "offline" in lines[0]
    assert "where models are sealed" in lines[1]
    assert "/var/lib/edgeward/trust" in lines[2]


def test_keys_that_are_there_stay(run):
    run("keygen")
    before = {path: path.read_bytes() for path in Path("edgeward-keys").rglob("*.*")}
    assert len(before) >= 5
    status, _, err = run("keygen")
    assert status == 2
    assert "they stay as they are" in err
    run("keygen --device camera.key")
    status, _, err = run("keygen --device camera.key")
    assert status == 5
    assert "camera.key" in err
    assert {path: path.read_bytes() for path in Path("edgeward-keys").rglob("*.*")} == before


@pytest.mark.parametrize(
    ("line", "algorithm"),
    [
        ("keygen --device extra.key", "x25519"),
        ("keygen --archive extra.key", "x25519"),
        ("keygen --signing extra.key", "ed25519"),
        ("keygen --signing extra.key --algorithm ecdsa-p256", "ecdsa-p256"),
    ],
)
def test_one_more_key(done, line, algorithm):
    report = done(line)
    assert ew.PrivateKey.read("extra.key").algorithm == algorithm
    assert report == {"key": "extra.key", "public_key": "extra.pub", "key_id": key_id("extra.pub")}
    assert not os.path.exists("edgeward-keys")


def test_an_archives_key_reads_captures_and_is_not_told_to_go_onto_a_device(run):
    status, out, _ = run("keygen --archive archive.key")
    assert status == 0
    private, public = out.splitlines()
    assert "on no device" in private
    assert "encrypt_to of a Capture" in public
    assert "device.key" not in out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "keygen --device a.key --signing b.key",
            "expected one of --device, --signing and --archive, got --device, --signing",
        ),
        ("keygen --archive a.key --device b.key", "got --device, --archive"),
        ("keygen --days 0", 'expected 1 to 36500 days, got "0"'),
        ("keygen --days soon", 'expected 1 to 36500 days, got "soon"'),
    ],
)
def test_wrong_use_of_keygen(run, line, says):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert says in err
    assert os.listdir() == ["model.tflite"]
