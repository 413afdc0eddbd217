"""Drift: none where nothing changed; what changed is named, since when, in plain words."""

import re
import warnings

import counted
import numpy as np
import pytest
from models import tflite_models
from scipy import signal

import edgeward as ew
from edgeward import _core
from edgeward.captures.drift import PartThresholds, Reference, Thresholds, judge
from edgeward.captures.findings import Names
from edgeward.captures.verdict import DISTRIBUTION

X, Y = ("input", "x"), ("output", "y")
COLUMNS = 30
BASE = 10_000
SIZE = 1000
NAMES = Names({"x": [f"sensor {index}" for index in range(7)] + ["temperature"]}, ["cat", "dog"])


class Windows:
    """Windows of SIZE inferences from the distribution of a reference, but for what changes."""

    def __init__(self, draw, key=X, base=BASE):
        self.generator = np.random.default_rng(3)
        self.draw = draw
        self.key = key
        report = counted.report({key: draw(self.generator, base)})
        self.reference = Reference(report, counted.thresholds_of(report), NAMES)

    def judge(self, count=10, change=lambda values: values, changed=range(4, 99), size=SIZE):
        reports = []
        for index in range(count):
            values = self.draw(self.generator, size)
            values = change(values) if index in changed else values
            reports.append(counted.report({self.key: values}, self.reference.report))
        return judge(self.reference, reports, [f"{index}:00" for index in range(count)])


@pytest.fixture(scope="module")
def columns():
    return Windows(lambda generator, size: generator.normal(5, 2, (size, COLUMNS)))


def picture(generator, size):
    """Grey values of 8 by 8 by 3; what an inference's elements share is half of their variance."""
    light = generator.normal(size=(size, 1, 1, 1))
    pixels = light + generator.normal(size=(size, 8, 8, 3))
    return np.clip(0.5 + 0.1 * pixels + np.array([0.1, 0.0, -0.1]), 0, 1)


@pytest.fixture(scope="module")
def pictures():
    return Windows(picture, base=2000)


@pytest.fixture(scope="module")
def scores():
    def draw(generator, size):
        chosen = generator.choice(4, size, p=[0.55, 0.05, 0.2, 0.2])
        return np.eye(4)[chosen] + generator.uniform(0, 0.5, (size, 4))

    return Windows(draw, Y)


def test_without_drift_nothing_has_drifted(columns, pictures, scores):
    for windows in (columns, pictures, scores):
        judgement = windows.judge(20)
        assert not judgement.has_drifted
        assert judgement.findings == judgement.notes == []
        assert {verdict.word for verdict in judgement.verdicts} == {"as expected"}


@pytest.mark.parametrize("column", [0, 7, 29])
def test_one_of_thirty_columns_is_named_within_four_windows_and_no_other(columns, column):
    def change(values):
        values[:, column] += 0.5 * 2
        return values

    judgement = columns.judge(8, change)  # four good windows, four bad ones
    (finding,) = judgement.findings
    assert finding.part == (*X, "column", str(column))
    assert finding.what == "shift"
    assert finding.amount == pytest.approx(0.5, abs=0.1)
    assert (finding.begin, finding.end) == ("4:00", None)
    verdict = judgement.verdicts[0]
    assert verdict.part == finding.part
    assert verdict.drifted.tolist() == [False] * 6 + [True] * 2


def test_a_sentence_says_what_changed_and_since_when(columns):
    def up(values):
        values[:, 7] += 0.5 * 2
        return values

    def down(values):
        values[:, 2] -= 3 * 2
        return values

    def wide(values):
        values[:, 8] = 5 + 1.5 * (values[:, 8] - 5)
        return values

    assert [finding.words for finding in columns.judge(8, up).findings] == [
        'column 7 (temperature) of input "x" has moved up by 0.5 of its deviation since 4:00'
    ]
    words = [finding.words for finding in columns.judge(12, down, range(4, 8)).findings]
    assert re.fullmatch(
        r'column 2 \(sensor 2\) of input "x" has moved down by 3\.0 of its deviation from 4:00 to '
        r"7:00, and is out of the reference's range in \d\d % of values",
        words[0],
    )
    assert (
        columns.judge(8, wide)
        .findings[0]
        .words.startswith('column 8 of input "x" has become wider since 4:00: its deviation is 1.5')
    )


