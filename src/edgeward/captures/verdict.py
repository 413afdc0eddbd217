"""Verdict: whether what was counted of a part has drifted, by k of the last n windows. Pure.

A part is what has bins of its own in a tensor: all its values, a column, or a figure, which is one
value an inference. A verdict is of a part's distribution, or of a share of its observations.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

DISTRIBUTION = "distribution"


class Part(NamedTuple):
    side: str  # "input" or "output"
    tensor: str
    kind: str  # "values", "column", "figure"; "class" of an output's scores
    name: str  # of a column its index, of a figure its word, of a class its index; "" of values


class Episode(NamedTuple):
    """A time in which a part had drifted: windows by their index, both included."""

    begin: int
    end: int
    is_lasting: bool  # it had not ended with the last window that tells
    severity: float  # mean ratio of its windows that tell


class Verdict(NamedTuple):
    """Of one part. Arrays have one number for each window; NaN where there is none.

    `what` is "distribution", or the share that is judged: "NaN", "infinite", "out of range",
    "clipped", "unchanged", "class". `metrics` of a distribution are psi, jensen_shannon, ks,
    wasserstein, chi_square, shift and spread as in metrics.py, mean and deviation; of a share they
    are share and z. `limits` are what chance reaches, for the metrics that decide.
    """

    part: Part
    what: str
    sizes: Array  # inferences, as many as they are worth where neighbours are alike
    metrics: Mapping[str, Array]
    limits: Mapping[str, Array]
    ratios: Array  # of metric to limit, the largest: above 1 it passes; NaN: too few to tell
    expected: Mapping[str, float]  # the reference's mean and deviation, or its share
    drifted: Flags  # k of the n windows up to this one pass
    episodes: Sequence[Episode]  # in the order of time; none if it never drifted

    @property
    def episode(self) -> Episode | None:
        """The most severe, of equal ones the latest."""
        return max(reversed(self.episodes), key=lambda episode: episode.severity, default=None)

    @property
    def severity(self) -> float:
        """Mean ratio in the most severe episode, or of all windows; 0 when none tells."""
        if self.episode is not None:
            return self.episode.severity
        telling = self.ratios[~np.isnan(self.ratios)]
        return float(np.mean(telling)) if telling.size else 0.0

    @property
    def passed_count(self) -> int:
        """Windows that pass a limit."""
        return int(np.count_nonzero(self.ratios > 1))

    @property
    def telling_count(self) -> int:
        """Windows that are large enough to tell."""
        return int(np.count_nonzero(~np.isnan(self.ratios)))

    @property
    def word(self) -> str:
        if self.telling_count == 0:
            return "too few to tell"
        if self.episodes:
            return "drifted"
        return "passed" if self.passed_count else "as expected"


class Rule(NamedTuple):
    """A part has drifted when `k` of the last `n` windows that tell pass a limit.

    Of fewer windows than that, all of them must.
    """

    k: int
    n: int

    def drifted(self, ratios: Array) -> Flags:
        """For each window; never in one that does not tell, whose ratio is NaN."""
        telling = np.flatnonzero(~np.isnan(ratios))
        passed = np.cumsum(np.concatenate([[0], ratios[telling] > 1]))
        first = np.maximum(np.arange(telling.size) + 1 - self.n, 0)
        drifted = np.zeros(ratios.size, np.bool_)
        drifted[telling] = passed[1:] - passed[first] >= max(min(self.k, telling.size), 1)
        return drifted

    def episodes(self, ratios: Array, drifted: Flags) -> list[Episode]:
        """Each from the first window that passed to the last one, in the order of time."""
        telling = np.flatnonzero(~np.isnan(ratios))
        known, flags = ratios[telling], drifted[telling].astype(np.int8)
        steps = np.diff(flags, prepend=0, append=0)
        episodes: list[Episode] = []
        for first, end in zip(np.flatnonzero(steps > 0), np.flatnonzero(steps < 0), strict=True):
            # What passed within the n windows that made the first of them drift belongs to it.
            passed = np.arange(max(0, first - self.n + 1), end)
            passed = passed[known[passed] > 1]
            begin, last = int(passed[0]), int(passed[-1])
            if episodes and episodes[-1].end >= telling[begin]:
                begin = int(np.searchsorted(telling, episodes.pop().begin))
            severity = float(np.mean(known[begin : last + 1]))
            is_lasting = bool(end == telling.size)
            episodes.append(Episode(int(telling[begin]), int(telling[last]), is_lasting, severity))
        return episodes


def verdict(
    part: Part,
    what: str,
    sizes: Array,
    metrics: Mapping[str, Array],
    limits: Mapping[str, Array],
    ratios: Array,
    expected: Mapping[str, float],
    rule: Rule,
) -> Verdict:
    drifted = rule.drifted(ratios)
    episodes = rule.episodes(ratios, drifted)
    return Verdict(part, what, sizes, metrics, limits, ratios, expected, drifted, episodes)
