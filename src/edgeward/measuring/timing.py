"""Timing that compares: ways of doing one thing run in turns, in this process, round after round.

A Way is a name and a loop. Short blocks of all ways alternate in random order, so that a slow
moment of the machine affects all of them; a ratio is the median of the rounds' ratios. This module
knows no model.
"""

from __future__ import annotations

import gc
import math
import time
import timeit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

BLOCK_S = 0.5e-3
MIN_ROUNDS = 30
MIN_SAMPLES = 100
MAX_SAMPLES = 100_000


class Way(NamedTuple):
    """One way of doing it. `seconds(count)` does it `count` times and returns what that took."""

    name: str
    is_ours: bool
    seconds: Callable[[int], float]


class Ratio(NamedTuple):
    """The time of one way over that of another, round by round: median, least and greatest."""

    ours: str
    theirs: str
    median: float
    least: float
    greatest: float


class Latency(NamedTuple):
    """Percentiles of `calls` single calls; reading the clock, tens of ns, is included."""

    calls: int
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float


def statement_way(name: str, statement: str, *, is_ours: bool, **names: object) -> Way:
    """`statement` in a tight loop, with `names` in its scope and no call around it."""
    return Way(name, is_ours, timeit.Timer(statement, globals=names).timeit)


@contextmanager
def collector_off() -> Iterator[None]:
    """Garbage collection is off inside; existing objects are frozen meanwhile."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def calls_per_block(way: Way) -> int:
    """How many calls take about BLOCK_S; at least one."""
    count = 1
    while (taken_s := way.seconds(count)) < BLOCK_S / 4:
        count *= 2
    return max(1, round(count * BLOCK_S / taken_s))


def alternate(
    ways: Sequence[Way], seconds: float, seed: int, limit_s: float = math.inf
) -> dict[str, list[float]]:
    """Microseconds per call of each way, one number a round.

    Takes `seconds`, and MIN_ROUNDS at least, unless `limit_s` is over. Each block starts with calls
    that are not timed, which bring its weights and code into the caches.
    """
    generator = np.random.default_rng(seed)
    rounds: dict[str, list[float]] = {way.name: [] for way in ways}
    with collector_off():
        blocks = [(way, calls_per_block(way)) for way in ways]
        start_s = time.perf_counter()
        count, taken_s = 0, 0.0
        while count == 0 or (taken_s < limit_s and (taken_s < seconds or count < MIN_ROUNDS)):
            for index in generator.permutation(len(blocks)):
                way, calls = blocks[index]
                way.seconds(max(1, calls // 8))
                rounds[way.name].append(way.seconds(calls) / calls * 1e6)
            count, taken_s = count + 1, time.perf_counter() - start_s
    return rounds


def ratio(rounds: Mapping[str, Sequence[float]], ours: str, theirs: str) -> Ratio:
    """What `ours` took over what `theirs` took, from the numbers of `alternate`."""
    each = [a / b for a, b in zip(rounds[ours], rounds[theirs], strict=True)]
    return Ratio(ours, theirs, float(np.median(each)), min(each), max(each))


def latencies(ways: Sequence[Way], seconds: float, limit_s: float = math.inf) -> dict[str, Latency]:
    """Single calls of each way, in turns.

    Takes `seconds`, and MIN_SAMPLES of each at least, unless `limit_s` is over.
    """
    samples: dict[str, list[float]] = {way.name: [] for way in ways}
    with collector_off():
        turns = [(way, min(MIN_SAMPLES, calls_per_block(way))) for way in ways]
        start_s = time.perf_counter()
        while True:
            for way, count in turns:
                samples[way.name] += [way.seconds(1) * 1e6 for _ in range(count)]
            counts = [len(taken_us) for taken_us in samples.values()]
            taken_s = time.perf_counter() - start_s
            is_enough = taken_s >= seconds and min(counts) >= MIN_SAMPLES
            if is_enough or taken_s >= limit_s or max(counts) >= MAX_SAMPLES:
                return {name: percentiles(taken_us) for name, taken_us in samples.items()}


def percentiles(samples_us: Sequence[float]) -> Latency:
    """Percentiles by nearest rank: each is one of the samples."""
    ordered = sorted(samples_us)
    p50, p90, p99, p999 = (
        ordered[math.ceil(part * len(ordered) / 1000) - 1] for part in (500, 900, 990, 999)
    )
    return Latency(len(ordered), p50, p90, p99, p999, ordered[-1])
