"""What sessions hold in memory: python benchmarks/memory.py [--record]

Each number is of a process of its own, over the import of the engine's API: PSS, which counts a
page once however often it is mapped, after a run of every session; the processor's time for
each session. Beside the engines' own APIs, and from packages, plain and encrypted. Ends with 1 when
a limit does not hold.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from cases import onnx_models, tflite_models
from results import report

from edgeward import Package, PrivateKey, PublicKey, Release
from edgeward.trust import keys

ROUNDS = 3
SESSION_COUNTS = (1, 2, 3, 4)
MOST_ONE_SESSION = 2.6  # times the file
MOST_FURTHER = 0.3  # of the file, for each session after the first
THREADS = 8

# Each makes and runs `count` sessions of the model in `path`, and keeps them.
COMMON = """
import os, sys, threading, time
import numpy as np
path, count = sys.argv[1], int(sys.argv[2])
kept = []

def pss_mib():
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024

def timed(make):
    start_ns = time.process_time_ns()
    kept.append(make())
    return (time.process_time_ns() - start_ns) / 1e6
"""
EDGEWARD = """
import edgeward as ew
def load(of):
    if of.endswith(".ewp"):
        return ew.load(of, trust=os.path.join(os.path.dirname(of), "keys", "trust"), threads=1)
    return ew.load_unsigned(of, threads=1)
load(small).close()
before = pss_mib()
model = load(path)
taken_ms = []
for _ in range(count):
    taken_ms.append(timed(model.session))
    session = kept[-1]
    for array in session.inputs.values():
        array[...] = 0
    session.run()
"""
EDGEWARD_THREADS = """
import edgeward as ew
def load(of):
    if of.endswith(".ewp"):
        return ew.load(of, trust=os.path.join(os.path.dirname(of), "keys", "trust"), threads=1)
    return ew.load_unsigned(of, threads=1)
load(small).close()
before = pss_mib()
model = load(path)
taken_ms = []
model.gil = "release"
x = np.zeros(model.inputs[0].shape, model.inputs[0].dtype)
barrier = threading.Barrier(count)

def work():
    barrier.wait()
    for _ in range(10):
        model.predict(x)

