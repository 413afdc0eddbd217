"""benchmarks/RESULTS.md is what results.py draws of its own rows, and no row is lost on the way."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import results
from results import HEADER, SUMMARY, Row

ROWS = results.rows_of(results.FILE.read_text())
OLD = Row("size", "2 MB", "", "2026-01-02", "abc", "`python benchmarks/run.py`", "a board")
NEW = OLD._replace(number="1 MB", date="2026-01-03")


def test_the_page_is_drawn_from_its_rows():
    assert len(ROWS) >= 150
    assert results.page(ROWS) == results.FILE.read_text()


def test_each_question_of_the_summary_has_an_answer():
    assert SUMMARY
    assert {what for _, what in SUMMARY} <= {row.what for row in ROWS}


def test_the_latest_row_comes_first_and_none_is_lost():
    text = results.page([OLD, NEW])
    assert results.rows_of(text) == [NEW, OLD]
    assert text.count(HEADER) == len(results.SUBJECTS)


def test_a_row_without_a_subject_is_refused():
    with pytest.raises(ValueError, match="expected a command of a subject"):
        results.page([OLD._replace(command="`date`")])


@pytest.mark.parametrize(
    ("printed", "parts"),
    [
        ("1.078, 0.50 to 2.24, limit 1.10 holds", ("1.078, 0.50 to 2.24", "1.10: holds")),
        ("299 ns, limit 152 does not hold", ("299 ns", "152: does not hold")),
        ("0 bytes, limit 1024; 0 descriptors; holds", ("0 bytes", "1024; 0 descriptors: holds")),
        ("40 ms", ("40 ms", "")),
    ],
)
def test_a_number_is_parted_from_its_budget(printed, parts):
    assert results.parted(printed) == parts
