"""edgeward verify, and inspect and predict on packages: as the owner of a device types them."""

import os
import re
from pathlib import Path

import pytest

from edgeward.trust import keys

DAYS = 365
SEAL = "seal model.tflite -o p.ewp --name demo --version 1.0"
ENCRYPTED = SEAL + " --encrypt-to edgeward-keys/device.pub"
TRUSTED = " --trust edgeward-keys/trust"


def test_inspect_needs_no_key_and_vouches_for_nothing(run, done):
    done(ENCRYPTED)
    status, out, _ = run("inspect p.ewp")
    assert status == 0
    assert "no signature was checked" in out
    os.unlink("p.ewk")
    assert "no readable .ewk file" in run("inspect p.ewp")[1]


def test_verify_says_who_signed_and_what_was_looked_at(run, done):
    done(ENCRYPTED + " --golden inputs.npy")
    status, out, _ = run("verify p.ewp --run" + TRUSTED)
    assert status == 0
    assert 'demo 1.0: signed by publisher "default", every byte is as it was signed' in out
    assert "golden outputs: 3 of 3 as expected" in out
    report = done("verify p.ewp --run" + TRUSTED)
    assert report["members_checked"] is True
    assert [case["passed"] for case in report["golden"]] == [True] * 3

    os.rename("edgeward-keys/trust/device.key", "device.key")
    status, out, err = run("verify p.ewp" + TRUSTED)
    assert (status, out) == (6, "")
    assert "expected this device's key to an encrypted package, got none: looked for edge" in err
    status, out, _ = run("verify p.ewp --without-key" + TRUSTED)
    assert status == 0
    assert "no device key here: its members were not looked into" in out
    assert done("verify p.ewp --key device.key" + TRUSTED)["members_checked"] is True


def test_verify_changes_nothing_on_the_device(done):
    done(SEAL + " --golden input.npy --min-counter this")
    before = set(os.listdir("edgeward-keys/trust"))
    done("verify p.ewp --run" + TRUSTED)
    assert set(os.listdir("edgeward-keys/trust")) == before


def damage(path):
    content = bytearray(Path(path).read_bytes())
    content[-1] ^= 1
    Path(path).write_bytes(content)


def wrong_mode():
    os.chmod("edgeward-keys/trust/device.key", 0o644)


def other_root():
    keys.make("other", "ed25519", 1_790_000_000, DAYS)


USE_MISTAKES = {
    "no trust directory": ("predict p.ewp input.npy", None, 5, "edgeward keygen.*--trust"),
    "a directory without a root": (
        "predict p.ewp input.npy --trust .",
        None,
        5,
        r"\./root\.json.*expected this device's trust root",
    ),
    "a key that others can read": (
        "predict p.ewp input.npy" + TRUSTED,
        wrong_mode,
        2,
        "mode 0644: chmod 600 it",
    ),
    "another device's key": (
        "predict p.ewp input.npy --key second.key" + TRUSTED,
        None,
        6,
        "this device is [0-9a-f]{64}: add it with edgeward wrap",
    ),
    "no key": (
        "predict p.ewp input.npy" + TRUSTED,
        lambda: os.unlink("edgeward-keys/trust/device.key"),
        6,
        "expected this device's key, got none: looked for .*device.key",
    ),
    "a publisher's key": (
        "predict p.ewp input.npy --key edgeward-keys/publisher.key" + TRUSTED,
        None,
        6,
        "x25519|edgeward wrap",
    ),
    "no wraps": (
        "predict p.ewp input.npy" + TRUSTED,
        lambda: os.unlink("p.ewk"),
        6,
        r"p\.ewk.*copy it along",
    ),
    "damaged": (
        "verify p.ewp" + TRUSTED,
        lambda: damage("p.ewp"),
        3,
        "chunk 0",
    ),
    "another root": (
        "verify p.ewp --trust other/trust",
        other_root,
        6,
        "expected .*signature|publisher",
    ),
    "no such package": ("verify none.ewp" + TRUSTED, None, 5, r"none\.ewp"),
    "a model": ("verify model.tflite" + TRUSTED, None, 3, "expected a sealed package"),
    "no golden cases": ("verify p.ewp --run" + TRUSTED, None, 2, "seal it with some"),
    "without trust": ("predict model.tflite input.npy" + TRUSTED, None, 2, "--trust|package"),
}


@pytest.mark.parametrize("mistake", USE_MISTAKES)
def test_a_mistake_in_using_a_package_is_a_sentence_that_says_what_to_do(
    run, done, no_device, mistake
):
    line, act, status, says = USE_MISTAKES[mistake]
    done(ENCRYPTED)
    if act:
        act()
    got, out, err = run(line)
    assert (got, out) == (status, "")
    assert re.search(says, err), err
    assert len(err.splitlines()) == 1
