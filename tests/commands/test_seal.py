"""edgeward seal: from a bare model to a package, as a publisher types it."""

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from models import tflite_models
from PIL import Image
from sealed import DAY_S, NOW_S

import edgeward as ew
from edgeward import cli
from edgeward.commands import demo

ROOT = Path(__file__).parents[2]
SEAL = "seal model.tflite -o p.ewp --name demo --version 1.0"
ENCRYPTED = SEAL + " --encrypt-to edgeward-keys/device.pub"
TRUSTED = " --trust edgeward-keys/trust"
YEAR_S = 365 * DAY_S


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


def test_every_option_of_seal_comes_out_of_inspect(run, done):
    status, _, err = run(
        ENCRYPTED + " --golden input.npy --reference inputs.npy --card card.md --labels labels.txt"
        " --columns columns.txt"
        " --counter 9 --min-counter 5 --target linux-aarch64 --bind-to edgeward-keys/device.pub"
        " --not-after 2099-01-31 --cipher chacha20-poly1305 --engine litert"
    )
    assert (status, err.count("\n")) == (0, 1)
    assert "warning: reference: expected a calibration set of at least 1,000 samples, got 3" in err
    report = done("inspect p.ewp")
    assert [member["name"] for member in report["members"]] == [
        "model.tflite",
        "labels.txt",
        "columns.json",
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


def test_inspect_says_what_a_reference_can_tell(run, done):
    generator = np.random.default_rng(3)
    np.save("many.npy", generator.normal(size=(1_000, 4)).astype(np.float32))
    done(SEAL + " --reference many.npy")
    report = done("inspect p.ewp")["reference"]
    assert report["sample_count"] == 1_000
    assert report["shortcomings"] == []
    shifts = [shift["deviations"] for shift in report["least_shifts"]]
    assert 0.1 < shifts[-1] < shifts[0] < 1.5
    assert re.search(r"^  1,000 inferences +0\.\d\d deviations$", run("inspect p.ewp")[1], re.M)
    assert run(SEAL + " --overwrite --reference inputs.npy")[0] == 0
    out = run("inspect p.ewp")[1]
    assert "reference of 3 samples\n  note: expected a calibration set of at least 1,000" in out
    assert done("verify p.ewp --trust edgeward-keys/trust")["reference"]["least_shifts"] == []


def test_names_of_columns_are_lines_or_a_list_for_each_tensor(run, done):
    done(SEAL + " --columns columns.txt")
    assert done("inspect p.ewp")["columns"] == {"x": ["a", "b", "c", "d"]}
    assert re.search(r"columns\n  x +a, b, c, d\n", run("inspect p.ewp")[1])
    Path("columns.json").write_text(json.dumps({"x": list("efgh"), "y": list("ijkl")}))
    done(SEAL + " --overwrite --columns columns.json")
    assert done("inspect p.ewp")["columns"] == {"x": list("efgh"), "y": list("ijkl")}
    done(ENCRYPTED + " --overwrite --columns columns.txt")
    assert done("inspect p.ewp")["columns"] is None
    assert done("verify p.ewp --trust edgeward-keys/trust")["columns"] == {"x": list("abcd")}


@pytest.mark.parametrize("content", ["[]", "{", '{"x": 3}', "null", '{"y": ["a"]}', "[" * 100_000])
def test_names_of_columns_that_are_none_are_refused(run, content):
    Path("columns.json").write_text(content)
    status, _, err = run(SEAL + " --columns columns.json")
    assert (status, err.count("\n")) == (2, 1)
    assert "columns" in err
    assert not os.path.exists("p.ewp")


def test_lines_name_the_columns_of_a_model_with_one_input(run):
    Path("pair.tflite").write_bytes(tflite_models.sum_product())
    status, _, err = run(SEAL.replace("model", "pair") + " --columns columns.txt")
    assert status == 2
    assert "model with 2 inputs" in err


def test_a_release_that_ends_the_ones_before_it(done):
    done(SEAL + " --counter 9 --min-counter this")
    assert done("inspect p.ewp")["min_counter"] == 9


@pytest.mark.parametrize(
    ("clock_s", "is_refused"),
    [
        (0, True),
        (NOW_S - DAY_S - 1, True),
        (NOW_S - DAY_S, False),  # of another machine than the root's
        (NOW_S + YEAR_S - 1, False),
        (NOW_S + YEAR_S, True),
        (NOW_S + 10 * YEAR_S, True),
    ],
)
def test_a_clock_that_is_plainly_wrong_seals_nothing(run, clock, clock_s, is_refused):
    """Without --any-clock: devices would judge by the time that it says."""
    assert run("keygen there --days 365")[0] == 0
    clock(clock_s)
    counted = SEAL + " --keys there --counter 1"
    status, _, err = run(counted)
    if is_refused:
        assert (status, Path("p.ewp").exists()) == (2, False)
        assert "clock: expected a time within" in err
        assert "2033-05-18T03:33:20Z to 2034-05-18T" in err
        assert run(counted + " --any-clock")[0] == 0
    else:
        assert (status, err) == (0, "")


def test_a_release_whose_day_is_past_is_not_sealed(run, done):
    line = SEAL + " --not-after 2020-01-31"
    status, _, err = run(line)
    assert (status, Path("p.ewp").exists()) == (2, False)
    assert "--not-after: expected a time after now" in err
    assert "got 2020-01-31T00:00:00Z: no device would load it" in err
    done(line + " --expired")
    assert run("verify p.ewp" + TRUSTED)[0] == 6


@pytest.mark.parametrize("name", ["p.ewp", "p.ewk"])
def test_a_file_that_is_there_is_not_replaced(run, done, name):
    Path(name).write_bytes(b"mine")
    status, _, err = run(ENCRYPTED)
    assert status == 2
    assert f"{name}: expected a name that no file has" in err
    assert [path.read_bytes() for path in Path().glob("p.ew*")] == [b"mine"]
    done(ENCRYPTED + " --overwrite")
    assert Path(name).read_bytes() != b"mine"


def test_one_release_is_not_sealed_twice(run, done):
    """Beside OUT, where a publisher keeps its packages; another target or counter is another."""
    done(SEAL + " --counter 7")
    Path("damaged.ewp").write_bytes(Path("p.ewp").read_bytes()[:100])
    again = SEAL.replace("p.ewp", "q.ewp") + " --counter 7"
    status, _, err = run(again)
    assert (status, Path("q.ewp").exists()) == (2, False)
    assert "got demo 1.0 with counter 7 as in p.ewp" in err
    assert run(SEAL + " --counter 7 --overwrite")[0] == 2
    for index, other in enumerate(
        [" --counter 8", " --target linux-other", " --name demo-2", " --version 1.1", " --again"]
    ):
        done(again.replace("q.ewp", f"q{index}.ewp") + other)
    done(SEAL + " --counter 7 --overwrite --again")


def test_the_counter_is_the_time_so_that_later_is_higher(done):
    first = done(SEAL)["release_counter"]
    assert done(SEAL + " --overwrite")["release_counter"] > first > 1_700_000_000


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
    sealed = done("inspect p.ewp")["members"]
    assert [(member["name"], member["type"]) for member in sealed] == members


def test_a_big_model_shows_progress(run):
    Path("model.tflite").write_bytes(tflite_models.add_constant(np.ones(1 << 20, np.float32)))
    status, _, err = run(SEAL)
    assert status == 0
    assert "sealed bytes" in err or err == ""  # a bar is drawn on terminals alone


SEAL_MISTAKES = [
    ("seal none.tflite -o p.ewp --name a --version 1", 5, r"none\.tflite.*No such file"),
    ("seal card.md -o p.ewp --name a --version 1", 3, "malformed_model"),
    (SEAL.replace("demo", ".demo"), 2, "name: expected 1 to 64 characters of A-Z a-z 0-9"),
    (SEAL + " --target Linux-arm", 2, "target: expected 1 to 32 characters of a-z 0-9"),
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


def test_outputs_that_the_model_does_not_give_are_not_sealed(run):
    with ew.load_unsigned("model.tflite") as model:
        (name,) = (spec.name for spec in model.outputs)
        inputs = {spec.name: np.arange(4, dtype=np.float32) for spec in model.inputs}
        right = model.predict(inputs)
    right[2] += 1
    np.savez("golden.npz", **inputs, **{name: right})
    status, out, err = run(SEAL + " --golden golden.npz")
    assert (status, out) == (2, "")
    assert "case 0" in err
    assert not os.path.exists("p.ewp")
