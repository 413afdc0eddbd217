"""benchmarks/BOARDS.md says what the files of boards say, and each file is such a document."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import boards

from edgeward.reports import board_report

DOCUMENTS = boards.documents()


def test_the_page_is_drawn_from_the_files():
    assert DOCUMENTS
    assert boards.FILE.read_text() == boards.page(DOCUMENTS)


def test_each_file_is_shown_whole():
    for document in DOCUMENTS.values():
        assert board_report.text(document)


def test_a_number_of_the_table_is_one_of_its_file():
    (name, document), *_ = DOCUMENTS.items()
    changed = copy.deepcopy(document)
    changed["models"][0]["load"]["first_run_ms"] = 123.4
    assert "| 123 ms |" in boards.page({name: changed})
    changed["models"] = []
    assert f"| {board_report.NONE} |" in boards.page({name: changed})