def test_ninety_good_days_hide_no_bad_day(columns):
    def change(values):
        values[:, 3] += 0.5 * 2
        return values

    judgement = columns.judge(94, change, range(90, 94))
    (finding,) = judgement.findings
    assert finding.part.name == "3"
    assert finding.begin == "90:00"
    assert not columns.judge(94, change, range(90, 91)).has_drifted  # once is no drift


def test_a_stuck_sensor_is_stuck_and_not_only_narrow(columns):
    def change(values):
        values[:, 3] = 5.5
        return values

    (finding,) = columns.judge(8, change).findings
    assert (finding.part.name, finding.what) == ("3", "unchanged")
    assert finding.words.startswith('column 3 (sensor 3) of input "x" is stuck since 4:00')


def test_a_column_that_never_changes_is_not_stuck():
    def draw(generator, size):
        values = generator.normal(size=(size, 3))
        values[:, 1] = 7
        return values

    windows = Windows(draw)
    assert not windows.judge(8).has_drifted

    def change(values):
        values[:, 1] = 8
        return values

    words = [finding.words for finding in windows.judge(8, change).findings]
    assert words == [
        'column 1 (sensor 1) of input "x" has changed since 4:00: the reference has 7 alone, and '
        "is out of the reference's range in 100 % of values"
    ]


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_a_value_that_is_no_number_in_a_thousandth_is_named(columns, value, what):
    def change(values):
        values[:: SIZE // 2, 11] = value  # 2 of 1,000
        return values

    (finding,) = columns.judge(8, change).findings
    assert (finding.part.name, finding.what) == ("11", what)
    assert finding.words == (
        f'column 11 of input "x" is {what} in 0.2 % of values since 4:00, none of the reference\'s'
    )


def test_values_at_the_end_of_their_range_are_clipped(pictures):
    def change(values):
        values[:, :, :4] = 1
        return values

    judgement = pictures.judge(8, change)
    assert "clipped" in {finding.what for finding in judgement.findings}


def test_a_frozen_picture_is_stuck_in_one_sentence(pictures):
    def change(values):
        values[:] = values[0]
        return values

    (finding,) = pictures.judge(8, change).findings
    assert finding.words == (
        'input "x" is stuck since 4:00: 100 % of inferences are as the one before, none of the '
        "reference's"
    )


def test_a_dimmed_picture_is_darker(pictures):
    finding = pictures.judge(8, lambda values: 0.9 * values).findings[0]
    assert finding.what == "scaled"
    assert finding.amount == pytest.approx(0.9, abs=0.01)
    assert finding.words.startswith('input "x" seems to be darker since 4:00: its values are 0.90')


def test_swapped_channels_are_named(pictures):
    finding = pictures.judge(8, lambda values: values[..., ::-1]).findings[0]
    assert finding.words == 'channels 0 and 2 of input "x" seem to be swapped since 4:00'


def test_swapped_columns_are_named():
    spans = np.array([1.0, 10.0, 3.0])
    windows = Windows(lambda generator, size: spans * (3 + generator.normal(size=(size, 3))))
    first = windows.judge(8, lambda values: values[:, [1, 0, 2]]).findings[0]
    assert first.words == (
        'columns 0 (sensor 0) and 1 (sensor 1) of input "x" seem to be swapped since 4:00'
    )


def test_a_class_that_is_chosen_more_often_is_named(scores):
    def change(values):
        chosen = scores.generator.choice(4, len(values), p=[0.52, 0.08, 0.2, 0.2])
        return np.eye(4)[chosen] + scores.generator.uniform(0, 0.5, values.shape)

    judgement = scores.judge(8, change, size=4000)
    finding = next(finding for finding in judgement.findings if finding.what == "class")
    assert finding.part == (*Y, "class", "1")
    assert finding.amount == pytest.approx(0.08, abs=0.01)
    assert finding.words.startswith('class 1 (dog) of output "y" is chosen in ')
    assert finding.words.endswith("% of inferences since 4:00, in 4.8 % of the reference's")


def steady(generator, size, correlation=0.95):
    """Columns whose neighbours are alike."""
    noise = generator.normal(size=(size, 4))
    values = np.zeros_like(noise)
    values[0] = noise[0]
    for index in range(1, size):
        values[index] = correlation * values[index - 1]
        values[index] += np.sqrt(1 - correlation**2) * noise[index]
    return values


def test_neighbours_that_are_alike_count_as_fewer_where_the_reference_has_none():
    """Windows of a stream wander; judged as independent inferences they would all have drifted."""
    windows = Windows(lambda generator, size: generator.normal(size=(size, 4)))
    stream = steady(windows.generator, 48 * SIZE).reshape(48, SIZE, 4)
    begins = [str(index) for index in range(48)]

    def judged(stream):
        reports = [counted.report({X: values}, windows.reference.report) for values in stream]
        return reports, judge(windows.reference, reports, begins)

    reports, judgement = judged(stream)
    assert not judgement.has_drifted
    assert judgement.notes == []
    columns = [verdict for verdict in judgement.verdicts if verdict.part.kind == "column"]
    for verdict in columns:
        if verdict.what == DISTRIBUTION:  # some windows together are worth a hundred inferences
            telling = ~np.isnan(verdict.ratios)
            assert 6 <= telling.sum() <= 24
            assert (verdict.sizes[telling] < 1000).all()
    stream[16:, :, 2] += 2
    finding = judged(stream)[1].findings[0]
    assert finding.part.name == "2"
    for report in reports:
        for part in report["tensors"][0]["parts"]:
            part["step_squares"] *= 1000  # says that neighbours are not alike
    assert judge(windows.reference, reports, begins).has_drifted


def test_noise_upon_something_slow_is_no_surprise_where_the_blocks_are_long():
    """Neighbours hardly tell that it is slow; the reference has seen five of its periods."""

    def stream(generator, size):
        noise = generator.normal(size=size + 3000)  # it is stationary by then
        slow = signal.lfilter([(1 - 0.999**2) ** 0.5], [1, -0.999], noise)[3000:]
        return (slow + generator.normal(size=size))[:, None]

    passed = {1: 0, 1000: 0}  # windows, by the length of a block
    for seed in (0, 3):
        generator = np.random.default_rng(seed)
        report = counted.report({X: stream(generator, BASE)})
        values = stream(generator, 120 * 2000).reshape(120, 2000, 1)
        reports = [counted.report({X: window}, report) for window in values]
        for block in passed:
            thresholds = counted.thresholds_of(report)._replace(block=block)
            verdicts = judge(Reference(report, thresholds), reports, [""] * 120).verdicts
            ranges = [verdict for verdict in verdicts if verdict.what == "out of range"]
            (verdict,) = (verdict for verdict in ranges if verdict.part.kind == "column")
            passed[block] += int((verdict.ratios > 1).sum())
    assert passed[1] > 3
    assert passed[1000] == 0


def test_windows_that_are_too_small_tell_nothing(columns):
    judgement = columns.judge(8, lambda values: values + 10, size=12)
    words = {verdict.word for verdict in judgement.verdicts if verdict.what == DISTRIBUTION}
    assert words == {"too few to tell"}
    assert judgement.notes[0].startswith("34 of 34 parts: too few to tell")
    assert "expected windows of 100 inferences, got 12 at most" in judgement.notes[0]


def test_a_reference_without_thresholds_is_judged_by_psi_beyond_chance(columns):
    bare = columns.reference._replace(thresholds=None)
    for size, word in ((100, "too few to tell"), (400, "as expected"), (2000, "as expected")):
        reports = [
            counted.report({X: columns.draw(columns.generator, size)}, bare.report)
            for _ in range(6)
        ]
        judgement = judge(bare, reports, list("012345"))
        assert judgement.notes[0].startswith("the reference has no thresholds: PSI decides")
        distributions = [verdict for verdict in judgement.verdicts if verdict.what == DISTRIBUTION]
        assert {verdict.word for verdict in distributions} == {word}
        psi = max(verdict.metrics["psi"].max() for verdict in distributions)
        assert (psi > 0.1) == (size < 2000)  # without drift
    moved = columns.draw(columns.generator, 1000)
    moved[:, 4] += 1.0 * 2
    judgement = judge(bare, [counted.report({X: moved}, bare.report)], ["0"])
    assert judgement.findings[0].part.name == "4"


def test_a_small_reference_says_what_it_cannot_show():
    windows = Windows(lambda generator, size: generator.normal(size=(size, 2)), base=400)
    assert windows.judge(4).notes == [
        "the reference has 400 inferences, fewer than 1,000: no window shows a shift of less than "
        "0.25 of a deviation"
    ]


def test_what_was_counted_in_other_bins_is_judged_apart_and_named(columns):
    reports = []
    for shift in (0.0, 3.0):
        other = counted.report({X: columns.draw(columns.generator, BASE) + shift})
        reports.append(counted.report({X: columns.draw(columns.generator, SIZE) + shift}, other))
    judgement = judge(columns.reference, reports[:1], ["0"])
    assert not judgement.has_drifted
    assert judgement.notes == [
        "1 window was counted in other bins than the reference's, as before this package ran (0): "
        "judged coarsely, by PSI in the bins that both have; the package that ran then judges "
        "better"
    ]
    both = judge(columns.reference, [*reports, *reports], list("0123"))
    assert any(note.startswith("4 windows were counted in other") for note in both.notes)
    assert any("ran (0 to 3)" in note for note in both.notes)
    assert judge(columns.reference, reports[1:], ["0"]).has_drifted


def test_parts_that_no_window_counted_are_said_to_be_absent(columns):
    report = counted.report({X: columns.draw(columns.generator, SIZE)}, columns.reference.report)
    for part in report["tensors"][0]["parts"]:
        part["kind"] = part["kind"].replace("column", "values")  # as by version 1
    judgement = judge(columns.reference, [report], ["0"])
    assert judgement.notes == [
        "30 of 34 parts: nothing was counted of them, as before this package ran; the package "
        "that ran then judges better"
    ]


def test_nothing_counted_is_nothing_judged(columns):
    judgement = judge(columns.reference, [], [])
    assert not judgement.has_drifted
    assert {verdict.word for verdict in judgement.verdicts} == {"too few to tell"}
    empty = {"run_count": 0, "tensors": []}
    assert not judge(columns.reference, [empty] * 4, list("0123")).has_drifted
    assert judge(Reference(empty), [empty], ["0"]).verdicts == []


def test_a_threshold_between_two_sizes_falls_as_chance_does():
    part = PartThresholds([0.3, 0.1], [0.3, 0.1], [0.2, 0.1])
    thresholds = Thresholds((100, 1000), 0.001, 1, [part])
    limits = thresholds.at(0, np.array([50.0, 100.0, 1000.0, 5000.0, 0.0, np.nan, 1 / 0.0055]))
    for limit in limits.values():
        assert np.isnan(limit).tolist() == [True, False, False, False, True, True, False]
    assert limits["chi_square"][[1, 2, 3, 6]].tolist() == pytest.approx([0.3, 0.1, 0.1, 0.2])
    assert limits["ks"][[1, 2, 3, 6]].tolist() == pytest.approx([0.3, 0.1, 0.1, 0.05**0.5])
    assert limits["wasserstein"][1:4].tolist() == pytest.approx([0.2, 0.1, 0.1])


def test_classes_that_the_reference_has_not_counted_are_not_judged(scores):
    tensors = [row | {"class_counts": np.zeros(4)} for row in scores.reference.report["tensors"]]
    bare = scores.reference._replace(report=scores.reference.report | {"tensors": tensors})
    report = counted.report({Y: scores.draw(scores.generator, SIZE)}, bare.report)
    assert not judge(bare, [report], ["0"]).has_drifted


def test_a_threshold_that_no_distance_passes_is_no_warning():
    part = PartThresholds([1e308, 1e308], [1e308, 0.1], [1e308, 1e308])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limits = Thresholds((100, 1000), 0.001, 1, [part]).at(0, np.array([100.0, 500.0]))
    assert not (limits["wasserstein"] < 1e300).any()


def test_small_windows_are_judged_together(columns):
    """Of 40 inferences each; thresholds begin with 100, so three or four are one."""

    def change(values):
        values[:, 7] += 1.5 * 2
        return values

    judgement = columns.judge(64, change, range(32, 64), size=40)
    verdict = judgement.verdicts[0]
    assert verdict.part.name == "7"
    assert np.flatnonzero(~np.isnan(verdict.ratios)).tolist() == list(range(3, 64, 4))
    assert verdict.metrics["shift"][35] == pytest.approx(1.5, abs=0.3)
    assert np.isnan(verdict.metrics["shift"][34])
    (finding,) = judgement.findings
    assert (finding.begin, finding.end) == ("32:00", None)
    assert not columns.judge(64, size=40).has_drifted


@pytest.fixture(scope="module")
def model():
    with ew.load_unsigned(tflite_models.broadcast_chain(1, (1, 4))) as model:
        yield model


def through_core(model, values, edges):
    """What the core counts of these inputs, and of outputs that are a half more."""
    counter = _core.make_statistics_counter(next(iter(model.signatures.values())), edges)
    for row in values.astype(np.float32)[:, None]:
        counter.add({"x": row}, {"y": row + np.float32(0.5)})
    return counter.take().report()


def edges_in(report):
    return {
        (tensor["side"], tensor["name"]): [part["edges"].tolist() for part in tensor["parts"]]
        for tensor in report["tensors"]
    }


def test_reports_of_the_core_are_as_those_of_the_simulations(model):
    generator = np.random.default_rng(8)
    base, values = generator.normal(5, 2, (2000, 4)), generator.normal(5, 2, (300, 4))
    values[7, 2], values[9, 1], values[20:23] = np.nan, np.inf, values[19]
    reference = counted.report({X: base.astype(np.float32)})
    expected = counted.report({X: values.astype(np.float32)}, reference)["tensors"][0]["parts"]
    got = through_core(model, values, edges_in(reference))["tensors"][0]["parts"]
    for ours, theirs in zip(expected, got, strict=True):
        assert (ours["kind"], ours["name"]) == (theirs["kind"], theirs["name"])
        if ours["kind"] == "column":
            assert ours["counts"].tolist() == theirs["counts"].tolist()
            for field in ("finite_count", "nan_count", "infinite_count", "unchanged_count"):
                assert ours[field] == theirs[field]
        for field in ("mean", "variance", "step_squares"):
            assert theirs[field] == pytest.approx(ours[field], rel=0.03)


def test_a_moved_column_is_named_by_what_the_core_counted(model):
    generator = np.random.default_rng(9)
    base = through_core(model, generator.normal(5, 2, (4000, 4)), {})
    reports = []
    for index in range(8):
        values = generator.normal(5, 2, (1000, 4))
        values[:, 3] += 0.5 * 2 * (index >= 4)
        reports.append(through_core(model, values, {}))
    begins = [f"{index}:00" for index in range(8)]
    judgement = judge(Reference(base), reports, begins)  # bins that adapt have no thresholds
    column, outputs = judgement.findings
    assert column.words == 'column 3 of input "x" has moved up by 0.5 of its deviation since 4:00'
    assert outputs.words.startswith("outputs follow: ")
    assert {("output", "y", kind, "3") for kind in ("column", "class")} <= set(outputs.parts)
    assert not judge(Reference(base), reports[:4], begins).has_drifted
