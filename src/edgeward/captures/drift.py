"""Drift: whether windows of counts have drifted from those of a reference. Pure; numpy alone.

A window passes when a distance is larger than chance makes it at the window's size. Sizes are in
inferences; where neighbouring inferences are more alike than the reference's, a window counts as
fewer. What has drifted is said in words (findings.py).
"""

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from edgeward.captures import metrics
from edgeward.captures.findings import Finding, Names, findings
from edgeward.captures.series import Report, Series, Tensor, groups, tensors
from edgeward.captures.verdict import DISTRIBUTION, Array, Part, Rule, Verdict, verdict

LEVEL = 1e-3  # of false alarms in a window, over all shares together
PSI_LIMIT = 0.1  # the usual limit of a change, where there are no thresholds
USUAL_BINS = 32  # at most, where PSI decides
CHANCE_DEVIATIONS = 4.0  # of PSI without drift, which is nearly a chi-square times 1/n + 1/m
LEAST_IN_BIN = 10  # values on average, for PSI to tell
DOMINANT = 0.5  # a share above this, of what the reference hardly has, tells at any size
HARDLY = 0.01
STUCK = 0.1  # of the reference's changes from one observation to the next; fewer is stuck
HANGING = 0.25  # the share of unchanged observations that is a fault where the reference has none
EFFECT_OF_BLOCK = 0.2  # a block is ten correlation times long, a design effect two of them
FEW = 1000  # inferences of a reference
CLEAR = 5.0  # deviations of the mean of a reference: what windows of any size would show


class PartThresholds(NamedTuple):
    """The distances that chance alone reaches, of each metric, for each size of a window."""

    chi_square: Sequence[float]
    ks: Sequence[float]
    wasserstein: Sequence[float]


