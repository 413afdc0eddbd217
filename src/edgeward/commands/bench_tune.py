"""`edgeward bench MODEL --tune`: which engine on how many threads runs a model fastest here.

Each pair races the default in turns, in this process, so that their ratios compare. The best then
races the default once more, opened anew: what wins by chance is not chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

from edgeward import EdgewardError, Model, Package, Session
from edgeward.commands.named_model import opener
from edgeward.engines import tuning
from edgeward.engines.choice import MAX_THREADS
from edgeward.engines.installed import KINDS, all_installed
from edgeward.engines.processors import doubling_counts, usable_cpus
from edgeward.measuring.timing import alternate, ratio, statement_way
from edgeward.model import head_of
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports.inspection import columns, duration

SEED = 20
MOST_RATIO = 0.98  # of what is chosen in place of the default
DEFAULT, CHALLENGER = "default", "challenger"

Prepare = Callable[[Model], Session]  # a session whose inputs are filled


class Pair(NamedTuple):
    engine: str
    threads: int


class Race(NamedTuple):
    """What a pair took, alone and over what the default took beside it; below 1 is faster."""

    pair: Pair
    per_call_us: float
    median: float
    least: float
    greatest: float


def run(args: argparse.Namespace, prepare: Prepare, say: Callable[[str], None]) -> Outcome:
    """Races, and writes the file. Raises EdgewardError for a model that does not load, OSError."""
    default = default_pair(args)
    races, failures = [], []
    for pair in pairs(default.engine):
        say(f"{pair.engine}, engine threads: {pair.threads}, beside the default")
        try:
            races.append(race(args, pair, default, prepare, SEED))
        except EdgewardError as error:
            failures.append({**pair._asdict(), "failure": str(error)})
    best = min(races, key=lambda each: each.median)
    say(f"{best.pair.engine}, engine threads: {best.pair.threads}, once more")
    final = race(args, best.pair, default, prepare, SEED + 1)
    chosen = best.pair if max(best.median, final.median) <= MOST_RATIO else default
    rows = [{**each.pair._asdict(), **_numbers(each)} for each in races]
    kept = tuning.measured_here(*chosen, model_bytes(args.model))
    tuning.write(args.model, kept, rows)
    document = {
        "model": args.model,
        "default": default._asdict(),
        "chosen": chosen._asdict(),
        "races": rows + failures,
        "again": {**final.pair._asdict(), **_numbers(final)},
        "file": tuning.tuning_path(args.model),
    }
    return Outcome(document, "\n".join(_lines(document)))


def default_pair(args: argparse.Namespace) -> Pair:
    """What the model runs on when nobody chooses."""
    with opener(args, commit=False)(None) as model:
        return Pair(model.engine.name, model.threads)


def pairs(default: str) -> Iterator[Pair]:
    """Every engine for what `default` runs, on 1, 2, 4 and so on to all processors."""
    formats = set(KINDS[default].formats)
    for engine in all_installed():
        if formats.isdisjoint(KINDS[engine.name].formats):
            continue
        for threads in doubling_counts(min(usable_cpus(), MAX_THREADS)):
            yield Pair(engine.name, threads)


def race(args: argparse.Namespace, pair: Pair, default: Pair, prepare: Prepare, seed: int) -> Race:
    """Raises EdgewardError for a pair that does not run the model."""
    with opened(args, default) as model, opened(args, pair) as rival:
        ways = [
            statement_way(name, "run()", is_ours=True, run=prepare(each).run)
            for name, each in ((DEFAULT, model), (CHALLENGER, rival))
        ]
        rounds = alternate(ways, args.seconds, seed)
    result = ratio(rounds, CHALLENGER, DEFAULT)
    return Race(pair, median(rounds[CHALLENGER]), result.median, result.least, result.greatest)


def opened(args: argparse.Namespace, pair: Pair) -> Model:
    words = argparse.Namespace(**{**vars(args), "engine": pair.engine})
    return opener(words, commit=False)(pair.threads)


def model_bytes(path: str) -> int:
    """As a load finds it, so that the tuning is known again."""
    if is_package(path):
        return Package.unverified(path).entry.size_bytes
    return head_of(path)[1]


def _numbers(each: Race) -> dict[str, float]:
    return {
        "per_call_us": each.per_call_us,
        "ratio": each.median,
        "least": each.least,
        "greatest": each.greatest,
    }


def _lines(document: dict[str, Any]) -> list[str]:
    def words(pair: dict[str, Any]) -> str:
        return f"{pair['engine']}, {pair['threads']} thread{'s' * (pair['threads'] != 1)}"

    rows = [["", "per call", "over the default"]]
    rows += [
        [
            words(each),
            duration(each["per_call_us"]),
            f"{each['ratio']:.2f} ({each['least']:.2f} to {each['greatest']:.2f})",
        ]
        for each in document["races"]
        if "failure" not in each
    ]
    failures = {each["engine"]: each["failure"] for each in document["races"] if "failure" in each}
    again = document["again"]
    return [
        f"{document['model']}; default: {words(document['default'])}",
        *columns(rows),
        *(f"{engine} does not run it: {why}" for engine, why in failures.items()),
        f"once more: {words(again)}, {again['ratio']:.2f} of the default's time",
        "",
        f"chosen: {words(document['chosen'])}",
        f'wrote {document["file"]}: load(..., engine="auto") takes it on this machine',
    ]
