"""Judged windows: each device by itself and all together, by the reference of their model alone."""

from __future__ import annotations

import counted
import numpy as np
import pytest
from models import tflite_models

import edgeward as ew
from edgeward import _core
from edgeward.captures.drift import Reference
from edgeward.captures.judged_windows import judged
from edgeward.captures.window import Counted, Window

HOUR_NS = 3600 * 10**9
BEGIN_NS = 1_795_651_200 * 10**9  # 2026-11-26 00:00
BOOT = bytes(range(16))
COLUMNS, SIZE, COUNT = 4, 400, 6


class Pumps:
    """Windows of pumps, counted by the core, and the reference of one that is well."""

    def __init__(self):
        self.generator = np.random.default_rng(4)
        with ew.load_unsigned(tflite_models.add((1, COLUMNS))) as model:
            (self.signature,) = model.signatures.values()
        rows = self.rows(4000)
        parts = counted.parts_of(rows.astype(np.float64))
        self.edges = {("input", "x"): [counted.edges_of(values) for values in parts.values()]}
        report = self.statistics(rows, self.edges).report()
        report["tensors"] = report["tensors"][:1]
        self.reference = Reference(report, counted.thresholds_of(report))

    def rows(self, count):
        return self.generator.normal(size=(count, COLUMNS)).astype(np.float32)

    def statistics(self, rows, edges):
        counter = _core.make_statistics_counter(self.signature, edges)
        for row in rows:
            counter.add({"x": row[None]}, {"y": row[None]})
        return counter.take()

    def windows(self, device="gate", step=0.0, is_known=True, size=SIZE, edges=None, **release):
        facts = {"name": "pump", "version": "3", "package_id": "ab", "signature": "run"} | release
        for hour in range(COUNT):
            rows = self.rows(size)
            rows[:, 1] += step
            statistics = self.statistics(rows, self.edges if edges is None else edges)
            begin_ns = hour * HOUR_NS
            yield Window(
                Counted(**facts, statistics=statistics), f"{hour:016x}", BOOT, begin_ns,
                begin_ns + HOUR_NS, BEGIN_NS + begin_ns if is_known else None, device,
            )  # fmt: skip


def result_of(reference, windows, period_ns=None):
    """What is judged, and what is passed over."""
    passed_over = []
    return list(judged(reference, "pump", windows, period_ns, passed_over)), passed_over


@pytest.fixture(scope="module")
def pumps():
    return Pumps()


def test_a_device_is_judged_by_itself_and_all_together(pumps):
    windows = [
        *pumps.windows("north"), *pumps.windows("south", 1.0), *pumps.windows("west"),
    ]  # fmt: skip
    entries, _ = result_of(pumps.reference, windows)
    assert [(entry.device, entry.judgement.has_drifted) for entry in entries] == [
        ("north", False), ("south", True), ("west", False), (None, True),
    ]  # fmt: skip
    together = entries[-1]
    assert [report["run_count"] for report in together.reports] == [3 * SIZE] * COUNT
    assert together.begins[:2] == ["2026-11-26 00:00Z", "2026-11-26 01:00Z"]
    shifts = [entry.judgement.findings[0].amount for entry in (entries[1], together)]
    assert shifts[0] == pytest.approx(1, abs=0.1)
    assert shifts[1] == pytest.approx(1 / 3, abs=0.1)


def test_a_change_too_slight_for_one_device_is_seen_in_all_together(pumps):
    windows = [window for number in range(8) for window in pumps.windows(f"{number}", 0.18)]
    *alone, together = result_of(pumps.reference, windows)[0]
    assert {entry.judgement.has_drifted for entry in alone} == {False}
    assert together.judgement.has_drifted


def test_one_device_is_judged_once(pumps):
    (entry,), _ = result_of(pumps.reference, pumps.windows())
    assert entry.device == "gate"
    assert not entry.judgement.has_drifted


def test_windows_are_joined_before_they_are_judged(pumps):
    (entry,), _ = result_of(pumps.reference, pumps.windows(), 3 * HOUR_NS)
    assert [report["run_count"] for report in entry.reports] == [3 * SIZE] * 2


