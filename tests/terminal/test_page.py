"""Pages: one file that loads nothing, in which every name is text."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from edgeward.terminal.page import Section, page
from edgeward.terminal.picture import Tile
from edgeward.terminal.plot import Plot, Text

PICTURE = np.zeros((8, 8), np.uint8)
NAMES = [
    "<script>alert(1)</script>",
    "\" onerror='alert(1)",
    "</title><img src=x>",
    "a & b",
    "\x1b[31m\u202egnp.exe\0",
    "ho\ud800st",
    "{0} {title}",
]


class Reader(HTMLParser):
    """The elements of a page, what they load, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.sources, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, tuple(name for name, _ in attributes)))
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def written(name):
    plot = Plot(9, 9, [Text(1, 2, name)])
    tiles = [Tile(PICTURE, name), Tile(PICTURE, name)]
    sections = [Section(name, [name], tiles, [[name], [name]], [plot])]
    return page(name, sections)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_adds_no_element_and_loads_nothing(name):
    reader = Reader(written(name))
    assert reader.elements == Reader(written("plain")).elements
    assert len(reader.sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    written(name).encode()


def test_a_name_is_there_as_it_was():
    texts = Reader(written("a & <b>")).texts
    assert texts.count("a & <b>") == 9  # two titles, heading, line, two captions, two cells, a plot
