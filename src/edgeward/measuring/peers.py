"""The engines' own Python APIs, as ways to run what Edgeward runs: same file, values, threads.

Each is used as its documentation shows, in its fastest form: tensors and methods are looked up
beforehand, buffers are created once. A package is imported when one of its ways is requested.
"""

from __future__ import annotations

import atexit
import importlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.engines.choice import shows_log
from edgeward.measuring.timing import Way, statement_way


class Task(NamedTuple):
    """The arguments of every peer."""

    path: str
    signature: str
    inputs: Mapping[str, NDArray[Any]]
    threads: int


def ways(engine: str, task: Task) -> tuple[list[Way], dict[str, str]]:
    """The engine's own ways to run this model; and for each that fails, the reason by name.

    What the packages print meanwhile and when the program ends is left out, unless
    EDGEWARD_ENGINE_LOG=1 asks for it: for a program of one thread, since standard error is switched
    off for all of it.
    """
    if not shows_log():
        atexit.register(switch_off)  # LiteRT's own objects are static: they end after everything
    able: list[Way] = []
    failures: dict[str, str] = {}
    for name, make in PEERS[engine].items():
        # The package may be missing or refuse the model, with any exception: that is a result too.
        with silenced():
            try:
                way = make(name, task)
                way.seconds(1)
            except Exception as error:
                failures[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            else:
                able.append(way)
    return able, failures


def switch_off() -> None:
    """Nothing that this process writes to standard error is seen from now on."""
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


@contextmanager
def silenced() -> Iterator[None]:
    """Standard error is switched off inside, unless EDGEWARD_ENGINE_LOG=1."""
    if shows_log():
        yield
        return
    usual = os.dup(2)
    switch_off()
    try:
        yield
    finally:
        os.dup2(usual, 2)
        os.close(usual)


def _interpreter(package: str, name: str, task: Task) -> Way:
    interpreter: Any = importlib.import_module(f"{package}.interpreter").Interpreter(
        model_path=task.path, num_threads=task.threads
    )
    if task.signature in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(task.signature)
        inputs = runner.get_input_details()
        outputs = list(runner.get_output_details().values())
        del runner  # while it lives, allocate_tensors() refuses
    else:
        inputs = {detail["name"]: detail for detail in interpreter.get_input_details()}
        outputs = interpreter.get_output_details()
    names: dict[str, object] = {
        "set_tensor": interpreter.set_tensor,
        "invoke": interpreter.invoke,
        "get_tensor": interpreter.get_tensor,
    }
    steps = []
    for position, (input_name, values) in enumerate(task.inputs.items()):
        detail = inputs[input_name]
        if tuple(detail["shape"]) != values.shape:
            interpreter.resize_tensor_input(detail["index"], values.shape)
        names |= {f"i{position}": detail["index"], f"x{position}": values}
        steps.append(f"set_tensor(i{position}, x{position})")
    interpreter.allocate_tensors()
    steps.append("invoke()")
    for position, detail in enumerate(outputs):
        names[f"o{position}"] = detail["index"]
        steps.append(f"y{position} = get_tensor(o{position})")
    return statement_way(name, "; ".join(steps), is_ours=False, **names)


def _litert_interpreter(name: str, task: Task) -> Way:
    return _interpreter("ai_edge_litert", name, task)


def _tflite_interpreter(name: str, task: Task) -> Way:
    return _interpreter("tflite_runtime", name, task)


def _compiled_model(name: str, task: Task) -> Way:
    package: Any = importlib.import_module("ai_edge_litert.compiled_model")
    options = package.Options(
        hardware_accelerators=package.HardwareAccelerator.CPU,
        cpu_options=package.CpuOptions(num_threads=task.threads),
    )
    compiled = package.CompiledModel.from_file(task.path, options=options)
    # A model without signatures has one here too, under a name of LiteRT's own.
    index = max(0, compiled.get_signature_index(task.signature))
    key, signature = list(compiled.get_signature_list().items())[index]
    details = compiled.get_input_tensor_details(key)
    for position, input_name in enumerate(signature["inputs"]):
        values = task.inputs[input_name]
        if tuple(details[input_name]["shape"]) != values.shape:
            compiled.resize_input_tensor(position, values.shape, index)
    sources = compiled.create_input_buffers(index)
    targets = compiled.create_output_buffers(index)
    names: dict[str, object] = {
        "run": compiled.run_by_index,
        "index": index,
        "sources": sources,
        "targets": targets,
    }
    steps = []
    for position, input_name in enumerate(signature["inputs"]):
        names |= {
            f"write{position}": sources[position].write,
            f"x{position}": task.inputs[input_name],
        }
        steps.append(f"write{position}(x{position})")
    steps.append("run(index, sources, targets)")
    details = compiled.get_output_tensor_details(key)
    for position, output_name in enumerate(signature["outputs"]):
        detail = details[output_name]
        names |= {
            f"read{position}": targets[position].read,
            f"count{position}": math.prod(detail["shape"]),
            f"dtype{position}": np.dtype(detail["dtype"]).type,
        }
        steps.append(f"y{position} = read{position}(count{position}, dtype{position})")
    return statement_way(name, "; ".join(steps), is_ours=False, **names)


def _onnx_session(task: Task) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the package is imported
    package: Any = importlib.import_module("onnxruntime")
    options = package.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    return package.InferenceSession(task.path, options, providers=["CPUExecutionProvider"])


def _onnx_run(name: str, task: Task) -> Way:
    session = _onnx_session(task)
    feed = dict(task.inputs)
    return statement_way(name, "y = run(None, feed)", is_ours=False, run=session.run, feed=feed)


def _onnx_binding(name: str, task: Task) -> Way:
    """Inputs and outputs are in OrtValues that exist beforehand: nothing is copied."""
    session = _onnx_session(task)
    values = importlib.import_module("onnxruntime").OrtValue
    binding = session.io_binding()
    for input_name, array in task.inputs.items():
        binding.bind_ortvalue_input(input_name, values.ortvalue_from_numpy(array))
    results = session.run(None, dict(task.inputs))
    for output, array in zip(session.get_outputs(), results, strict=True):
        binding.bind_ortvalue_output(output.name, values.ortvalue_from_numpy(array))
    run = session.run_with_iobinding
    return statement_way(name, "run(binding)", is_ours=False, run=run, binding=binding)


INTERPRETER = "ai_edge_litert Interpreter"
COMPILED_MODEL = "ai_edge_litert CompiledModel"
ONNX_RUN = "onnxruntime run"
ONNX_BINDING = "onnxruntime io_binding"
TFLITE_INTERPRETER = "tflite_runtime Interpreter"

PEERS: Mapping[str, Mapping[str, Callable[[str, Task], Way]]] = {
    "litert": {INTERPRETER: _litert_interpreter, COMPILED_MODEL: _compiled_model},
    "litert-interpreter": {INTERPRETER: _litert_interpreter},
    "onnx": {ONNX_RUN: _onnx_run, ONNX_BINDING: _onnx_binding},
    "tflite": {TFLITE_INTERPRETER: _tflite_interpreter},
}
