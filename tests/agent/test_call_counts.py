"""Counts of predictions: how they ended, and percentiles out of a histogram."""

from __future__ import annotations

import grpc
import pytest

from edgeward.agent.call_counts import LIMITS_S, CallCounts, Counted
from edgeward.agent.refusal import Refusal


def test_what_fails_is_counted_by_its_status():
    counts = CallCounts()
    with counts.prediction():
        pass
    with pytest.raises(Refusal), counts.prediction():
        raise Refusal(grpc.StatusCode.NOT_FOUND, "expected")
    with pytest.raises(ZeroDivisionError), counts.prediction():
        raise ZeroDivisionError
    now = counts.now()
    assert now.predictions == 3
    assert now.failures == {"NOT_FOUND": 1, "INTERNAL": 1}
    assert now.total_s > 0


@pytest.mark.parametrize(
    ("bins", "percent", "expected_s"),
    [
        ({}, 50, 0.0),
        ({1: 2}, 50, (LIMITS_S[0] + LIMITS_S[1]) / 2),
        ({0: 1, 2: 99}, 1, LIMITS_S[0]),
        ({len(LIMITS_S): 4}, 99, LIMITS_S[-1]),
    ],
)
def test_a_percentile_is_within_its_bin(bins, percent, expected_s):
    counted = Counted(tuple(bins.get(index, 0) for index in range(len(LIMITS_S) + 1)), 0.0, {})
    assert counted.percentile_s(percent) == pytest.approx(expected_s)
