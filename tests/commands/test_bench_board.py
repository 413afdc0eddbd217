"""`edgeward bench --board`: whole, and where much of what it wants is missing; judges no time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sealed
from models import tflite_models

from edgeward.commands.bench_board import subjects
from edgeward.engines.processors import doubling_counts, usable_cpus
from edgeward.measuring import capturing, opening
from edgeward.reports import board_document, board_page


def run_board(*arguments: object, before=(), **surroundings) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "edgeward", "bench", "--board", "--seconds", "0.01"]
    command += map(str, arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, **surroundings)


@pytest.fixture
def model(tmp_path):
    """Of a name that would be markup."""
    path = tmp_path / "hostile<b>&.tflite"
    path.write_bytes(tflite_models.sum_product())
    return path


def test_every_part_is_measured_or_named_with_its_reason(model, tmp_path):
    package = sealed.seal(tmp_path / "demo.ewp")
    trust = sealed.trust_at(tmp_path / "trust").directory
    output = tmp_path / "board.json"
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(bytes(64))
    done = run_board(
        broken,
        model,
        package,
        "--trust",
        trust,
        "--json",
        "-o",
        output,
        "--html",
        tmp_path / "a.html",
    )
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert json.loads(output.read_text()) == document
    assert (tmp_path / "a.html").read_text() == board_page.board_page(document)
    assert document[board_document.KIND] == board_document.VERSION
    by_name = {part["name"]: part for part in document["models"]}
    assert by_name.keys() == {"digits.tflite", "digits.onnx", model.name, "demo.ewp"}
    (absent,) = document["left_out"]
    assert absent["part"] == broken.name
    assert absent["reason"].startswith("malformed_model: ")
    assert str(tmp_path) not in done.stdout
    counts = doubling_counts(usable_cpus())
    for name, part in by_name.items():
        assert [threads["threads"] for threads in part["runs"]] == counts
        assert [added["name"] for added in part["capture"]["additions"]] == list(capturing.KINDS)
        assert part["start"]["answer_ms"] > 0
        is_bare = name != "demo.ewp"
        assert all(bool(threads["ratios"]) for threads in part["runs"])
        ours = [way["is_ours"] for way in part["runs"][0]["ways"]]
        assert (False in ours) == is_bare
    assert {(o["cipher"], o["threads"]) for o in document["packages"]} == {
        (cipher, threads) for cipher in opening.CIPHERS for threads in counts
    }
    assert document["machine"]["kernel"] == os.uname().release
    assert done.stderr.splitlines()
    assert all(line.startswith("bench: ") for line in done.stderr.splitlines())


# Without /sys and onnxruntime, without a right of root's, on one processor.
BARE_SHELL = """
mount -t tmpfs none "$1" && mount -t tmpfs none /sys && shift &&
exec setpriv --bounding-set=-all --inh-caps=-all taskset -c "$@"
"""


def test_much_is_missing_and_the_rest_is_measured(tmp_path):
    onnx = importlib.util.find_spec("onnxruntime")
    assert onnx is not None
    probed = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if probed.returncode != 0:
        pytest.skip("needs a mount namespace")
    shut = tmp_path / "shut"
    shut.mkdir(0o555)
    first = str(min(os.sched_getaffinity(0)))
    hidden = os.path.dirname(str(onnx.origin))
    shell = ["unshare", "--mount", "sh", "-ec", BARE_SHELL, "sh", hidden, first]
    done = run_board("--json", before=shell, cwd=shut)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [part["name"] for part in document["models"]] == ["digits.tflite"]
    (absent,) = document["left_out"]
    assert absent["part"] == "digits.onnx"
    assert absent["reason"].startswith("engine_missing: engine onnx: onnxruntime is not installed")
    assert document["machine"]["usable_cpus"] == 1
    assert all(core["capacity"] is None for core in document["machine"]["cores"])
    assert list(shut.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--vs"], "--vs: expected another form, got --board"),
        (["--threads", "2"], "--threads: expected another form, got --board"),
        (["missing.tflite"], "missing.tflite: No such file or directory"),
        (["-o", "no/folder.json"], "no: No such file or directory"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_refused_before_the_minutes(words, complaint, tmp_path):
    done = run_board(*words, cwd=tmp_path)
    assert done.returncode in (2, 5)
    assert complaint in done.stderr
    assert "bench: " not in done.stderr.replace("edgeward: bad_input: bench: ", "")


@pytest.mark.parametrize("words", [["-o", "a.json"], ["--html", "a.html"], ["a", "b"], []])
def test_what_only_a_board_has_is_refused_for_a_model(words, tmp_path):
    (tmp_path / "a").write_bytes(tflite_models.add())
    command = [sys.executable, "-m", "edgeward", "bench", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "bad_input" in done.stderr


def test_models_of_one_name_are_told_apart(tmp_path):
    paths = [tmp_path / folder / "digits.tflite" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    names = [subject.name for subject in subjects([str(path) for path in paths])]
    assert names == ["digits.tflite", "digits.onnx", "digits.tflite (2)", "digits.tflite (3)"]
    assert Path(subjects([])[0].path).is_file()
