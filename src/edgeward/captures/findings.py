"""Findings: what has drifted, each in one sentence of plain words. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from edgeward.captures.verdict import DISTRIBUTION, Episode, Part, Verdict

SLIGHT = 0.02  # a shift or a change of the spread that a sentence does not speak of
ALIKE = 0.2  # of the distance between two swapped parts that may remain
FIGURES = {
    "mean": "the mean per inference",
    "deviation": "the deviation per inference",
    "least": "the least value per inference",
    "largest": "the largest value per inference",
    "margin": "the margin between the two best scores",
    "entropy": "the entropy of the scores",
}


class Names(NamedTuple):
    columns: Mapping[str, Sequence[str]] = {}  # by tensor
    classes: Sequence[str] = ()


class Finding(NamedTuple):
    part: Part
    what: str  # "shift", "spread", "shape", "swapped", "scaled", or a share as in Verdict
    amount: float  # in deviations, as a part of the reference's, or a share; 0 of others
    begin: str  # when the first window began that showed it
    end: str | None  # when the last one began, if it is over
    severity: float
    words: str


def findings(verdicts: Sequence[Verdict], begins: Sequence[str], names: Names) -> list[Finding]:
    """What has drifted, the worst first. What follows from something else is not repeated."""
    drifted = [verdict for verdict in verdicts if verdict.episode is not None]
    by_column = {_tensor(verdict) for verdict in drifted if verdict.part.kind == "column"}
    whole = [verdict for verdict in drifted if _tensor(verdict) not in by_column]
    combined = [*_swapped(drifted, begins, names), *_scaled(whole, begins, names)]
    explained = {part for _, parts in combined for part in parts}
    stuck = {verdict.part for verdict in drifted if verdict.what == "unchanged"}
    sentences = [finding for finding, _ in combined]
    for verdict in drifted:
        is_moved = verdict.what in (DISTRIBUTION, "out of range", "clipped")
        of_column = verdict.part.kind == "figure" and _tensor(verdict) in by_column
        is_stuck = verdict.what == DISTRIBUTION and verdict.part in stuck
        if not (is_stuck or of_column or (is_moved and verdict.part in explained)):
            sentences.append(_finding(verdict, begins, names))
    return sorted(sentences, key=lambda finding: (finding.end is not None, -finding.severity))


def subject(part: Part, names: Names) -> str:
    tensor = f'{part.side} "{part.tensor}"'
    if part.kind == "values":
        return tensor
    if part.kind == "figure":
        return f"{FIGURES.get(part.name, f'the mean of {part.name}')} of {tensor}"
    return f"{part.kind} {_called(part, names)} of {tensor}"


def _called(part: Part, names: Names) -> str:
    """The index of a column or a class, with its name where it has one."""
    known = names.columns.get(part.tensor, ()) if part.kind == "column" else names.classes
    index = int(part.name) if part.name.isdigit() else len(known)
    return f"{part.name} ({known[index]})" if index < len(known) else part.name


def _tensor(verdict: Verdict) -> tuple[str, str]:
    return verdict.part.side, verdict.part.tensor


def _finding(verdict: Verdict, begins: Sequence[str], names: Names) -> Finding:
    words = _moved if verdict.what == DISTRIBUTION else _shared
    what, amount, text = words(verdict, _since(verdict, begins))
    return _spoken(verdict, what, amount, f"{subject(verdict.part, names)} {text}", begins)


def _spoken(
    verdict: Verdict, what: str, amount: float, words: str, begins: Sequence[str]
) -> Finding:
    episode = _episode(verdict)
    end = None if episode.is_lasting else begins[episode.end]
    return Finding(verdict.part, what, amount, begins[episode.begin], end, verdict.severity, words)


def _since(verdict: Verdict, begins: Sequence[str]) -> str:
    episode = _episode(verdict)
    if episode.is_lasting:
        return f"since {begins[episode.begin]}"
    return f"from {begins[episode.begin]} to {begins[episode.end]}"


def _moved(verdict: Verdict, since: str) -> tuple[str, float, str]:
    mean, deviation = _moments(verdict)
    base_mean, base_deviation = verdict.expected["mean"], verdict.expected["deviation"]
    if base_deviation == 0:
        return "shape", 0.0, f"has changed {since}: the reference has {base_mean:g} alone"
    shift, ratio = (mean - base_mean) / base_deviation, deviation / base_deviation
    widening = math.log(max(ratio, 1e-9))
    if abs(shift) >= max(abs(widening), SLIGHT):
        direction = "up" if shift > 0 else "down"
        return (
            "shift",
            shift,
            f"has moved {direction} by {_rounded(abs(shift))} of its deviation {since}",
        )
    if abs(widening) >= SLIGHT:
        form = "wider" if widening > 0 else "narrower"
        return (
            "spread",
            ratio,
            f"has become {form} {since}: its deviation is {ratio:.2f} times the reference's",
        )
    return "shape", 0.0, f"is distributed otherwise {since}, at nearly the same mean and deviation"


def _shared(verdict: Verdict, since: str) -> tuple[str, float, str]:
    what, share = verdict.what, _mean(verdict, "share")
    of = "inferences" if verdict.part.kind == "class" else "values"
    seen, base = f"{_percent(share)} of {of}", _percent(verdict.expected["share"])
    words = {
        "class": f"is chosen in {seen} {since}, in {base} of the reference's",
        "out of range": f"is out of the reference's range in {seen} {since}",
        "clipped": f"is at an end of its range in {seen} {since}, in {base} of the reference's",
        "unchanged": f"is stuck {since}: {seen} are as the one before, {base} of the reference's",
    }
    return what, share, words.get(what, f"is {what} in {seen} {since}, {base} of the reference's")


Combined = tuple[Finding, list[Part]]


def _swapped(drifted: Sequence[Verdict], begins: Sequence[str], names: Names) -> Iterator[Combined]:
    """Pairs of columns, or of channels, each of which is as the reference's other is."""
    movable = [
        verdict
        for verdict in drifted
        if verdict.what == DISTRIBUTION
        and verdict.part.side == "input"  # scores of two classes mirror each other
        and (verdict.part.kind == "column" or verdict.part.name.startswith("channel "))
    ]
    for pair in combinations(movable, 2):
        if _tensor(pair[0]) != _tensor(pair[1]) or pair[0].part.kind != pair[1].part.kind:
            continue
        means = [_moments(verdict)[0] for verdict in pair]
        bases = [verdict.expected["mean"] for verdict in pair]
        moved = abs(means[0] - bases[0]) + abs(means[1] - bases[1])
        remains = abs(means[0] - bases[1]) + abs(means[1] - bases[0])
        if remains < ALIKE * moved:
            first, second = sorted((verdict.part for verdict in pair), key=_order)
            plural = "columns" if first.kind == "column" else "channels"
            called = " and ".join(
                _called(part, names).removeprefix("channel ") for part in (first, second)
            )
            words = (
                f'{plural} {called} of {first.side} "{first.tensor}" seem to be swapped '
                f"{_since(pair[0], begins)}"
            )
            yield _spoken(pair[0], "swapped", 0.0, words, begins), [first, second]


