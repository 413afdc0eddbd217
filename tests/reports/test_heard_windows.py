"""Windows of a sound as lines, and from when to when a label is the best."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgeward.errors import BadInput
from edgeward.reports.heard_windows import HeardWindow, report, spans, stacked, text
from edgeward.terminal.spectrogram import Span

SCORES = SimpleNamespace(name="scores", dtype="float32", quantization=None)
OTHER = SimpleNamespace(name="levels", dtype="float32", quantization=None)
SIGNATURE = SimpleNamespace(outputs=[OTHER, SCORES])


def window(begin_s, scores, levels=(1.0, 2.0, 3.0, 4.0, 5.0)):
    outputs = {"scores": np.array([scores], np.float32), "levels": np.array(levels, np.float32)}
    return HeardWindow(begin_s, begin_s + 1, outputs)


WINDOWS = [window(0, [0.5, 0.25]), window(0.5, [0.75, 0.25]), window(1, [0, 1]), window(10, [1, 0])]


def test_a_line_has_the_time_and_the_best():
    assert text(WINDOWS, SIGNATURE, ["dog", "cat"], "a.wav", "=").splitlines() == [
        "a.wav, 4 windows of 1 s",
        "",
        "levels  float32 [5]",
        *(f"  {at}  1 2 3 4 ..." for at in (" 0.00 s", " 0.50 s", " 1.00 s", "10.00 s")),
        "",
        "scores  float32 [1, 2]",
        "   0.00 s  dog  0.5000  ==========",
        "   0.50 s  dog  0.7500  ===============",
        "   1.00 s  cat  1.0000  ====================",
        "  10.00 s  dog  1.0000  ====================",
    ]
    mixed = [WINDOWS[0], window(1, [2, 0])]
    assert text(mixed, SIGNATURE, ["dog", "cat"], "a.wav", "=").splitlines()[-2:] == [
        "  0.00 s  dog  0.5000  ==========", "  1.00 s  dog  2",
    ]  # fmt: skip
    lines = text(WINDOWS[:1], SIGNATURE, (), "a.wav", "=").splitlines()
    assert (lines[0], lines[-1]) == ("a.wav, 1 window of 1 s", "  0.00 s  0  0.5000  ==========")


def test_a_label_is_heard_until_another_is():
    assert spans(WINDOWS, SIGNATURE, ["dog", "cat"]) == [
        Span("dog", 0, 1), Span("cat", 1, 10), Span("dog", 10, 11),
    ]  # fmt: skip
    assert spans(WINDOWS, SIGNATURE, ()) == []


def test_the_document_has_every_window():
    documents = report(WINDOWS, SIGNATURE, ["dog", "cat"])
    assert [document["begin_s"] for document in documents] == [0, 0.5, 1, 10]
    assert documents[2]["outputs"]["scores"]["best"][0]["label"] == "cat"


def test_outputs_of_many_shapes_are_not_stacked():
    assert stacked(WINDOWS)["scores"].shape == (4, 1, 2)
    with pytest.raises(BadInput, match=r'output "levels": .*, got \[1\] and \[5\]'):
        stacked([WINDOWS[0], window(1, [0, 1], [7.0])])
