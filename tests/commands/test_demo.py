"""`edgeward demo`: the program itself on the shipped digits, and its report on known answers."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
from PIL import Image

from edgeward.captures.drift import Judgement
from edgeward.captures.findings import Finding
from edgeward.captures.verdict import Part
from edgeward.commands import demo
from edgeward.reports.inspection import engine_report
from edgeward.terminal import picture
from edgeward.terminal.picture import Ink

ENGINES = ["litert", "onnx"]
DIGITS = demo.load_digits()


def run_demo(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "edgeward", "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def run_demo_in_terminal(*arguments, columns=80, **environment):
    """The same with a terminal on both streams; what it shows, colours and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")
    }
    with subprocess.Popen(
        [sys.executable, "-m", "edgeward", "demo", *arguments],
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm", "COLORTERM": "", "PYTHONIOENCODING": "utf-8", **environment},
    ) as program:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        os.close(ours)
    assert program.returncode == 0
    return shown.decode()


@pytest.fixture(scope="module")
def reports():
    """What a run on each engine reports."""
    runs = {engine: run_demo("--engine", engine, "--json") for engine in ENGINES}
    assert [done.returncode for done in runs.values()] == [0, 0], runs
    return {engine: json.loads(done.stdout) for engine, done in runs.items()}


@pytest.fixture(scope="module")
def report(reports):
    return reports["litert"]


@pytest.fixture(scope="module")
def piped():
    """A run whose output goes into a pipe."""
    return run_demo()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_shipped_digit_is_read_and_nearly_all_are_read_right(reports, engine):
    report = reports[engine]
    assert report["engine"]["name"] == engine
    assert report["digit_count"] == len(DIGITS.labels) >= 500
    assert report["accuracy"] >= 0.96
    assert report["accuracy"] == report["correct_count"] / report["digit_count"]
    assert report["copies_per_call"] == 0
    package = report["package"]
    assert package["cipher"] == "aes-256-gcm"
    assert package["golden_passed_count"] == package["golden_count"] > 0
    assert report["capture"]["clean"] == []
    assert any('input "image"' in words for words in report["capture"]["noisy"])
    latency = report["latency_us"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert report["throughput_per_s"] > 0
    confusion = np.array(report["confusion"])
    assert confusion.sum(axis=1).tolist() == np.bincount(DIGITS.labels, minlength=10).tolist()
    assert np.trace(confusion) == report["correct_count"]
    assert len(report["mistakes"]) == report["digit_count"] - report["correct_count"]
    for mistake in report["mistakes"]:
        assert mistake["true"] == DIGITS.labels[mistake["index"]] != mistake["predicted"]
        assert mistake["true_score"] <= mistake["score"] <= 1
    scores = [mistake["score"] for mistake in report["mistakes"]]
    assert scores == sorted(scores, reverse=True)


def test_both_engines_make_the_same_mistakes(reports):
    first, second = reports.values()
    assert first["confusion"] == second["confusion"]
    assert first["mistakes"], "no mistake to compare"
    indices = [[mistake["index"] for mistake in run["mistakes"]] for run in (first, second)]
    assert indices[0] == indices[1]


# --- as a person sees it ---------------------------------------------------------------------


def captions(report):
    return [tile.caption for tile in demo.tiles(report, DIGITS)]


def test_a_pipe_gets_plain_text_with_every_caption(report, piped):
    done = piped
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "▀" not in done.stdout
    assert re.search(r"^accuracy +\d\d\.\d %, \d+ of \d+ handwritten digits$", done.stdout, re.M)
    assert re.search(r"^latency +p50 .* µs   p90 .* µs   p99 .* µs   max .* µs$", done.stdout, re.M)
    assert re.search(r"^throughput +[\d,]+ digits per second$", done.stdout, re.M)
    assert re.search(r"^copies +0 per call$", done.stdout, re.M)
    assert re.search(r"^engine +litert [\d.]+ with XNNPACK, 1 thread$", done.stdout, re.M)
    assert captions(report)
    for caption in captions(report)[: demo.SHOWN_MISTAKES]:
        assert caption in done.stdout


def test_a_pipe_gets_no_progress(piped):
    assert "reading digits" not in piped.stderr


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({"COLORTERM": "truecolor"}, r"\x1b\[38;2;"), ({"TERM": "xterm-256color"}, r"\x1b\[38;5;")],
    ids=["truecolor", "palette"],
)
def test_a_terminal_gets_half_blocks_in_its_colours(report, environment, colour):
    shown = run_demo_in_terminal(**environment)
    assert re.search(colour, shown)
    tile_count = min(demo.SHOWN_MISTAKES, len(report["mistakes"]))
    assert shown.count("▀") == tile_count * picture.TILE_COLUMNS * picture.TILE_COLUMNS // 2


def test_a_terminal_without_colour_gets_letters():
    shown = run_demo_in_terminal(COLORTERM="truecolor", NO_COLOR="1")
    assert "▀" not in shown
    assert "\x1b[38" not in shown


def test_a_terminal_gets_progress_to_the_last_digit():
    count = len(DIGITS.labels)
    shown = run_demo_in_terminal()
    assert re.search(rf"reading digits  ━+  {count} of {count}  [\d,]+/s  \d+\.\d\d s\r?\n", shown)


