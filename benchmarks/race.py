"""All ways to run one model, of every engine that runs it, in turns in this process.

    python benchmarks/race.py MODEL SECONDS

prints one JSON document: the engines, the times of each way round by round, the peers that failed.
"""

import argparse
import json
import sys
from typing import Any

from edgeward import EdgewardError, load_unsigned
from edgeward.commands import bench
from edgeward.engines.installed import all_installed
from edgeward.measuring import peers, timing

FORMAT_ENGINES = {"tflite": ("litert", "tflite"), "onnx": ("onnx",)}
THREADS = 1


def race(path: str, seconds: float) -> dict[str, Any]:
    """A way of ours is called "<engine>: <way>"; a peer has its own name."""
    installed = {engine.name for engine in all_installed()}
    engines, failures, ways = {}, {}, []
    for engine in FORMAT_ENGINES[path.rpartition(".")[2]]:
        if engine not in installed:
            continue
        try:
            model = load_unsigned(path, engine=engine, threads=THREADS)
        except EdgewardError as error:
            failures[engine] = str(error)
            continue
        inputs = bench.random_inputs(model)
        engines[engine] = model.engine.version
        for way in bench.our_ways(model, inputs):
            ways.append(way._replace(name=f"{engine}: {way.name}"))
        task = peers.Task(path, next(iter(model.signatures)), inputs, THREADS)
        rivals, failed = peers.ways(engine, task)
        ways += rivals
        failures |= failed
    rounds_us = timing.alternate(ways, seconds, bench.SEED) if ways else {}
    return {"engines": engines, "failures": failures, "rounds_us": rounds_us}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run one model every way, in turns.")
    parser.add_argument("model")
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    json.dump(race(arguments.model, arguments.seconds), sys.stdout)
