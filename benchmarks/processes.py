"""What processes of one model cost, each start and each worker: benchmarks/processes.py [--record]

Starts, in processes of their own and in turns: from `import numpy` to the first answer, part by
part, without and with `shared`, beside the engines' own APIs, on the threads that Edgeward takes
by default. Workers that hold the model at once: PSS over a small model, summed, with one and with
eight of them. Ends with 1 when a limit does not hold.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from cases import onnx_models, tflite_models
from results import report

from edgeward.engines.choice import default_threads
from edgeward.engines.processors import usable_cpus

TURNS = 15
WORKER_COUNTS = (1, 2, 8)
MOST_START = 0.7  # of a start without shared weights
MOST_FURTHER = 0.25  # of the file, for each worker after the first

# Each prints the milliseconds of its parts.
START = """
import os, sys, time
path, threads, weights = sys.argv[1], int(sys.argv[2]), sys.argv[3]
parts, start_ns = [], time.perf_counter_ns()

def lap():
    global start_ns
    now_ns = time.perf_counter_ns()
    parts.append((now_ns - start_ns) / 1e6)
    start_ns = now_ns

import numpy
lap()
{code}
lap()
print(*parts, time.process_time_ns() / 1e6)
"""
EDGEWARD = """
import edgeward
lap()
model = edgeward.load_unsigned(path, threads=threads, shared={shared})
lap()
model.predict(numpy.zeros(model.inputs[0].shape, model.inputs[0].dtype))
"""
INTERPRETER = """
from ai_edge_litert.interpreter import Interpreter
lap()
model = Interpreter(model_path=path, num_threads=threads)
model.allocate_tensors()
lap()
detail = model.get_input_details()[0]
model.set_tensor(detail["index"], numpy.zeros(detail["shape"], detail["dtype"]))
model.invoke()
"""
ONNXRUNTIME = """
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
lap()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
model = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
lap()
source = model.get_inputs()[0]
model.run(None, {source.name: numpy.zeros(source.shape, numpy.float32)})
"""
LARGER = {
    "mobilenet_340_int8.tflite": lambda: tflite_models.mobilenet_int8(3.4),
    "mobilenet_270.tflite": lambda: tflite_models.mobilenet(2.7),
}
PLAIN, SHARED = "edgeward", "edgeward, shared"
TFLITE = {
    PLAIN: EDGEWARD.format(shared=False),
    SHARED: EDGEWARD.format(shared="weights"),
    "ai_edge_litert Interpreter": INTERPRETER,
}
ONNX = {
    PLAIN: EDGEWARD.format(shared=False),
    SHARED: EDGEWARD.format(shared="weights"),
    "onnxruntime": ONNXRUNTIME,
}

# Says "ready" and waits for a line before it tells its PSS, with a small model and with the large.
WORKER = """
import sys
import edgeward
path, small, shared = sys.argv[1], sys.argv[2], sys.argv[3] or False
kept = []

def zeros(spec):  # used in place
    array = edgeward.empty(spec.shape, spec.dtype)
    array[...] = 0
    return array

for source, directory in ((small, False), (path, shared)):
    model = edgeward.load_unsigned(source, threads=1, shared=directory)
    model.predict(*map(zeros, model.inputs))
    kept.append(model)
    print("ready", flush=True)
    sys.stdin.readline()
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Pss:"):
            print(int(line.split()[1]) / 1024, flush=True)
    sys.stdin.readline()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="What processes of one model cost.")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # where probes of engines are remembered
        measured = findings(Path(folder))
        return report("processes.py", measured, is_recorded=args.record)


def findings(folder: Path) -> Iterator[tuple[str, str, bool]]:
    path, small = folder / "mobilenet_170.tflite", folder / "small.tflite"
    path.write_bytes(tflite_models.mobilenet(1.7))
    small.write_bytes(tflite_models.add())
    yield from starts(path, TFLITE)
    yield from workers(path, small)
    for name, make in LARGER.items():
        larger = folder / name
        larger.write_bytes(make())
        yield from workers(larger, small)
        larger.unlink()
    onnx = folder / "mobilenet_170.onnx"
    onnx.write_bytes(onnx_models.mobilenet(1.7))
    yield from starts(onnx, ONNX)
    yield from workers(onnx, small)


