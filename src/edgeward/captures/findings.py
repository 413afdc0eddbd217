"""Findings: what has drifted, one sentence of plain words for each cause. Pure.

Everything that a stuck sensor, a moved column or a darker picture brings with it is in the sentence
of that; what outputs do when an input has drifted is one sentence behind those of the inputs.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from edgeward.captures.verdict import DISTRIBUTION, Array, Episode, Part, Verdict

SLIGHT = 0.02  # a shift or a change of the spread that a sentence does not speak of
ALIKE = 0.2  # of the distance between two swapped parts that may remain
MOST_NAMED = 3  # columns of a tensor that have a sentence each
MOST_LISTED = 6  # further ones that are called by name
MOST_FOLLOWING = 2  # findings of outputs that are in the sentence of all of them
MOST_TIMES = 2  # further episodes of which a sentence says when they were
MOVED = (DISTRIBUTION, "out of range", "clipped")
STUCK = "unchanged"
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
    """`words` is a sentence of the strongest episode; it says when there were others."""

    part: Part  # of which the sentence speaks
    what: str  # "shift", "spread", "shape", "swapped", "scaled", or a share as in Verdict
    amount: float  # in deviations, as a part of the reference's, or a share; 0 of others
    begin: str  # when the first window began that showed it
    end: str | None  # when the last one began, if it is over
    severity: float
    parts: Sequence[Part]  # all that drifted with it, its own first
    follows: bool  # it began with an input's drift or behind it, in an output
    words: str


class Cause(NamedTuple):
    """Verdicts of which one sentence speaks, the one that leads first."""

    verdicts: Sequence[Verdict]
    finding: Finding

    @property
    def is_lasting(self) -> bool:
        return any(episode.is_lasting for episode in self.verdicts[0].episodes)


def findings(verdicts: Sequence[Verdict], begins: Sequence[str], names: Names) -> list[Finding]:
    """A sentence for each cause: of inputs, then of outputs; what lasts first, then by severity."""
    drifted = sorted((verdict for verdict in verdicts if verdict.episodes), key=_by_severity)
    by_column = {_tensor(verdict) for verdict in drifted if verdict.part.kind == "column"}
    whole = [verdict for verdict in drifted if _tensor(verdict) not in by_column]
    causes = [*_swapped(drifted, begins, names), *_scaled(whole, begins, names)]
    explained = {id(verdict) for cause in causes for verdict in cause.verdicts}
    rest = [verdict for verdict in drifted if id(verdict) not in explained]
    causes += _few(_apart(rest, by_column), begins, names)
    causes.sort(key=lambda cause: (not cause.is_lasting, -cause.finding.severity))
    inputs = [cause for cause in causes if cause.finding.part.side == "input"]
    outputs = [cause for cause in causes if cause.finding.part.side != "input"]
    alone = [cause.finding for cause in outputs if not _follows(cause, inputs)]
    following = [cause.finding for cause in outputs if _follows(cause, inputs)]
    return [*(cause.finding for cause in inputs), *alone, *_following(following)]


def subject(part: Part, names: Names) -> str:
    tensor = f'{part.side} "{part.tensor}"'
    return tensor if part.kind == "values" else f"{called(part, names)} of {tensor}"


def called(part: Part, names: Names) -> str:
    """A part within its tensor: a column or a class by its index, and its name if it has one."""
    if part.kind == "values":
        return "all values"
    if part.kind == "figure":
        return FIGURES.get(part.name, f"the mean of {part.name}")
    return f"{part.kind} {_numbered(part, names)}"


def _numbered(part: Part, names: Names) -> str:
    known = names.columns.get(part.tensor, ()) if part.kind == "column" else names.classes
    index = int(part.name) if part.name.isdigit() else len(known)
    return f"{part.name} ({known[index]})" if index < len(known) else part.name


def _tensor(verdict: Verdict) -> tuple[str, str]:
    return verdict.part.side, verdict.part.tensor


def _by_severity(verdict: Verdict) -> float:
    return -verdict.severity


# --- what belongs together ----------------------------------------------------------------------


def _apart(
    drifted: Sequence[Verdict], by_column: set[tuple[str, str]]
) -> Iterator[Sequence[Verdict]]:
    """Verdicts by what they have in common; what a stuck part or a column brings with it is not."""
    frozen = {_tensor(verdict) for verdict in drifted if _is_frozen(verdict)}
    stuck = {verdict.part for verdict in drifted if verdict.what == STUCK}
    groups: dict[Hashable, list[Verdict]] = {}
    for verdict in drifted:
        part, is_moved = verdict.part, verdict.what in MOVED
        if is_moved and (part in stuck or (_tensor(verdict) in frozen and part.kind != "column")):
            continue
        if part.kind == "figure" and _tensor(verdict) in by_column:
            continue
        if part.kind == "column":
            key: Hashable = part, is_moved or verdict.what
        else:  # an overexposed picture is that, whatever its mean has done
            key = _tensor(verdict), (is_moved and verdict.what != "clipped") or verdict.what
        groups.setdefault(key, []).append(verdict)
    for group in groups.values():  # how far it has moved says more than that it is out of range
        yield sorted(group, key=lambda verdict: verdict.what != DISTRIBUTION)


def _is_frozen(verdict: Verdict) -> bool:
    return verdict.what == STUCK and verdict.part.kind == "values"


def _few(
    groups: Iterator[Sequence[Verdict]], begins: Sequence[str], names: Names
) -> Iterator[Cause]:
    """A cause for each group; of many columns of a tensor the worst, and one of all others."""
    columns: dict[Hashable, list[Sequence[Verdict]]] = {}
    for group in groups:
        first = group[0]
        if first.part.kind == "column":
            columns.setdefault((_tensor(first), first.what in MOVED or first.what), []).append(
                group
            )
        else:
            yield _cause(group, begins, names)
    for alike in columns.values():
        named = len(alike) if len(alike) <= MOST_NAMED + 1 else MOST_NAMED
        for group in alike[:named]:
            yield _cause(group, begins, names)
        if alike[named:]:
            yield _others(alike[named:], begins, names)


def _cause(group: Sequence[Verdict], begins: Sequence[str], names: Names) -> Cause:
    lead, *rest = group
    clause = _clause(lead)
    text = f"{subject(lead.part, names)} {clause.says} {_since(lead, begins)}{clause.more}"
    beside = [verdict for verdict in rest if verdict.part == lead.part]
    text += "".join(f", and {_clause(verdict).says}" for verdict in beside)
    others = {verdict.part for verdict in rest} - {lead.part}
    if others:
        kind = "classes" if lead.part.kind == "class" else "parts"
        text += f"; {len(others):,} more of its {kind} drifted too"
    return _said(group, clause.what, clause.amount, text, begins)


def _others(groups: Sequence[Sequence[Verdict]], begins: Sequence[str], names: Names) -> Cause:
    lead = groups[0][0]
    listed = [_numbered(group[0].part, names) for group in groups[:MOST_LISTED]]
    dots = ", ..." if len(groups) > MOST_LISTED else ""
    text = (
        f'{len(groups)} more columns of {lead.part.side} "{lead.part.tensor}" likewise, the first '
        f"{_since(lead, begins)}: {', '.join(listed)}{dots}"
    )
    clause = _clause(lead)
    return _said([verdict for group in groups for verdict in group], clause.what, 0, text, begins)


def _said(
    verdicts: Sequence[Verdict], what: str, amount: float, text: str, begins: Sequence[str]
) -> Cause:
    lead = verdicts[0]
    main = _episode(lead)
    parts = tuple(dict.fromkeys(verdict.part for verdict in verdicts))
    end = None if main.is_lasting else begins[main.end]
    severity = max(verdict.severity for verdict in verdicts)
    words = text + _times(lead, begins)
    return Cause(
        verdicts,
        Finding(lead.part, what, amount, begins[main.begin], end, severity, parts, False, words),
    )


def _follows(cause: Cause, inputs: Sequence[Cause]) -> bool:
    """Whether an input had drifted by then; an output may show it a window earlier."""
    begin = _episode(cause.verdicts[0]).begin
    return any(
        episode.begin - 1 <= begin <= episode.end
        for other in inputs
        for verdict in other.verdicts
        for episode in verdict.episodes
    )


def _following(outputs: Sequence[Finding]) -> list[Finding]:
    """One sentence of all of them."""
    if not outputs:
        return []
    said = outputs[:MOST_FOLLOWING]
    parts = tuple(dict.fromkeys(part for finding in outputs for part in finding.parts))
    more = len(parts) - len({part for finding in said for part in finding.parts})
    words = [finding.words for finding in said]
    if more:
        words.append(f"{more:,} more parts of outputs drifted too")
    words[0] = f"outputs follow: {words[0]}"
    return [outputs[0]._replace(parts=parts, follows=True, words="; ".join(words))]


# --- words --------------------------------------------------------------------------------------


class _Clause(NamedTuple):
    """Behind a subject and before the time, and what stands behind that."""

    what: str
    amount: float
    says: str
    more: str = ""


def _clause(verdict: Verdict) -> _Clause:
    return _moved(verdict) if verdict.what == DISTRIBUTION else _shared(verdict)


def _moved(verdict: Verdict) -> _Clause:
    mean, deviation = _moments(verdict)
    base_mean, base_deviation = verdict.expected["mean"], verdict.expected["deviation"]
    if base_deviation == 0:
        return _Clause("shape", 0.0, "has changed", f": the reference has {base_mean:g} alone")
    shift, ratio = (mean - base_mean) / base_deviation, deviation / base_deviation
    widening = math.log(max(ratio, 1e-9))
    if abs(shift) >= max(abs(widening), SLIGHT):
        direction = "up" if shift > 0 else "down"
        says = f"has moved {direction} by {_rounded(abs(shift))} of its deviation"
        return _Clause("shift", shift, says)
    if abs(widening) >= SLIGHT:
        form = "wider" if widening > 0 else "narrower"
        more = f": its deviation is {ratio:.2f} times the reference's"
        return _Clause("spread", ratio, f"has become {form}", more)
    return _Clause("shape", 0.0, "has another shape", ", at nearly the same mean and deviation")


def _shared(verdict: Verdict) -> _Clause:
    what, share = verdict.what, _mean(verdict, "share")
    is_whole = verdict.part.kind == "class" or _is_frozen(verdict)
    of = "inferences" if is_whole else "values"
    seen, base = f"{_percent(share)} of {of}", _percent(verdict.expected["share"])
    says, more = {
        "class": (f"is chosen in {seen}", f", in {base} of the reference's"),
        "out of range": (f"is out of the reference's range in {seen}", ""),
        "clipped": (f"is at an end of its range in {seen}", f", in {base} of the reference's"),
        STUCK: ("is stuck", f": {seen} are as the one before, {base} of the reference's"),
    }.get(what, (f"is {what} in {seen}", f", {base} of the reference's"))
    return _Clause(what, share, says, more)


def _since(verdict: Verdict, begins: Sequence[str]) -> str:
    return _span(_episode(verdict), begins)


def _span(episode: Episode, begins: Sequence[str]) -> str:
    if episode.is_lasting:
        return f"since {begins[episode.begin]}"
    return f"from {begins[episode.begin]} to {begins[episode.end]}"


def _times(verdict: Verdict, begins: Sequence[str]) -> str:
    """When it had drifted otherwise."""
    others = [episode for episode in verdict.episodes if episode != verdict.episode]
    if not others:
        return ""
    if len(others) <= MOST_TIMES:
        return f"; also {' and '.join(_span(episode, begins) for episode in others)}"
    return f"; also {len(others)} times more, the last {_span(others[-1], begins)}"


# --- of several parts ---------------------------------------------------------------------------


def _swapped(drifted: Sequence[Verdict], begins: Sequence[str], names: Names) -> Iterator[Cause]:
    """Pairs of columns, or of channels, each of which is as the reference's other is."""
    movable = [
        verdict
        for verdict in drifted
        if verdict.what == DISTRIBUTION
        and verdict.part.side == "input"  # scores of two classes mirror each other
        and (verdict.part.kind == "column" or verdict.part.name.startswith("channel "))
    ]
    mean_of = {verdict.part: _mean(verdict, "mean") for verdict in movable}
    for pair in combinations(movable, 2):
        if _tensor(pair[0]) != _tensor(pair[1]) or pair[0].part.kind != pair[1].part.kind:
            continue
        means = [mean_of[verdict.part] for verdict in pair]
        bases = [verdict.expected["mean"] for verdict in pair]
        moved = abs(means[0] - bases[0]) + abs(means[1] - bases[1])
        remains = abs(means[0] - bases[1]) + abs(means[1] - bases[0])
        if remains < ALIKE * moved:
            first, second = sorted((verdict.part for verdict in pair), key=_order)
            plural = "columns" if first.kind == "column" else "channels"
            numbered = " and ".join(
                _numbered(part, names).removeprefix("channel ") for part in (first, second)
            )
            text = (
                f'{plural} {numbered} of {first.side} "{first.tensor}" seem to be swapped '
                f"{_since(pair[0], begins)}"
            )
            with_them = _moved_with(drifted, {first, second}, pair)
            yield _said([*pair, *with_them], "swapped", 0, text, begins)


