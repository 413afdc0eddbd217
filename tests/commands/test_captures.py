"""edgeward captures: what a program captured, listed, shown, exported, counted and recovered."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sealed
from models import tflite_models

import edgeward as ew
from edgeward.captures import rules

ONES = np.ones(4, np.float32)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A directory whose `captures` holds five inferences, the last kept for a reason."""
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    monkeypatch.chdir(tmp_path)
    capture("captures", range(5), when=rules.above("s", 4.5) | rules.every(1))
    return tmp_path


def capture(directory, values, **options):
    with ew.Capture(directory, **options) as capture:
        model = ew.load_unsigned(tflite_models.sum_product())
        capture.attach(model, name="pair", version="1.0")
        for value in values:
            model.predict(a=np.full(4, value, np.float32), b=ONES)


def test_ls_tells_what_is_there_and_what_was_lost(run, done):
    report = done("captures ls captures")
    assert report["record_count"] == 5
    (segment,) = report["segments"]
    assert (segment["state"], segment["models"]) == ("sealed", ["pair 1.0"])
    (ring,) = report["rings"]
    assert (ring["committed"], ring["lost_full"]) == (5, 0)
    _, out, _ = run("captures ls captures")
    assert re.search(r"\.ewc .* 5 records .* sealed +pair 1\.0\n", out)
    assert "5 committed, 0 lost to full rings" in out


def test_json_may_stand_before_the_step_or_after_it(run):
    before, after = (run(f"captures {words} captures") for words in ("--json ls", "ls --json"))
    assert json.loads(before[1]) == json.loads(after[1])


def test_show_shows_the_last_ones(run, done):
    (last,) = done("captures show captures")["records"]
    assert last["inputs"]["a"]["values"] == [4.0] * 4
    assert last["reasons"] == ["sampled", "predicate"]
    two = done("captures show captures --last 2")["records"]
    assert [record["sequence"] for record in two] == [4, 5]
    assert done("captures show captures --last 9 --reason predicate")["records"] == [last]
    assert done("captures show captures --model other")["records"] == []
    _, out, _ = run("captures show captures")
    assert re.search(r"^pair 1\.0, \d{4}-.* sampled, predicate, number 5 of ring\s+", out)
    assert re.search(r"^output +s +float32 \[4\] +5  5  5  5$", out, re.M)


@pytest.mark.parametrize("form", ["parquet", "arrow", "npz"])
def test_export_writes_a_file_and_leaves_no_draft(done, workplace, form):
    if form != "npz":
        pytest.importorskip("pyarrow")
    report = done(f"captures export captures --to {form} -o out.{form}")
    assert report == {"record_count": 5, "format": form, "files": [f"out.{form}"]}
    assert [path.name for path in workplace.glob("*out*")] == [f"out.{form}"]


def test_export_as_edge_manager_did(done, workplace):
    report = done("captures export captures --to jsonl -o out --fleet yard --device gate")
    (path,) = report["files"]
    assert path.startswith("out/yard/pair/")
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert [line["eventMetadata"]["deviceId"] for line in lines] == ["gate"] * 5


def test_stats_cover_every_inference(run, done):
    (entry,) = done("captures stats captures")["statistics"]
    assert (entry["model"], entry["version"], entry["run_count"]) == ("pair", "1.0", 5)
    assert entry["latency_ns"]["p50"] <= entry["latency_ns"]["max"]
    row = entry["tensors"][0]
    part = row["parts"][0]
    assert (row["side"], row["name"], part["name"], part["mean"]) == ("input", "a", "0", 2.0)
    assert sum(part["counts"]) == 5
    _, out, _ = run("captures stats captures")
    assert "pair 1.0, serving_default: 5 inferences" in out


def test_a_segment_that_was_left_open_is_recovered(run, done):
    (path,) = Path("captures").glob("*.ewc")
    left = path.with_suffix(".open")
    path.rename(left)
    os.truncate(left, left.stat().st_size - 100)
    assert "open" in run("captures ls captures")[1]
    (segment,) = done("captures recover captures")["recovered"]
    assert segment["path"] == str(path)
    assert segment["lost_bytes"] > 0
    assert len(list(ew.read_captures("captures"))) == 5
    assert run("captures recover captures")[1] == "nothing to recover\n"


