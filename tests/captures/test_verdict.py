"""A verdict: k of the last n windows that tell."""

import numpy as np
import pytest

from edgeward.captures.verdict import DISTRIBUTION, Episode, Part, Rule, verdict

NAN = np.nan
PART = Part("input", "x", "values", "")


def judged(ratios, k=3, n=4):
    ratios = np.array(ratios, float)
    return verdict(PART, DISTRIBUTION, np.ones(ratios.size), {}, {}, ratios, {}, Rule(k, n))


@pytest.mark.parametrize(
    ("ratios", "episode"),
    [
        ([0, 0, 0, 0, 0], None),
        ([2, 2, 0, 0, 2, 2, 0, 0], None),  # never three in four
        ([2, 0, 0, 0, 0], None),
        ([0, 0, 2, 2, 2], Episode(2, 4, True)),
        ([0, 0, 2, 0, 2, 2], Episode(2, 5, True)),
        ([2, 2, 2, 0, 0, 0, 0], Episode(0, 2, False)),
        ([2, 2, 2, 0, 0, 0, 0, 2, 2, 2], Episode(7, 9, True)),  # the latest
        (
            [0, 2, NAN, 2, NAN, NAN, 2, NAN],
            Episode(1, 6, True),
        ),  # what tells nothing does not count
        ([1, 1, 1, 1], None),  # a limit that is reached is not passed
        ([2], Episode(0, 0, True)),  # as many as there are
        ([2, 2], Episode(0, 1, True)),
        ([2, 0], None),
        ([2, NAN], Episode(0, 0, True)),
        ([NAN, NAN], None),
        ([], None),
    ],
    ids=str,
)
def test_an_episode_begins_and_ends_with_a_window_that_passed(ratios, episode):
    assert judged(ratios).episode == episode


def test_k_and_n_are_the_callers():
    ratios = [0, 2, 0, 0, 2, 0]
    assert judged(ratios, k=1, n=1).episode == Episode(4, 4, False)
    assert judged(ratios, k=2, n=4).episode == Episode(1, 4, False)
    assert judged(ratios, k=2, n=3).episode is None


def test_each_window_says_whether_it_had_drifted_then():
    drifted = judged([0, 2, NAN, 2, 2, 0, 0, 0]).drifted
    assert drifted.tolist() == [False, False, False, False, True, True, False, False]


def test_the_word_says_what_can_be_said():
    assert judged([NAN]).word == "too few to tell"
    assert judged([0.5, NAN]).word == "as expected"
    assert judged([2, 2, 2]).word == "drifted"


def test_severity_is_that_of_the_episode():
    assert judged([0, 0, 0, 4, 4, 4]).severity == 4
    assert judged([0.2, 0.4, NAN]).severity == pytest.approx(0.3)
    assert judged([NAN]).severity == 0
