"""Edgeward's outputs, bit by bit, against those of the same engine's own Python API.

On every model that the tests make, on the shipped digits, and on those of ../shared/models where
that folder lies beside the checkout.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - gives numpy its dtypes
import numpy as np
import numpy.typing as npt
import pytest
from engines_here import ENGINES, models_of
from models import onnx_models

import edgeward as ew

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

ROOT = Path(__file__).parents[1]
DIGITS = Path(ew.__file__).parent / "digits"
SHARED = ROOT.parent / "shared" / "models"
PACKED = ("int2", "uint2", "int4", "uint4")

# What an engine's path through Edgeward does not run, by model; everything else must load and run.
REFUSED = {
    "litert": {"strings", "data_dependent", "identity_complex128"},
    "litert-interpreter": {"identity_bfloat16"},
    "onnx": set(),
    "tflite": {
        "strings", "identity_int2", "identity_int4", "identity_uint4",
        "identity_bfloat16", "identity_float8_e4m3fn", "identity_float8_e5m2",
    },
}  # fmt: skip

# What the engine runs, but its own Python API takes no array for, or does not run; strings, which
# are no array of bits, are compared in test_strings, and state in test_state.
UNCOMPARED = {
    ("tflite", "identity_uint16"),
    ("onnx", "strings"),
    ("litert", "counter"),
    ("litert-interpreter", "strings"),
} | {("litert-interpreter", f"identity_{dtype}") for dtype in PACKED}

# LiteRT's two APIs disagree on these, and Edgeward gives what CompiledModel gives.
INTERPRETER_DIFFERS: set[str] = set()


# --- Models and values ----------------------------------------------------------------------------


def files(engine_name: str) -> dict[str, Callable[[], bytes]]:
    """Every model at hand in the engine's format, by name."""
    models = models_of(engine_name)
    contents = dict(models.ALL) | {"mobilenet": partial(models.mobilenet, 0.25)}
    suffix = ".onnx" if engine_name == "onnx" else ".tflite"
    if engine_name == "onnx":
        contents |= {
            f"{name}.ort": lambda make=make: onnx_models.to_ort(make())
            for name, make in contents.items()
            if name in ("add_float32", "sum_product", "dynamic_batch", "conv", "mobilenet")
        }
    else:
        contents["mobilenet_int8"] = partial(models.mobilenet_int8, 0.25)
    paths = [DIGITS / f"digits{suffix}", *sorted(SHARED.glob(f"*{suffix}"))]
    return contents | {path.name: path.read_bytes for path in paths}


CASES = [
    (engine_name, name)
    for engine_name in ENGINES
    for name in files(engine_name)
    if name not in REFUSED[engine_name] and (engine_name, name) not in UNCOMPARED
]


def stored(dtype: str) -> np.dtype[Any]:
    """The dtype of the array that shows a tensor."""
    if dtype == "bfloat16":
        return np.dtype(np.uint16)
    return np.dtype(np.uint8 if dtype in PACKED or dtype.startswith("float8") else dtype)