def test_no_line_is_wider_than_the_terminal():
    shown = re.sub("\x1b[^mK]*[mK]", "", run_demo_in_terminal(columns=60, COLORTERM="truecolor"))
    drawn = shown[shown.index("the worst mistakes") :].replace("\r", "").split("\n")
    assert len(drawn) > 10
    assert max(map(len, drawn)) <= 60


# --- the contact sheet -----------------------------------------------------------------------


def test_the_contact_sheet_shows_every_mistake(report, tmp_path):
    path = tmp_path / "mistakes.png"
    done = run_demo("--png", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"all {len(report['mistakes'])} mistakes are in {path}\n")
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("L"))
    tiles = demo.tiles(report, DIGITS)
    assert tiles
    scale = picture.SHEET_TILE // 8
    pitch = picture.SHEET_TILE + picture.SHEET_GAP
    top = picture.SHEET_MARGIN + picture.TITLE_SIZE + picture.SHEET_GAP
    for column, tile in enumerate(tiles[: picture.SHEET_COLUMNS]):
        left = picture.SHEET_MARGIN + column * pitch
        shown = pixels[top : top + picture.SHEET_TILE, left : left + picture.SHEET_TILE]
        assert np.array_equal(shown[scale // 2 :: scale, scale // 2 :: scale], tile.picture)


def test_a_contact_sheet_that_cannot_be_written_is_said(tmp_path):
    path = tmp_path / "none" / "mistakes.png"
    done = run_demo("--png", str(path))
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == f"edgeward: system: {path}: No such file or directory"


# --- the report, from known answers ----------------------------------------------------------


class Answers:
    """Stands for a model in report(): only its engine is asked for."""

    class engine:  # noqa: N801
        name, version, delegate, node_count, fallback_count = "litert", "1.0", "none", 3, -1

    threads = 1


SEALED = demo.Sealed("00" * 32, 90_000, "aes-256-gcm", 20.0, 10.25, 16, 16)
PART = Part("input", "image", "values", "")
FINDINGS = [
    Finding(PART, "shift", 0.5, "now", None, 2.0, [PART], False, f"finding {number}")
    for number in range(5)
]
CAPTURED = demo.Captured(8, True, Judgement([], [], []), Judgement([], FINDINGS, []))


def known_report(labels, predicted, scores):
    rows = np.zeros((len(labels), 10), np.float32)
    rows[np.arange(len(labels)), labels] = 0.1
    rows[np.arange(len(labels)), predicted] = scores
    digits = demo.Digits(np.zeros((len(labels), 8, 8), np.uint8), np.array(labels, np.uint8))
    run = demo.Run(rows, np.arange(1, len(labels) + 1) * 1000, 6)
    return demo.report(Answers, SEALED, digits, run, CAPTURED), digits


def test_mistakes_are_counted_and_sorted_by_their_confidence():
    report, _ = known_report([3, 3, 7, 1], [3, 8, 1, 1], [0.9, 0.4, 0.8, 0.5])
    assert (report["correct_count"], report["digit_count"], report["accuracy"]) == (2, 4, 0.5)
    assert report["copies_per_call"] == 1.5
    assert [(m["index"], m["true"], m["predicted"]) for m in report["mistakes"]] == [
        (2, 7, 1),
        (1, 3, 8),
    ]
    assert report["mistakes"][0]["score"] == pytest.approx(0.8)
    assert report["mistakes"][0]["true_score"] == pytest.approx(0.1)
    assert report["latency_us"] == {"p50": 2.0, "p90": 4.0, "p99": 4.0, "max": 4.0}
    assert report["throughput_per_s"] == pytest.approx(4 / 10e-6)
    assert report["engine"] == engine_report(Answers)
    confusion = {
        (t, p): n for t, row in enumerate(report["confusion"]) for p, n in enumerate(row) if n
    }
    assert confusion == {(3, 3): 1, (3, 8): 1, (7, 1): 1, (1, 1): 1}


def test_the_text_of_a_perfect_run_shows_no_mistakes():
    report, digits = known_report([0, 1], [0, 1], [0.9, 0.9])
    text = demo.text(report, digits, 80, Ink.ASCII)
    assert "100.0 %, 2 of 2 handwritten digits" in text
    assert "package     signed, encrypted (aes-256-gcm) and opened in 10.2 ms\n" in text
    assert "golden      16 of 16 outputs as sealed\n" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "mistakes" not in text
    assert "captures    8 read back, every bit as it was" in text
    assert (
        "drift       none\n"
        "with noise  finding 0\n"
        "            finding 1\n"
        "            finding 2\n"
        "            and 2 more\n"
    ) in text


def test_the_matrix_has_a_row_for_each_true_digit():
    report, digits = known_report([3, 3], [3, 8], [0.9, 0.4])
    lines = demo.text(report, digits, 80, Ink.ASCII).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("predicted"))
    assert lines[start].split()[1:] == list("0123456789")
    rows = [line.removeprefix("true").split() for line in lines[start + 1 : start + 11]]
    assert [row[0] for row in rows] == list("0123456789")
    assert rows[3] == ["3", "·", "·", "·", "1", "·", "·", "·", "·", "1", "·"]
