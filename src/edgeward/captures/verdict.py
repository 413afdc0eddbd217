"""Verdict: whether what was counted of a part has drifted, by k of the last n windows. Pure.

A part is what has bins of its own in a tensor: all its values, a column, or a figure, which is one
value an inference. A verdict is of a part's distribution, or of a share of its observations.
"""

from collections.abc import Mapping
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
    """When a part has drifted: windows by their index, both included."""

    begin: int
    end: int
    is_lasting: bool  # it had not ended with the last window that tells


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
    episode: Episode | None  # the latest, if it ever drifted
    severity: float  # mean ratio in the episode, or of all windows; 0 when none tells

    @property
    def word(self) -> str:
        if np.isnan(self.ratios).all():
            return "too few to tell"
        return "drifted" if self.episode else "as expected"


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

    def episode(self, ratios: Array, drifted: Flags) -> Episode | None:
        """From the first window that passed, to the last one."""
        telling = np.flatnonzero(~np.isnan(ratios))
        flags = drifted[telling]
        if not flags.any():
            return None
        last = int(np.flatnonzero(flags)[-1])
        calm = np.flatnonzero(~flags[:last])
        first = int(calm[-1]) + 1 if calm.size else 0
        passed = np.flatnonzero(ratios[telling] > 1)
        inside = passed[(passed > first - self.n) & (passed <= last)]
        begin, end = telling[inside[0]], telling[inside[-1]]
        return Episode(int(begin), int(end), last == telling.size - 1)


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
    episode = rule.episode(ratios, drifted)
    span = slice(episode.begin, episode.end + 1) if episode else slice(None)
    telling = ratios[span][~np.isnan(ratios[span])]
    severity = float(np.mean(telling)) if telling.size else 0.0
    return Verdict(part, what, sizes, metrics, limits, ratios, expected, drifted, episode, severity)
