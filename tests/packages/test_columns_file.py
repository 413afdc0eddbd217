"""columns.json: bytes and back, and damaged in every way."""

import json

import pytest

from edgeward.errors import MalformedPackage
from edgeward.packages import columns_file

COLUMNS = {"a": ("temperature", "ü", "", "d"), "p": ("e", "f", "g", "h")}


def test_bytes_and_back():
    assert columns_file.from_bytes(columns_file.to_bytes(COLUMNS), "here") == COLUMNS


def refused(data):
    try:
        columns_file.from_bytes(data, "package")
    except MalformedPackage as refusal:
        return str(refusal).startswith("package: columns.json: expected")
    return False


def test_bytes_that_are_cut_or_changed_do_no_harm():
    data = columns_file.to_bytes(COLUMNS)
    assert all(refused(data[:size]) for size in range(len(data)))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed))


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"version": 2, "columns": {}}, {"version": 1, "columns": []},
        {"version": 1, "columns": {"a": "names"}}, {"version": 1, "columns": {"a": [1]}},
        {"version": 1, "columns": {"a": ["b", "b"]}}, {"version": 1, "columns": {"a": {"b": 1}}},
        {"version": 1, "columns": {}, "more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_other_documents_are_refused(document):
    assert refused(json.dumps(document).encode())


def test_documents_that_are_too_large_or_deep_are_refused():
    assert refused(b"[" * 100_000)
    assert refused(columns_file.to_bytes({"a": [f"{index:>20}" for index in range(60_000)]}))
