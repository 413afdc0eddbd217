"""The ONNX standard's own test cases: what onnxruntime runs, edgeward runs with the same bits.

`python tests/campaigns/standard_cases.py` takes the cases that the package `onnx` brings: a model,
and inputs to run it with. `--data FOLDER` takes those of a folder `onnx/backend/test/data` of
another release instead, `--sample N` every so-many-th, `--case NAME` one. Each case runs in a
child, which may die: in onnxruntime by its own Python API, twice, then in edgeward by `predict` and
by a session. `--json` prints the whole report. The status is 1 when a case ends otherwise than in
onnxruntime and is not among EXCEPTIONS, or is among them and ends alike.
"""

from __future__ import annotations

import argparse
import ctypes
import enum
import json
import math
import os
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
import onnx
from models.onnx_models import ELEMENT_TYPES, onnxruntime
from onnx import numpy_helper

import edgeward as ew
from edgeward.string_array import encoded

# By name, why edgeward ends otherwise than onnxruntime. None is about sizes of zero, symbols or
# declared shapes.
EXCEPTIONS: Mapping[str, str] = {}

# Operators that draw numbers. Without a seed each copy of the library draws its own.
DRAWS = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip
FOLDERS = ("simple", "pytorch-converted", "pytorch-operator", "node")
TIME_LIMIT_S = 60
ADDRESS_SPACE_BYTES = 8 << 30
DTYPES = {number: name for name, number in ELEMENT_TYPES.items()}


class Verdict(enum.Enum):
    """How a case ended."""

    SAME = "same"
    ENGINE_REFUSED = "engine_refused"
    ENGINE_DIED = "engine_died"
    ENGINE_VARIED = "engine_varied"
    NOT_OF_TENSORS = "not_of_tensors"
    OTHER_BITS = "other_bits"
    REFUSED = "refused"
    DIED = "died"


FAULTS = (Verdict.OTHER_BITS, Verdict.REFUSED, Verdict.DIED)


@dataclass(frozen=True)
class Tensor:
    """An element type, by the standard's number, a shape, and the bytes of all elements.

    Of strings, with a zero between them: no case has one in a string.
    """

    element_type: int
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class Case:
    """A model's name, and what makes its file and the inputs of each of its runs.

    Inputs are in the graph's order; one that is no tensor is None.
    """

    name: str
    load: Callable[[], tuple[bytes, list[list[Tensor | None]]]]


# ---- What the standard brings.


def tensor_of(value: Any) -> Tensor | None:
    """A tensor from what a case holds: an array or a TensorProto; None for all else."""
    if not isinstance(value, np.ndarray | np.generic | onnx.TensorProto):
        return None
    proto = value
    if not isinstance(value, onnx.TensorProto) or not value.HasField("raw_data"):
        array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
        proto = numpy_helper.from_array(np.asarray(array))
    if proto.data_type == onnx.TensorProto.STRING:
        return Tensor(proto.data_type, tuple(proto.dims), b"\0".join(proto.string_data))
    return Tensor(proto.data_type, tuple(proto.dims), proto.raw_data)


def generated(case: Any) -> Case:
    """A case that the package makes in memory."""

    def load() -> tuple[bytes, list[list[Tensor | None]]]:
        runs = [[tensor_of(value) for value in inputs] for inputs, _ in case.data_sets]
        return case.model.SerializeToString(), runs

    return Case(f"{case.kind}/{case.name}", load)


def stored(folder: Path) -> Case:
    """A case in a folder: model.onnx, and test_data_set_0/input_0.pb and so on."""

    def load() -> tuple[bytes, list[list[Tensor | None]]]:
        file = (folder / "model.onnx").read_bytes()
        runs = []
        for data_set in sorted(folder.glob("test_data_set_*")):
            run: list[Tensor | None] = []
            for number, value in enumerate(onnx.load_model_from_string(file).graph.input):
                path = data_set / f"input_{number}.pb"
                if path.exists():
                    is_tensor = value.type.HasField("tensor_type")
                    run.append(tensor_of(onnx.load_tensor(path)) if is_tensor else None)
            runs.append(run)
        for path in sorted(folder.glob("test_data_*.npz")):
            arrays = np.load(path, allow_pickle=True, encoding="bytes")["inputs"]
            runs.append([tensor_of(array) for array in arrays])
        return file, runs

    return Case(f"{folder.parent.name}/{folder.name}", load)


