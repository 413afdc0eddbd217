"""Redact: what is left out of records is nowhere, and what is left is what the rules say."""

from __future__ import annotations

import base64
import hmac
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
from models import onnx_models
from programs import comes_true

import edgeward as ew
from edgeward import cli
from edgeward.captures import redact, rings, rules

KEY = bytes(range(32))
FACES = redact.Boxes(
    "boxes", order="yxyx", unit="normalised", scores="scores", least=0.5, count="count"
)
FACE = [0.25, 0.5, 0.5, 1.0]  # rows 4 to 8, columns 8 to 16 of an image of 16
NAN = float("nan")
CANARY = b"canary-in-a-face"  # of the 16 bytes of a row


def image(seed=1, shape=(1, 16, 16, 3)):
    return np.random.default_rng(seed).integers(1, 256, shape, np.uint8)


def detect(model, picture, boxes, scores=None, count=None, badge=7):
    """Runs the detector, which finds these boxes."""
    boxes = np.array(boxes, np.float32).reshape(1, -1, 4)
    number = boxes.shape[1]
    model.predict(
        image=picture,
        wanted_boxes=boxes,
        wanted_scores=np.array([scores or [1.0] * number], np.float32),
        wanted_count=np.array([number if count is None else count], np.float32),
        badge=np.array([badge], np.int64),
    )


def recorded(directory, rules, picture, boxes=(FACE,), **detected):
    """The one record of a run of the detector."""
    with ew.Capture(directory, redact=rules) as capture:
        model = ew.load_unsigned(onnx_models.detector(picture.shape), capture=capture)
        detect(model, picture, boxes, **detected)
    (record,) = ew.read_captures(directory)
    return record


def without(picture, rows, columns):
    changed = picture.copy()
    changed[:, rows, columns] = 0
    return changed


# --- what is left --------------------------------------------------------------------------------


def test_the_pixels_in_a_box_are_blank_and_no_others(directory):
    picture = image()
    record = recorded(directory, [redact.blank("image", FACES)], picture)
    expected = without(picture, slice(4, 8), slice(8, 16))
    np.testing.assert_array_equal(record.inputs["image"], expected)
    np.testing.assert_array_equal(record.outputs["boxes"], [[np.float32(FACE)]])


def test_only_the_pixels_in_a_box_are_kept(directory):
    picture = image()
    record = recorded(directory, [redact.keep_regions("image", FACES)], picture)
    expected = np.zeros_like(picture)
    expected[:, 4:8, 8:16] = picture[:, 4:8, 8:16]
    np.testing.assert_array_equal(record.inputs["image"], expected)


def test_a_margin_is_left_out_too(directory):
    picture = image()
    record = recorded(directory, [redact.blank("image", FACES, margin=0.25)], picture)
    expected = without(picture, slice(3, 9), slice(6, 16))
    np.testing.assert_array_equal(record.inputs["image"], expected)


def test_a_box_below_the_least_score_or_behind_the_count_is_kept(directory):
    picture, other = image(), [0, 0, 0.125, 0.125]
    record = recorded(
        directory, [redact.blank("image", FACES)], picture, [FACE, other, [NAN] * 4],
        scores=[0.5, 0.25, 0.9], count=2,
    )  # fmt: skip
    expected = without(picture, slice(4, 8), slice(8, 16))
    np.testing.assert_array_equal(record.inputs["image"], expected)


@pytest.mark.parametrize("rule", [redact.blank, redact.keep_regions])
@pytest.mark.parametrize(
    "detected",
    [
        {"boxes": [[NAN, 0, 1, 1]]},
        {"boxes": [FACE, [0, 0, float("inf"), 1]]},
        {"boxes": [[1, 1, 0, 0]]},
        {"boxes": [FACE], "scores": [NAN]},
        {"boxes": [FACE], "count": -1},
        {"boxes": [FACE] * 1025},
    ],
    ids=["nan", "infinite", "inverted", "score", "count", "too many"],
)
def test_all_is_blank_when_boxes_cannot_be_read(directory, rule, detected):
    record = recorded(directory, [rule("image", FACES)], image(), **detected)
    assert record.inputs["image"].shape == (1, 16, 16, 3)
    assert not record.inputs["image"].any()


@pytest.mark.parametrize("shape", [(1, 4), (1, 1, 4), (1, 1, 1, 4)], ids=len)
def test_boxes_have_two_to_four_dimensions(directory, shape):
    boxes = redact.Boxes("boxes", order="xyxy", unit="pixels")
    picture = image(shape=(16, 16))
    with ew.Capture(directory, redact=[redact.blank("image", boxes)]) as capture:
        model = ew.load_unsigned(onnx_models.detector((16, 16), shape), capture=capture)
        model.predict(
            image=picture,
            wanted_boxes=np.array([1, 2, 3, 4], np.float32).reshape(shape),
            wanted_scores=np.ones(shape[:-1], np.float32),
            wanted_count=np.ones(16, np.float32),
            badge=np.zeros(1, np.int64),
        )
    (record,) = ew.read_captures(directory)
    expected = picture.copy()
    expected[2:4, 1:3] = 0
    np.testing.assert_array_equal(record.inputs["image"], expected)


