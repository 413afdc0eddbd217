"""Drift: how far what a device has counted lies from what its package expects.

Pure. PSI is the population stability index over the shares of the bins: below 0.1 is usually taken
for no change, from 0.25 on for a large one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LEAST_SHARE = 1e-4  # a bin that one side has never seen counts as having so much


class Drift(NamedTuple):
    """Of one tensor. Nothing that cannot be said: a tensor that the reference lacks has none."""

    side: str
    name: str
    value_count: int
    mean: float
    psi: float
    shift: float | None  # of the mean, in standard deviations of the reference; None where it has 0


def drifts(
    reference: Sequence[Mapping[str, Any]], counted: Sequence[Mapping[str, Any]]
) -> list[Drift]:
    """One for each tensor that both have in the same bins.

    Both are rows of Statistics.report() or of ReferenceStatistics: side, name, edges, counts, mean,
    variance, finite_count.
    """
    expected = {(row["side"], row["name"]): row for row in reference}
    found = []
    for row in counted:
        base = expected.get((row["side"], row["name"]))
        if base is None or list(base["edges"]) != list(row["edges"]) or not row["finite_count"]:
            continue
        deviation = math.sqrt(base["variance"])
        found.append(
            Drift(
                row["side"],
                row["name"],
                int(row["finite_count"]),
                row["mean"],
                psi(base["counts"], row["counts"]),
                (row["mean"] - base["mean"]) / deviation if deviation > 0 else None,
            )
        )
    return found


def psi(expected: Sequence[int], got: Sequence[int]) -> float:
    """The population stability index of two counts over the same bins; 0 when either is empty."""
    expected_total, got_total = int(sum(expected)), int(sum(got))
    if expected_total == 0 or got_total == 0:
        return 0.0
    total = 0.0
    for one, other in zip(expected, got, strict=True):
        share = max(int(one) / expected_total, LEAST_SHARE)
        now = max(int(other) / got_total, LEAST_SHARE)
        total += (now - share) * math.log(now / share)
    return total