class Thresholds(NamedTuple):
    sizes: Sequence[int]  # inferences of a window, ascending
    false_alarms: float  # the share of windows without drift that pass any threshold
    block: int  # inferences in a row that were drawn together
    parts: Sequence[PartThresholds]  # of all tensors, in the order of the reference's report

    def at(self, row_index: int, sizes: Array) -> dict[str, Array]:
        """Those of a part by metric, at `sizes`; between known sizes as chance falls with 1 / size.

        NaN below the least size; above the largest, its thresholds.
        """
        known = 1 / np.asarray(self.sizes, np.float64)[::-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            wanted = np.where(sizes >= self.sizes[0], 1 / sizes, np.nan)
        limits = {}
        for metric, part in self.parts[row_index]._asdict().items():
            power = 1 if metric == "chi_square" else 2  # of a distance, it is a square already
            with np.errstate(over="ignore", invalid="ignore"):  # nothing passes an infinite one
                powers = np.interp(wanted, known, np.power(part, power)[::-1])
            limits[metric] = powers ** (1 / power)
        return limits


class Reference(NamedTuple):
    """What is expected, and the names by which findings call it."""

    report: Report  # as Statistics.report() makes it, of the calibration set
    thresholds: Thresholds | None = None  # of a reference of version 1 there are none
    names: Names = Names()


class Judgement(NamedTuple):
    verdicts: Sequence[Verdict]  # what has drifted first, then by severity
    findings: Sequence[Finding]  # a sentence for each thing that has drifted, the worst first
    notes: Sequence[str]  # what could not be judged, or was judged by less, and why

    @property
    def has_drifted(self) -> bool:
        return bool(self.findings)

    def __str__(self) -> str:
        return "\n".join(finding.words for finding in self.findings) or "as expected"


def judge(
    reference: Reference, reports: Sequence[Report], begins: Sequence[str], k: int = 3, n: int = 4
) -> Judgement:
    """A verdict on each part of the reference, and on the shares of its observations.

    `reports`, one for each window in time order, are as Statistics.report() makes them; `begins`
    says in words when each began. A part has drifted when `k` of `n` windows in a row pass a limit.
    Without thresholds PSI decides, by its usual limit beyond what chance makes of it. What was
    counted in other bins than the reference's is judged likewise, in the bins that both have.
    Windows that are too small for the thresholds are judged together with their neighbours, and
    the last of them has the verdict.
    """
    rule = Rule(k, n)
    compared = tensors(reference.report, reports)
    runs = float(reference.report["run_count"])
    verdicts = [
        _distribution(series, tensor, runs, reference.thresholds, rule)
        for tensor in compared
        for series in tensor.series
    ]
    block = reference.thresholds.block if reference.thresholds else 1
    verdicts += _shares(compared, runs, block, rule)
    verdicts.sort(key=lambda verdict: (verdict.episode is None, -verdict.severity))
    return Judgement(
        verdicts,
        findings(verdicts, begins, reference.names),
        list(_notes(compared, reference, verdicts, begins)),
    )


def _distribution(
    series: Series, tensor: Tensor, runs: float, thresholds: Thresholds | None, rule: Rule
) -> Verdict:
    leader = series if series.base["pair_count"] else tensor.leader
    ends = np.arange(series.totals.size)
    if thresholds is not None and not series.others:
        ends = groups(leader, runs, thresholds.sizes[0])
        series, leader = series.gathered(ends), leader.gathered(ends)
    base = series.base
    worth = leader.worth
    sizes = series.totals * (runs / max(series.base_total, 1)) * worth
    distances = _distances(series, worth)
    limits = _limits(series, sizes, runs / leader.effects[1], thresholds)
    # Squares of distances grow as the number of observations that would show them.
    with np.errstate(divide="ignore", invalid="ignore"):  # a limit of 0 is passed by any distance
        ratios = {
            metric: np.sqrt(distances[metric] / limit)
            if metric in ("chi_square", "psi")
            else distances[metric] / limit
            for metric, limit in limits.items()
        }
    largest = np.fmax.reduce(list(ratios.values()))
    expected = {"mean": base["mean"], "deviation": math.sqrt(base["variance"])}
    judged = verdict(series.part, DISTRIBUTION, sizes, distances, limits, largest, expected, rule)
    # An episode begins with the first window of the group that passed first.
    firsts = [int(np.searchsorted(ends, episode.begin)) for episode in judged.episodes]
    episodes = [
        episode._replace(begin=first)
        for episode, first in zip(judged.episodes, firsts, strict=True)
    ]
    return judged._replace(episodes=episodes)


def _distances(series: Series, worth: Array) -> dict[str, Array]:
    """Every metric, for each window; `worth` is what part of its observations counts."""
    base = series.base
    distances = _in_bins(
        series.edges, series.base_counts, series.counts, math.sqrt(base["variance"]), worth
    )
    if series.others:
        bounded = metrics.bounded(series.edges, series.base_counts, base["min"], base["max"])
    for other in series.others:
        common = metrics.common_bins(*bounded, other.edges, other.counts)
        bins = metrics.coarse_bins(*common, USUAL_BINS)
        apart = _in_bins(*bins, math.sqrt(base["variance"]), worth[other.window])
        for metric, distance in apart.items():
            distances[metric][other.window] = distance
    is_empty = series.values["finite_count"] == 0
    mean, variance = (
        np.where(is_empty, np.nan, series.values[name]) for name in ("mean", "variance")
    )
    return distances | {
        "mean": mean,
        "deviation": np.sqrt(variance),
        "shift": metrics.mean_shift(mean, base["mean"], base["variance"]),
        "spread": metrics.spread(variance, base["variance"]),
    }


def _in_bins(
    edges: Array, base_counts: Array, counts: Array, deviation: float, worth: Array
) -> dict[str, Array]:
    """A version 2 reference has nothing in its outer bins: what is there is judged as a share."""
    inner = edges
    if base_counts[0] == base_counts[-1] == 0:
        inner, base_counts = metrics.folded(edges, base_counts)
        inner, counts = metrics.folded(edges, counts)
    return {
        "psi": metrics.psi(base_counts, counts),
        "jensen_shannon": metrics.jensen_shannon(base_counts, counts),
        "ks": metrics.ks(base_counts, counts),
        "wasserstein": metrics.wasserstein(base_counts, counts, inner, deviation),
        "chi_square": metrics.chi_square(base_counts, counts * worth[..., None]),
    }


def _limits(
    series: Series, sizes: Array, base_size: float, thresholds: Thresholds | None
) -> dict[str, Array]:
    """The thresholds; of windows that have none, the usual limit of PSI above what chance makes."""
    is_usual = np.full(sizes.size, thresholds is None)
    is_usual[[other.window for other in series.others]] = True
    freedom = USUAL_BINS - 1
    chance = freedom + CHANCE_DEVIATIONS * math.sqrt(2 * freedom)
    with np.errstate(divide="ignore"):
        usual = PSI_LIMIT + chance * (1 / max(base_size, 1) + 1 / sizes)
    is_telling = series.totals >= LEAST_IN_BIN * USUAL_BINS
    limits = {"psi": np.where(is_usual & is_telling & (sizes > 0), usual, np.nan)}
    if thresholds is not None:
        for metric, limit in thresholds.at(series.row_index, sizes).items():
            limits[metric] = np.where(is_usual, np.nan, limit)
    return limits


class _Share(NamedTuple):
    """How often something was so, in each window and in the reference. Sizes are in inferences."""

    part: Part
    what: str
    shares: Array
    base_share: float
    sizes: Array
    effects: tuple[Array, float]


def _shares(compared: Sequence[Tensor], runs: float, block: int, rule: Rule) -> list[Verdict]:
    shares = [share for tensor in compared for share in _counted(tensor, runs, block)]
    limit = NormalDist().inv_cdf(1 - LEVEL / max(len(shares), 1))
    return [_judged(share, runs, limit, rule) for share in shares]


def _effects(leader: Series, block: int) -> tuple[Array, float]:
    """Design effects of windows and of the reference, as long as its correlation lasts.

    Neighbours alone do not tell that of noise upon something slow; the block of thresholds does.
    """
    windows, base = leader.effects
    base = max(base, 1 + EFFECT_OF_BLOCK * (block - 1))
    return np.maximum(windows, base), base


def _counted(tensor: Tensor, runs: float, block: int) -> Iterator[_Share]:
    """What is judged as a share. A figure's are those of its tensor, but for its own range."""
    leader_effects = _effects(tensor.leader, block)
    for series in tensor.series:
        sizes = series.totals * (runs / max(series.base_total, 1))
        effects = _effects(series, block) if series.base["pair_count"] else leader_effects
        for what, count, base_count in _occurrences(series, effects[1] / max(runs, 1)):
            if series.part.kind == "figure" and what != "out of range":
                continue
            # Of values it is whole inferences that stay the same.
            is_whole = what == "unchanged" and series.part.kind == "values"
            totals, base_total = (sizes, runs) if is_whole else (series.totals, series.base_total)
            share = count / np.where(totals > 0, totals, np.nan)
            yield _Share(series.part, what, share, base_count / max(base_total, 1), sizes, effects)
    totals = tensor.class_counts.sum(axis=-1)
    base_total = tensor.base_class_counts.sum()
    if base_total == 0:
        return  # scores that were no numbers, or that nobody counted
    for index, base_count in enumerate(tensor.base_class_counts):
        yield _Share(
            Part(tensor.side, tensor.name, "class", str(index)),
            "class",
            tensor.class_counts[:, index] / np.where(totals > 0, totals, np.nan),
            float(base_count / base_total),
            totals,
            leader_effects,
        )


def _occurrences(series: Series, least: float) -> Iterator[tuple[str, Array, float]]:
    """What, how often in each window, and how often in the reference, in observations.

    `least` is the least share that the reference can tell.
    """
    base, values = series.base, series.values
    yield "NaN", values["nan_count"], base["nan_count"]
    yield "infinite", values["infinite_count"], base["infinite_count"]
    if series.has_range:
        # The least and the largest of the reference are as far out as chance has brought any.
        chance = min(2 * least, HARDLY / 2) * series.base_total
        yield "out of range", series.counts[:, 0] + series.counts[:, -1], chance
    yield "clipped", values["clipped_count"], base["clipped_count"]
    yield "unchanged", values["unchanged_count"], base["unchanged_count"]


def _judged(share: _Share, runs: float, limit: float, rule: Rule) -> Verdict:
    seen, base, sizes = share.shares, share.base_share, share.sizes
    # Values that stay the same are no fewer observations of that.
    effects = (1.0, 1.0) if share.what == "unchanged" else share.effects
    z = metrics.proportion_z(seen * sizes, sizes, base * runs, runs, effects)
    if share.what == "class":
        ratios = np.abs(z) / limit
    elif share.what == "unchanged":
        is_stuck = (1 - seen < STUCK * (1 - base)) | ((seen > HANGING) & (base < HARDLY))
        ratios = np.where(is_stuck, z / limit, np.minimum(z / limit, 1))
    else:
        ratios = z / limit
        tells = (seen > DOMINANT) & (base < HARDLY)
        if share.what in ("NaN", "infinite"):
            tells |= (seen > 0) & (base == 0)
        ratios = np.where(tells, np.maximum(ratios, 1 + seen), ratios)
    numbers = {"share": seen, "z": z}
    limits = {"z": np.full(sizes.size, limit)}
    expected = {"share": base}
    return verdict(share.part, share.what, sizes, numbers, limits, ratios, expected, rule)


def _notes(
    compared: Sequence[Tensor],
    reference: Reference,
    verdicts: Sequence[Verdict],
    begins: Sequence[str],
) -> Iterator[str]:
    runs = float(reference.report["run_count"])
    if reference.thresholds is None:
        yield (
            "the reference has no thresholds: PSI decides, by its usual limit of "
            f"{PSI_LIMIT} beyond what chance makes of it"
        )
    if runs < FEW:
        yield (
            f"the reference has {runs:,.0f} inferences, fewer than {FEW:,}: no window shows a "
            f"shift of less than {CLEAR / math.sqrt(max(runs, 1)):.2f} of a deviation"
        )
    series = (series for tensor in compared for series in tensor.series)
    others = sorted({other.window for each in series for other in each.others})
    if others and reference.thresholds is not None:
        when = " to ".join(dict.fromkeys(begins[window] for window in (others[0], others[-1])))
        windows = "1 window was" if len(others) == 1 else f"{len(others):,} windows were"
        yield (
            f"{windows} counted in other bins than the reference's, as before this package ran "
            f"({when}): judged coarsely, by PSI in the bins that both have; the package that ran "
            "then judges better"
        )
    judged = [verdict for verdict in verdicts if verdict.what == DISTRIBUTION]
    absent = [verdict for verdict in judged if verdict.sizes.size and not verdict.sizes.any()]
    if absent:
        yield (
            f"{len(absent):,} of {len(judged):,} parts: nothing was counted of them, as before "
            "this package ran; the package that ran then judges better"
        )
    mute = [verdict for verdict in judged if verdict.telling_count == 0 and verdict.sizes.any()]
    if mute:
        least = f"{reference.thresholds.sizes[0]:,}" if reference.thresholds else "more"
        most = max(float(verdict.sizes.max(initial=0)) for verdict in mute)
        yield (
            f"{len(mute):,} of {len(judged):,} parts: too few to tell, expected windows of {least} "
            f"inferences, got {most:,.0f} at most (neighbours that are alike count as fewer)"
        )