def starts(path: Path, ways: dict[str, str]) -> Iterator[tuple[str, str, bool]]:
    """Each way's times but for `import numpy`, and how they compare.

    Two turns more, which are not taken, warm up.
    """
    threads = default_threads(usable_cpus(), path.stat().st_size)
    parts: dict[str, list[list[float]]] = {name: [] for name in ways}
    for turn in range(TURNS + 2):
        for name in random.sample(list(ways), len(ways)):
            program = START.replace("{code}", ways[name])
            arguments = [str(path), str(threads), str(path.parent / "weights")]
            command = [sys.executable, "-c", program, *arguments]
            child = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
            if child.returncode != 0:
                raise SystemExit(child.stderr)
            if turn >= 2:
                parts[name].append([float(word) for word in child.stdout.split()])
    for name, rows in parts.items():
        numpy_ms, import_ms, load_ms, run_ms, _ = (median(part) for part in zip(*rows, strict=True))
        total_ms = median(sum(row[1:4]) for row in rows)
        text = (
            f"{total_ms:.0f} ms: import {import_ms:.1f}, load {load_ms:.1f}, run {run_ms:.1f}; "
            f"import numpy before them {numpy_ms:.0f}"
        )
        yield f"import, load and first run of {path.name}, {threads} threads, {name}", text, True
    turns = {name: [sum(row[1:4]) for row in rows] for name, rows in parts.items()}
    for name in ways:
        if name != SHARED:
            yield compared(path, turns[SHARED], turns[name], name)


def compared(
    path: Path, shared_ms: list[float], other_ms: list[float], other: str
) -> tuple[str, str, bool]:
    ratios = [a / b for a, b in zip(shared_ms, other_ms, strict=True)]
    text = f"{median(ratios):.3f}, {min(ratios):.2f} to {max(ratios):.2f}"
    is_held = other == PLAIN and path.suffix == ".tflite"
    holds = not is_held or median(ratios) <= MOST_START
    if is_held:
        text += f", limit {MOST_START:g} {answer(holds)}"
    return f"{path.name}: {SHARED} / {other}", text, holds


def workers(path: Path, small: Path) -> Iterator[tuple[str, str, bool]]:
    file_mib = path.stat().st_size / 2**20
    for name, shared in ((PLAIN, ""), (SHARED, str(path.parent / "weights"))):
        worker_mib(path, small, shared, 1)  # makes the files
        sums = [worker_mib(path, small, shared, count) for count in WORKER_COUNTS]
        further = (sums[-1] - sums[0]) / (WORKER_COUNTS[-1] - WORKER_COUNTS[0])
        second = sums[1] - sums[0]
        text = ", ".join(f"{size:.1f}" for size in sums)
        text += f" MiB: the second adds {second:.1f}, each further one {further:.1f}"
        holds = True
        # ONNX Runtime lays out what it runs with for each process.
        if shared and path.suffix == ".tflite":
            limit = MOST_FURTHER * file_mib
            holds = max(second, further) <= limit
            text += f", limit {limit:.1f} {answer(holds)}"
        yield f"{path.name}, {file_mib:.1f} MiB, 1, 2 and 8 workers, {name}", text, holds


def worker_mib(path: Path, small: Path, shared: str, count: int) -> float:
    """The PSS that `count` workers have more together with `path` than with `small` alone."""
    command = [sys.executable, "-c", WORKER, str(path), str(small), shared]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    sums = []
    for _ in range(2):
        for child in children:
            if child.stdout is None or child.stdout.readline() != "ready\n":
                raise SystemExit("worker: expected it to be ready, got its end")
        sizes = []
        for child in children:
            assert child.stdin is not None
            assert child.stdout is not None
            print(file=child.stdin, flush=True)
            sizes.append(float(child.stdout.readline()))
        sums.append(sum(sizes))
        for child in children:
            assert child.stdin is not None
            print(file=child.stdin, flush=True)
    for child in children:
        child.communicate()
    return sums[1] - sums[0]


def answer(holds: bool) -> str:
    return "holds" if holds else "does not hold"


if __name__ == "__main__":
    sys.exit(main())