def _scaled(drifted: Sequence[Verdict], begins: Sequence[str], names: Names) -> Iterator[Cause]:
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
        parts = {other.part for other in drifted if _tensor(other) == tensor}
        look = "brighter" if factors[0] > 1 else "darker"
        is_picture = any(part.name.startswith("channel ") for part in parts)
        says = f"seems to be {look}" if is_picture else "seems to be scaled"
        text = (
            f'{tensor[0]} "{tensor[1]}" {says} {_since(verdict, begins)}: '
            f"its values are {factors[0]:.2f} times the reference's"
        )
        with_it = _moved_with(drifted, parts, [verdict])
        yield _said([verdict, *with_it], "scaled", factors[0], text, begins)


def _moved_with(
    drifted: Sequence[Verdict], parts: set[Part], spoken: Sequence[Verdict]
) -> list[Verdict]:
    """What else has moved of these parts than what is spoken of."""
    known = {id(verdict) for verdict in spoken}
    return [
        verdict
        for verdict in drifted
        if verdict.what in MOVED and verdict.part in parts and id(verdict) not in known
    ]


def _factor(verdict: Verdict) -> float:
    base = verdict.expected["mean"]
    return _moments(verdict)[0] / base if base else 0.0


def _order(part: Part) -> tuple[int, str]:
    return len(part.name), part.name


