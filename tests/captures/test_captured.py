"""Reading back: what a reservoir gave up is left out, what is damaged ends where it is whole."""

import os

import numpy as np
import pytest
import sealed
from models import tflite_models

import edgeward as ew
from edgeward.captures import captured, rules

ONES = np.ones(4, np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    return tmp_path / "captures"


def capture(place, values, **options):
    with ew.Capture(place, **options) as made:
        model = ew.load_unsigned(tflite_models.sum_product())
        made.attach(model, name="pair", version="1")
        for value in values:
            model.predict(a=np.full(4, value, np.float32), b=ONES)


def values(place, **options):
    return [float(one.inputs["a"][0]) for one in ew.read_captures(place, **options)]


def test_segments_come_in_order_of_time(place):
    for value in range(5):
        capture(place, [value])
    assert values(place) == [0, 1, 2, 3, 4]
    assert len(captured.segment_paths(place)) == 5


def test_what_a_reservoir_gave_up_is_on_the_disk_and_left_out(place):
    capture(place, range(500), sample=rules.reservoir(5))
    report = captured.segment_report(captured.segment_paths(place)[0])
    assert report.record_count > 5
    assert len(values(place)) == 5


def test_a_report_tells_without_reading_tensors(place):
    capture(place, [1, 2, 3])
    (path,) = captured.segment_paths(place)
    report = captured.segment_report(path)
    assert report.state == "sealed"
    assert (report.record_count, report.models, report.hole_count) == (3, ("pair 1",), 0)
    assert report.size_bytes == os.path.getsize(path)
    assert report.first_ns <= report.last_ns
    counters = captured.read_counters(place)
    assert [one["committed"] for one in counters.values()] == [3]


def test_a_segment_that_was_cut_gives_what_is_whole(place):
    capture(place, range(10))
    (path,) = captured.segment_paths(place)
    os.truncate(path, os.path.getsize(path) * 2 // 3)
    found = values(place)
    assert found == list(range(len(found)))
    assert 0 < len(found) < 10
    assert captured.segment_report(path).state == "damaged"


def test_something_else_is_no_segment(place):
    place.mkdir()
    (place / "noise.ewc").write_bytes(b"noise" * 100)
    with pytest.raises(ew.MalformedCapture, match=r"noise\.ewc"):
        values(place)
    assert captured.segment_report(str(place / "noise.ewc")).state == "damaged"
    with pytest.raises(FileNotFoundError):
        values(place / "nowhere")


def test_an_encrypted_one_tells_little_without_its_key(place):
    capture(place, [1, 2], encrypt_to=sealed.DEVICE.public)
    (path,) = captured.segment_paths(place)
    closed, opened = (captured.segment_report(path, key) for key in (None, sealed.DEVICE))
    assert (closed.is_encrypted, closed.record_count, closed.first_ns) == (True, 2, None)
    assert closed.models == ()
    assert opened.models == ("pair 1",)
    assert opened.first_ns is not None
    assert values(place, key=sealed.DEVICE) == [1, 2]


def test_tensors_outlive_everything_else(place):
    capture(place, [7])
    (one,) = ew.read_captures(place)
    array = one.inputs["a"]
    del one
    for path in captured.segment_paths(place):
        os.unlink(path)
    np.testing.assert_array_equal(array, np.full(4, 7, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
