"""edgeward root: the life of a trust root, as its owner types it."""

import os
import re
from pathlib import Path

import pytest
from models import tflite_models

import edgeward as ew

SEAL = "seal model.tflite -o p.ewp --name demo --version 1.0"
ROOT = "edgeward-keys/trust/root.json"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A directory with a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEWARD_TRUST", raising=False)
    Path("model.tflite").write_bytes(tflite_models.add((4,)))
    return tmp_path


@pytest.fixture
def device(done):
    """The trust directory of a device in the field: a copy of what keygen made."""
    done("keygen")
    os.makedirs("device", mode=0o700)
    for name in ("root.json", "device.key"):
        content = Path("edgeward-keys/trust", name).read_bytes()
        Path("device", name).write_bytes(content)
        os.chmod(f"device/{name}", 0o600)
    return "device"


def key_id(path):
    return ew.PublicKey.read(path).id.hex()


def test_a_publishers_key_that_was_stolen(run, done, device):
    """docs/security.md: a new key, the old one revoked, the devices told, packages signed again."""
    done(SEAL + " --encrypt-to edgeward-keys/device.pub")
    verify = f"verify p.ewp --trust {device}"
    done(verify)

    done("keygen --signing new.key")
    added = done(f"root add-key {ROOT} new.pub --role publisher:default")
    assert (added["version"], added["kept_as"]) == (2, "edgeward-keys/trust/2.root.json")
    revoked = done(f"root revoke {ROOT} edgeward-keys/publisher.pub")
    assert revoked["version"] == 3
    assert revoked["revoked"] == [key_id("edgeward-keys/publisher.pub")]

    # A device that missed a version gets both, in any order, and not the last one alone.
    status, _, err = run(f"root accept {ROOT} --trust {device}")
    assert status == 6
    assert "expected 2, got 3: the ones between must come first" in err
    # Between the two roots, the package of either key runs.
    done("resign p.ewp -o new.ewp --key new.key")
    done(f"root accept edgeward-keys/trust/2.root.json --trust {device}")
    done(verify)
    done(f"verify new.ewp --trust {device}")
    kept = "edgeward-keys/trust/3.root.json edgeward-keys/trust/2.root.json"
    assert done(f"root accept {kept} --trust {device}")["version"] == 3
    assert done(f"root accept {kept} --trust {device}")["version"] == 3  # once more: as it was

    assert run(verify)[0] == 6
    status, _, err = run(SEAL)
    assert status == 2
    assert "expected 1 of publisher" in err
    os.remove("p.ewk")
    os.replace("new.ewk", "p.ewk")
    os.replace("new.ewp", "p.ewp")
    done(verify)


def test_a_new_epoch_voids_every_package(run, done, device):
    done(SEAL)
    assert done(f"root rotate {ROOT} --new-epoch")["epoch"] == 1
    accepted = done(f"root accept {ROOT} --trust {device}")
    assert accepted == {"trust": device, "version": 2, "epoch": 1}
    assert run(f"verify p.ewp --trust {device}")[0] == 6
    done(SEAL + " --overwrite")
    assert done("inspect p.ewp")["epoch"] == 1
    done(f"verify p.ewp --trust {device}")


def test_a_root_key_is_exchanged(run, done, device):
    done("keygen --signing spare.key")
    done(f"root rotate {ROOT} --add spare.key")
    done(f"root rotate {ROOT} --drop edgeward-keys/root.pub --sign spare.key")
    status, _, err = run(f"root rotate {ROOT}")
    assert status == 6
    assert "signature" in err
    assert done(f"root rotate {ROOT} --sign spare.key --days 10")["version"] == 4
    folder = "edgeward-keys/trust"
    roots = " ".join(f"{folder}/{version}.root.json" for version in (2, 3, 4))
    assert done(f"root accept {roots} --trust {device}")["version"] == 4


