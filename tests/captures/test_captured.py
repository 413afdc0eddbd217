"""Reading back: what a reservoir gave up is left out, what is damaged ends where it is whole."""

import os
from pathlib import Path

import numpy as np
import pytest
import sealed
from models import tflite_models

import edgeward as ew
from edgeward import _core
from edgeward.captures import rules, segments

ONES = np.ones(4, np.float32)


def capture(directory, values, **options):
    with ew.Capture(directory, **options) as active:
        model = ew.load_unsigned(tflite_models.sum_product())
        active.attach(model, name="pair", version="1")
        for value in values:
            model.predict(a=np.full(4, value, np.float32), b=ONES)


def values(directory, **options):
    return [float(record.inputs["a"][0]) for record in ew.read_captures(directory, **options)]


def test_segments_come_in_order_of_time(directory):
    for value in range(5):
        capture(directory, [value])
    assert values(directory) == [0, 1, 2, 3, 4]
    assert len(segments.segment_paths(directory)) == 5


def test_what_a_reservoir_gave_up_is_on_the_disk_and_left_out(directory):
    capture(directory, range(500), sample=rules.reservoir(5))
    report = segments.segment_report(segments.segment_paths(directory)[0])
    assert report.record_count > 5
    assert len(values(directory)) == 5


def test_a_report_tells_without_reading_tensors(directory):
    capture(directory, [1, 2, 3])
    (path,) = segments.segment_paths(directory)
    report = segments.segment_report(path)
    assert report.state == "sealed"
    assert (report.record_count, report.models, report.hole_count) == (3, ("pair 1",), 0)
    assert report.size_bytes == os.path.getsize(path)
    assert report.first_ns <= report.last_ns
    counters = segments.read_counters(directory)
    assert [ring["committed"] for ring in counters.values()] == [3]


def test_a_segment_that_was_cut_gives_what_is_whole(directory):
    with ew.Capture(directory) as active:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=active)
        for value in range(10):
            model.predict(a=np.full(4, value, np.float32), b=ONES)
            assert active.flush()  # a block for each
    (path,) = segments.segment_paths(directory)
    os.truncate(path, os.path.getsize(path) * 2 // 3)
    whole = values(directory)
    assert whole == list(range(len(whole)))
    assert 0 < len(whole) < 10
    assert segments.segment_report(path).state == "damaged"


def test_something_else_is_no_segment(directory):
    directory.mkdir()
    (directory / "noise.ewc").write_bytes(b"noise" * 100)
    with pytest.raises(ew.MalformedCapture, match=r"noise\.ewc"):
        values(directory)
    assert segments.segment_report(str(directory / "noise.ewc")).state == "damaged"
    with pytest.raises(FileNotFoundError):
        values(directory / "nowhere")


def test_one_that_a_writer_has_not_begun_is_passed_over(directory):
    """One that was killed, or is at work, between making the file and writing its head."""
    capture(directory, [1, 2])
    (path,) = segments.segment_paths(directory)
    head = Path(path).read_bytes()[: _core.SEGMENT_HEAD_BYTES]
    begun = Path(path[:-4] + "-next" + _core.OPEN_SUFFIX)
    for size_bytes in range(_core.SEGMENT_HEAD_BYTES + 1):
        begun.write_bytes(head[:size_bytes])
        assert values(directory) == [1, 2]
        report = segments.segment_report(str(begun))
        assert (report.record_count, report.fault) == (0, "")
        assert report.state == "open" or size_bytes == _core.SEGMENT_HEAD_BYTES
    begun.write_bytes(b"noise" + head[5:])
    with pytest.raises(ew.MalformedCapture):
        values(directory)
    Path(path).write_bytes(head[:-1])  # nobody seals what has no head
    begun.unlink()
    with pytest.raises(ew.MalformedCapture):
        values(directory)


def test_an_encrypted_one_tells_little_without_its_key(directory):
    capture(directory, [1, 2], encrypt_to=sealed.DEVICE.public)
    (path,) = segments.segment_paths(directory)
    closed, opened = (segments.segment_report(path, key) for key in (None, sealed.DEVICE))
    assert (closed.is_encrypted, closed.record_count, closed.first_ns) == (True, 2, None)
    assert closed.models == ()
    assert opened.models == ("pair 1",)
    assert opened.first_ns is not None
    assert values(directory, key=sealed.DEVICE) == [1, 2]


def test_tensors_outlive_everything_else(directory):
    capture(directory, [7])
    (record,) = ew.read_captures(directory)
    array = record.inputs["a"]
    del record
    for path in segments.segment_paths(directory):
        os.unlink(path)
    np.testing.assert_array_equal(array, np.full(4, 7, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_scales_and_labels_come_with_each_record(directory):
    model = ew.load_unsigned(tflite_models.quantized_add())
    with ew.Capture(directory) as active:
        active.attach(model, name="sum", labels=["cat", "d\u00f6g"])
        (name,) = (spec.name for spec in model.inputs)
        model.predict(**{name: np.zeros(model.inputs[0].shape, model.inputs[0].dtype)})
    (record,) = ew.read_captures(directory)
    assert record.labels == ("cat", "d\u00f6g")
    for side, specs in (("inputs", model.inputs), ("outputs", model.outputs)):
        for spec in specs:
            quantization = record.quantizations[side, spec.name]
            assert quantization.scales == spec.quantization.scales
            assert quantization.zero_points == spec.quantization.zero_points


def test_labels_that_fill_the_description_are_left_out(directory):
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory) as active:
        active.attach(model, labels=[f"class number {number}" for number in range(3000)])
        model.predict(a=ONES, b=ONES)
    (record,) = ew.read_captures(directory)
    assert record.labels == ()