def light(path: Path) -> Case:
    """One of the standard's networks with constant weights, and a picture of our own."""

    def load() -> tuple[bytes, list[list[Tensor | None]]]:
        file = path.read_bytes()
        graph = onnx.load_model_from_string(file).graph
        weights = {initializer.name for initializer in graph.initializer}
        run: list[Tensor | None] = []
        for value in graph.input:
            if value.name not in weights:
                shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
                picture = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32)
                run.append(tensor_of(picture.reshape(shape)))
        return file, [run]

    return Case(f"light/{path.stem}", load)


def cases(data: Path | None) -> list[Case]:
    """All cases of the installed package, or of a folder of another release, in order of name."""
    folder = data or Path(onnx.__file__).parent / "backend" / "test" / "data"
    models = [path for kind in FOLDERS for path in (folder / kind).glob("*/model.onnx")]
    known = [stored(path.parent) for path in models]
    known += [light(path) for path in (folder / "light").glob("*.onnx")]
    if data is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from onnx.backend.test.case.node import collect_testcases

            known += [generated(case) for case in collect_testcases(None)]
    return sorted(known, key=lambda case: case.name)


# ---- One case, in a child.


def run_by_onnxruntime(file: bytes, runs: Sequence[Sequence[Tensor]]) -> list[list[Tensor]] | None:
    """The outputs of each run, by onnxruntime's own Python API. None: some are no tensors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    results = []
    for inputs in runs:
        if any(tensor.element_type == onnx.TensorProto.STRING for tensor in inputs):
            arrays = [array_of(tensor) for tensor in inputs]
            names = [spec.name for spec in session.get_inputs()]
            # The package makes no OrtValue of strings.
            answers = session.run(None, dict(zip(names, arrays, strict=False)))
            tensors = [tensor_of(answer) for answer in answers]
            if None in tensors:
                return None
            results.append([tensor for tensor in tensors if tensor is not None])
            continue
        feed = {}
        for spec, tensor in zip(session.get_inputs(), inputs, strict=False):
            feed[spec.name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                tensor.shape, tensor.element_type
            )
            ctypes.memmove(feed[spec.name].data_ptr(), tensor.data, len(tensor.data))
        outputs = []
        for value in session.run_with_ort_values(None, feed):
            if not value.is_tensor():
                return None
            if value.element_type() == onnx.TensorProto.STRING:
                data = b"\0".join(encoded(value.numpy()))
            else:
                data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
            outputs.append(Tensor(value.element_type(), tuple(value.shape()), data))
        results.append(outputs)
    return results


def array_of(tensor: Tensor) -> npt.NDArray[Any]:
    """The tensor as edgeward takes it: bits where numpy lacks the type, a row of packed bytes."""
    if tensor.element_type == onnx.TensorProto.STRING:
        strings = tensor.data.decode().split("\0") if math.prod(tensor.shape) else []
        return np.array(strings, object).reshape(tensor.shape)
    dtype = DTYPES.get(tensor.element_type, "uint8")
    if dtype.endswith(("int2", "int4")):
        return np.frombuffer(tensor.data, np.uint8)
    dtype = "uint16" if dtype == "bfloat16" else "uint8" if dtype.startswith("float8") else dtype
    return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)


def is_same(array: npt.NDArray[Any], tensor: Tensor) -> bool:
    """Whether an output of edgeward's is that of onnxruntime, bit for bit."""
    wanted = array_of(tensor)
    if tensor.element_type == onnx.TensorProto.STRING:
        return array.shape == wanted.shape and encoded(array) == encoded(wanted)
    same_kind = (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
    return same_kind and array.tobytes() == tensor.data


def differences(
    file: bytes, runs: Sequence[Sequence[Tensor]], wanted: Sequence[Sequence[Tensor]]
) -> list[str]:
    """Which outputs of edgeward's differ, by `predict` and by a session."""
    different = []
    with (
        ew.load_unsigned(file, engine="onnx", threads=1) as model,
        ew.load_unsigned(file, engine="onnx", threads=1).session() as session,
    ):
        names = [spec.name for spec in model.outputs]
        for inputs, outputs in zip(runs, wanted, strict=True):
            arrays = {
                spec.name: array_of(tensor)
                for spec, tensor in zip(model.inputs, inputs, strict=False)
            }
            answer = model.predict(arrays)
            results = answer if isinstance(answer, dict) else {names[0]: answer}
            session.resize(
                {
                    spec.name: tensor.shape
                    for spec, tensor in zip(model.inputs, inputs, strict=False)
                    if -1 in spec.shape
                }
            )
            for name, array in arrays.items():
                session.inputs[name][...] = array
            session.run()
            for name, tensor in zip(names, outputs, strict=True):
                if not is_same(results[name], tensor):
                    different.append(f"predict: {name}")
                if not is_same(session.outputs[name], tensor):
                    different.append(f"session: {name}")
    return different


def judge(case: Case, begin: Callable[[], None]) -> tuple[Verdict, str]:
    """How `case` ends, with what was said; calls `begin` between the engine and edgeward."""
    file, runs = case.load()
    if any(tensor is None for run in runs for tensor in run):
        return Verdict.NOT_OF_TENSORS, ""
    inputs = [[tensor for tensor in run if tensor is not None] for run in runs]
    try:
        wanted = run_by_onnxruntime(file, inputs)
        again = run_by_onnxruntime(file, inputs)
    except Exception as error:
        return Verdict.ENGINE_REFUSED, str(error)
    if wanted is None or again is None:
        return Verdict.NOT_OF_TENSORS, ""
    nodes = onnx.load_model_from_string(file).graph.node
    draws = any(
        node.op_type in DRAWS and "seed" not in {attribute.name for attribute in node.attribute}
        for node in nodes
    )
    if wanted != again or draws:
        return Verdict.ENGINE_VARIED, ""
    begin()
    try:
        different = differences(file, inputs, wanted)
    except ew.EdgewardError as error:
        return Verdict.REFUSED, f"{type(error).__name__}: {error}"
    return (Verdict.OTHER_BITS, ", ".join(different)) if different else (Verdict.SAME, "")


# ---- All cases.


@dataclass(frozen=True)
class Ending:
    """A case's name, its verdict, and what the one who refused it said."""

    name: str
    verdict: Verdict
    said: str


def run_batch(batch: Sequence[Case], report: int) -> None:
    """What a child does with its end of a pipe: a line when a case begins, and one for its end."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with open(report, "w", buffering=1) as lines:
        for case in batch:
            signal.alarm(TIME_LIMIT_S)
            print(json.dumps("engine"), file=lines)
            verdict, said = judge(case, lambda: print(json.dumps("edgeward"), file=lines))
            signal.alarm(0)
            print(json.dumps([verdict.value, said]), file=lines)


def endings(known: Sequence[Case]) -> list[Ending]:
    """The ending of each case, in order. A child goes on until a case kills it."""
    ended: list[Ending] = []
    while len(ended) < len(known):
        batch = known[len(ended) :]
        source, target = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(source)
                run_batch(batch, target)
                status = 0
            finally:
                os._exit(status)
        os.close(target)
        stage = ""
        with open(source) as lines:
            for line in lines:
                said = json.loads(line)
                if isinstance(said, str):
                    stage = said
                else:
                    ended.append(Ending(known[len(ended)].name, Verdict(said[0]), said[1]))
                    stage = ""
        status = os.waitpid(child, 0)[1]
        if len(ended) == len(known):
            break
        if not os.WIFSIGNALED(status):
            name = known[len(ended)].name
            raise RuntimeError(f"child of case {name} ended with status {status}")
        verdict = Verdict.ENGINE_DIED if stage == "engine" else Verdict.DIED
        words = signal.Signals(os.WTERMSIG(status)).name
        ended.append(Ending(known[len(ended)].name, verdict, words))
    return ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder onnx/backend/test/data")
    parser.add_argument("--sample", type=int, help="how many of the cases to take")
    parser.add_argument("--case", help="the name of the one case to take")
    parser.add_argument("--json", action="store_true", help="print the whole report")
    choice = parser.parse_args()
    known = cases(choice.data)
    if choice.sample:
        known = known[:: max(1, len(known) // choice.sample)][: choice.sample]
    if choice.case:
        known = [case for case in known if case.name == choice.case]
    started = time.monotonic()
    ended = endings(known)
    faults = [e for e in ended if e.verdict in FAULTS and e.name not in EXCEPTIONS]
    stale = [e.name for e in ended if e.verdict not in FAULTS and e.name in EXCEPTIONS]
    counts = Counter(e.verdict.value for e in ended)
    report = {
        "seconds": round(time.monotonic() - started),
        "cases": len(ended),
        **counts,
        "faults": [[e.name, e.verdict.value, e.said] for e in faults],
        "needless_exceptions": stale,
    }
    if choice.json:
        report["endings"] = [[e.name, e.verdict.value, e.said] for e in ended]
    print(json.dumps(report, indent=1))
    return 1 if faults or stale else 0


if __name__ == "__main__":
    sys.exit(main())
