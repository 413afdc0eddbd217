"""Names come from models, packages and captures: no command lets one steer the terminal."""

from __future__ import annotations

import json
import re
import unicodedata

import numpy as np
import pytest
import sealed
import segments
from models.tflite_writer import NONE, Op, Signature, Subgraph, Tensor, model

import edgeward as ew
from edgeward import Contents

# A window title, a cleared screen, C1's own CSI, a right-to-left override, an isolate, a line feed.
TRICKS = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe\u2066\nforged\r\x7f\u2028"
X, Y = f"x{TRICKS}", f"y{TRICKS}"
ONES = np.ones(4, np.float32)
COLOUR = re.compile(r"\x1b\[(38;[25];[\d;]+;48;[25];[\d;]+|0)m")  # what pictures are drawn with


def tricky_model():
    """y = x + x under names that steer a terminal."""
    tensors = [Tensor(name, "float32", (4,)) for name in (X, Y)]
    graph = Subgraph(tensors, [Op("ADD", [X, X], [Y], {"activation": NONE})], [X], [Y])
    return model([graph], [Signature(f"serve{TRICKS}", {X: X}, {Y: Y})])


def steering(text):
    """The characters of `text` that a terminal obeys or reorders by, lines apart."""
    return {
        character
        for character in COLOUR.sub("", text)
        if character != "\n" and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("tricky.tflite").write_bytes(tricky_model())
    np.save("x.npy", ONES)
    segments.write(
        tmp_path / "captures",
        [segments.plain(1, user=TRICKS.encode())],
        described=segments.description(
            [X], [Y], model=f"pair{TRICKS}", version=f"1{TRICKS}", signature=f"serve{TRICKS}"
        ),
    )
    segments.write(tmp_path / "fleet" / f"gate{TRICKS}", [segments.plain(1)])
    with ew.Capture("counted", sample=0.0) as capture, ew.load_unsigned("tricky.tflite") as opened:
        capture.attach(opened, name=f"pair{TRICKS}", version=f"1{TRICKS}")
        opened.predict(ONES)
    return tmp_path


@pytest.fixture
def package(folder):
    """A package whose model, labels, columns and golden cases have such names."""
    sealed.trust_at(folder / "trust")
    name = f"cat{TRICKS}".replace("\n", "")
    columns = {X: [name, "dog", "fox", "owl"]}
    contents = Contents(labels=[name, "dog", "fox", "owl"], columns=columns)
    return sealed.seal(folder / "tricky.ewp", contents=contents, model=tricky_model())


def require_calm(run, line, status=0, lines=None):
    """Each stream shows the name, quoted, on as many lines as it would have without tricks."""
    got, out, err = run(line)
    assert got == status, err
    assert steering(out + err) == set()
    assert "owned" in out + err, "the name does not show at all"
    assert not any(shown.startswith("forged") for shown in out.splitlines()), "a forged line"
    if lines is not None:
        assert len((out + err).splitlines()) == lines


def test_a_model_that_is_inspected(folder, typed):
    require_calm(typed, "inspect tricky.tflite")


def test_a_model_that_is_run(folder, typed):
    require_calm(typed, "predict tricky.tflite x.npy")


def test_a_package_that_is_inspected(package, typed):
    require_calm(typed, "inspect tricky.ewp")


@pytest.mark.parametrize("step", ["ls", "show"])
def test_captures_that_are_looked_at(step, folder, typed):
    require_calm(typed, f"captures {step} captures")


@pytest.mark.parametrize("step", ["ls", "show"])
def test_captures_below_a_directory_of_a_device(step, folder, typed):
    require_calm(typed, f"captures {step} fleet")


def test_statistics_that_are_looked_at(folder, typed):
    require_calm(typed, "captures stats counted")


def test_files_that_are_named_after_a_model(folder, typed):
    require_calm(typed, "captures export captures --to jsonl -o out", lines=2)


@pytest.mark.parametrize(
    "line",
    [
        f"predict tricky.tflite 'no{TRICKS}such=x.npy'",
        f"predict tricky.tflite x.npy --signature 'no{TRICKS}such'",
        f"inspect 'no{TRICKS}such.tflite'",
        f"captures ls 'no{TRICKS}such'",
        f"captures ls captures '--no{TRICKS}such'",
    ],
    ids=["input", "signature", "file", "directory", "option"],
)
def test_a_message_that_quotes_a_name_is_one_line(line, folder, typed):
    status, out, err = typed(line)
    assert status in (2, 5)
    assert out == ""
    assert steering(err) == set()
    assert "owned" in err
    assert len(err.splitlines()) == 1


def test_a_message_about_a_model_of_such_names(folder, typed):
    np.save("long.npy", np.ones(5, np.float32))
    require_calm(typed, "predict tricky.tflite long.npy", status=2, lines=1)


def test_documents_keep_the_names(folder, typed, typed_well):
    """What steers a terminal is data for a program: JSON spells it, and gives it back whole."""
    (record,) = typed_well("captures show captures")["records"]
    assert record["model"] == f"pair{TRICKS}"
    assert list(record["inputs"]) == [X]
    status, out, _ = typed("captures show captures --json")
    assert status == 0
    assert steering(out) == set()
    assert json.loads(out)["records"][0]["version"] == f"1{TRICKS}"