def storage_shape(dtype: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if dtype not in PACKED:
        return shape
    return (-(-int(np.prod(shape)) * (2 if dtype.endswith("int2") else 4) // 8),)


def values(spec: ew.TensorSpec, kind: str, rows: int) -> Array:
    """An input of one kind; the same on every run."""
    generator = np.random.default_rng(len(kind))
    shape = storage_shape(spec.dtype, tuple(rows if dim < 0 else dim for dim in spec.shape))
    dtype = stored(spec.dtype)
    if kind == "zeros":
        return np.zeros(shape, dtype)
    if spec.dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    if kind == "any bits":
        count = int(np.prod(shape))
        array = np.frombuffer(generator.bytes(count * dtype.itemsize), dtype).reshape(shape).copy()
        if spec.dtype in PACKED and np.prod(spec.shape) * (2 if spec.dtype == "int2" else 4) % 8:
            array[-1] &= 15  # what is left over of the last byte is no element
        return array
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if kind == "ordinary":
            return generator.integers(max(limits.min, -100), min(limits.max, 100), shape, dtype)
        return generator.choice(np.array([limits.min, limits.max, 0, 1], dtype), shape)
    if kind == "ordinary":
        return np.asarray(generator.normal(size=shape)).astype(dtype)
    limits = np.finfo(dtype)
    extremes = [limits.max, limits.min, limits.tiny, -0.0, 1, np.inf, -np.inf]
    return generator.choice(np.array(extremes, dtype), shape)


KINDS = ("zeros", "ordinary", "extreme", "any bits")


def raw(array: Array) -> Array:
    """The bytes of an array, in a row."""
    return np.frombuffer(array.tobytes(), np.uint8)


# --- The engines' own APIs: bytes in, bytes out, by name ------------------------------------------

Answer = Callable[[Arrays], Arrays]


def compiled_model(content: bytes, model: ew.Model) -> Answer:
    package = importlib.import_module("ai_edge_litert.compiled_model")
    options = package.Options(
        hardware_accelerators=package.HardwareAccelerator.CPU,
        cpu_options=package.CpuOptions(num_threads=1),
    )
    compiled = package.CompiledModel.from_buffer(content, options=options)
    (signature, *_) = compiled.get_signature_list().values()

    def answer(inputs: Arrays) -> Arrays:
        specs = {spec.name: spec for spec in model.inputs}
        for index, name in enumerate(signature["inputs"]):
            if -1 in specs[name].shape:
                compiled.resize_input_tensor(index, inputs[name].shape, 0)
        sources = compiled.create_input_buffers(0)
        targets = compiled.create_output_buffers(0)
        for source, name in zip(sources, signature["inputs"], strict=True):
            source.write(raw(inputs[name]))
        compiled.run_by_index(0, sources, targets)
        sizes = [
            compiled.get_output_buffer_requirements(index, 0)["buffer_size"]
            for index in range(len(targets))
        ]
        read = [target.read(size, np.uint8) for target, size in zip(targets, sizes, strict=True)]
        return dict(zip(signature["outputs"], read, strict=True))

    return answer


def interpreter(package: str, content: bytes, model: ew.Model) -> Answer:
    engine = importlib.import_module(f"{package}.interpreter").Interpreter(
        model_content=content, num_threads=1
    )
    keys = list(engine.get_signature_list())
    if keys:
        runner = engine.get_signature_runner(next(iter(model.signatures)))
        inputs = {name: detail["index"] for name, detail in runner.get_input_details().items()}
        outputs = {name: detail["index"] for name, detail in runner.get_output_details().items()}
        del runner  # while it lives, allocate_tensors() refuses
    else:
        inputs = {detail["name"]: detail["index"] for detail in engine.get_input_details()}
        outputs = {detail["name"]: detail["index"] for detail in engine.get_output_details()}

    def answer(arrays: Arrays) -> Arrays:
        specs = {spec.name: spec for spec in model.inputs}
        for name, index in inputs.items():
            if -1 in specs[name].shape:
                engine.resize_tensor_input(index, arrays[name].shape, strict=True)
        engine.allocate_tensors()
        engine.reset_all_variables()
        for name, index in inputs.items():
            engine.set_tensor(index, arrays[name])
        engine.invoke()
        shapes = {detail["index"]: detail["shape"] for detail in engine.get_output_details()}
        # get_tensor refuses a tensor without elements.
        return {
            name: raw(engine.get_tensor(index) if 0 not in shapes[index] else np.zeros(0))
            for name, index in outputs.items()
        }

    return answer


def onnx_session(content: bytes, model: ew.Model) -> Answer:
    package = onnx_models.onnxruntime
    options = package.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = package.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def value(spec: ew.TensorSpec, array: Array) -> Any:
        """In ONNX Runtime's own memory: numpy lacks some of its dtypes."""
        shape = array.shape if spec.dtype not in PACKED else spec.shape
        element = int(onnx_models.ELEMENT_TYPES[spec.dtype])
        ort_value = package.OrtValue.ortvalue_from_shape_and_type(list(shape), element)
        ctypes.memmove(ort_value.data_ptr(), array.tobytes(), array.nbytes)
        return ort_value

    def answer(inputs: Arrays) -> Arrays:
        feed = {spec.name: value(spec, inputs[spec.name]) for spec in model.inputs}
        names = [output.name for output in session.get_outputs()]
        results = session.run_with_ort_values(names, feed)
        read = [
            np.frombuffer(
                ctypes.string_at(result.data_ptr(), result.tensor_size_in_bytes()), np.uint8
            )
            for result in results
        ]
        return dict(zip(names, read, strict=True))

    return answer


OFFICIAL: Mapping[str, Callable[[bytes, ew.Model], Answer]] = {
    "litert": compiled_model,
    "litert-interpreter": partial(interpreter, "ai_edge_litert"),
    "onnx": onnx_session,
    "tflite": partial(interpreter, "tflite_runtime"),
}


# --- Comparison -----------------------------------------------------------------------------------


@cache
def content_of(engine_name: str, name: str) -> bytes:
    return files(engine_name)[name]()


def bits(answer: Any, model: ew.Model) -> Arrays:
    """What predict returned, as bytes by name."""
    by_name = answer if isinstance(answer, dict) else {model.outputs[0].name: answer}
    return {name: raw(array) for name, array in by_name.items()}


def assert_same_bits(got: Arrays, expected: Arrays, about: str) -> None:
    assert got.keys() == expected.keys()
    for name, wanted in expected.items():
        different = int((got[name] != wanted).sum()) if got[name].size == wanted.size else -1
        assert different == 0, f"{about}: output {name}: {different} of {wanted.size} bytes differ"


def row_counts(model: ew.Model) -> tuple[int, ...]:
    return (1, 3, 17) if any(-1 in spec.shape for spec in model.inputs) else (1,)


@pytest.mark.parametrize(("engine_name", "name"), CASES)
def test_outputs_are_those_of_the_engines_own_api(engine_name: str, name: str) -> None:
    content = content_of(engine_name, name)
    with ew.load_unsigned(content, engine=engine_name, threads=1) as model:
        official = OFFICIAL[engine_name](content, model)
        session = model.session()
        for rows in row_counts(model):
            for kind in KINDS:
                inputs = {spec.name: values(spec, kind, rows) for spec in model.inputs}
                expected = official(inputs)
                about = f"{kind}, {rows} rows"
                assert_same_bits(bits(model.predict(inputs), model), expected, about)

                if rows > 1:
                    session.resize({spec.name: inputs[spec.name].shape for spec in model.inputs})
                for input_name, array in inputs.items():
                    session.inputs[input_name][...] = array
                session.reset()
                session.run()
                assert_same_bits(bits(dict(session.outputs), model), expected, f"session, {about}")


NUMPY_HAS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
             "float16", "float32", "float64", "complex64")  # fmt: skip


@pytest.mark.parametrize("name", [name for engine, name in CASES if engine == "litert"])
def test_outputs_are_those_of_the_litert_interpreter(name: str) -> None:
    content = content_of("litert", name)
    with ew.load_unsigned(content, engine="litert", threads=1) as model:
        if not all(spec.dtype in NUMPY_HAS for spec in model.inputs):
            return  # set_tensor takes no such array; CompiledModel was compared
        official = interpreter("ai_edge_litert", content, model)
        for rows in row_counts(model):
            for kind in KINDS:
                inputs = {spec.name: values(spec, kind, rows) for spec in model.inputs}
                got, expected = bits(model.predict(inputs), model), official(inputs)
                if name not in INTERPRETER_DIFFERS:
                    assert_same_bits(got, expected, f"{kind}, {rows} rows")


@pytest.mark.parametrize(
    ("engine_name", "name"),
    [(engine, name) for engine in ENGINES for name in sorted(REFUSED[engine])],
)
def test_what_is_not_run_is_refused_with_a_reason(engine_name: str, name: str) -> None:
    content = models_of(engine_name).ALL[name]()
    with (
        pytest.raises(ew.UnsupportedModel, match=r"\A[^\n]*expected [^\n]+\Z"),
        ew.load_unsigned(content, engine=engine_name) as model,
    ):
        model.predict({spec.name: values(spec, "ordinary", 1) for spec in model.inputs})


def test_there_is_something_to_compare() -> None:
    assert {engine_name for engine_name, _ in CASES} == set(ENGINES)
    assert len(CASES) >= 20 * len(ENGINES)
    if SHARED.is_dir():
        assert any(SHARED.glob("*.tflite"))
