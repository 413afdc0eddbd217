"""Pages of boards: well-formed, of text alone, and with no number that the document lacks."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgeward.reports import board_comparison, board_document, board_file
from edgeward.reports.board_document import MEMORY, TIME
from edgeward.reports.board_page import board_page, comparison_page

FILE = Path(__file__).parents[2] / "benchmarks" / "boards" / "vm-x86-64.json"
HOSTILE = "<script>alert(1)</script>\"'&\x1b\u202e</svg>"
VOID = {"meta", "img", "br"}
NUMBER = re.compile(r"(?<![\w.,-])(-?[\d,]*\.?\d+)(?: (MB/s|ns|us|ms|s|B|kB|MB|GB)|(/s))(?![\w/])")
SCALES = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


class Reader(HTMLParser):
    """Elements that are closed in order, and the text in each kind of them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        assert not {name for name, _ in attributes} & {"src", "href", "onload", "onerror"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)


@pytest.fixture
def document():
    return board_file.read(FILE)


@pytest.fixture
def hostile(document):
    changed = copy.deepcopy(document)
    changed["models"][0]["name"] = HOSTILE
    changed["models"][0]["engine"]["version"] = HOSTILE
    changed["models"][0]["runs"][0]["ways"][0]["name"] = HOSTILE
    changed["machine"]["board"] = HOSTILE
    changed["left_out"] = [{"part": HOSTILE, "reason": HOSTILE}]
    changed["before"]["temperatures_c"] = {HOSTILE: 40.0}
    return changed


def test_a_name_is_text_and_adds_no_element(document, hostile):
    for page in (board_page(hostile), comparison_page({"A": hostile, "B": hostile})):
        reader = Reader(page)
        assert "script" not in reader.elements
        assert any("<script>alert(1)</script>" in text for text in reader.texts)
        assert "\x1b" not in page
        page.encode("utf-8")
    plain = copy.deepcopy(hostile)
    for key in ("board",):
        plain["machine"][key] = "a board"
    assert len(Reader(board_page(plain)).elements) == len(Reader(board_page(hostile)).elements)


def numbers_of(document):
    """What the document holds, in microseconds, bytes and so on, whatever it is called there."""
    measured = {"time": [], "size": [], "rate": []}

    def walk(value, key):
        if isinstance(value, dict):
            for name, item in value.items():
                walk(item, name)
        elif isinstance(value, list):
            for item in value:
                walk(item, key)
        elif isinstance(value, (int, float)):
            unit = key.rpartition("_")[2]
            factor = {"us": 1.0, "ms": 1e3, "s": 1e6}.get(unit)
            measured["time"] += [value * factor] if factor else []
            measured["size"] += [value] if unit == "bytes" else []
            measured["rate"] += [value] if key in ("per_s", "mb_per_s") else []

    walk(document, "")
    assert all(measured.values())
    return measured


def test_each_number_on_the_page_is_in_the_document(document):
    known = numbers_of(document)
    text = "\n".join(Reader(board_page(document)).texts)
    shown = [
        (float(number.replace(",", "")), unit or rate)
        for number, unit, rate in NUMBER.findall(text)
    ]
    assert len(shown) > 80
    for value, unit in shown:
        kind = "rate" if unit.endswith("/s") else "time" if unit in "ns us ms s" else "size"
        plain = value * SCALES.get(unit, 1.0)
        close = [abs(plain - other) <= max(0.006 * abs(other), 0.5) for other in known[kind]]
        assert any(close), (value, unit)
    over = [text for text in Reader(board_page(document)).texts if re.fullmatch(r"\d\.\d\d", text)]
    ratios = [
        ratio["median"]
        for model in document["models"]
        for part in model["runs"]
        for ratio in part["ratios"]
    ]
    loads = [document[moment]["load_average"] for moment in ("before", "after")]
    written = [f"{number:.2f}" for number in [*loads, *ratios]]  # loads look alike below 10
    assert over == [text for text in written if re.fullmatch(r"\d\.\d\d", text)]


def test_each_number_of_the_document_is_on_the_page(document):
    texts = Reader(board_page(document)).texts
    for line in board_document.lines(document):
        assert any(line.text in text for text in texts), line
    assert len(board_document.lines(document)) > 60


def test_each_chart_has_its_unit_and_a_name(document):
    page = board_page(document)
    charts = re.findall(r'<svg [^>]*aria-label="([^"]+)"[^>]*>(.*?)</svg>', page)
    assert len(charts) == page.count("<svg ") >= 10
    units = "us|ns|ms|s|B|kB|MB|GB|MB/s|predictions/s"
    for label, body in charts:
        assert label
        assert re.search(rf", ({units})</text>", body), label


def test_a_comparison_has_each_board_and_each_ratio(document):
    slower = copy.deepcopy(document)
    for model in slower["models"]:
        for part in model["runs"]:
            for way in part["ways"]:
                way["per_call_us"] *= 2.5
    boards = {"A: first": document, "B: second": slower}
    text = "\n".join(Reader(comparison_page(boards)).texts)
    for row in board_comparison.rows(boards):
        assert all(line.text in text for line in row.lines)
        assert all(line.unit in (TIME, MEMORY) or line.value >= 0 for line in row.lines)
    assert "2.50" in text
    assert "B / A" in text
