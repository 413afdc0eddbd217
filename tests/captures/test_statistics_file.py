"""Statistics beside the segments: whole or as before, merged by release, damage refused."""

import json
import os

import numpy as np
import pytest
from models import tflite_models

import edgeward as ew
from edgeward.captures.statistics_file import SUFFIX, StatisticsFile, read_statistics

ONES = np.ones(4, np.float32)


def counted(directory, values, **identity):
    with ew.Capture(directory) as capture:
        model = ew.load_unsigned(tflite_models.sum_product())
        capture.attach(model, **identity)
        for value in values:
            model.predict(a=np.full(4, value, np.float32), b=ONES)


def test_what_many_counted_is_what_one_would_have(directory, tmp_path):
    generator = np.random.default_rng(2)
    parts = [generator.normal(size=20) for _ in range(10)]
    for values in parts:
        counted(directory, values, name="m", version="1")
    (merged,) = read_statistics(directory)
    assert merged[:4] == ("m", "1", "", "serving_default")
    pooled = np.concatenate(parts).astype(np.float32).astype(np.float64)
    report = merged.statistics.report()
    columns = report["tensors"][0]["parts"][:4]
    assert report["run_count"] == 200
    assert [part["name"] for part in columns] == ["0", "1", "2", "3"]
    for part in columns:
        assert part["finite_count"] == pooled.size == part["counts"].sum()
        assert part["mean"] == pytest.approx(pooled.mean(), rel=1e-6)
        assert part["variance"] == pytest.approx(pooled.var(), rel=1e-6)
        assert (part["min"], part["max"]) == (pooled.min(), pooled.max())


def test_releases_stay_apart_and_come_in_order(directory):
    for name, version in (("b", "1"), ("a", "2"), ("a", "1"), ("a", "2")):
        counted(directory, [1], name=name, version=version)
    releases = read_statistics(directory)
    assert [(release.name, release.version) for release in releases] == [
        ("a", "1"),
        ("a", "2"),
        ("b", "1"),
    ]
    assert [release.statistics.report()["run_count"] for release in releases] == [1, 2, 1]


def test_a_flush_writes_what_was_counted_so_far(directory):
    with ew.Capture(directory, sample=0.0) as capture:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        for count in (1, 2, 3):
            model.predict(a=ONES, b=ONES)
            assert capture.flush()
            (release,) = read_statistics(directory)
            assert release.statistics.report()["run_count"] == count
    assert len(list(directory.glob(f"*{SUFFIX}"))) <= 2  # of two days, at midnight


def test_a_file_that_is_damaged_is_refused_by_name(directory):
    counted(directory, [1])
    (path,) = directory.glob(f"*{SUFFIX}")
    whole = path.read_bytes()
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at])
        with pytest.raises(ew.MalformedCapture, match=path.name):
            StatisticsFile(str(path)).read()
    for bit in range(0, 8 * len(whole), 37):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            StatisticsFile(str(path)).read()
        except ew.MalformedCapture:
            continue
        # A bit of a name: nothing else goes unnoticed.
        assert whole[bit // 8 : bit // 8 + 1].isalnum() or whole[bit // 8] in b'_" '


def test_a_damaged_file_is_named_and_passed_over(directory, typed):
    counted(directory, [1, 2])
    name = f"0123456789abcdef{SUFFIX}"
    (directory / name).touch()
    with pytest.warns(UserWarning, match=name):
        (release,) = read_statistics(directory)
    assert release.statistics.report()["run_count"] == 2
    status, out, err = typed(f"captures stats {directory} --json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert [entry["run_count"] for entry in document["statistics"]] == [2]
    assert [name in refusal for refusal in document["refused"]] == [True]
    assert name in typed(f"captures stats {directory}")[1]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink(path, path)])
def test_what_is_no_file_that_can_be_read_is_named_and_passed_over(directory, typed, make):
    counted(directory, [1, 2])
    name = f"0123456789abcdef{SUFFIX}"
    make(directory / name)
    with pytest.warns(UserWarning, match=name):
        (release,) = read_statistics(directory)
    assert release.statistics.report()["run_count"] == 2
    status, out, _ = typed(f"captures stats {directory} --json")
    assert (status, json.loads(out)["statistics"][0]["run_count"]) == (0, 2)
    assert [name in refusal for refusal in json.loads(out)["refused"]] == [True]


def test_statistics_refuse_others_and_damage():
    with pytest.raises(ew.MalformedCapture):
        ew.Statistics.from_bytes(b"")