def test_an_image_is_thinned_behind_its_boxes(directory):
    picture = image()
    thinned = [redact.downsample("image", 4), redact.blank("image", FACES)]
    record = recorded(directory, thinned, picture)
    expected = without(picture, slice(4, 8), slice(8, 16))[:, ::4, ::4]
    np.testing.assert_array_equal(record.inputs["image"], expected)


def test_the_first_are_kept_along_an_axis(directory):
    record = recorded(directory, [redact.first("image", 5, axis=1)], image())
    np.testing.assert_array_equal(record.inputs["image"], image()[:, :5])


def test_a_hash_is_the_hmac_of_the_bytes(directory):
    record = recorded(directory, [redact.hash("badge", KEY)], image(), badge=1234)
    expected = hmac.digest(KEY, np.array([1234], np.int64).tobytes(), "sha256")
    assert record.inputs["badge"].tobytes() == expected
    assert record.dtypes["inputs", "badge"] == "uint8"


def test_what_is_dropped_is_in_no_record_and_in_the_statistics(directory):
    with ew.Capture(directory, redact=[redact.drop("badge"), redact.hash("seen", KEY)]) as capture:
        model = ew.load_unsigned(onnx_models.detector(), capture=capture)
        detect(model, image(), [FACE], badge=4321)
        (statistics,) = model.statistics.values()
    (record,) = ew.read_captures(directory)
    assert "badge" not in record.inputs
    rows = {row["name"]: row["parts"][0] for row in statistics.report()["tensors"]}
    assert (rows["badge"]["finite_count"], rows["badge"]["max"]) == (1, 4321)
    assert (rows["seen"]["finite_count"], rows["seen"]["max"]) == (0, 0)


# --- it is told ----------------------------------------------------------------------------------


