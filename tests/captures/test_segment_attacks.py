"""Encrypted segments that somebody without any key changed: never whole, and told apart by name.

The attacker has the file and docs/capture-format.md, makes every CRC and the footer fit, and puts
the result in the file's place. The reader has the key.
"""

from __future__ import annotations

import numpy as np
import pytest
import sealed
import segments
from models import tflite_models
from segments import BLOCK, COUNTERS

import edgeward as ew
from edgeward.captures.segments import segment_report

ONES = np.ones(4, np.float32)


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    monkeypatch.chdir(tmp_path)
    sealed.DEVICE.write("device.key")
    return tmp_path / "captures"


@pytest.fixture
def secret(directory):
    """Makes an encrypted segment: three records each of the models "door" and "yard"."""

    def written(name="captures"):
        with ew.Capture(directory.with_name(name), encrypt_to=sealed.DEVICE.public) as capture:
            for model_name, offset in (("door", 0), ("yard", 100)):
                with ew.load_unsigned(tflite_models.sum_product()) as model:
                    capture.attach(model, name=model_name, version="1")
                    for value in range(3):
                        model.predict(a=np.full(4, value + offset, np.float32), b=ONES)
        (path,) = directory.with_name(name).glob("*.ewc")
        return path

    return written


def indices_of(frames, kind):
    """Where in the segment the frames of this kind stand."""
    return [index for index, frame in enumerate(frames) if frame.kind == kind]


def relabelled(frames):
    """Records of each model under the ring of the other."""
    first, second = sorted({frame.ring_id for frame in frames if frame.kind == BLOCK})
    other = {first: second, second: first}
    return [
        frame._replace(ring_id=other[frame.ring_id]) if frame.kind == BLOCK else frame
        for frame in frames
    ]


def without_its_tail(frames):
    return frames[: indices_of(frames, BLOCK)[1]]


def with_a_record_hidden(frames):
    """Its last record, passed off as counters that nobody reads."""
    at = indices_of(frames, BLOCK)[-1]
    hidden = frames[at]._replace(kind=COUNTERS, first=0, last=0, count=0)
    return [*frames[:at], hidden, *frames[at + 1 :]]


def renumbered(frames):
    """Its last record under the number of one that is not there."""
    at = indices_of(frames, BLOCK)[-1]
    return [*frames[:at], frames[at]._replace(last=1000), *frames[at + 1 :]]


ATTACKS = [relabelled, without_its_tail, with_a_record_hidden, renumbered]


def require_refused(run, path, fault):
    """The reader with the key must not call it whole, and must say what is wrong with it."""
    report = segment_report(str(path), sealed.DEVICE)
    assert report.state != "sealed", f"a changed segment is called {report.state}"
    status, out, _ = run(f"captures ls {path.parent} --key device.key")
    assert status == 0
    (row,) = (line for line in out.splitlines() if path.name in line)
    assert "sealed" not in row
    assert fault in row, f"expected the row to name the {fault}, got {row}"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("is_recovered", [False, True], ids=["sealed", "recovered"])
def test_a_changed_segment_is_not_called_whole(attack, is_recovered, secret, typed):
    path = secret()
    head, frames = segments.frames(path.read_bytes())
    path.write_bytes(segments.segment(head, attack(frames), is_recovered=is_recovered))
    fault = "end" if attack is without_its_tail else "frame"
    require_refused(typed, path, fault)


def test_no_record_is_given_under_another_model(secret):
    path = secret()
    head, frames = segments.frames(path.read_bytes())
    path.write_bytes(segments.segment(head, relabelled(frames)))
    shown = set()
    for record in ew.read_captures(path.parent, key=sealed.DEVICE):
        greatest = max(array.max() for array in record.inputs.values())
        shown.add(("yard" if greatest >= 100 else "door", record.model))
    assert shown <= {("door", "door"), ("yard", "yard")}


def test_a_splice_of_two_segments_is_named(secret, typed):
    path = secret()
    head, frames = segments.frames(path.read_bytes())
    _, others = segments.frames(secret("others").read_bytes())
    at = indices_of(frames, BLOCK)[1]
    path.write_bytes(segments.segment(head, frames[:at] + others[at:]))
    require_refused(typed, path, f"frame {at}")


def test_the_head_of_a_segment_is_authentic(secret):
    """Its time decides what is removed first; another time is another head."""
    path = secret()
    data = bytearray(path.read_bytes())
    data[16:24] = (1).to_bytes(8, "little")
    data[188:192] = segments.crc32c(bytes(data[:188])).to_bytes(4, "little")
    head, frames = segments.frames(bytes(data))
    path.write_bytes(segments.segment(head, frames))
    try:
        report = segment_report(str(path), sealed.DEVICE)
    except ew.WrongKey:
        return  # the head is bound to the wrapped key: it opens no more
    assert report.state != "sealed", f"a changed head is called {report.state}"


def test_a_segment_that_nobody_changed_is_sealed(secret):
    assert segment_report(str(secret()), sealed.DEVICE).state == "sealed"
