"""Tokens and commands wherever a command line takes a key that signs."""

import json

import pytest
from softhsm import House, needs_softhsm

from edgeward import Trust, load
from edgeward.commands import demo

MODEL = demo.DIGITS / "digits.tflite"


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTHSM2_CONF", "")  # put back in the end
    (tmp_path / "house").mkdir()
    return House(tmp_path / "house")


@needs_softhsm
def test_a_house_whose_keys_are_all_in_a_token(tmp_path, house, typed_well, monkeypatch):
    """From the first root to a package that a device runs, and on to the next root."""
    monkeypatch.chdir(tmp_path)
    owner = f"'{house.uri('token=house;object=ed')}'"
    publisher = f"'{house.uri('token=house;object=ec')}'"
    typed_well("keygen keys")
    typed_well(f"root init root.json --key {owner}")
    typed_well(f"root add-key root.json {publisher} --role publisher:default --sign {owner}")
    (tmp_path / "keys/trust/root.json").write_bytes((tmp_path / "root.json").read_bytes())
    report = typed_well(
        f"seal {MODEL} -o 1.ewp --name digits --version 1 --key {publisher} "
        "--root root.json --encrypt-to keys/device.pub"
    )
    assert report["wraps"] == "1.ewk"
    with load("1.ewp", trust=Trust(tmp_path / "keys/trust")) as model:
        assert model.inputs
    resigned = typed_well(f"resign 1.ewp -o 2.ewp --key {publisher} --key {owner}")
    assert len(resigned["signers"]) == 2
    rotated = typed_well(f"root rotate root.json --sign {owner} --add keys/root.key")
    assert len(rotated["roles"]["root"]["keyids"]) == 2
    assert typed_well(f"root revoke root.json keys/root.pub --sign {owner}")["version"] == 4


@needs_softhsm
def test_a_wrong_pin_seals_nothing_and_is_not_repeated(tmp_path, house, typed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    signer = house.uri("token=house;object=ec", "pin-value=4711")
    line = f"seal {MODEL} -o 1.ewp --name digits --version 1 --key '{signer}'"
    status, out, err = typed(f"{line} --json")
    assert status == 2
    assert "4711" not in out + err
    assert json.loads(out)["error"]["code"] == "bad_input"
    assert not (tmp_path / "1.ewp").exists()


def test_a_command_that_fails_seals_nothing(tmp_path, typed, typed_well, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed_well("keygen keys")
    line = f"seal {MODEL} -o 1.ewp --name digits --version 1 --keys keys"
    status, out, err = typed(f"{line} --key 'command:keys/publisher.pub false'")
    assert (status, out) == (5, "")
    assert err.startswith('edgeward: signer_failed: signer "command:keys/publisher.pub false": ')
    assert "expected it to end with status 0, got status 1" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys"]
    status, _, err = typed("root rotate keys/trust/root.json --sign 'command:keys/root.pub false'")
    assert status == 5
    assert sorted(path.name for path in (tmp_path / "keys/trust").iterdir()) == [
        "device.key",
        "root.json",
    ]
