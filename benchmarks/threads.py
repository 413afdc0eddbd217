"""One Model, many threads: python benchmarks/threads.py [--record]

Each thread predicts its own inputs and compares every answer, bit for bit, with the one a single
thread got before. Ends with 1 when an answer differs. Then throughput, without the comparing.
"""

import argparse
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
from cases import onnx_models, tflite_models
from results import Result, record

from edgeward import Model, load_unsigned
from edgeward.commands.bench import SEED, inputs_for, predictions_per_s

INPUTS = 16  # of each thread
SECONDS = 2.0


def wrong_answers(model: Model, threads: int, predictions: int) -> int:
    """Of `threads` times `predictions`. A thread that fails has all of its own wrong."""
    generator = np.random.default_rng(SEED)
    (values,) = inputs_for(model, []).arrays.values()
    inputs = [
        [generator.standard_normal(values.shape).astype(values.dtype) for _ in range(INPUTS)]
        for _ in range(threads)
    ]
    answers = [[model.predict(x) for x in own] for own in inputs]
    start = threading.Barrier(threads)
    wrong = [predictions] * threads

    def predict_and_compare(index: int) -> None:
        start.wait()
        differing = 0
        for turn in range(predictions):
            y = model.predict(inputs[index][turn % INPUTS])
            differing += not np.array_equal(y, answers[index][turn % INPUTS])
        wrong[index] = differing

    workers = [threading.Thread(target=predict_and_compare, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description="Right answers and throughput of many threads.")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--predictions", type=int, default=10_000, help="of each thread")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    results, wrong_count = [], 0
    # The last of each runs long enough to release Python's lock: its sessions run side by side.
    models = {
        "one_op.tflite": tflite_models.add,
        "conv.tflite": tflite_models.conv,
        "mobilenet_25.tflite": partial(tflite_models.mobilenet, 0.25),
        "one_op.onnx": onnx_models.add,
        "conv.onnx": onnx_models.conv,
        "mobilenet_25.onnx": partial(onnx_models.mobilenet, 0.25),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, make in models.items():
            path = Path(folder) / name
            path.write_bytes(make())
            with load_unsigned(str(path), threads=1) as model:
                wrong = wrong_answers(model, args.threads, args.predictions)
                arrays = list(inputs_for(model, []).arrays.values())
                alone_per_s, together_per_s = (
                    predictions_per_s(model, arrays, callers, SECONDS)
                    for callers in (1, args.threads)
                )
            what = f"{name}: wrong answers of {args.threads} threads x {args.predictions:,}"
            text = (
                f"{wrong}; {together_per_s:,.0f} per s, one thread alone {alone_per_s:,.0f} per s"
            )
            print(f"{what}: {text}", flush=True)
            results.append(Result(what, text))
            wrong_count += wrong
    if args.record:
        record(" ".join(["python", "benchmarks/threads.py", *sys.argv[1:]]), results)
    return 1 if wrong_count else 0


if __name__ == "__main__":
    sys.exit(main())