def test_a_record_says_what_was_left_out_and_never_the_key(directory, capsys):
    wanted = [redact.blank("image", FACES, margin=0.1), redact.hash("badge", KEY)]
    record = recorded(directory, wanted, image())
    boxes = {"output": "boxes", "order": "yxyx", "unit": "normalised", "scores": "scores",
             "least": 0.5, "count": "count"}  # fmt: skip
    assert record.redact == (
        {"rule": "blank", "tensor": "image", "boxes": boxes, "margin": 0.1},
        {"rule": "hash", "tensor": "badge"},
    )
    assert cli.main(["captures", "show", str(directory), "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["records"]
    assert shown["redact"] == list(record.redact)
    assert cli.main(["captures", "show", str(directory)]) == 0
    text = capsys.readouterr().out
    assert 'redact    blank image {"boxes": {"output": "boxes"' in text
    assert "redact    hash badge\n" in text


# --- it is nowhere -------------------------------------------------------------------------------

BADGE = 0x7972616E61632121
SECRETS = {"image": CANARY[8:], "badge": BADGE.to_bytes(8, "little")}  # half a row lies in FACE
LEFT_OUT = {
    "blank": [redact.blank("image", FACES), redact.hash("badge", KEY), redact.hash("seen", KEY)],
    "drop": [redact.drop("image"), redact.drop("badge"), redact.drop("seen")],
    "nothing": [],
}


def detect_secrets(model, count):
    """Runs the detector on an image with a canary in each row of the box, and a badge."""
    picture = np.full((1, 3, 16, 16), 5, np.uint8)
    picture[:, :, 4:8] = np.frombuffer(CANARY, np.uint8)
    for _ in range(count):
        detect(model, picture, [FACE], badge=BADGE)


def secrets_in(octets):
    return [name for name, secret in SECRETS.items() if secret in octets]


def octets_below(folder):
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert paths
    return b"".join(path.read_bytes() for path in paths)


def exported(target, form):
    """All values in an export, and whatever else is there."""
    octets = octets_below(target.parent)
    if form == "jsonl":
        payloads = re.findall(rb'"data": "([^"]*)"', octets)
        assert payloads
        return octets + b"".join(map(base64.b64decode, payloads))
    if form != "parquet":
        return octets
    from pyarrow import parquet

    columns = parquet.read_table(target).columns
    chunks = [chunk for column in columns for chunk in column.chunks]
    return octets + b"".join(bytes(part) for chunk in chunks for part in chunk.buffers() if part)


@pytest.mark.parametrize(
    ("case", "secrets"), [("blank", []), ("drop", []), ("nothing", list(SECRETS))]
)
def test_a_canary_is_in_no_ring_and_no_segment(directory, tmp_path, case, secrets):
    options = {"sample": rules.every(3), "pre_roll": 1, "post_roll": 1, "statistics": False}
    with ew.Capture(directory, redact=LEFT_OUT[case], **options) as capture:
        model = ew.load_unsigned(onnx_models.detector((1, 3, 16, 16)), capture=capture)
        detect_secrets(model, 5)
        assert secrets_in(octets_below(os.environ["EDGEWARD_RINGS"])) == secrets
    assert secrets_in(octets_below(directory)) == secrets


@pytest.mark.parametrize("form", ["parquet", "arrow", "npz", "jsonl"])
@pytest.mark.parametrize(("case", "secrets"), [("blank", []), ("nothing", list(SECRETS))])
def test_a_canary_is_in_no_export(directory, tmp_path, form, case, secrets):
    if form in ("parquet", "arrow"):
        pytest.importorskip("pyarrow")
    with ew.Capture(directory, redact=LEFT_OUT[case]) as capture:
        detect_secrets(ew.load_unsigned(onnx_models.detector((1, 3, 16, 16)), capture=capture), 1)
    target = tmp_path / "export" / form
    target.parent.mkdir()
    assert cli.main(["captures", "export", str(directory), "--to", form, "-o", str(target)]) == 0
    assert secrets_in(exported(target, form)) == secrets


@pytest.mark.parametrize(("case", "secrets"), [("blank", []), ("nothing", list(SECRETS))])
def test_a_canary_is_in_no_core_dump_of_the_process_that_drains(directory, tmp_path, case, secrets):
    if shutil.which("gcore") is None:
        pytest.skip("gcore, which dumps another process's memory, is not installed")
    command = [sys.executable, "-m", "edgeward", "captures", "drain", str(directory), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as drain:
        try:
            lock = Path(rings.directory_of(directory)) / "drain.lock"
            assert comes_true(lambda: lock.is_file() and lock.stat().st_size > 0)
            with ew.Capture(directory, redact=LEFT_OUT[case], statistics=False) as capture:
                model = ew.load_unsigned(onnx_models.detector((1, 3, 16, 16)), capture=capture)
                detect_secrets(model, 20)
                assert comes_true(lambda: len(list(ew.read_captures(directory))) == 20)
                dumped = subprocess.run(
                    ["gcore", "-o", str(tmp_path / "core"), str(drain.pid)],
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
        finally:
            drain.send_signal(signal.SIGINT)
    cores = list(tmp_path.glob("core.*"))
    if not cores:
        pytest.skip(f"gcore may not dump the process: {dumped.stderr.strip()[-200:]}")
    assert secrets_in(cores[0].read_bytes()) == secrets


# --- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (redact.drop("pictures"), ["redact", "pictures"]),
        (redact.blank("badge", FACES), ["badge", "layout"]),
        (redact.blank("image", FACES, layout="nchww"), ["image", "nchww"]),
        (redact.blank("image", FACES, margin=-1), ["margin", "-1"]),
        (redact.keep_regions("image", redact.Boxes("size", order="xyxy", unit="pixels")),
         ["size", "2 to 4 dimensions"]),
        (redact.first("badge", 1, axis=1), ["badge", "axis"]),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_fit_the_model_is_refused_when_it_is_attached(directory, rule, words):
    with ew.Capture(directory, redact=[rule]) as capture:
        with pytest.raises(ew.BadInput) as refusal:
            ew.load_unsigned(onnx_models.detector(), capture=capture)
        assert all(word in str(refusal.value) for word in words)
        assert capture.counters["committed"] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: redact.downsample("image", 1),
        lambda: redact.downsample("image", 1 << 63),
        lambda: redact.first("image", 0),
        lambda: redact.first("image", 1 << 63),
        lambda: redact.first("image", 1, axis=1 << 63),
        lambda: redact.hash("badge", b"short"),
        lambda: redact.hash("badge", "a text of thirty-two characters."),
        lambda: redact.Boxes("boxes", order="xywh", unit="pixels"),
        lambda: redact.Boxes("boxes", order="xyxy", unit="metres"),
        lambda: redact.Boxes("boxes", order="xyxy", unit="pixels", among=[1 << 63]),
    ],
)
def test_a_rule_that_means_nothing_is_refused_when_it_is_written(make):
    with pytest.raises(ew.BadInput):
        make()


def test_the_key_is_not_shown():
    assert KEY.hex() not in repr(vars(redact)) + repr(redact.hash("badge", KEY))
    assert "key" not in redact.hash("badge", KEY).report()