def _scaled(drifted: Sequence[Verdict], begins: Sequence[str], names: Names) -> Iterator[Combined]:
    """Tensors whose mean and deviation per inference have changed by the same factor."""
    figures = {
        (_tensor(verdict), verdict.part.name): verdict
        for verdict in drifted
        if verdict.what == DISTRIBUTION and verdict.part.kind == "figure"
    }
    for (tensor, name), verdict in figures.items():
        other = figures.get((tensor, "deviation"))
        if name != "mean" or other is None:
            continue
        factors = [_factor(verdict), _factor(other)]
        if min(factors) <= 0 or abs(math.log(factors[0] / factors[1])) > ALIKE * abs(
            math.log(factors[0])
        ):
            continue
        look = "brighter" if factors[0] > 1 else "darker"
        is_picture = any(
            part.part.name.startswith("channel ") for part in drifted if _tensor(part) == tensor
        )
        says = f"seems to be {look}" if is_picture else "seems to be scaled"
        words = (
            f'{tensor[0]} "{tensor[1]}" {says} {_since(verdict, begins)}: '
            f"its values are {factors[0]:.2f} times the reference's"
        )
        explained = [
            part.part
            for part in drifted
            if _tensor(part) == tensor and part.part.kind in ("figure", "values")
        ]
        yield _spoken(verdict, "scaled", factors[0], words, begins), explained


def _factor(verdict: Verdict) -> float:
    base = verdict.expected["mean"]
    return _moments(verdict)[0] / base if base else 0.0


def _order(part: Part) -> tuple[int, str]:
    return len(part.name), part.name


def _episode(verdict: Verdict) -> Episode:
    assert verdict.episode is not None
    return verdict.episode


def _mean(verdict: Verdict, metric: str) -> float:
    """Over the windows of the episode, by the inferences that they are worth."""
    episode = _episode(verdict)
    span = slice(episode.begin, episode.end + 1)
    numbers, sizes = verdict.metrics[metric][span], verdict.sizes[span]
    telling = ~np.isnan(numbers) & ~np.isnan(verdict.ratios[span])
    return float(np.average(numbers[telling], weights=sizes[telling]))


def _moments(verdict: Verdict) -> tuple[float, float]:
    """Mean and deviation over the windows of the episode."""
    episode = _episode(verdict)
    span = slice(episode.begin, episode.end + 1)
    mean = _mean(verdict, "mean")
    squares = np.square(verdict.metrics["deviation"]) + np.square(verdict.metrics["mean"] - mean)
    telling = ~np.isnan(squares[span]) & ~np.isnan(verdict.ratios[span])
    variance = np.average(squares[span][telling], weights=verdict.sizes[span][telling])
    return mean, math.sqrt(variance)


def _rounded(amount: float) -> str:
    return f"{amount:.2f}" if amount < 0.1 else f"{amount:.1f}"


def _percent(share: float) -> str:
    if share == 0:
        return "none"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
