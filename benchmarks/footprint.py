"""What Edgeward costs around its runs: time to import and to start, memory, size of the wheel.

Every number comes from child processes, taken in turns.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cases import ROOT, onnx_models, tflite_models

IMPORT_PAIRS = 41
START_TURNS = 7
IMPORT_LIMIT_MS = 15.0
WHEEL_LIMIT_MB = 2.0

IMPORT = """
import time
start_ns = time.perf_counter_ns()
import {modules}
print((time.perf_counter_ns() - start_ns) / 1e6)
"""

# Each loads the file in `path` on one thread and runs it once on zeros.
LOADERS = {
    "tflite": {
        "edgeward": """
import edgeward
model = edgeward.load_unsigned(path, threads=1)
model.predict(numpy.zeros(model.inputs[0].shape, model.inputs[0].dtype))
""",
        "ai_edge_litert Interpreter": """
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(model_path=path, num_threads=1)
model.allocate_tensors()
detail = model.get_input_details()[0]
model.set_tensor(detail["index"], numpy.zeros(detail["shape"], detail["dtype"]))
model.invoke()
""",
        "ai_edge_litert CompiledModel": """
from ai_edge_litert.compiled_model import CompiledModel
model = CompiledModel.from_file(path)
sources, targets = model.create_input_buffers(0), model.create_output_buffers(0)
model.run_by_index(0, sources, targets)
""",
    },
    "onnx": {
        "edgeward": """
import edgeward
model = edgeward.load_unsigned(path, threads=1)
model.predict(numpy.zeros(model.inputs[0].shape, model.inputs[0].dtype))
""",
        "onnxruntime": """
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
model = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
source = model.get_inputs()[0]
model.run(None, {source.name: numpy.zeros(source.shape, numpy.float32)})
""",
    },
}
START = """
import os, sys, time
import numpy
path = sys.argv[1]
os.environ["XDG_CACHE_HOME"] = os.path.dirname(path)  # where probes of engines are remembered
start_ns = time.perf_counter_ns()
{load}
taken_ms = (time.perf_counter_ns() - start_ns) / 1e6
pages = int(open("/proc/self/statm").read().split()[1])
print(taken_ms, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
"""


class Finding(NamedTuple):
    what: str
    text: str
    holds: bool


def findings() -> Iterator[Finding]:
    yield import_time()
    yield from starts()
    yield wheel_size()


def import_time() -> Finding:
    """The median of the differences between neighbours in time."""
    over_ms = np.array(
        [
            _numbers(IMPORT.format(modules="numpy, edgeward"))[0]
            - _numbers(IMPORT.format(modules="numpy"))[0]
            for _ in range(IMPORT_PAIRS)
        ]
    )
    median = float(np.median(over_ms))
    holds = median <= IMPORT_LIMIT_MS
    text = (
        f"{median:.1f} ms, {over_ms.min():.1f} to {over_ms.max():.1f}, limit {IMPORT_LIMIT_MS:g} ms"
    )
    return Finding("import edgeward over import numpy", f"{text} {_answer(holds)}", holds)


def starts() -> Iterator[Finding]:
    """From import to the first answer, beside the engines' own APIs; numpy is there before.

    The first turn of Edgeward also probes the engine; the median is that of a machine that has.
    """
    with tempfile.TemporaryDirectory() as folder:
        for suffix, model in (("tflite", tflite_models.mobilenet), ("onnx", onnx_models.mobilenet)):
            path = Path(folder) / f"mobilenet.{suffix}"
            path.write_bytes(model())
            numbers: dict[str, list[list[float]]] = {name: [] for name in LOADERS[suffix]}
            for _ in range(START_TURNS):
                for name, load in LOADERS[suffix].items():
                    numbers[name].append(_numbers(START.format(load=load), str(path)))
            for name, turns in numbers.items():
                taken_ms, megabytes = np.median(turns, axis=0)
                what = f"import, load and first run of {path.name}, {name}"
                yield Finding(what, f"{taken_ms:.0f} ms, process of {megabytes:.1f} MB", True)


def wheel_size() -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, "."]
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
        (wheel,) = Path(folder).glob("*.whl")
        megabytes = wheel.stat().st_size / 1e6
    holds = megabytes <= WHEEL_LIMIT_MB
    text = f"{megabytes:.2f} MB, limit {WHEEL_LIMIT_MB:g} MB {_answer(holds)}"
    return Finding("wheel", text, holds)


def _numbers(code: str, *arguments: str) -> list[float]:
    """What the code prints in a fresh interpreter."""
    command = [sys.executable, "-c", code, *arguments]
    child = subprocess.run(command, capture_output=True, text=True, cwd=tempfile.gettempdir())
    if child.returncode != 0:
        raise SystemExit(child.stderr)
    return [float(word) for word in child.stdout.split()]


def _answer(holds: bool) -> str:
    return "holds" if holds else "does not hold"
