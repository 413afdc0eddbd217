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
    ("ratios", "spans"),
    [
        ([0, 0, 0, 0, 0], []),
        ([2, 2, 0, 0, 2, 2, 0, 0], []),  # never three in four
        ([2, 0, 0, 0, 0], []),
        ([0, 0, 2, 2, 2], [(2, 4, True)]),
        ([0, 0, 2, 0, 2, 2], [(2, 5, True)]),
        ([2, 2, 2, 0, 0, 0, 0], [(0, 2, False)]),
        ([2, 2, 2, 0, 0, 0, 0, 2, 2, 2], [(0, 2, False), (7, 9, True)]),
        ([2, 2, 2, 0, 0, 2, 2, 0, 2, 0, 0, 0], [(0, 2, False), (5, 8, False)]),
        ([2, 2, 2, 0, 0, 2, 0, 2, 2], [(0, 2, False), (5, 8, True)]),
        ([0, 2, NAN, 2, NAN, NAN, 2, NAN], [(1, 6, True)]),  # what tells nothing does not count
        ([1, 1, 1, 1], []),  # a limit that is reached is not passed
        ([2], [(0, 0, True)]),  # as many as there are
        ([2, 2], [(0, 1, True)]),
        ([2, 0], []),
        ([2, NAN], [(0, 0, True)]),
        ([NAN, NAN], []),
        ([], []),
    ],
    ids=str,
)
def test_episodes_begin_and_end_with_a_window_that_passed(ratios, spans):
    assert [tuple(episode[:3]) for episode in judged(ratios).episodes] == spans


def test_two_times_that_share_a_window_are_one():
    assert judged([2, 0, 2, 0, 2], k=2, n=3).episodes == [Episode(0, 4, True, 1.2)]
    assert judged([2, 0, 2, 0, 0, 2, 0, 2], k=2, n=3).episodes == [
        Episode(0, 2, False, 4 / 3),
        Episode(5, 7, True, 4 / 3),
    ]


@pytest.mark.parametrize(
    ("ratios", "span"),
    [
        ([9, 9, 9, 0, 0, 0, 0, 2, 2, 2], (0, 2)),
        ([2, 2, 2, 0, 0, 0, 0, 9, 9, 9], (7, 9)),
        ([2, 2, 2, 0, 0, 0, 0, 2, 2, 2], (7, 9)),  # of equal ones the latest
    ],
    ids=str,
)
def test_the_strongest_time_is_that_of_the_verdict(ratios, span):
    assert judged(ratios).episode[:2] == span


def test_k_and_n_are_the_callers():
    ratios = [0, 2, 0, 0, 2, 0]
    assert [episode[:3] for episode in judged(ratios, k=1, n=1).episodes] == [
        (1, 1, False), (4, 4, False),
    ]  # fmt: skip
    assert [episode[:3] for episode in judged(ratios, k=2, n=4).episodes] == [(1, 4, False)]
    assert judged(ratios, k=2, n=3).episode is None


def test_each_window_says_whether_it_had_drifted_then():
    drifted = judged([0, 2, NAN, 2, 2, 0, 0, 0]).drifted
    assert drifted.tolist() == [False, False, False, False, True, True, False, False]


def test_the_word_says_what_can_be_said():
    assert judged([NAN]).word == "too few to tell"
    assert judged([0.5, NAN]).word == "as expected"
    assert judged([2, 0.5, 2, 0.5]).word == "passed"
    assert judged([2, 2, 2]).word == "drifted"


def test_windows_are_counted_that_tell_and_that_pass():
    verdict = judged([2, 0.5, NAN, 1, 3])
    assert (verdict.passed_count, verdict.telling_count) == (2, 4)


def test_severity_is_that_of_the_strongest_episode():
    assert judged([0, 0, 0, 4, 4, 4]).severity == 4
    assert judged([0.2, 0.4, NAN]).severity == pytest.approx(0.3)
    assert judged([NAN]).severity == 0