threads = [threading.Thread(target=work) for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
INTERPRETER = """
from ai_edge_litert.interpreter import Interpreter
Interpreter(model_path=small, num_threads=1).allocate_tensors()
before = pss_mib()
taken_ms = []
def make():
    model = Interpreter(model_path=path, num_threads=1)
    model.allocate_tensors()
    return model
for _ in range(count):
    taken_ms.append(timed(make))
    detail = kept[-1].get_input_details()[0]
    kept[-1].set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    kept[-1].invoke()
"""
ONNXRUNTIME = """
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
def make(of=path):
    return onnxruntime.InferenceSession(of, options, providers=["CPUExecutionProvider"])
make(small)
before = pss_mib()
taken_ms = []
for _ in range(count):
    taken_ms.append(timed(make))
    source = kept[-1].get_inputs()[0]
    kept[-1].run(None, {source.name: np.zeros(source.shape, np.float32)})
"""
END = """
print(pss_mib() - before, *taken_ms)
"""


class Case(NamedTuple):
    name: str
    make: Callable[[], bytes]
    small: Callable[[], bytes]  # of the same engine, loaded before what is measured
    peer: str
    peer_code: str
    is_sealed: bool = False  # measured from packages too
    one_mib: float | None = None  # how much one session may hold, from a file and from packages


CASES = (
    Case("mobilenet_170.tflite", lambda: tflite_models.mobilenet(1.7), tflite_models.add,
         "ai_edge_litert Interpreter", INTERPRETER, is_sealed=True, one_mib=60),
    Case("mobilenet_340_int8.tflite", lambda: tflite_models.mobilenet_int8(3.4), tflite_models.add,
         "ai_edge_litert Interpreter", INTERPRETER),
    Case("mobilenet_270.tflite", lambda: tflite_models.mobilenet(2.7), tflite_models.add,
         "ai_edge_litert Interpreter", INTERPRETER),
    Case("mobilenet_170.onnx", lambda: onnx_models.mobilenet(1.7), onnx_models.add,
         "onnxruntime", ONNXRUNTIME),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="What sessions hold in memory.")
    parser.add_argument("--only", default="", metavar="WORD", help="models whose names have it")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys.make(Path(folder) / "keys", "ed25519", int(time.time()), 365)
        cases = (case for case in CASES if args.only in case.name)
        measured = (finding for case in cases for finding in findings(case, Path(folder)))
        return report("memory.py", measured, is_recorded=args.record)


def findings(case: Case, folder: Path) -> Iterator[tuple[str, str, bool]]:
    path, small = folder / case.name, folder / f"small_{case.name}"
    path.write_bytes(case.make())
    small.write_bytes(case.small())
    yield from of_file(case, path, small, "edgeward", EDGEWARD)
    yield from of_file(case, path, small, case.peer, case.peer_code)
    yield from of_threads(case, path, small, "edgeward")
    for cipher in ("plain", "encrypted") if case.is_sealed else ():
        packages = [sealed(file, folder, cipher) for file in (path, small)]
        name = f"edgeward, {cipher} package"
        yield from of_file(case, *packages, name, EDGEWARD)
        yield from of_threads(case, *packages, name)


def sealed(model: Path, folder: Path, cipher: str) -> Path:
    """A package of the model."""
    path = folder / f"{model.stem}_{cipher}.ewp"
    signer = PrivateKey.read(str(folder / "keys" / "publisher.key"))
    device = PublicKey.read(str(folder / "keys" / "device.pub"))
    recipients = [device] if cipher == "encrypted" else []
    Package.seal(model, path, Release(path.stem, "1", 1), [signer], encrypt_to=recipients)
    return path


def of_file(
    case: Case, path: Path, small: Path, name: str, code: str
) -> Iterator[tuple[str, str, bool]]:
    file_mib = path.stat().st_size / 2**20
    title = f"{case.name}, {file_mib:.1f} MiB"
    sizes, times = [], []
    for count in SESSION_COUNTS:
        size_mib, times = measured(code, path, small, count)
        sizes.append(size_mib)
    further = (sizes[-1] - sizes[0]) / (SESSION_COUNTS[-1] - SESSION_COUNTS[0])
    text = ", ".join(f"{size:.1f}" for size in sizes)
    text = f"{text} MiB: one {sizes[0]:.1f}, each further {further:.1f}"
    holds = True
    if name.startswith("edgeward"):
        one_mib, further_mib = case.one_mib or MOST_ONE_SESSION * file_mib, MOST_FURTHER * file_mib
        holds = sizes[0] <= one_mib and further <= further_mib
        answer = "holds" if holds else "does not hold"
        text += f", limits {one_mib:.0f} and {further_mib:.0f}: {answer}"
    yield f"{title}, {name}: memory over the import with 1, 2, 3 and 4 sessions", text, holds
    each = ", ".join(f"{taken:.1f}" for taken in times)
    yield f"{title}, {name}: processor time of sessions 1 to 4", f"{each} ms", True


def of_threads(case: Case, path: Path, small: Path, name: str) -> Iterator[tuple[str, str, bool]]:
    file_mib = path.stat().st_size / 2**20
    size_mib, _ = measured(EDGEWARD_THREADS, path, small, THREADS)
    title = f"{case.name}, {file_mib:.1f} MiB, {name}: {THREADS} threads predict at once"
    yield title, f"{size_mib:.1f} MiB", True


def measured(code: str, path: Path, small: Path, count: int) -> tuple[float, list[float]]:
    """MiB over the import and milliseconds, each the median of some processes."""
    program = COMMON + f"small = {str(small)!r}\n" + code + END
    rows = []
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", program, str(path), str(count)]
        child = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
        if child.returncode != 0:
            raise SystemExit(child.stderr)
        rows.append([float(word) for word in child.stdout.split()])
    size_mib, *taken_ms = (median(column) for column in zip(*rows, strict=True))
    return size_mib, taken_ms


if __name__ == "__main__":
    sys.exit(main())
