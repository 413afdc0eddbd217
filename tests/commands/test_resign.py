"""edgeward resign: the same package, signed by other keys."""

import os
import re
from pathlib import Path

import pytest

import edgeward as ew

SEAL = "seal model.tflite -o p.ewp --name demo --version 1.0"
ENCRYPTED = SEAL + " --encrypt-to edgeward-keys/device.pub"
TRUSTED = " --trust edgeward-keys/trust"


def test_resign_changes_who_signed_and_nothing_else(run, done):
    done(ENCRYPTED)
    done("keygen --signing team.key")
    team = ew.PublicKey.read("team.pub").id.hex()
    publisher = ew.PublicKey.read("edgeward-keys/publisher.pub").id.hex()
    before = ew.Package.unverified("p.ewp").package_id

    replaced = done("resign p.ewp -o q.ewp --key team.key")
    assert replaced == {"package": "q.ewp", "package_id": before, "signers": [team]}
    assert Path("q.ewk").read_bytes() == Path("p.ewk").read_bytes()
    status, _, err = run("verify q.ewp" + TRUSTED)
    assert status == 6
    assert "signature" in err

    added = done("resign q.ewp -o q.ewp --key edgeward-keys/publisher.key --add")
    assert added["signers"] == [team, publisher]
    assert done("verify q.ewp" + TRUSTED)["signers"] == [team, publisher]


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("resign p.ewp -o q.ewp --key second.key", 2, "expected one that signs"),
        ("resign p.ewp -o q.ewp --key none.key", 2, "none.key.*keygen"),
        ("resign none.ewp -o q.ewp --key edgeward-keys/publisher.key", 5, "none.ewp"),
    ],
)
def test_a_mistake_in_changing_a_package_leaves_it_as_it_was(run, done, line, status, says):
    done(ENCRYPTED)
    before = {path: path.read_bytes() for path in Path().glob("*.ew?")}
    got, out, err = run(line)
    assert (got, out) == (status, "")
    assert re.search(says, err), err
    assert {path: path.read_bytes() for path in Path().glob("*.ew?")} == before


def test_an_encrypted_package_without_its_wrapped_keys_is_not_signed_again(run, done):
    """No device could open what came of it."""
    done(ENCRYPTED)
    os.remove("p.ewk")
    status, _, err = run("resign p.ewp -o q.ewp --key edgeward-keys/publisher.key")
    assert status != 0
    assert "p.ewk" in err
    assert not list(Path().glob("q.*"))
