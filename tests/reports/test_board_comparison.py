"""Boards beside each other: which lines, which ratios, and which files are refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeward.reports import board_comparison, board_document, board_file

FILE = Path(__file__).parents[2] / "benchmarks" / "boards" / "vm-x86-64.json"


@pytest.fixture
def document():
    return board_file.read(FILE)


def test_a_ratio_is_to_the_first(document):
    other = copy.deepcopy(document)
    other["models"][0]["load"]["first_run_ms"] *= 3
    other["packages"][0]["mb_per_s"] /= 2
    rows = board_comparison.rows({"A: a": document, "B: b": other, "C: c": document})
    ratios = {row.lines[0][:3]: row.ratios for row in rows}
    name = document["models"][0]["name"]
    assert ratios[name, board_document.LOAD, "first run"] == pytest.approx([3, 1])
    opening = next(ratio for key, ratio in ratios.items() if key[0] == board_document.PACKAGES)
    assert opening == pytest.approx([0.5, 1])
    assert len(rows) == len(board_document.lines(document))


def test_a_difference_and_a_ratio_have_no_ratio(document):
    rows = board_comparison.rows({"A: a": document, "B: b": document})
    kinds = [row for row in rows if row.title == board_document.CAPTURE]
    kinds += [row for row in rows if board_document.OVER in row.title]
    assert len(kinds) > 6
    assert all(row.ratios == [None] for row in kinds)


def test_what_one_board_lacks_is_named(document):
    less = copy.deepcopy(document)
    gone = less["models"].pop()["name"]
    boards = {"A: a": document, "B: b": less}
    assert all(row.part != gone for row in board_comparison.rows(boards))
    lone = board_comparison.lone_rows(boards)
    assert lone
    assert all(name.startswith(gone) and owners == "A" for name, owners in lone)
    assert gone in board_comparison.text(boards)


def test_one_file_is_no_comparison():
    with pytest.raises(board_comparison.BadInput, match="at least 2 files, got 1"):
        board_comparison.read([FILE])


def test_letters_go_on_behind_z():
    assert [board_comparison.letter(index) for index in (0, 25, 26, 52)] == ["A", "Z", "AA", "BA"]


def test_the_command_writes_text_json_and_a_page(tmp_path):
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "edgeward", "bench", "--compare", str(FILE), str(FILE)]
    done = subprocess.run([*command, "--html", page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "B / A" in done.stdout
    assert page.read_text().startswith("<!DOCTYPE html>")
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert json.loads(done.stdout)["edgeward_board_comparison"] == 1
    done = subprocess.run([*command, "--vs"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--vs: expected another form, got --compare" in done.stderr
