"""Cursor: an hourly job exports each record once, whatever comes late, is open, or fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import segments
from kills import each_kill
from models import tflite_models

import edgeward as ew
from edgeward import cli
from edgeward.commands import captures_export

pytestmark = pytest.mark.usefixtures("runs_beside")


def exported(typed_well, number):
    """The sequence numbers that the `number`th hourly job writes."""
    report = typed_well(f"captures export captures --to npz -o out{number}.npz --since cursor")
    return [int(value) for path in report["files"] for value in np.load(path)["sequence"]]


def test_an_hourly_job_exports_each_record_once(directory, typed_well):
    segments.write(directory, [segments.plain(sequence) for sequence in (1, 2, 3)], number=1)
    assert exported(typed_well, 1) == [1, 2, 3]
    segments.write(directory, [segments.plain(sequence) for sequence in (4, 5)], number=2)
    assert exported(typed_well, 2) == [4, 5]
    assert exported(typed_well, 3) == []


def unfinished(head, frames):
    """A segment with these frames, without an end."""
    whole = segments.segment(head, frames)
    return whole[: whole.rindex(b"EWF2", 0, whole.rindex(b"EWF2"))]


def test_an_open_segment_is_exported_as_far_as_it_goes(directory, typed_well):
    path = segments.write(directory, [segments.plain(sequence) for sequence in (1, 2, 3, 4)])
    whole = path.read_bytes()
    path.unlink()
    part = path.with_suffix(".open")
    head, frames = segments.frames(whole)
    part.write_bytes(unfinished(head, frames[:3]))
    assert exported(typed_well, 1) == [1, 2]
    part.unlink()
    path.write_bytes(whole)
    assert exported(typed_well, 2) == [3, 4]


def test_what_a_device_sends_late_is_not_missed(directory, typed_well):
    segments.write(directory / "gate", [segments.plain(5)], number=5)
    assert exported(typed_well, 1) == [5]
    segments.write(directory / "yard", [segments.plain(1)], number=1, ring_id=2)
    assert exported(typed_well, 2) == [1]


def test_a_job_that_failed_exports_the_same_again(directory, typed, typed_well):
    segments.write(directory, [segments.plain(1)])
    status, _, err = typed("captures export captures --to npz -o no/out.npz --since cursor")
    assert status == 5, err
    assert exported(typed_well, 1) == [1]


def test_a_segment_that_was_read_as_a_whole_is_not_opened_again(directory, typed_well):
    path = segments.write(directory, [segments.plain(1)])
    assert exported(typed_well, 1) == [1]
    path.write_bytes(b"noise")
    assert exported(typed_well, 2) == []


def test_a_segment_that_came_in_parts_is_read_again(directory, typed_well):
    path = segments.write(directory, [segments.plain(sequence) for sequence in (1, 2, 3)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    first = exported(typed_well, 1)
    path.write_bytes(whole)
    assert first + exported(typed_well, 2) == [1, 2, 3]
    assert 0 < len(first) < 3


def test_records_of_several_rings_in_an_open_segment(directory, typed_well):
    path = segments.write(directory, [segments.plain(1), segments.plain(2)])
    head, frames = segments.frames(path.read_bytes())
    other = [frame._replace(ring_id=2) for frame in frames]
    path.unlink()
    part = path.with_suffix(".open")
    part.write_bytes(unfinished(head, [*frames[:2], *other]))
    assert exported(typed_well, 1) == [1, 1, 2]
    part.write_bytes(unfinished(head, [*frames[:2], *other, frames[2]]))
    assert exported(typed_well, 2) == [2]


def test_one_segment_in_two_folders_is_exported_once(directory, typed_well):
    path = segments.write(directory / "gate", [segments.plain(1)])
    (directory / "backup").mkdir()
    (directory / "backup" / path.name).write_bytes(path.read_bytes())
    assert exported(typed_well, 1) == [1]


def test_a_cursor_that_cannot_be_replaced_leaves_no_export(directory, typed):
    segments.write(directory, [segments.plain(1)])
    status, _, err = typed("captures export captures --to npz -o out.npz --since /proc/self/cursor")
    assert status == 5, err
    assert os.listdir(directory.parent) == ["captures"]


def test_a_job_that_fails_midway_exports_the_same_again(directory, typed, typed_well):
    """Its last segment is damaged so that it is no segment, until it has been sent again."""
    segments.write(directory, [segments.plain(1)], number=1)
    path = segments.write(directory, [segments.plain(2)], number=2)
    whole = path.read_bytes()
    path.write_bytes(b"noise" * 100)
    status, _, err = typed("captures export captures --to npz -o out.npz --since cursor")
    assert (status, os.listdir(directory.parent)) == (3, ["captures"]), err
    path.write_bytes(whole)
    assert exported(typed_well, 1) == [1, 2]


@pytest.mark.parametrize("form", ["parquet", "arrow", "npz", "jsonl"])
def test_a_pipe_that_nobody_reads_is_not_noted(form, directory):
    segments.write(directory, [segments.plain(1)])
    words = ["captures", "export", "captures", "--to", form, "-o", "-", "--since", "cursor"]
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        child = subprocess.run([sys.executable, "-m", "edgeward", *words], stdout=theirs)
    finally:
        os.close(theirs)
    assert child.returncode == 141
    assert not Path("cursor").exists()


def test_nothing_new_is_no_error_and_no_file(directory, typed, typed_well):
    segments.write(directory, [segments.plain(1)])
    assert exported(typed_well, 1) == [1]
    status, out, _ = typed("captures export captures --to parquet -o late --since cursor")
    assert (status, out) == (0, "0 records\n")
    assert sorted(os.listdir(directory.parent)) == ["captures", "cursor", "out1.npz"]


def test_a_cursor_is_of_one_choice_of_models(directory, typed, typed_well):
    segments.write(directory, [segments.plain(1)])
    assert exported(typed_well, 1) == [1]
    line = "captures export captures --to npz -o out.npz --since cursor --model pair"
    status, _, err = typed(line)
    assert (status, "expected one of --model pair, got one of all models" in err) == (2, True)


def test_records_of_another_model_are_passed_over_for_good(directory, typed_well):
    segments.write(directory, [segments.plain(1)])
    report = typed_well("captures export captures --to npz -o out --since cursor --model other")
    assert (report["record_count"], report["files"]) == (0, [])
    assert list(json.loads(Path("cursor").read_text())["segments"].values()) == [True]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '"cursor"',
        '{"version": 2, "model": null, "segments": {}}',
        '{"version": 1, "model": null, "segments": []}',
        '{"version": 1, "model": null, "segments": {"a": 1}}',
        '{"version": 1, "model": null, "segments": {"a": false}}',
        '{"version": 1, "model": null, "segments": {"a": {"b": "c"}}}',
        '{"version": 1, "model": null, "segments": {}, "windows": []}',
        '{"version": 1, "model": null, "segments": {}, "windows": {"a": "b"}}',
        '{"version": 1, "model": null, "segments": {}, "windows": {"a": [1]}}',
    ],
    ids=lambda content: content[:60],
)
def test_something_else_is_no_cursor(content, directory, typed):
    segments.write(directory, [segments.plain(1)])
    Path("cursor").write_text(content)
    status, _, err = typed("captures export captures --to npz -o out.npz --since cursor")
    assert (status, 'cursor "cursor": expected' in err) == (2, True), err
    assert Path("cursor").read_text() == content
    assert not Path("out.npz").exists()


def test_a_job_keeps_what_else_a_cursor_has(directory, typed_well):
    segments.write(directory, [segments.plain(1)])
    Path("cursor").write_text(
        '{"version": 1, "model": null, "segments": {}, "windows": {"gate": ["ab"]}}'
    )
    assert exported(typed_well, 1) == [1]
    assert ew.Cursor("cursor").has_window("gate", "ab")
    assert not ew.Cursor("cursor").has_window("", "ab")
    Path("cursor").write_text('{"version": 1, "model": null, "segments": {}}')
    assert not ew.Cursor("cursor").has_window("gate", "ab")


def test_a_running_program_and_a_job_beside_it(directory, typed_well):
    """Every record once, while segments are open and sealed under the job."""
    jobs = []
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory, segment_bytes=8192) as capture, model:
        capture.attach(model, name="pair")
        for number in range(6):
            for value in range(7):
                model.predict(a=np.full(4, value, np.float32), b=np.ones(4, np.float32))
            assert capture.flush()
            jobs.append(exported(typed_well, number))
    jobs.append(exported(typed_well, 6))
    assert [sequence for job in jobs for sequence in job] == list(range(1, 43))
    assert [len(job) for job in jobs] == [7] * 6 + [0]


@pytest.mark.campaign
def test_a_job_that_is_killed_has_noted_only_what_is_there(directory):
    """Killed before and after each call into C, until it ends by itself."""
    segments.write(directory, [segments.plain(1)])
    line = ["captures", "export", "captures", "--to", "jsonl", "-o", "out", "--since", "cursor"]
    args = cli.parser(line).parse_args(line)
    captures_export.run(args)  # loads what it needs
    Path("cursor").unlink()
    shutil.rmtree("out")
    outcomes = []
    for _ in each_kill(lambda: captures_export.run(args)):
        written = [path.read_text() for path in Path("out").rglob("*.jsonl")]
        assert all(text.endswith("\n") and json.loads(text) for text in written)
        is_noted = Path("cursor").exists()
        assert not is_noted or written
        outcomes.append((is_noted, bool(written)))
        Path("cursor").unlink(missing_ok=True)
        shutil.rmtree("out", ignore_errors=True)
    assert {(False, False), (False, True), (True, True)} <= set(outcomes)