def test_a_window_of_unknown_time_is_called_by_its_number(pumps):
    windows = [*pumps.windows(is_known=False, step=1.0), *pumps.windows("yard", is_known=False)]
    entries, _ = result_of(pumps.reference, windows)
    assert [entry.device for entry in entries] == ["gate", "yard"]  # no time is of both
    assert entries[0].begins[:2] == ["window 1", "window 2"]
    assert entries[0].judgement.findings[0].words.endswith("since window 1")


def test_a_device_is_judged_before_the_next_is_read(pumps):
    read = []

    def windows():
        for device in ("north", "west"):
            for window in pumps.windows(device):
                read.append(device)
                yield window

    entries = judged(pumps.reference, "pump", windows(), None, [])
    assert next(entries).device == "north"
    assert read == ["north"] * COUNT + ["west"]  # one is read to see that the device is another


@pytest.mark.parametrize(
    ("length_ns", "begins"),
    [
        (HOUR_NS, ["2026-11-26 00:00Z", "2026-11-26 01:00Z"]),
        (90 * 10**9, ["2026-11-26 00:00:00Z", "2026-11-26 00:01:30Z"]),
        (2 * 10**9, ["2026-11-26 00:00:00Z", "2026-11-26 00:00:02Z"]),
        (10**8, ["2026-11-26 00:00:00.000Z", "2026-11-26 00:00:00.100Z"]),
    ],
)
def test_times_are_as_precise_as_windows_are_long(pumps, length_ns, begins):
    windows = [
        window._replace(begin_ns=index * length_ns, end_ns=(index + 1) * length_ns,
                        wall_ns=BEGIN_NS + index * length_ns)
        for index, window in enumerate(pumps.windows(size=1))
    ]  # fmt: skip
    (entry,), _ = result_of(pumps.reference, windows)
    assert entry.begins[:2] == begins


def test_releases_and_signatures_are_judged_apart(pumps):
    windows = [*pumps.windows(), *pumps.windows(version="4"), *pumps.windows(signature="other")]
    entries, _ = result_of(pumps.reference, windows)
    assert [(entry.counted.version, entry.counted.signature) for entry in entries] == [
        ("3", "run"), ("4", "run"), ("3", "other"),
    ]  # fmt: skip


def test_what_the_reference_does_not_speak_of_is_passed_over_and_named(pumps):
    reference = pumps.reference
    other = list(pumps.windows(name="fan"))
    unsigned = list(pumps.windows(name="pump.tflite", package_id=""))
    entries, passed_over = result_of(reference, [*other, *unsigned])
    assert [entry.counted.name for entry in entries] == ["pump.tflite"]
    assert passed_over == ['gate: model "fan": expected "pump", as the package']
    tensors = [row | {"name": "z"} for row in reference.report["tensors"]]
    elsewhere = Reference({**reference.report, "tensors": tensors})
    entries, passed_over = result_of(elsewhere, unsigned)
    assert entries == []
    assert passed_over == [
        'gate: model "pump.tflite", signature "run": expected a tensor of the reference'
    ]


def test_what_was_counted_in_other_bins_changes_nobody_elses_numbers(pumps):
    """As a hostile file would have it, which says that it is of the same release and period."""
    edges = {key: [[0.0]] * len(parts) for key, parts in pumps.edges.items()}
    honest, hostile = list(pumps.windows()), list(pumps.windows(edges=edges, size=90_000 // 100))
    alone = result_of(pumps.reference, honest)[0][0]
    both = result_of(pumps.reference, [*honest, *hostile])[0][0]
    assert len(both.windows) == 2 * COUNT
    kept = [report for report in both.reports if report["run_count"] == SIZE]
    assert [report["run_count"] for report in alone.reports] == [SIZE] * COUNT
    for before, after in zip(alone.reports, kept, strict=True):
        for first, second in zip(
            before["tensors"][0]["parts"], after["tensors"][0]["parts"], strict=True
        ):
            assert first["counts"].tolist() == second["counts"].tolist()
    assert any("other bins" in note for note in both.judgement.notes)
