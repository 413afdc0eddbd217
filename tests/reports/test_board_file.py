"""The file of a board's document: any other file is refused, with what was expected and got."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeward.errors import BadInput
from edgeward.reports import board_file

FILE = Path(__file__).parents[2] / "benchmarks" / "boards" / "vm-x86-64.json"


@pytest.fixture
def document():
    return board_file.read(FILE)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "got a file that is no JSON"),
        (b"[" * 100_000, "got a file that is no JSON"),
        (b"\xff\xfe", "got a file that is no JSON"),
        (b"[]", 'got JSON without "edgeward_board"'),
        (b'{"edgeward": "0.1.0", "runs": []}', 'got JSON without "edgeward_board"'),
        (b'{"edgeward_board": 2}', "of version 1, got version 2"),
        (b'{"edgeward_board": 1}', 'got one without "machine"'),
    ],
    ids=["empty", "deep", "binary", "a list", "of a model", "version", "cut"],
)
def test_another_file_is_refused(tmp_path, content, got):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(BadInput) as failure:
        board_file.read(path)
    assert str(failure.value).startswith(f"{path}: expected a document of edgeward bench --board")
    assert got in str(failure.value)


def test_a_document_that_lacks_any_key_is_refused(tmp_path, document):
    path = tmp_path / "cut.json"
    for key in document:
        path.write_text(json.dumps({name: document[name] for name in document if name != key}))
        with pytest.raises(BadInput, match="expected a document"):
            board_file.read(path)


@pytest.mark.parametrize("value", [3, None, "x", [1], {"a": 1}], ids=repr)
def test_a_document_with_parts_of_other_kinds_is_refused(tmp_path, document, value):
    path = tmp_path / "other.json"
    for key in ("machine", "before", "models", "packages", "left_out", "took_s"):
        path.write_text(json.dumps({**document, key: value}))
        if key == "took_s" and value == 3:
            continue
        with pytest.raises(BadInput, match="expected a document"):
            board_file.read(path)
