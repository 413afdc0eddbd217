"""edgeward wrap: which devices can open an encrypted package."""

import re
from pathlib import Path

import pytest

SEAL = "seal model.tflite -o p.ewp --name demo --version 1.0"
ENCRYPTED = SEAL + " --encrypt-to edgeward-keys/device.pub"
TRUSTED = " --trust edgeward-keys/trust"


def test_wrap_lets_a_device_in_and_takes_it_out(run, done):
    done(ENCRYPTED)
    line = f"verify p.ewp --key second.key{TRUSTED}"
    assert run(line)[0] == 6
    assert len(done("wrap p.ewp --to second.pub" + TRUSTED)["recipients"]) == 2
    assert done(line)["members_checked"] is True
    assert len(done("wrap p.ewp --remove second.pub")["recipients"]) == 1
    assert run(line)[0] == 6
    done("wrap p.ewp --to second.pub --not-before 2020-01-01 --not-after 2020-06-01" + TRUSTED)
    status, _, err = run(line)
    assert status == 6
    assert (
        "expected use from 2020-01-01T00:00:00Z on until 2020-06-01T00:00:00Z, got the time 20"
        in err
    )


def test_wrap_takes_several_devices_out(run, done):
    done("keygen --device third.key")
    done(ENCRYPTED + " second.pub third.pub")
    assert len(done("wrap p.ewp --remove second.pub third.pub")["recipients"]) == 1
    for key in ("second.key", "third.key"):
        assert run(f"verify p.ewp --key {key}{TRUSTED}")[0] == 6


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("wrap p.ewp", 2, "expected --to or --remove"),
        ("wrap p.ewp --remove edgeward-keys/device.pub second.pub", 2, "got none among 1"),
        ("wrap p.ewp --to third.pub --remove second.pub" + TRUSTED, 2, "got none among 1"),
        ("wrap p.ewp --remove second.pub", 2, "expected .*got none|no wrap"),
        ("wrap p.ewp --to edgeward-keys/publisher.pub" + TRUSTED, 2, "x25519"),
        ("wrap p.ewp --to second.pub --key second.key" + TRUSTED, 6, "edgeward wrap"),
    ],
)
def test_a_mistake_in_changing_a_package_leaves_it_as_it_was(run, done, line, status, says):
    done("keygen --device third.key")
    done(ENCRYPTED)
    before = {path: path.read_bytes() for path in Path().glob("*.ew?")}
    got, out, err = run(line)
    assert (got, out) == (status, "")
    assert re.search(says, err), err
    assert {path: path.read_bytes() for path in Path().glob("*.ew?")} == before


def test_a_package_that_is_not_encrypted_has_no_devices(run, done):
    done(SEAL)
    status, _, err = run("wrap p.ewp --to second.pub" + TRUSTED)
    assert status == 2
    assert "expected an encrypted package" in err
