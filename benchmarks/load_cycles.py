"""Load, one prediction, close, many times over: python benchmarks/load_cycles.py [--record]

What stays behind of each cycle, in resident memory and descriptors, after the first tenth.
Ends with 1 when memory grows by 1 KiB a cycle or more, or a descriptor stays open.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cases import onnx_models, tflite_models
from results import report

from edgeward import load_unsigned
from edgeward.commands.bench import resident_bytes

LIMIT_BYTES = 1024
SAMPLES = 100


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def cycles(path: str, count: int) -> tuple[float, int]:
    """Bytes of growth a cycle (slope of a straight line), and descriptors more than before."""
    x = np.zeros(16, np.float32)

    def load_and_close() -> None:
        with load_unsigned(path, threads=1) as model:
            model.predict(x)

    for _ in range(count // 10):
        load_and_close()
    before = descriptors()
    done, resident = [], []
    for cycle in range(count):
        load_and_close()
        if cycle % max(1, count // SAMPLES) == 0:
            done.append(cycle)
            resident.append(resident_bytes())
    return float(np.polyfit(done, resident, 1)[0]), descriptors() - before


def main() -> int:
    parser = argparse.ArgumentParser(description="What loading and closing leaves behind.")
    parser.add_argument("--cycles", type=int, default=20_000)
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        growth = findings(Path(folder), args.cycles)
        return report("load_cycles.py", growth, is_recorded=args.record)


def findings(folder: Path, cycle_count: int) -> Iterator[tuple[str, str, bool]]:
    for name, model in (("one_op.tflite", tflite_models.add), ("one_op.onnx", onnx_models.add)):
        path = folder / name
        path.write_bytes(model())
        slope_bytes, opened = cycles(str(path), cycle_count)
        holds = slope_bytes < LIMIT_BYTES and opened == 0
        text = f"{slope_bytes:.0f} bytes a cycle, limit {LIMIT_BYTES}; {opened} descriptors; "
        text += "holds" if holds else "does not hold"
        yield f"{name}: growth over {cycle_count:,} load/predict/close cycles", text, holds


if __name__ == "__main__":
    sys.exit(main())