def test_two_of_three_owners(run, done):
    for name in "abc":
        done(f"keygen --signing {name}.key")
    keys = "--key a.key --key b.key --key c.key"
    report = done(f"root init root.json {keys} --threshold 2 --days 7")
    assert report["roles"]["root"]["threshold"] == 2
    assert report["version"] == 1
    done("keygen --signing team.key")
    line = "root add-key root.json team.pub --role publisher:team --prefix camera- --prefix door-"
    status, _, err = run(f"{line} --sign a.key")
    assert status == 6
    assert "expected signatures of 2 root keys" in err
    report = done(f"{line} --sign a.key --sign c.key")
    assert report["roles"]["publisher:team"]["prefixes"] == ["camera-", "door-"]
    # One owner's key is lost: the other two go on without it.
    report = done("root revoke root.json c.pub --sign a.key --sign b.key")
    assert key_id("c.pub") not in report["roles"]["root"]["keyids"]

    sealing = "seal model.tflite -o t.ewp --version 1 --root root.json --key team.key"
    done(f"{sealing} --publisher team --name camera-door")
    os.makedirs("field", mode=0o700)
    Path("field/root.json").write_bytes(Path("root.json").read_bytes())
    done("verify t.ewp --trust field")
    done(f"{sealing} --publisher team --name toaster --overwrite")
    status, _, err = run("verify t.ewp --trust field")
    assert status == 6
    assert "toaster" in err


def test_a_threshold_of_publishers(run, done, device):
    done("keygen --signing second.key")
    done(f"root add-key {ROOT} second.pub --role publisher:default --threshold 2")
    done(f"root accept {ROOT} --trust {device}")
    status, _, err = run(SEAL)
    assert status == 2
    assert "expected 2 of publisher" in err
    done(SEAL + " --key second.key --key edgeward-keys/publisher.key")
    assert len(done(f"verify p.ewp --trust {device}")["signers"]) == 2


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (f"root init {ROOT} --key edgeward-keys/root.key", 2, "it stays as it is"),
        ("root init new.json --key none.key", 2, r"none\.key"),
        ("root init new.json --key edgeward-keys/root.key --threshold 2", 2, "threshold"),
        ("root init new.json --key edgeward-keys/trust/device.key", 2, "sign"),
        ("root add-key none.json edgeward-keys/root.pub --role root", 5, r"none\.json"),
        (f"root add-key {ROOT} none.pub --role publisher:a", 5, r"none\.pub"),
        (f"root add-key {ROOT} edgeward-keys/root.key --role root", 2, "public key"),
        (f"root add-key {ROOT} edgeward-keys/device.pub --role root", 2, "sign"),
        (
            f"root add-key {ROOT} edgeward-keys/root.pub --role owner",
            2,
            'expected "root" or "publisher:NAME", got "owner"',
        ),
        (
            f"root add-key {ROOT} edgeward-keys/root.pub --role publisher:default --prefix a",
            2,
            "--prefix: expected a new publisher",
        ),
        (f"root revoke {ROOT} edgeward-keys/device.pub", 2, "listed|expected"),
        (f"root revoke {ROOT} edgeward-keys/root.pub", 2, "threshold|spare|expected"),
        (f"root rotate {ROOT} --sign edgeward-keys/publisher.key", 6, "signature"),
        (f"root rotate {ROOT} --threshold 0", 2, "threshold"),
        (f"root rotate {ROOT} --drop edgeward-keys/root.pub", 2, "root|threshold"),
        ("root rotate model.tflite", 3, r'trust root "model\.tflite"'),
        ("root accept none.json --trust edgeward-keys/trust", 5, r"none\.json"),
        ("root accept model.tflite --trust edgeward-keys/trust", 3, "model"),
        (f"root accept {ROOT} --trust nowhere", 5, "edgeward keygen"),
        (f"root accept {ROOT}", 5, "--trust"),
    ],
)
def test_a_mistake_is_a_sentence_and_changes_nothing(run, done, no_device, line, status, says):
    done("keygen")
    before = {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()}
    got, out, err = run(line)
    assert (got, out) == (status, "")
    assert re.search(says, err), err
    assert len(err.splitlines()) == 1
    assert {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()} == before
