"""Findings: one sentence for each thing that has drifted, the worst first."""

import numpy as np
import pytest

from edgeward.captures.findings import Names, findings, subject
from edgeward.captures.verdict import DISTRIBUTION, Episode, Part, Rule, verdict

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
        (0.01, 1.01, (0, 1), "has another shape since Monday, at nearly the same mean and "
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
    over = verdicts[0]._replace(episodes=[Episode(0, 1, False, 9.0)])
    texts = words(over, *verdicts[1:])
    assert [text.split()[1] for text in texts] == ["2", "1", "0"]
    assert texts[-1].endswith("from Monday to Tuesday")


def test_the_strongest_time_leads_and_the_others_are_said():
    times = [Episode(0, 0, False, 2.0), Episode(1, 1, False, 9.0), Episode(3, 3, True, 3.0)]
    verdict = moved(Part(*X, "column", "1"), 1)._replace(episodes=times)
    assert words(verdict) == [
        'column 1 of input "x" has moved up by 1.0 of its deviation from Tuesday to Tuesday; also '
        "from Monday to Monday and since Thursday"
    ]
    many = verdict._replace(episodes=[*times, Episode(3, 3, True, 1.0)])
    assert words(many)[0].endswith("; also 3 times more, the last since Thursday")
    (finding,) = findings([verdict], BEGINS, Names())
    assert (finding.begin, finding.end, finding.severity) == ("Tuesday", "Tuesday", 9.0)


def test_what_lasts_in_any_of_its_times_comes_first():
    lasting = moved(Part(*X, "column", "1"), 1)._replace(
        episodes=[Episode(0, 1, False, 2.0), Episode(3, 3, True, 1.5)]
    )
    over = moved(Part(*X, "column", "2"), 1)._replace(episodes=[Episode(0, 1, False, 9.0)])
    assert [text.split()[1] for text in words(over, lasting)] == ["1", "2"]


# --- one sentence for one cause -----------------------------------------------------------------


def test_what_follows_from_a_column_is_not_repeated():
    column = Part(*X, "column", "1")
    figure = moved(Part(*X, "figure", "mean"), 1)
    assert len(words(moved(column, 1), figure)) == 1
    assert len(words(figure)) == 1


def test_a_column_has_one_sentence_for_all_that_moved_in_it():
    column = Part(*X, "column", "1")
    verdicts = [moved(column, 1), shared(column, "out of range", 0.125), shared(column, "NaN", 0.5)]
    assert words(*verdicts) == [
        'column 1 of input "x" has moved up by 1.0 of its deviation since Monday, and is out of '
        "the reference's range in 12 % of values",
        'column 1 of input "x" is NaN in 50 % of values since Monday, none of the reference\'s',
    ]


def test_a_stuck_column_is_stuck_and_nothing_else():
    column, other = Part(*X, "column", "1"), Part(*X, "column", "2")
    texts = words(
        moved(column, 0, 0.0), shared(column, "clipped", 1.0), shared(column, "unchanged", 1.0),
        moved(other, 1, ratios=(9, 9, 9, 9)),
    )  # fmt: skip
    assert [("is stuck" in text, text.split()[1]) for text in texts] == [(False, "2"), (True, "1")]


def test_a_frozen_picture_is_one_sentence():
    figures = ("mean", "deviation", "least", "largest", "channel 0")
    verdicts = [moved(Part(*X, "figure", name), 0, 0.0, ratios=(9, 9, 9, 9)) for name in figures]
    verdicts += [shared(Part(*X, "figure", name), "out of range", 1.0) for name in figures]
    values = Part(*X, "values", "")
    verdicts += [moved(values, 0.1), shared(values, "unchanged", 1.0)]
    assert words(*verdicts) == [
        'input "x" is stuck since Monday: 100 % of inferences are as the one before, none of the '
        "reference's"
    ]


def test_the_figures_of_a_tensor_are_one_sentence():
    names = ("mean", "least", "largest")
    verdicts = [moved(Part(*X, "figure", name), 1, ratios=(4, 4, 4, 4)) for name in names]
    assert words(moved(Part(*X, "values", ""), 0.5), *verdicts) == [
        'the mean per inference of input "x" has moved up by 1.0 of its deviation since Monday; '
        "3 more of its parts drifted too"
    ]
    (finding,) = findings(verdicts, BEGINS, Names())
    assert [part.name for part in finding.parts] == list(names)


def test_a_picture_that_is_clipped_is_that_beside_what_its_mean_does():
    texts = words(
        moved(Part(*X, "figure", "mean"), 1, ratios=(9, 9, 9, 9)),
        shared(Part(*X, "values", ""), "clipped", 0.5),
    )
    assert texts[1].startswith('input "x" is at an end of its range in 50 % of values since Monday')


def test_of_many_columns_the_worst_have_sentences_and_the_others_one():
    verdicts = [
        moved(Part(*X, "column", str(index)), 1, ratios=(99 - index,) * 4) for index in range(12)
    ]
    assert [text.split()[1] for text in words(*verdicts[:4])] == ["0", "1", "2", "3"]
    texts = words(*verdicts, names=Names({"x": ["height"] * 5}))
    assert len(texts) == 4
    assert texts[3] == (
        '9 more columns of input "x" likewise, the first since Monday: 3 (height), 4 (height), 5, '
        "6, 7, 8, ..."
    )
    parts = [part for finding in findings(verdicts, BEGINS, Names()) for part in finding.parts]
    assert sorted(parts) == sorted(verdict.part for verdict in verdicts)
    broken = [shared(Part(*X, "column", "11"), "NaN", 0.5)]
    assert any("is NaN" in text for text in words(*verdicts, *broken))


def test_outputs_that_follow_an_input_are_one_sentence_behind_it():
    scores = [
        moved(Part("output", "y", "column", str(index)), 1, ratios=(90, 90, 90, 90))
        for index in range(4)
    ]
    column = moved(Part(*X, "column", "1"), 1)
    texts = words(*scores, column)
    assert texts[0].startswith('column 1 of input "x" has moved')
    assert texts[1:] == [
        'outputs follow: column 0 of output "y" has moved up by 1.0 of its deviation since Monday; '
        'column 1 of output "y" has moved up by 1.0 of its deviation since Monday; '
        "2 more parts of outputs drifted too"
    ]
    assert [finding.follows for finding in findings([*scores, column], BEGINS, Names())] == [
        False, True,
    ]  # fmt: skip
    assert len(words(*scores)) == 4


def test_an_output_that_drifted_before_any_input_does_not_follow():
    early = moved(Part("output", "y", "column", "0"), 1, ratios=(2, 2, 2, 2))
    late = moved(Part(*X, "column", "1"), 1)._replace(episodes=[Episode(2, 3, True, 9.0)])
    assert [finding.follows for finding in findings([early, late], BEGINS, Names())] == [
        False, False,
    ]  # fmt: skip
    later = early._replace(episodes=[Episode(1, 3, True, 9.0)])  # shown a window earlier
    assert [finding.follows for finding in findings([later, late], BEGINS, Names())] == [
        False, True,
    ]  # fmt: skip
    over = late._replace(episodes=[Episode(0, 0, False, 9.0)])
    assert [finding.follows for finding in findings([later, over], BEGINS, Names())] == [
        False, False,
    ]  # fmt: skip


def test_classes_are_one_sentence_apart_from_scores():
    verdicts = [
        shared(Part("output", "y", "class", str(index)), "class", 0.5, 0.25, (3, 3, 3, 3))
        for index in range(2)
    ]
    texts = words(*verdicts, moved(Part("output", "y", "figure", "margin"), 1))
    assert texts == [
        'class 0 of output "y" is chosen in 50 % of inferences since Monday, in 25 % of the '
        "reference's; 1 more of its classes drifted too",
        'the margin between the two best scores of output "y" has moved up by 1.0 of its deviation '
        "since Monday",
    ]


# --- of several parts ---------------------------------------------------------------------------


def test_two_parts_are_swapped_only_when_each_is_as_the_other():
    first, second = Part(*X, "column", "1"), Part(*X, "column", "12")
    swapped = [moved(first, 5.0, base=(0, 1)), moved(second, 0.1, base=(5, 1))]
    assert words(*swapped) == ['columns 1 and 12 of input "x" seem to be swapped since Monday']
    assert len(words(moved(first, 5.0, base=(0, 1)), moved(second, 3.0, base=(5, 1)))) == 2
    other = Part("output", "y", "column", "12")
    texts = words(moved(first, 5.0, base=(0, 1)), moved(other, 0.0, base=(5, 1)))
    assert ["seem to be swapped" in text for text in texts] == [False, False]


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
    for apart in (figures(9, 4.2), figures(-9, -3.6)):
        (text,) = words(*apart)
        assert "scaled" not in text
