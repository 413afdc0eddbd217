"""edgeward seal, inspect, verify, resign, wrap, and predict on packages: as a user types them."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from models import onnx_models, tflite_models
from PIL import Image

import edgeward as ew
from edgeward import cli
from edgeward.commands import demo
from edgeward.trust import keys

ROOT = Path(__file__).parents[2]
DAYS = 365


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with a model, samples for it, keys, and a second device's key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEWARD_TRUST", raising=False)
    Path("model.tflite").write_bytes(tflite_models.add((4,)))
    Path("model.onnx").write_bytes(onnx_models.add((4,)))
    np.save("input.npy", np.arange(4, dtype=np.float32))
    np.save("inputs.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    Path("card.md").write_text("# A card")
    Path("labels.txt").write_text("a\nb\n")
    assert cli.main(["keygen"]) == 0
    assert cli.main(["keygen", "--device", "second.key"]) == 0
    return tmp_path


@pytest.fixture
def run(place, typed):
    return typed


@pytest.fixture
def done(place, typed_well):
    return typed_well


SEAL = "seal model.tflite -o p.ewp --name demo --version 1.0"
ENCRYPTED = SEAL + " --encrypt-to edgeward-keys/device.pub"
TRUSTED = " --trust edgeward-keys/trust"


# --- from a bare model to a prediction ---------------------------------------------------------


def test_the_readmes_way_from_a_bare_model_to_a_prediction(tmp_path, monkeypatch, capsys):
    section = (ROOT / "README.md").read_text().split("From a bare model to a package")[1]
    lines = section.split("```sh\n")[1].split("```")[0].splitlines()
    commands = [line.split("#")[0].strip() for line in lines]
    assert 4 <= len(commands) < 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEWARD_TRUST", raising=False)
    Path("model.tflite").write_bytes((demo.DIGITS / "digits.tflite").read_bytes())
    digit = demo.load_digits().pictures[0]
    Image.fromarray((digit * (255 / demo.FULL_INK)).astype(np.uint8)).save("cat.jpg")
    for command in commands:
        assert cli.main(shlex.split(command)[1:]) == 0, command
    shown = capsys.readouterr().out
    assert "encrypted  aes-256-gcm" in shown
    assert re.search(r"scores +float32", shown)


# --- seal --------------------------------------------------------------------------------------


def test_seal_says_what_it_made(done):
    report = done(ENCRYPTED + " second.pub --counter 7")
    package = ew.Package.unverified("p.ewp")
    assert report == {
        "package": "p.ewp",
        "package_id": package.package_id,
        "size_bytes": os.path.getsize("p.ewp"),
        "wraps": "p.ewk",
        "release_counter": 7,
    }
    assert done("inspect p.ewp")["recipients"] == sorted(
        ew.PublicKey.read(key).id.hex() for key in ("edgeward-keys/device.pub", "second.pub")
    )


def test_wraps_lie_beside_a_package_of_any_name(done):
    report = done(ENCRYPTED.replace("p.ewp", "p.v1"))
    assert report["wraps"] == "p.v1.ewk"
    assert os.path.exists("p.v1.ewk")
    done("verify p.v1" + TRUSTED)


def test_every_option_of_seal_comes_out_of_inspect(done):
    done(
        ENCRYPTED + " --golden input.npy --reference inputs.npy --card card.md --labels labels.txt"
        " --counter 9 --min-counter 5 --target linux-aarch64 --bind-to edgeward-keys/device.pub"
        " --not-after 2099-01-31 --cipher chacha20-poly1305 --engine litert"
    )
    report = done("inspect p.ewp")
    assert [member["name"] for member in report["members"]] == [
        "model.tflite",
        "labels.txt",
        "golden.npz",
        "reference.json",
        "card.md",
    ]
    device = ew.PublicKey.read("edgeward-keys/device.pub").id.hex()
    expected = {
        "name": "demo",
        "version": "1.0",
        "release_counter": 9,
        "min_counter": 5,
        "epoch": 0,
        "target": "linux-aarch64",
        "publisher": "default",
        "device_id": device,
        "not_after": "2099-01-31T00:00:00Z",
        "cipher": "chacha20-poly1305",
        "recipients": [device],
        "signers": [ew.PublicKey.read("edgeward-keys/publisher.pub").id.hex()],
    }
    assert {name: report[name] for name in expected} == expected
    (signature,) = report["schema"].values()
    assert signature["inputs"][0]["shape"] == [4]


def test_a_release_that_ends_the_ones_before_it(done):
    done(SEAL + " --counter 9 --min-counter this")
    assert done("inspect p.ewp")["min_counter"] == 9


def test_the_counter_is_the_time_so_that_later_is_higher(done):
    first = done(SEAL)["release_counter"]
    assert done(SEAL)["release_counter"] >= first > 1_700_000_000


@pytest.mark.parametrize(
    ("options", "members"),
    [
        ("", [("model.ort", "onnx")]),
        (" --as-is", [("model.onnx", "onnx")]),
        (" --with-original", [("model.ort", "onnx"), ("original.onnx", "auxiliary")]),
    ],
)
def test_an_onnx_is_sealed_in_three_ways(done, options, members):
    done(SEAL.replace(".tflite", ".onnx") + options)
    found = done("inspect p.ewp")["members"]
    assert [(member["name"], member["type"]) for member in found] == members


def test_a_big_model_shows_progress(run):
    Path("model.tflite").write_bytes(tflite_models.add_constant(np.ones(1 << 20, np.float32)))
    status, _, err = run(SEAL)
    assert status == 0
    assert "sealed bytes" in err or err == ""  # a bar is drawn on terminals alone


SEAL_MISTAKES = [
    ("seal none.tflite -o p.ewp --name a --version 1", 5, r"none\.tflite.*No such file"),
    ("seal card.md -o p.ewp --name a --version 1", 3, "malformed_model"),
    (SEAL.replace("demo", "Demo"), 2, "name"),
    (SEAL.replace("1.0", "'1 0'"), 2, "version"),
    (SEAL.replace("p.ewp", "none/p.ewp"), 5, "none/p.ewp"),
    (SEAL + " --keys none", 2, 'expected a file "none/publisher.key".*edgeward keygen'),
    (SEAL + " --root none.json", 2, 'expected a file "none.json".*edgeward keygen'),
    (SEAL + " --root card.md", 3, 'trust root "card.md"'),
    (SEAL + " --publisher other", 2, 'expected publisher "other" in it, got none'),
    (SEAL + " --key edgeward-keys/root.key", 2, "expected 1 of publisher.*got 0.*--key"),
    (SEAL + " --key second.key", 2, "expected one that signs, got a device's"),
    (SEAL + " --key edgeward-keys/publisher.pub", 2, "expected a private key, got a public one"),
    (SEAL + " --encrypt-to edgeward-keys/publisher.pub", 2, "x25519"),
    (SEAL + " --encrypt-to second.key", 2, "public key"),
    (SEAL + " --encrypt-to none.pub", 5, "none.pub"),
    (SEAL + " --counter 0", 2, "counter: expected 1 to"),
    (SEAL + " --counter -1", 2, "counter: expected 1 to"),
    (SEAL + " --counter 5 --min-counter 6", 2, "counter"),
    (SEAL + " --min-counter last", 2, 'expected 1 to 281474976710655 or "this", got "last"'),
    (SEAL + " --not-after tomorrow", 2, "expected a date such as 2027-01-31"),
    (SEAL + " --golden card.md", 2, r"card\.md"),
    (SEAL + " --golden none.npz", 5, r"none\.npz"),
    (SEAL + " --reference inputs.txt", 2, r'expected .npz or .npy, got ".txt"'),
    (SEAL + " --card none.md", 5, r"none\.md"),
    (SEAL + " --engine onnx", 2, "onnx"),
    (SEAL + " --as-is --with-original", 2, "--with-original: expected without --as-is"),
]


@pytest.mark.parametrize(("line", "status", "says"), SEAL_MISTAKES)
def test_a_mistake_in_sealing_is_a_sentence_and_leaves_no_file(run, line, status, says):
    before = set(os.listdir())
    got, out, err = run(line)
    assert (got, out) == (status, "")
    assert re.search(says, err), err
    assert len(err.splitlines()) == 1
    assert set(os.listdir()) == before


# --- inspect, verify ---------------------------------------------------------------------------


def test_inspect_needs_no_key_and_vouches_for_nothing(run, done):
    done(ENCRYPTED)
    status, out, _ = run("inspect p.ewp")
    assert status == 0
    assert "nobody has vouched for this yet" in out
    os.unlink("p.ewk")
    assert "no readable .ewk file" in run("inspect p.ewp")[1]


def test_verify_says_who_signed_and_what_was_looked_at(run, done):
    done(ENCRYPTED + " --golden inputs.npy")
    status, out, _ = run("verify p.ewp --run" + TRUSTED)
    assert status == 0
    assert "demo 1.0: signed by default, every byte is as it was signed" in out
    assert "golden outputs: 3 of 3 as expected" in out
    report = done("verify p.ewp --run" + TRUSTED)
    assert report["members_checked"] is True
    assert [case["passed"] for case in report["golden"]] == [True] * 3

    os.rename("edgeward-keys/trust/device.key", "device.key")
    status, out, _ = run("verify p.ewp" + TRUSTED)
    assert status == 0
    assert "no device key here: its members were not looked into" in out
    assert done("verify p.ewp --key device.key" + TRUSTED)["members_checked"] is True


def test_outputs_that_the_model_does_not_give_are_not_sealed(run):
    with ew.load_unsigned("model.tflite") as model:
        (name,) = (spec.name for spec in model.outputs)
        given = {spec.name: np.arange(4, dtype=np.float32) for spec in model.inputs}
        right = model.predict(given)
    right[2] += 1
    np.savez("golden.npz", **given, **{name: right})
    status, out, err = run(SEAL + " --golden golden.npz")
    assert (status, out) == (2, "")
    assert "case 0" in err
    assert not os.path.exists("p.ewp")


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
    "a model": ("verify model.tflite" + TRUSTED, None, 3, "expected the magic bytes"),
    "no golden cases": ("verify p.ewp --run" + TRUSTED, None, 2, "seal it with some"),
    "without trust": ("predict model.tflite input.npy" + TRUSTED, None, 2, "--trust|package"),
}


@pytest.mark.parametrize("mistake", USE_MISTAKES)
def test_a_mistake_in_using_a_package_is_a_sentence_that_says_what_to_do(
    run, done, mistake, monkeypatch, tmp_path
):
    line, act, status, says = USE_MISTAKES[mistake]
    done(ENCRYPTED)
    if act:
        act()
    got, out, err = run(line)
    assert (got, out) == (status, "")
    assert re.search(says, err), err
    assert len(err.splitlines()) == 1


# --- resign, wrap ------------------------------------------------------------------------------


def test_resign_changes_who_signed_and_nothing_else(run, done):
    done(ENCRYPTED)
    done("keygen --signing team.key")
    team = ew.PublicKey.read("team.pub").id.hex()
    publisher = ew.PublicKey.read("edgeward-keys/publisher.pub").id.hex()
    before = ew.Package.unverified("p.ewp").package_id

    replaced = done("resign p.ewp -o q.ewp --key team.key")
    assert replaced == {"package": "q.ewp", "package_id": before, "signers": [team]}
    os.rename("p.ewk", "q.ewk")
    status, _, err = run("verify q.ewp" + TRUSTED)
    assert status == 6
    assert "signature" in err

    added = done("resign q.ewp -o q.ewp --key edgeward-keys/publisher.key --add")
    assert added["signers"] == [team, publisher]
    assert done("verify q.ewp" + TRUSTED)["signers"] == [team, publisher]


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
    assert "2020" in err or "time" in err or "until" in err


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("wrap p.ewp", 2, "expected --to or --remove"),
        ("wrap p.ewp --remove second.pub", 2, "expected .*got none|no wrap"),
        ("wrap p.ewp --to edgeward-keys/publisher.pub" + TRUSTED, 2, "x25519"),
        ("wrap p.ewp --to second.pub --key second.key" + TRUSTED, 6, "edgeward wrap"),
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


def test_a_package_that_is_not_encrypted_has_no_devices(run, done):
    done(SEAL)
    status, _, err = run("wrap p.ewp --to second.pub" + TRUSTED)
    assert status == 2
    assert "expected an encrypted package" in err
