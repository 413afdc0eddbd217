"""The campaign of drift: what windows show, and how often they alarm without cause.

`python tests/campaigns/drift_power.py power` prints the smallest change that 90 % of windows show
at 1 % of false alarms, beside the usual limit of PSI. `... fleet --devices 100 --days 30` judges
hourly windows of a fleet whose inferences are alike, without drift. `... faults` makes sensors
stick and swaps channels, and reads what findings call it. `--seed` changes what is drawn.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import counted
import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from edgeward.captures import metrics
from edgeward.captures.drift import Reference, judge
from edgeward.captures.findings import Names
from edgeward.packages.thresholds import Part, thresholds

FALSE_ALARMS = 0.01
POWER = 0.9
BIN_COUNT = 32
CALIBRATION = 10_000  # inferences
SHAPE = (4, 4, 1)
NEIGHBOURS, ELEMENTS = 0.99, 0.5  # correlations
MOST_ALARMS = 1
DECIDING = ("chi_square", "ks", "wasserstein")

Array = NDArray[np.float64]
Draw = Callable[[int, np.random.Generator], Array]


class Case(NamedTuple):
    """A change of `distribution` by an amount, and the amount that has to be shown."""

    name: str
    distribution: Any  # of scipy.stats, with a deviation of 1
    change: Callable[[Array, float], Array]  # edges as the unchanged distribution would have them
    reference_size: int
    window_size: int
    limit: float


def shifted(edges: Array, amount: float) -> Array:
    return edges - amount


def scaled(edges: Array, amount: float) -> Array:
    return edges / (1 + amount)


NORMAL = stats.norm()
_LOGNORMAL = stats.lognorm(1)
LOGNORMAL = stats.lognorm(1, scale=1 / _LOGNORMAL.std())
CASES = [
    Case("normal, shift", NORMAL, shifted, 10_000, 10_000, 0.07),
    Case("normal, scale", NORMAL, scaled, 10_000, 10_000, 0.08),
    Case("normal, shift", NORMAL, shifted, 10_000, 1_000, 0.15),
    Case("lognormal(1), shift", LOGNORMAL, shifted, 10_000, 10_000, 0.03),
]


class References(NamedTuple):
    """Calibration sets of one distribution and their bins, [trials, ...]."""

    edges: Array
    counts: Array
    deviations: Array

    @classmethod
    def draw(cls, case: Case, trials: int, generator: np.random.Generator) -> References:
        values = np.sort(case.distribution.rvs((trials, case.reference_size), generator))
        ranks = np.arange(1, BIN_COUNT) * case.reference_size // BIN_COUNT
        below = np.concatenate([[0], ranks, [case.reference_size]])
        counts = np.broadcast_to(np.diff(below), (trials, BIN_COUNT))
        return cls(values[:, ranks], counts, values.std(axis=1))

    def windows(self, case: Case, amount: float, generator: np.random.Generator) -> Array:
        """Counts of a window for each, of the distribution changed by `amount`."""
        below = case.distribution.cdf(case.change(self.edges, amount))
        shares = np.diff(below, prepend=0.0, append=1.0, axis=1)
        return generator.multinomial(case.window_size, shares)

    def distances(self, windows: Array) -> dict[str, Array]:
        return {
            "chi_square": metrics.chi_square(self.counts, windows),
            "ks": metrics.ks(self.counts, windows),
            "wasserstein": metrics.wasserstein(self.counts, windows, self.edges, self.deviations),
            "psi": metrics.psi(self.counts, windows),
        }


class Shown(NamedTuple):
    """The smallest changes that 90 % of windows show: by any metric, and by PSI above 0.1."""

    case: Case
    amount: float
    by_psi: float
    false_alarms: float

    @property
    def holds(self) -> bool:
        return self.amount <= self.case.limit

    def report(self) -> dict[str, Any]:
        case = self.case
        return {
            "case": case.name,
            "reference": case.reference_size,
            "window": case.window_size,
            "amount": round(self.amount, 3),
            "limit": case.limit,
            "amount_by_psi": round(self.by_psi, 3),
            "false_alarms": self.false_alarms,
        }


def power(case: Case, trials: int, seed: int) -> Shown:
    """Limits are quantiles of windows without a change; the false alarms are of other windows."""
    generator = np.random.default_rng(seed)
    references = References.draw(case, trials, generator)
    calm = references.distances(references.windows(case, 0.0, generator))
    level = 1 - FALSE_ALARMS / len(DECIDING)
    limits = {metric: float(np.quantile(calm[metric], level)) for metric in DECIDING}

    def passed(amount: float) -> float:
        distances = references.distances(references.windows(case, amount, generator))
        return float(np.any([distances[metric] > limits[metric] for metric in DECIDING], 0).mean())

    def passed_usual(amount: float) -> float:
        windows = references.windows(case, amount, generator)
        return float((metrics.psi(references.counts, windows) > 0.1).mean())

    return Shown(case, least(passed), least(passed_usual), passed(0.0))


def least(share: Callable[[float], float]) -> float:
    """The least amount with a share of POWER, to three digits."""
    low, high = 0.0, 1.0
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if share(middle) >= POWER else (middle, high)
    return high


class Fleet(NamedTuple):
    """Windows of a fleet without drift: how many passed a limit, and what was said to have drifted.

    Each device sees its own stream of 4 by 4 elements. Neighbouring inferences have a correlation
    of NEIGHBOURS, elements of an inference one of ELEMENTS.
    """

    window_count: int
    passed_count: int  # windows that pass any limit of any part
    alarms: list[str]  # a line for each device that has drifted


def fleet(devices: int, days: int, hourly: int, is_shuffled: bool, seed: int) -> Fleet:
    generator = np.random.default_rng(seed)
    key = ("input", "image")
    if is_shuffled:
        calibration = frames(50 * CALIBRATION, generator)[::50]
        generator.shuffle(calibration)
    else:
        calibration = frames(CALIBRATION, generator)
    reference = referred({key: calibration})
    begins = [f"hour {hour}" for hour in range(24 * days)]
    total = Fleet(0, 0, [])
    for device in range(devices):
        stream = frames(hourly * len(begins), generator).reshape(-1, hourly, *SHAPE)
        reports = [counted.report({key: window}, reference.report) for window in stream]
        judgement = judge(reference, reports, begins)
        ratios = np.array([verdict.ratios for verdict in judgement.verdicts])
        alarms = [f"device {device}: {finding.words}" for finding in judgement.findings[:1]]
        total = Fleet(
            total.window_count + len(begins),
            total.passed_count + int((ratios > 1).any(axis=0).sum()),
            total.alarms + alarms,
        )
    return total


def frames(count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """[count, *SHAPE], stationary from the first."""
    noise = generator.standard_normal((count, int(np.prod(SHAPE)) + 1), np.float32)
    noise[1:] *= np.sqrt(1 - NEIGHBOURS**2)
    streams = signal.lfilter([1], [1, -NEIGHBOURS], noise, axis=0)
    values = np.sqrt(1 - ELEMENTS) * streams[:, 1:] + np.sqrt(ELEMENTS) * streams[:, :1]
    return values.astype(np.float32).reshape(count, *SHAPE)


class Fault(NamedTuple):
    """What windows of `size` inferences show from some hour on, and the words that name it."""

    name: str
    draw: Draw
    key: tuple[str, str]
    apply: Callable[[Array, np.random.Generator], Array]
    size: int
    words: str  # of the first finding, as a regular expression
    is_alone: bool  # nothing else may be said to have drifted
    good_windows: int = 4


def columns(size: int, generator: np.random.Generator) -> Array:
    return generator.normal(20, 5, (size, 30))


def pictures(size: int, generator: np.random.Generator) -> Array:
    """Grey values from 0 to 1 of 8 by 8 by 3; elements share half of their variance."""
    noise = generator.normal(size=(size, 8, 8, 3)) + generator.normal(size=(size, 1, 1, 1))
    return np.clip(0.5 + 0.1 * noise + np.array([0.1, 0.0, -0.1]), 0, 1)


def scores(size: int, generator: np.random.Generator, share: float = 0.05) -> Array:
    """Of four classes, of which class 1 is the best in `share` of the rows."""
    best = generator.choice(4, size, p=[0.6 - share, share, 0.2, 0.2])
    return np.eye(4)[best] + generator.uniform(0, 0.5, (size, 4))


def shift_column(values: Array, generator: np.random.Generator) -> Array:
    values[:, 7] += 0.5 * 5
    return values


def stick_column(values: Array, generator: np.random.Generator) -> Array:
    values[:, 7] = values[0, 7]
    return values


def lose_values(values: Array, generator: np.random.Generator) -> Array:
    values[generator.random(len(values)) < 0.001, 7] = np.nan
    return values


INPUT, OUTPUT = ("input", "x"), ("output", "scores")
NAMED = r"column 7 \(temperature\) of input \"x\" "
FAULTS = [
    Fault("one of 30 columns moved by 0.5 sigma", columns, INPUT, shift_column, 1000,
          NAMED + r"has moved up by 0\.[456] of its deviation since hour 4", True),
    Fault("the same after 90 good windows", columns, INPUT, shift_column, 1000,
          NAMED + r"has moved up by 0\.[456] of its deviation since hour 90", True, 90),
    Fault("a stuck sensor", columns, INPUT, stick_column, 1000,
          NAMED + r"is stuck since hour 4", True),
    Fault("NaN in 0.1 % of inferences", columns, INPUT, lose_values, 3600,
          NAMED + r"is NaN in 0\.\d+ % of values since hour [45]", True),
    Fault("a picture dimmed to 0.9", pictures, INPUT, lambda values, _: 0.9 * values, 1000,
          r"input \"x\" seems to be darker since hour 4: .* are 0\.(89|90|91) times", False),
    Fault("swapped channels", pictures, INPUT, lambda values, _: values[..., ::-1], 1000,
          r"channels 0 and 2 of input \"x\" seem to be swapped since hour 4", False),
    Fault("a class share from 5 to 8 %", scores, OUTPUT,
          lambda values, generator: scores(len(values), generator, 0.08), 3600,
          r"(.*; )?class 1 \(dog\) of output \"scores\" is chosen in [78](\.\d)? %", False),
]  # fmt: skip
NAMES = Names({"x": [str(index) for index in range(7)] + ["temperature"]}, ["cat", "dog"])


def named(fault: Fault, trials: int, seed: int) -> tuple[int, list[str]]:
    """How often it was named within four windows, and by itself; what was said instead."""
    count, others = 0, []
    for trial in range(trials):
        generator = np.random.default_rng([seed, trial, 1])
        reference = expected(fault.draw, fault.key, seed, trial)
        reports = []
        for hour in range(fault.good_windows + 4):
            values = fault.draw(fault.size, generator)
            if hour >= fault.good_windows:
                values = fault.apply(values, generator)
            reports.append(counted.report({fault.key: values}, reference.report))
        begins = [f"hour {hour}" for hour in range(len(reports))]
        words = [finding.words for finding in judge(reference, reports, begins).findings]
        text = "; ".join(words) or "nothing"
        if re.match(fault.words, text) and not (fault.is_alone and words[1:]):
            count += 1
        else:
            others.append(text)
    return count, others


@cache
def expected(draw: Draw, key: tuple[str, str], seed: int, trial: int) -> Reference:
    """The same for all faults of what is drawn so."""
    return referred({key: draw(CALIBRATION, np.random.default_rng([seed, trial, 0]))})


def referred(arrays: counted.Arrays) -> Reference:
    """A reference of these calibration sets, with its thresholds."""
    report = counted.report(arrays)
    parts = [
        Part(counted.sample_counts(values, row["edges"]), row["edges"], row["variance"] ** 0.5)
        for tensor, observations in zip(report["tensors"], arrays.values(), strict=True)
        for row, values in zip(
            tensor["parts"], counted.parts_of(observations).values(), strict=True
        )
    ]
    return Reference(report, thresholds(parts), NAMES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("power")
    step.add_argument("--trials", type=int, default=2000)
    step = steps.add_parser("faults")
    step.add_argument("--trials", type=int, default=20)
    step = steps.add_parser("fleet")
    step.add_argument("--devices", type=int, default=100)
    step.add_argument("--days", type=int, default=30)
    step.add_argument("--hourly", type=int, default=360, help="inferences in each window")
    step.add_argument("--shuffled", action="store_true", help="the calibration set")
    args = parser.parse_args()
    if args.step == "power":
        shown = [power(case, args.trials, args.seed) for case in CASES]
        print(json.dumps([entry.report() for entry in shown], indent=1))
        sys.exit(not all(entry.holds for entry in shown))
    if args.step == "faults":
        rows = [(fault.name, *named(fault, args.trials, args.seed)) for fault in FAULTS]
        print(json.dumps(rows, indent=1))
        sys.exit(any(count < POWER * args.trials for _, count, _ in rows))
    seen = fleet(args.devices, args.days, args.hourly, args.shuffled, args.seed)
    print(json.dumps(seen._asdict(), indent=1))
    sys.exit(len(seen.alarms) > MOST_ALARMS)


if __name__ == "__main__":
    main()
