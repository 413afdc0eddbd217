"""How long windows of a fleet take to merge, and to judge: python benchmarks/merge_windows.py

Windows of an input and an output of [1, 30] in the bins of a reference, a hundred devices; a file
for each, in memory, so that the disk is not measured. Ends with 1 when they take more than 10 s to
merge. With `--judged N` as many windows, of 100 devices, are judged by a reference afterwards, and
the memory that this takes is said.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cases import tflite_models
from results import Result, finish

import edgeward as ew
from edgeward import _core
from edgeward.captures.drift import PartThresholds, Reference, Thresholds
from edgeward.captures.judged_windows import judged
from edgeward.captures.window import Counted, Window, window_bytes
from edgeward.captures.windows import windows_below
from edgeward.reports.drift_report import summaries

MOST_S = 10.0
DEVICES = 100
HOUR_NS = 3_600_000_000_000
RUNS = 1000  # of a window


def main() -> int:
    parser = argparse.ArgumentParser(description="How long windows of a fleet take to merge.")
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--judged", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        size_bytes = write(Path(folder), args.windows)
        begin = time.perf_counter()
        (counted,) = ew.read_statistics(folder)
        took_s = time.perf_counter() - begin
    assert counted.statistics.run_count == args.windows * RUNS
    holds = took_s <= MOST_S
    result = Result(
        f"{args.windows:,} windows of [1, 30], {size_bytes:,} bytes each: read and merged",
        f"{took_s:.2f} s, limit {MOST_S:g} s {'holds' if holds else 'does not hold'}",
    )
    results = [result, *([judge_all(args.judged)] if args.judged else [])]
    return finish("merge_windows.py", results, is_recorded=args.record)


def judge_all(count: int) -> Result:
    """As `captures stats --against` does, by thresholds that nothing passes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        write(Path(folder), count)
        first = next(windows_below(folder, None, []))
        report = first.counted.statistics.report()
        parts = sum(len(tensor["parts"]) for tensor in report["tensors"])
        limits = PartThresholds((1.0,), (1.0,), (1.0,))
        reference = Reference(report, Thresholds((RUNS,), 0.001, 1, (limits,) * parts))
        before = peak_bytes()
        begin = time.perf_counter()
        windows = (
            window._replace(wall_ns=_core.LEAST_WALL_NS + window.begin_ns)
            for window in windows_below(folder, None, [])
        )
        devices = summaries(reference, judged(reference, first.counted.name, windows, None, []))
        took_s = time.perf_counter() - begin
    assert len(devices) == DEVICES + 1
    grown = (peak_bytes() - before) >> 20
    return Result(
        f"{count:,} windows of [1, 30] of {DEVICES} devices: judged by device and together",
        f"{grown:,} MiB of memory, {took_s:.1f} s",
    )


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def write(folder: Path, count: int) -> int:
    """Returns the size of a file."""
    (signature,) = ew.load_unsigned(tflite_models.add((1, 30))).signatures.values()
    generator = np.random.default_rng(1)
    edges = np.linspace(-3, 3, 33).tolist()
    tensors = [("input", spec) for spec in signature.inputs]
    tensors += [("output", spec) for spec in signature.outputs]
    laid = {
        (side, spec.name): [edges] * len(_core.part_names(spec, side == "output"))
        for side, spec in tensors
    }
    counter = _core.make_statistics_counter(signature, laid)
    for values in generator.standard_normal((RUNS, 1, 30)).astype(np.float32):
        counter.add({signature.inputs[0].name: values}, {signature.outputs[0].name: values})
    counted = Counted("pump", "1", "", signature.name, counter.take())
    for device in range(DEVICES):
        (folder / f"device-{device:03}").mkdir()
    content = b""
    for number in range(count):
        begin_ns = number // DEVICES * HOUR_NS
        window = Window(counted, f"{number:016x}", bytes(16), begin_ns, begin_ns + HOUR_NS, None)
        content = window_bytes(window)
        name = f"device-{number % DEVICES:03}/{number:020}-{number:016x}.stats"
        (folder / name).write_bytes(content)
    return len(content)


if __name__ == "__main__":
    sys.exit(main())
