"""PipeFile: an export goes into what reads it while it is written."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import segments
from exported import table_of

pytestmark = pytest.mark.usefixtures("runs_beside")

TABLES = ("parquet", "arrow", "npz")
FORMS = (*TABLES, "jsonl")


def export(output, form="jsonl", **options):
    words = ["captures", "export", "captures", "--to", form, "-o", output]
    return subprocess.run([sys.executable, "-m", "edgeward", *words], **options)


def sequences(form, content):
    if form == "jsonl":
        events = [json.loads(line)["eventMetadata"]["eventId"] for line in content.splitlines()]
        return [int(event[-12:], 16) for event in events]
    if form == "npz":
        with np.load(io.BytesIO(content)) as archive:
            return archive["sequence"].tolist()
    return table_of(content).column("sequence").to_pylist()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("output", ["-", "/dev/stdout"])
def test_an_export_goes_into_a_pipe(form, output, directory):
    segments.write(directory, [segments.plain(sequence) for sequence in (1, 2)])
    child = export(output, form, capture_output=True)
    assert (child.returncode, child.stderr) == (0, b"")
    assert sequences(form, child.stdout) == [1, 2]


def test_standard_output_may_be_a_file(directory):
    segments.write(directory, [segments.plain(1)])
    with open("out", "wb") as file:
        assert export("/dev/stdout", "npz", stdout=file).returncode == 0
    assert sequences("npz", Path("out").read_bytes()) == [1]


@pytest.mark.parametrize("form", FORMS)
def test_an_export_goes_into_a_named_pipe(form, directory, typed_well):
    segments.write(directory, [segments.plain(1)])
    os.mkfifo("pipe")
    with ThreadPoolExecutor() as pool:
        content = pool.submit(Path("pipe").read_bytes)
        report = typed_well(f"captures export captures --to {form} -o pipe")
        assert sequences(form, content.result()) == [1]
    assert report == {"record_count": 1, "format": form, "files": ["pipe"]}


def test_a_pipe_takes_the_lines_of_all_models(directory):
    segments.write(directory, [segments.plain(1)])
    described = segments.description(model="yard")
    segments.write(directory, [segments.shaped(1, (7,))], number=2, ring_id=2, described=described)
    child = export("-", capture_output=True, check=True)
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    assert [line["eventMetadata"]["modelName"] for line in lines] == ["pair", "yard"]


@pytest.mark.parametrize("form", TABLES)
def test_a_pipe_holds_one_table(form, directory):
    segments.write(directory, [segments.plain(1), segments.shaped(2, (7,))])
    child = export("-", form, capture_output=True)
    assert child.returncode == 2
    assert b"one shape" in child.stderr


@pytest.mark.parametrize("form", FORMS)
def test_a_terminal_gets_no_file(form, directory):
    segments.write(directory, [segments.plain(1)])
    ours, theirs = os.openpty()
    try:
        child = export("-", form, stdout=theirs, stderr=subprocess.PIPE)
    finally:
        os.close(ours)
        os.close(theirs)
    assert child.returncode == 2
    assert b"got a terminal" in child.stderr


@pytest.mark.parametrize("form", FORMS)
def test_a_reader_that_has_enough_is_no_error(form, directory):
    segments.write(directory, [segments.shaped(n, (50_000,)) for n in range(1, 6)])
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        child = export("-", form, stdout=theirs, stderr=subprocess.PIPE)
    finally:
        os.close(theirs)
    assert (child.returncode, child.stderr) == (141, b"")


def test_what_is_gathered_for_an_archive_is_removed(directory, tmp_path, monkeypatch):
    segments.write(directory, [segments.plain(1)])
    monkeypatch.setenv("TMPDIR", str(tmp_path / "drafts"))
    Path("drafts").mkdir()
    assert export("-", "npz", capture_output=True).returncode == 0
    assert os.listdir("drafts") == []
