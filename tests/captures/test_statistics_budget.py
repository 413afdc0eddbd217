"""Statistics have their share of the budget, and leave nothing behind."""

import os
import time

import numpy as np
import pytest
from models import tflite_models

import edgeward as ew
from edgeward._core import JSON_STATISTICS_SUFFIX as JSON_SUFFIX
from edgeward.captures.statistics_budget import DRAFT_AGE_S, MAX_COUNT, Held, evicted, keep_within
from edgeward.captures.statistics_file import SUFFIX, SUFFIXES

MOST_BYTES = 1 << 16
ONES = np.ones(4, np.float32)


def held(number: int, size_bytes: int) -> Held:
    return Held(f"{number:020}-0123456789abcdef{SUFFIX}", size_bytes)


def of_version_1(day: str, size_bytes: int) -> Held:
    return Held(f"{day}-0123456789abcdef{JSON_SUFFIX}", size_bytes)


@pytest.mark.parametrize(
    ("files", "indices"),
    [
        ([], []),
        ([held(1, MOST_BYTES // 4)], []),
        ([held(1, MOST_BYTES // 4 + 1)], [0]),
        ([held(20, 10_000), held(3, 10_000)], [1]),
        ([held(1, 10_000), of_version_1("2026-01-01", 10_000)], [1]),
        ([of_version_1("2026-01-02", 10_000), of_version_1("2026-01-01", 10_000)], [1]),
        ([held(number, 4_000) for number in range(9)], [0, 1, 2, 3, 4]),
        ([held(number, 1) for number in range(MAX_COUNT)], []),
        ([held(number, 1) for number in range(MAX_COUNT + 2)], [0, 1]),
    ],
    ids=[
        "none",
        "share",
        "more",
        "begun first",
        "version 1",
        "oldest day",
        "many",
        "count",
        "more files",
    ],
)
def test_the_oldest_go_until_the_others_have_room(files, indices):
    assert evicted(files, MOST_BYTES) == [files[index].name for index in indices]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_drafts_that_were_left_behind_are_removed(tmp_path, suffix):
    ages = {"old": DRAFT_AGE_S + 60, "ahead": -DRAFT_AGE_S - 60, "young": 0}
    for name, age_s in ages.items():
        path = tmp_path / f"2026-01-01-0123456789abcdef{suffix}.{name}"
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s,) * 2)
    others = ["captures.txt", "drain.lock", "1.ewc", f"notes{suffix}"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    keep_within(str(tmp_path), MOST_BYTES)
    young = f"2026-01-01-0123456789abcdef{suffix}.young"
    assert sorted(os.listdir(tmp_path)) == sorted([*others, young])


def test_all_of_a_capture_is_within_its_budget(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    directory = tmp_path / "captures"
    options = {"segment_bytes": 1 << 16, "most_bytes": MOST_BYTES, "ring_bytes": 1 << 16}
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory, sample=0.0, **options) as capture:
        for number in range(60):
            capture.attach(model, name=f"{number}-" + "m" * 200)
            for value in range(20):
                model.predict(a=np.full(4, value, np.float32), b=ONES)
    sizes = [path.stat().st_size for path in directory.iterdir() if path.name.endswith(SUFFIX)]
    assert 0 < sum(sizes) <= MOST_BYTES // 4
    with ew.Capture(directory, **options) as capture:
        capture.attach(model)
        for _ in range(200):
            model.predict(a=ONES, b=ONES)
            assert capture.flush()
    names = [path.name for path in directory.iterdir()]
    assert {".ewc", SUFFIX} <= {os.path.splitext(name)[1] for name in names}
    assert sum(path.stat().st_size for path in directory.iterdir()) <= MOST_BYTES