KILLED = """
import os, signal
import numpy as np, edgeward as ew
from models import tflite_models
capture = ew.Capture("killed")
model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
ones = np.ones(4, np.float32)
for _ in range(30):
    model.predict(a=ones, b=ones)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_drain_finds_what_a_killed_program_left(run, done, workplace):
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": tests}
    child = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    assert child.returncode == -signal.SIGKILL
    report = done("captures drain killed")
    assert report["complaint"] == ""
    assert len(list(ew.read_captures("killed"))) == 30
    assert done("captures ls killed")["waiting_rings"] == []


@pytest.fixture
def small_disk(workplace):
    disk = Path("small")
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_with_too_little_free_leaves_records_in_memory(run, done, small_disk):
    other = small_disk / "other"
    other.write_bytes(bytes(3_900_000))  # a tenth of the disk is 419,430 bytes
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": tests}
    program = KILLED.replace('"killed"', '"small/killed"')
    child = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert child.returncode == -signal.SIGKILL
    status, out, _ = run("captures drain small/killed")
    assert status == 1
    assert "0 records brought" in out
    assert "expected 419430 bytes free (least_free_bytes)" in out
    other.unlink()
    report = done("captures drain small/killed")
    assert (report["records"], report["evicted_records"], report["complaint"]) == (30, 0, "")
    assert len(list(ew.read_captures("small/killed"))) == 30


def test_what_had_no_room_for_a_ring_is_known_after_the_end(done, small_disk, monkeypatch):
    (small_disk / "other").write_bytes(bytes(4_000_000))
    monkeypatch.setenv("EDGEWARD_RINGS", str(small_disk.resolve()))
    capture = ew.Capture("roomless", ring_bytes=1 << 16)
    model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
    model.predict(a=ONES, b=ONES)
    says = capture.complaint
    assert "expected 262144 bytes for a ring" in says
    assert "smaller" not in says
    capture.close()
    assert capture.complaint == says
    assert capture.counters["lost_full"] == 1


def test_whoever_drains_is_left_alone(run):
    with ew.Capture("captures") as running:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=running)
        model.predict(a=np.ones(4, np.float32), b=np.ones(4, np.float32))
        assert running.flush()
        for step in ("drain", "recover"):
            status, out, err = run(f"captures {step} captures")
            assert (status, out) == (2, "")
            assert "captures" in err


def test_what_was_captured_for_somebody_else_needs_their_key(run, done, workplace):
    capture("secret", [1], encrypt_to=sealed.DEVICE.public)
    sealed.DEVICE.write("device.key")
    status, _, err = run("captures show secret")
    assert status == 6
    assert "private key" in err
    assert len(done("captures show secret --key device.key")["records"]) == 1
    assert "encrypted" in run("captures ls secret")[1]


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("captures ls nowhere", 5, "nowhere"),
        ("captures show captures --last 0", 2, '--last: expected 1 to 1000000, got "0"'),
        ("captures export captures --to parquet -o captures", 2, "expected no such file yet"),
        ("captures export captures --to xml -o out", 2, "invalid choice"),
        ("captures export captures --to npz -o nowhere/out.npz", 5, "nowhere"),
        ("captures stats captures --against none.ewp", 5, "none.ewp|root.json"),
    ],
)
def test_a_mistake_is_a_sentence(run, workplace, line, status, says):
    before = set(os.listdir())
    got, out, err = run(line)
    assert (got, out) == (status, "")
    assert re.search(says, err), err
    assert len(err.splitlines()) == 1
    assert set(os.listdir()) == before


def test_something_that_is_no_segment_is_named(run, workplace):
    shutil.copy(__file__, "captures/noise.ewc")
    status, _, err = run("captures show captures")
    assert status == 3
    assert "noise.ewc" in err
    assert "damaged" in run("captures ls captures")[1]
