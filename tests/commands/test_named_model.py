"""Packages and bare models, as commands that run a model take them."""

import shutil
from pathlib import Path

import pytest

from edgeward import Trust
from edgeward.commands import demo

SEAL = "seal model.tflite -o demo.ewp --name demo --version 1.0 --counter 5 --min-counter this"


@pytest.fixture
def package(done):
    """A package with labels for the four values that its model gives."""
    Path("four.txt").write_text("north\neast\nsouth\n" + "w" * 50 + "\n")
    return done(f"{SEAL} --labels four.txt")


@pytest.mark.usefixtures("package")
def test_predict_names_the_scores(run, done):
    report = done("predict demo.ewp input.npy --trust edgeward-keys/trust")
    assert report["package"]["name"] == "demo"
    assert report["outputs"]["y"]["best"][:2] == [
        {"index": 3, "label": "w" * 50, "score": 6.0}, {"index": 2, "label": "south", "score": 4.0},
    ]  # fmt: skip
    _, out, _ = run("predict demo.ewp input.npy --trust edgeward-keys/trust")
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["w" * 30 + "..", "6"], ["south", "4"], ["east", "2"], ["north", "0"],
    ]  # fmt: skip
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("line", [SEAL, "predict model.tflite input.npy"])
def test_labels_of_another_number_are_refused(run, line):
    Path("two.txt").write_text("a\nb\n")
    status, _, err = run(f"{line} --labels two.txt")
    assert (status, err) == (
        2,
        "edgeward: bad_input: labels: expected one for each score of an output, "
        '"y" has 4, got 2 labels\n',
    )
    assert not Path("demo.ewp").exists()


@pytest.mark.usefixtures("package")
def test_inspect_opens_a_package_only_when_it_is_told_to(run, done):
    assert "engine" not in done("inspect demo.ewp")
    report = done("inspect demo.ewp --run --trust edgeward-keys/trust")
    assert report["engine"]["name"]
    assert report["signatures"] == report["schema"]
    _, out, _ = run("inspect demo.ewp --run --trust edgeward-keys/trust")
    assert f"engine  {report['engine']['name']} " in out
    assert Trust("edgeward-keys/trust").floors() == {}
    status, _, err = run("inspect demo.ewp --trust edgeward-keys/trust")
    assert (status, err) == (
        2,
        "edgeward: bad_input: demo.ewp: expected --run with --trust or --key, got none\n",
    )


@pytest.mark.usefixtures("package")
def test_a_package_is_verified_before_it_is_run(run):
    content = bytearray(Path("demo.ewp").read_bytes())
    content[-1] ^= 1
    Path("changed.ewp").write_bytes(content)
    for line in ("predict changed.ewp input.npy", "inspect changed.ewp --run", "bench changed.ewp"):
        status, _, err = run(f"{line} --trust edgeward-keys/trust")
        assert (status, "malformed_package" in err) == (3, True)
        status, _, err = run(f"{line} --trust nowhere")
        assert status == 5


@pytest.mark.parametrize("line", ["predict model.tflite input.npy", "inspect model.tflite"])
def test_a_bare_model_has_no_trust(run, line):
    status, _, err = run(f"{line} --trust edgeward-keys/trust")
    assert status == 2
    assert "model.tflite: expected a package with --trust or --key, got a bare model" in err


@pytest.mark.usefixtures("package")
def test_the_demo_takes_no_model_of_other_things(run):
    status, _, err = run("demo demo.ewp --trust edgeward-keys/trust")
    assert status == 2
    assert "demo.ewp: expected a model of digits, from float32 [1, 8, 8, 1] to float32" in err


def test_the_demo_reads_digits_with_a_package(run, done):
    shutil.copy(demo.DIGITS / "digits.tflite", "digits.tflite")
    done("seal digits.tflite -o digits.ewp --name digits --version 1.0 --counter 9")
    report = done("demo digits.ewp --trust edgeward-keys/trust")
    assert report["accuracy"] > 0.96
    assert report["package"]["cipher"] == "none"
    assert report["capture"]["clean"] is None
    assert Trust("edgeward-keys/trust").floors() == {}
    status, _, err = run("demo --trust edgeward-keys/trust")
    assert (status, "expected a package with them, got none" in err) == (2, True)
