"""All ways to run one model, of every engine that runs it, in turns in this process.

    python benchmarks/race.py MODEL SECONDS

prints one JSON document: the engines, the times of each way round by round, the peers that failed.
"""

import argparse
import json
import sys
from typing import Any, NamedTuple

from edgeward import EdgewardError, load_unsigned
from edgeward.commands import bench
from edgeward.engines.installed import all_installed
from edgeward.measuring import peers, timing

FORMAT_ENGINES = {"tflite": ("litert", "tflite"), "onnx": ("onnx",)}
THREADS = 1


class Runners(NamedTuple):
    """All ways to run one model: one of ours is called "<engine>: <way>", a peer by its name."""

    engines: dict[str, str]  # those that run it, with their versions
    failures: dict[str, str]  # by engine or peer, why not
    ways: list[timing.Way]


def runners(path: str) -> Runners:
    installed = {engine.name for engine in all_installed()}
    all_runners = Runners({}, {}, [])
    for engine in FORMAT_ENGINES[path.rpartition(".")[2]]:
        if engine not in installed:
            continue
        try:
            model = load_unsigned(path, engine=engine, threads=THREADS)
        except EdgewardError as error:
            all_runners.failures[engine] = str(error)
            continue
        inputs = bench.inputs_for(model, []).arrays
        all_runners.engines[engine] = model.engine.version
        for way in bench.our_ways(model, inputs):
            all_runners.ways.append(way._replace(name=f"{engine}: {way.name}"))
        task = peers.Task(path, next(iter(model.signatures)), inputs, THREADS)
        rivals, failures = peers.ways(engine, task)
        all_runners.ways.extend(rivals)
        all_runners.failures.update(failures)
    return all_runners


def race(path: str, seconds: float) -> dict[str, Any]:
    engines, failures, ways = runners(path)
    rounds_us = timing.alternate(ways, seconds, bench.SEED) if ways else {}
    return {"engines": engines, "failures": failures, "rounds_us": rounds_us}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run one model every way, in turns.")
    parser.add_argument("model")
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    json.dump(race(arguments.model, arguments.seconds), sys.stdout)
