"""edgeward device: the trust directory of a further device, laid out."""

import os
import shutil
import stat
from pathlib import Path

import pytest

import edgeward as ew

CAMERA = Path("edgeward-keys/devices/camera")
SEAL = "seal model.tflite -o p.ewp --name demo --version 1.0"


def test_a_device_that_is_laid_out_opens_what_is_sealed_for_it(done, tmp_path):
    report = done("device add camera")
    assert report == {
        "device": "camera",
        "trust": f"{CAMERA}/trust",
        "public_key": f"{CAMERA}/device.pub",
        "key_id": ew.PrivateKey.read(f"{CAMERA}/trust/device.key").public.id.hex(),
        "root_version": 1,
        "root_expires": report["root_expires"],
    }
    done(f"{SEAL} --encrypt-to {CAMERA}/device.pub")
    # As it is copied to the device, and nothing else.
    shutil.copytree(CAMERA / "trust", tmp_path / "device")
    with ew.load("p.ewp", trust=tmp_path / "device") as model:
        assert model.inputs[0].shape == (4,)
    assert sorted(os.listdir(tmp_path / "device")) == [
        "device.key", "lock", "root.json", "state.json",
    ]  # fmt: skip


def test_only_the_owner_can_read_the_key_whatever_the_umask(done):
    before = os.umask(0)
    try:
        done("device add camera")
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(CAMERA)): stat.S_IMODE(path.stat().st_mode)
        for path in [CAMERA, *CAMERA.rglob("*")]
    }
    assert modes == {
        ".": 0o700, "trust": 0o700, "trust/device.key": 0o600, "trust/root.json": 0o644,
        "device.pub": 0o644,
    }  # fmt: skip
    assert stat.S_IMODE(CAMERA.parent.stat().st_mode) == 0o700


def test_each_device_has_a_key_of_its_own_and_the_latest_root(done):
    first = done("device add camera")
    done("root rotate edgeward-keys/trust/root.json")
    second = done("device add camera-2")
    assert first["key_id"] != second["key_id"]
    assert (first["root_version"], second["root_version"]) == (1, 2)
    assert ew.Trust(second["trust"]).root.version == 2


def test_a_first_device_needs_no_keys_but_a_root(done):
    done("keygen --signing r.key")
    done("root init root.json --key r.key")
    report = done("device add camera --root root.json --keys fleet")
    assert report["trust"] == "fleet/devices/camera/trust"
    assert ew.Trust(report["trust"]).root.version == 1


def test_the_text_says_what_to_do_next(run):
    status, out, _ = run("device add camera")
    assert status == 0
    lines = out.splitlines()
    assert f"  rsync -a {CAMERA}/trust/ DEVICE:/var/lib/edgeward/trust/" in lines
    assert f"  rm {CAMERA}/trust/device.key" in lines
    assert "--encrypt-to" in out
    assert "edgeward wrap PACKAGE --to" in out
    assert "version 1, until 20" in lines[-2]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ["", ".hidden", "..", "a/b", "-a", "a b", "a\nb", "ä"])
def test_a_name_that_is_none_lays_nothing_out(run, name):
    from edgeward.trust import keys

    root = Path("edgeward-keys/trust/root.json").read_bytes()
    with pytest.raises(ew.BadInput, match="device: expected a name of"):
        keys.add_device("edgeward-keys", name, root)
    assert not CAMERA.parent.exists()


def test_a_device_that_is_there_stays_as_it_is(run, done):
    done("device add camera")
    before = {path: path.read_bytes() for path in CAMERA.rglob("*.*")}
    assert len(before) == 3
    status, _, err = run("device add camera")
    assert status == 2
    assert "stays as it is" in err
    assert {path: path.read_bytes() for path in CAMERA.rglob("*.*")} == before
    assert os.listdir(CAMERA.parent) == ["camera"]


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (None, 2, "make one with edgeward keygen"),
        (b"{}", 3, 'trust root "r.json"'),
    ],
)
def test_without_a_root_that_devices_believe_nothing_is_laid_out(run, content, status, says):
    if content is not None:
        Path("r.json").write_bytes(content)
    got, _, err = run("device add camera --root r.json")
    assert got == status
    assert says in err
    assert not CAMERA.parent.exists()


def test_a_root_that_has_expired_is_refused_with_its_date(run, monkeypatch):
    import time

    later_s = time.time() + 400 * 86_400
    monkeypatch.setattr(time, "time", lambda: later_s)
    status, _, err = run("device add camera")
    assert status == 6
    assert "expired_root" in err
    assert "Z: renew it" in err
    assert not CAMERA.parent.exists()


def test_a_step_that_fails_leaves_no_key_behind(run, monkeypatch):
    def refuse(source, target):
        raise OSError(28, "No space left on device", target)

    monkeypatch.setattr(os, "rename", refuse)
    assert run("device add camera")[0] == 5
    assert os.listdir(CAMERA.parent) == []
