"""One case a budget line, for pytest-benchmark: README.md says how two commits are compared.

A case times our side of the line. Beside it, in the extra information, stand the ratio to the other
side, taken in turns in this process, and its limit; nothing here fails for being slow.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import capture
import opening
import pytest
from budgets import Budget, budgets
from cases import Case, Kind, cases
from race import FORMAT_ENGINES, Runners, runners

from edgeward.engines.installed import all_installed
from edgeward.measuring.timing import Way, alternate, ratio

CALLS = {Kind.ONE_OP: 1000, Kind.BIG: 100, Kind.REAL: 1, Kind.STATEFUL: 1}
ROUNDS = 50
RATIO_S = 0.2
INSTALLED = [engine.name for engine in all_installed()]

LINES = [
    pytest.param(case, budget, id=f"{case.name}: {budget.ours} vs {budget.theirs}")
    for case in cases()
    for engine in FORMAT_ENGINES[case.name.rpartition(".")[2]]
    if engine in INSTALLED
    for budget in budgets(case.kind, engine)
]
CAPTURES = [
    pytest.param(case, name, id=f"{case.name}: capture {name}")
    for case in capture.CASES
    for name in ("none", "idle", "every", "all", "statistics")
]


def timed(benchmark: Any, way: Way, calls: int) -> None:
    """Blocks of `calls` calls: one alone would be mostly the loop around it."""
    way.seconds(calls)
    benchmark.extra_info["calls"] = calls
    benchmark.pedantic(way.seconds, args=(calls,), rounds=ROUNDS)


@pytest.fixture(scope="module")
def runners_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Runners]:
    """The ways to run a case's model; the model is opened once."""
    opened: dict[str, Runners] = {}

    def of(case: Case) -> Runners:
        if case.name not in opened:
            path = tmp_path_factory.mktemp("models") / case.name
            path.write_bytes(case.read())
            opened[case.name] = runners(str(path))
        return opened[case.name]

    return of


@pytest.mark.parametrize(("case", "budget"), LINES)
def test_run(
    benchmark: Any, runners_of: Callable[[Case], Runners], case: Case, budget: Budget
) -> None:
    engines, failures, all_ways = runners_of(case)
    ways = {way.name: way for way in all_ways}
    for name in (budget.ours.partition(":")[0], budget.theirs):
        if name in failures:
            pytest.skip(f"{name}: {failures[name]}")
    pair = [ways[budget.ours], ways[budget.theirs]]
    rounds_us = alternate(pair, RATIO_S, seed=1)
    measured = ratio(rounds_us, budget.ours, budget.theirs)
    benchmark.extra_info.update(engines=engines, ratio=measured.median, limit=budget.limit)
    timed(benchmark, pair[0], CALLS[case.kind])


@pytest.fixture(scope="module")
def captured_by(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[capture.Case], dict[str, capture.Captured]]]:
    opened: dict[str, dict[str, capture.Captured]] = {}

    def of(case: capture.Case) -> dict[str, capture.Captured]:
        if case.name not in opened:
            opened[case.name] = capture.captured_by(tmp_path_factory.mktemp("captures"), case)
        return opened[case.name]

    yield of
    for models in opened.values():
        for captured in models.values():
            captured.close()


@pytest.mark.parametrize(("case", "name"), CAPTURES)
def test_capture(
    benchmark: Any,
    captured_by: Callable[[capture.Case], dict[str, capture.Captured]],
    case: capture.Case,
    name: str,
) -> None:
    captured = captured_by(case)
    ways = [captured[key].way(key) for key in dict.fromkeys((name, "none"))]
    rounds_us = alternate(ways, RATIO_S, seed=1)
    benchmark.extra_info["ratio"] = ratio(rounds_us, name, "none").median
    timed(benchmark, ways[0], 1000 if case.elements < 1000 else 100)


@pytest.fixture(scope="module")
def openers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], object]]:
    folder: Path = tmp_path_factory.mktemp("packages")
    model = opening.tflite_models.mobilenet(opening.WIDTH)
    return opening.openers(opening.sealed_in(folder, "model.tflite", model))[1]


@pytest.mark.parametrize("name", ["open, 1 thread", "open, 2 threads", "libcrypto, 1 thread"])
def test_open(benchmark: Any, openers: dict[str, Callable[[], object]], name: str) -> None:
    benchmark.pedantic(openers[name], rounds=5, warmup_rounds=1)
