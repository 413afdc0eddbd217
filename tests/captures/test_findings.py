"""Findings: one sentence for each thing that has drifted, the worst first."""

import numpy as np
import pytest

from edgeward.captures.findings import Names, findings, subject
from edgeward.captures.verdict import DISTRIBUTION, Part, Rule, verdict

BEGINS = ["Monday", "Tuesday", "Wednesday", "Thursday"]
X = ("input", "x")


def moved(part, mean, deviation=1.0, base=(0.0, 1.0), ratios=(2, 2, 2, 2)):
    size = len(ratios)
    metrics = {"mean": np.full(size, mean), "deviation": np.full(size, deviation)}
    expected = dict(zip(("mean", "deviation"), base, strict=True))
    ratios = np.array(ratios, float)
    sizes = np.full(size, 100.0)
    return verdict(part, DISTRIBUTION, sizes, metrics, {}, ratios, expected, Rule(3, 4))


def shared(part, what, share, base=0.0, ratios=(2, 2, 2, 2)):
    metrics = {"share": np.full(len(ratios), share)}
    ratios = np.array(ratios, float)
    sizes = np.full(ratios.size, 100.0)
    return verdict(part, what, sizes, metrics, {}, ratios, {"share": base}, Rule(3, 4))


def words(*verdicts, names=Names()):  # noqa: B008
    return [finding.words for finding in findings(verdicts, BEGINS, names)]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Part(*X, "values", ""), 'input "x"'),
        (Part(*X, "column", "1"), 'column 1 (width) of input "x"'),
        (Part(*X, "column", "2"), 'column 2 of input "x"'),
        (Part("input", "z", "column", "0"), 'column 0 of input "z"'),
        (Part(*X, "figure", "deviation"), 'the deviation per inference of input "x"'),
        (Part(*X, "figure", "channel 2"), 'the mean of channel 2 of input "x"'),
        (Part("output", "y", "class", "0"), 'class 0 (cat) of output "y"'),
        (Part("output", "y", "class", "9"), 'class 9 of output "y"'),
    ],
)
def test_a_part_is_called_by_its_name_where_it_has_one(part, text):
    assert subject(part, Names({"x": ["height", "width"]}, ["cat"])) == text


@pytest.mark.parametrize(
    ("mean", "deviation", "base", "text"),
    [
        (0.5, 1.0, (0, 1), "has moved up by 0.5 of its deviation since Monday"),
        (-7.0, 1.0, (1, 2), "has moved down by 4.0 of its deviation since Monday"),
        (0.05, 1.0, (0, 1), "has moved up by 0.05 of its deviation since Monday"),
        (0.1, 2.0, (0, 1), "has become wider since Monday: its deviation is 2.00 times the "
         "reference's"),
        (0.0, 0.0, (0, 1), "has become narrower since Monday: its deviation is 0.00 times the "
         "reference's"),
        (0.01, 1.01, (0, 1), "is distributed otherwise since Monday, at nearly the same mean and "
         "deviation"),
        (3.0, 1.0, (7, 0), "has changed since Monday: the reference has 7 alone"),
    ],
)  # fmt: skip
def test_what_a_distribution_did(mean, deviation, base, text):
    part = Part(*X, "column", "1")
    assert words(moved(part, mean, deviation, base)) == [f'column 1 of input "x" {text}']


@pytest.mark.parametrize(
    ("what", "share", "base", "text"),
    [
        ("NaN", 0.001, 0.0, "is NaN in 0.1 % of values since Monday, none of the reference's"),
        ("infinite", 0.5, 0.25, "is infinite in 50 % of values since Monday, 25 % of the "
         "reference's"),
        ("out of range", 1.0, 0.0, "is out of the reference's range in 100 % of values since "
         "Monday"),
        ("clipped", 0.3, 0.02, "is at an end of its range in 30 % of values since Monday, in 2 % "
         "of the reference's"),
        ("unchanged", 1.0, 0.05, "is stuck since Monday: 100 % of values are as the one before, "
         "5 % of the reference's"),
    ],
)  # fmt: skip
def test_what_a_share_did(what, share, base, text):
    part = Part(*X, "column", "1")
    assert words(shared(part, what, share, base)) == [f'column 1 of input "x" {text}']


def test_a_class_is_chosen():
    assert words(shared(Part("output", "y", "class", "1"), "class", 0.08, 0.05)) == [
        'class 1 of output "y" is chosen in 8 % of inferences since Monday, in 5 % of the '
        "reference's"
    ]


def test_what_lasts_comes_first_then_what_is_worse():
    parts = [Part(*X, "column", str(index)) for index in range(3)]
    verdicts = [
        moved(parts[0], 1, ratios=(9, 9, 9, 0)),
        moved(parts[1], 1, ratios=(2, 2, 2, 2)),
        moved(parts[2], 1, ratios=(3, 3, 3, 3)),
    ]
    assert [text.split()[1] for text in words(*verdicts)] == ["0", "2", "1"]
    over = moved(parts[0], 1, ratios=(9, 9, 0, 0))._replace(
        episode=verdicts[0].episode._replace(end=1, is_lasting=False)
    )
    texts = words(over, *verdicts[1:])
    assert [text.split()[1] for text in texts] == ["2", "1", "0"]
    assert texts[-1].endswith("from Monday to Tuesday")


def test_what_follows_from_a_column_or_a_stuck_sensor_is_not_repeated():
    column = Part(*X, "column", "1")
    figure = moved(Part(*X, "figure", "mean"), 1)
    elsewhere = moved(Part("output", "y", "figure", "mean"), 1)
    assert len(words(moved(column, 1), figure)) == 1
    assert len(words(moved(column, 1), elsewhere)) == 2
    assert len(words(figure)) == 1
    (text,) = words(moved(column, 0, 0.0), shared(column, "unchanged", 1.0))
    assert "is stuck" in text


def test_two_parts_are_swapped_only_when_each_is_as_the_other():
    first, second = Part(*X, "column", "1"), Part(*X, "column", "12")
    swapped = [moved(first, 5.0, base=(0, 1)), moved(second, 0.1, base=(5, 1))]
    assert words(*swapped) == ['columns 1 and 12 of input "x" seem to be swapped since Monday']
    assert len(words(moved(first, 5.0, base=(0, 1)), moved(second, 3.0, base=(5, 1)))) == 2
    other = Part("output", "y", "column", "12")
    assert len(words(moved(first, 5.0, base=(0, 1)), moved(other, 0.0, base=(5, 1)))) == 2


def test_a_tensor_is_scaled_when_mean_and_deviation_are():
    def figures(mean, deviation):
        return [
            moved(Part(*X, "figure", "mean"), mean, base=(10, 1)),
            moved(Part(*X, "figure", "deviation"), deviation, base=(4, 1)),
            moved(Part(*X, "values", ""), mean, base=(10, 1)),
        ]

    assert words(*figures(9, 3.6)) == [
        'input "x" seems to be scaled since Monday: its values are 0.90 times the reference\'s'
    ]
    channel = moved(Part(*X, "figure", "channel 0"), 12, base=(10, 1))
    assert words(*figures(12, 4.8), channel) == [
        'input "x" seems to be brighter since Monday: its values are 1.20 times the reference\'s'
    ]
    assert len(words(*figures(9, 4.2))) == 3
    assert len(words(*figures(-9, -3.6))) == 3
