"""Drift: how far the distributions on a device are from those that its package expects.

Pure. PSI is the population stability index over the shares of the bins: below 0.1 usually counts
as no change, from 0.25 on as a large one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MIN_SHARE = 1e-4  # the share of a bin that is empty on one side


class Drift(NamedTuple):
    """The drift of one tensor. A tensor that the reference lacks has none."""

    side: str
    name: str
    value_count: int
    mean: float
    psi: float
    shift: float | None  # of the mean, in standard deviations of the reference; None if those are 0


def drifts(
    reference: Sequence[Mapping[str, Any]], counted: Sequence[Mapping[str, Any]]
) -> list[Drift]:
    """A Drift for each tensor that both have in the same bins.

    Both are rows of Statistics.report() or of ReferenceStatistics: side, name, edges, counts, mean,
    variance, finite_count.
    """
    expected = {(row["side"], row["name"]): row for row in reference}
    compared = []
    for row in counted:
        base = expected.get((row["side"], row["name"]))
        if base is None or list(base["edges"]) != list(row["edges"]) or not row["finite_count"]:
            continue
        deviation = math.sqrt(base["variance"])
        compared.append(
            Drift(
                row["side"],
                row["name"],
                int(row["finite_count"]),
                row["mean"],
                psi(base["counts"], row["counts"]),
                (row["mean"] - base["mean"]) / deviation if deviation > 0 else None,
            )
        )
    return compared


def psi(expected: Sequence[int], got: Sequence[int]) -> float:
    """The population stability index of two counts over the same bins; 0 when either is empty."""
    expected_total, got_total = int(sum(expected)), int(sum(got))
    if expected_total == 0 or got_total == 0:
        return 0.0
    total = 0.0
    for expected_count, got_count in zip(expected, got, strict=True):
        share = max(int(expected_count) / expected_total, MIN_SHARE)
        now = max(int(got_count) / got_total, MIN_SHARE)
        total += (now - share) * math.log(now / share)
    return total