def _episode(verdict: Verdict) -> Episode:
    assert verdict.episode is not None
    return verdict.episode


def _telling(verdict: Verdict, numbers: Array) -> tuple[Array, Array]:
    """Of the windows of the episode that tell, and by how many inferences they are worth."""
    episode = _episode(verdict)
    span = slice(episode.begin, episode.end + 1)
    numbers, sizes = numbers[span], verdict.sizes[span]
    telling = ~np.isnan(numbers) & ~np.isnan(verdict.ratios[span])
    return numbers[telling], sizes[telling]


def _mean(verdict: Verdict, metric: str) -> float:
    numbers, sizes = _telling(verdict, verdict.metrics[metric])
    return float(np.average(numbers, weights=sizes))


def _moments(verdict: Verdict) -> tuple[float, float]:
    """Mean and deviation over the windows of the episode."""
    mean = _mean(verdict, "mean")
    squares = np.square(verdict.metrics["deviation"]) + np.square(verdict.metrics["mean"] - mean)
    numbers, sizes = _telling(verdict, squares)
    return mean, math.sqrt(np.average(numbers, weights=sizes))


def _rounded(amount: float) -> str:
    return f"{amount:.2f}" if amount < 0.1 else f"{amount:.1f}"


def _percent(share: float) -> str:
    if share == 0:
        return "none"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
