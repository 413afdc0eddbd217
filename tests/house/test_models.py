"""The models that the tests make: each loads, and answers right, in its engine's own Python API."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import Model
from models import network as nets
from models import onnx_models, tflite_models, train_digits

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

DIGITS = Path(__file__).parents[2] / "src" / "edgeward" / "digits"
IMAGE = np.random.default_rng(8).uniform(-1, 1, (1, 8, 8, 2)).astype(np.float32)
STORED_IMAGE = np.clip(np.round(IMAGE * 128), -128, 127).astype(np.int8)
ONES_AND_ZEROS = np.array([0, 1, 1, 0, 0, 0, 1, 0], bool)
STRINGS = np.array(["one", "", "naïve", "four"], object)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def addition(dtype: str) -> tuple[Arrays, Arrays]:
    x = np.arange(16).astype(dtype)
    return {"x": x}, {"y": x + x}


def quantized_addition() -> tuple[Arrays, Arrays]:
    x = np.linspace(-128, 127, 16).astype(np.int8)
    real = (x - 3.0) * 0.5 + 1
    return {"x": x}, {"y": np.clip(real / 0.25 - 7, -128, 127).astype(np.int8)}


def picture_addition() -> tuple[Arrays, Arrays]:
    x = np.arange(160 * 240, dtype=np.float32).reshape(1, 160, 240)
    return {"x": x}, {"y": x + np.float32(0.5)}


# Model name: inputs, and the outputs they must give. Identities have a test of their own.
ANSWERS: dict[str, tuple[Arrays, Arrays]] = {
    **{f"add_{dtype}": addition(dtype) for dtype in tflite_models.ADD_DTYPES},
    "add_scalar": ({"x": np.array(2.5, np.float32)}, {"y": np.array(2.5, np.float32)}),
    "add_150k": picture_addition(),
    "sum_product": (
        {"a": floats(1, 2, 3, 4), "b": floats(5, 6, 7, 8)},
        {"s": floats(6, 8, 10, 12), "p": floats(5, 12, 21, 32)},
    ),
    "two_signatures": ({"x": floats(1, -2, 3, 4)}, {"y": floats(2, -4, 6, 8)}),
    "sparse_weights": ({"x": floats(1, 2, 3, 4)[None]}, {"y": floats(11, 25, 17, 23)[None]}),
    "outer_buffers": ({"x": floats(1, 2, 3, 4)}, {"y": floats(1, 3, 5, 7)}),
    "renamed": (
        {"serving_default_x:0": floats(1, -2, 3, 4)},
        {"StatefulPartitionedCall:0": floats(-1, 2, -3, -4)},
    ),
    "dynamic_batch": (
        {"x": np.ones((3, 4), np.float32)},
        {"y": np.tile(floats(1, 2, 3, 4), (3, 1))},
    ),
    "quantized_add": quantized_addition(),
    "per_channel": (
        {"x": np.arange(6, dtype=np.int8).reshape(2, 3)},
        {"y": np.arange(6, dtype=np.int8).reshape(2, 3)},
    ),
    "conv": ({"image": IMAGE}, {"scores": nets.answer(nets.small_conv(), IMAGE)}),
    "conv_int8": (
        {"image": STORED_IMAGE},
        {"scores": np.round(nets.answer(nets.small_conv(), IMAGE) * 256 - 128).astype(np.int8)},
    ),
    "counter": ({"x": np.full((1, 1, 1), 3, np.float32)}, {"y": np.full((1, 1, 1), 3, np.float32)}),
    "strings": ({"x": STRINGS}, {"y": STRINGS.reshape(2, 2)}),
    "data_dependent": ({"x": ONES_AND_ZEROS}, {"y": np.array([[1], [2], [6]])}),
    "broadcast_chain": ({"x": floats(0, 1, 2, 3)}, {"y": floats(4, 5, 6, 7)}),
}


def litert_interpreter(model: bytes) -> Interpreter:
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def litert_answer(model: bytes, inputs: Arrays) -> Arrays:
    interpreter = litert_interpreter(model)
    details = interpreter.get_input_details()
    for detail in details:
        if -1 in detail["shape_signature"]:
            shape = inputs[detail["name"]].shape
            interpreter.resize_tensor_input(detail["index"], shape, strict=True)
    interpreter.allocate_tensors()
    for detail in details:
        interpreter.set_tensor(detail["index"], inputs[detail["name"]])
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in outputs}


def onnx_answer(model: bytes, inputs: Arrays) -> Arrays:
    session = onnx_session(model)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def onnx_session(model: bytes) -> Any:
    cpu = ["CPUExecutionProvider"]
    return onnx_models.onnxruntime.InferenceSession(model, providers=cpu)


def assert_answers(got: Arrays, expected: Arrays, int8_steps: int = 0) -> None:
    assert got.keys() == expected.keys()
    for name, wanted in expected.items():
        if wanted.dtype == object:
            texts = [text.decode() if isinstance(text, bytes) else text for text in got[name].flat]
            assert (got[name].shape, texts) == (wanted.shape, list(wanted.flat))
        elif wanted.dtype == np.int8:
            assert (got[name].dtype, got[name].shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_allclose(got[name].astype(int), wanted.astype(int), 0, int8_steps)
        else:
            assert (got[name].dtype, got[name].shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_allclose(got[name], wanted, rtol=1e-5, atol=1e-6)


def identity_bytes(dtype: str) -> Array:
    """Six elements of any bit pattern, as they lie in memory; the half byte left over is zero."""
    bits = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4}.get(dtype)
    if bits is None:
        named = getattr(ml_dtypes, dtype) if hasattr(ml_dtypes, dtype) else dtype
        bits = np.dtype(named).itemsize * 8
    highest = 2 if dtype == "bool" else 256
    content = np.random.default_rng(6).integers(0, highest, -(-6 * bits // 8)).astype(np.uint8)
    if bits * 6 % 8:
        content[-1] &= 0x0F
    return content


def without_identities(models: Mapping[str, Callable[[], bytes]]) -> list[str]:
    return [name for name in models if not name.startswith("identity_")]


def test_there_is_an_answer_for_every_model_and_a_model_for_every_answer() -> None:
    assert set(without_identities(tflite_models.ALL)) == set(ANSWERS)
    tflite_only = {
        "two_signatures",
        "outer_buffers",
        "sparse_weights",
        "renamed",
        "quantized_add",
        "per_channel",
        "conv_int8",
        "counter",
    }
    assert set(without_identities(onnx_models.ALL)) == set(ANSWERS) - tflite_only
    assert len(tflite_models.DTYPES) == 19
    assert len(onnx_models.DTYPES) == 22


@pytest.mark.parametrize("name", without_identities(tflite_models.ALL))
def test_a_tflite_model_answers_right(name: str) -> None:
    inputs, expected = ANSWERS[name]
    # The float network's scores, which a coarser one meets to within a few steps of 1/256.
    int8_steps = 4 if name == "conv_int8" else 0
    assert_answers(litert_answer(tflite_models.ALL[name](), inputs), expected, int8_steps)


@pytest.mark.parametrize("name", without_identities(onnx_models.ALL))
def test_an_onnx_model_answers_right(name: str) -> None:
    inputs, expected = ANSWERS[name]
    assert_answers(onnx_answer(onnx_models.ALL[name](), inputs), expected)


@pytest.mark.parametrize("name", without_identities(onnx_models.ALL))
def test_an_onnx_model_answers_right_as_ort(name: str) -> None:
    inputs, expected = ANSWERS[name]
    model = onnx_models.to_ort(onnx_models.ALL[name]())
    assert model[4:8] == b"ORTM"
    assert_answers(onnx_answer(model, inputs), expected)


@pytest.mark.parametrize("dtype", tflite_models.DTYPES + tflite_models.INTERPRETER_DTYPES)
def test_a_tflite_identity_returns_its_bytes(dtype: str) -> None:
    interpreter = litert_interpreter(tflite_models.identity(dtype))
    source = interpreter.tensor(interpreter.get_input_details()[0]["index"])
    target = interpreter.tensor(interpreter.get_output_details()[0]["index"])
    content = identity_bytes(dtype)
    # The view of a packed tensor claims a byte for each element: only the first ones are there.
    source().reshape(-1).view(np.uint8)[: len(content)] = content
    interpreter.invoke()
    assert target().reshape(-1).view(np.uint8)[: len(content)].tolist() == content.tolist()


@pytest.mark.parametrize("dtype", tflite_models.DTYPES)
def test_a_tflite_identity_runs_in_the_compiled_model(dtype: str) -> None:
    model = CompiledModel.from_buffer(tflite_models.identity(dtype))
    assert model.get_output_buffer_requirements(0, 0)["buffer_size"] == len(identity_bytes(dtype))
    model.run_by_index(0, model.create_input_buffers(0), model.create_output_buffers(0))


@pytest.mark.parametrize("name", ["counter", "identity_complex128"])
def test_the_compiled_model_refuses(name: str) -> None:
    with pytest.raises(RuntimeError):
        CompiledModel.from_buffer(tflite_models.ALL[name]())


@pytest.mark.parametrize("dtype", onnx_models.DTYPES)
def test_an_onnx_identity_returns_its_bytes(dtype: str) -> None:
    content = identity_bytes(dtype)
    x = onnx_models.onnxruntime.OrtValue.ortvalue_from_shape_and_type(
        [2, 3], int(onnx_models.ELEMENT_TYPES[dtype])
    )
    assert x.tensor_size_in_bytes() == len(content)
    ctypes.memmove(x.data_ptr(), content.tobytes(), len(content))
    (y,) = onnx_session(onnx_models.identity(dtype)).run_with_ort_values(None, {"x": x})
    assert ctypes.string_at(y.data_ptr(), y.tensor_size_in_bytes()) == content.tobytes()


@pytest.mark.parametrize("dtype", onnx_models.REFUSED_DTYPES)
def test_onnx_runtime_refuses_complex_numbers(dtype: str) -> None:
    with pytest.raises(Exception, match="not currently registered or supported"):
        onnx_session(onnx_models.identity(dtype))


def test_litert_lists_a_signature_in_its_graphs_order_not_the_files() -> None:
    model = tflite_models.sum_product()
    in_file = Model.GetRootAs(model).SignatureDefs(0)
    assert [in_file.Inputs(index).Name() for index in range(2)] == [b"b", b"a"]
    assert [in_file.Outputs(index).Name() for index in range(2)] == [b"p", b"s"]
    signatures = CompiledModel.from_buffer(model).get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["a", "b"], "outputs": ["s", "p"]}}


def test_a_signature_may_call_its_tensors_by_other_names() -> None:
    interpreter = litert_interpreter(tflite_models.renamed())
    assert interpreter.get_input_details()[0]["name"] == "serving_default_x:0"
    runner = interpreter.get_signature_runner("serving_default")
    assert runner(x=floats(1, -2, 0, 4))["y"].tolist() == [-1, 2, 0, -4]


@pytest.mark.parametrize(("key", "expected"), [("double", [2, -4]), ("negate", [-1, 2])])
def test_each_signature_runs_its_own_subgraph(key: str, expected: list[float]) -> None:
    runner = litert_interpreter(tflite_models.two_signatures()).get_signature_runner(key)
    assert runner(x=floats(1, -2, 0, 0))["y"].tolist() == [*expected, 0, 0]


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("add_float32", ([], [], 0), ([], [], 0)),
        ("quantized_add", ([0.5], [3], 0), ([0.25], [-7], 0)),
        ("conv_int8", ([1 / 128], [0], 0), ([1 / 256], [-128], 0)),
        ("per_channel", ([0.5, 0.25, 0.125], [0, 0, 0], 1), ([0.5, 0.25, 0.125], [0, 0, 0], 1)),
    ],
)
def test_quantization_is_reported(name: str, inputs: Any, outputs: Any) -> None:
    interpreter = litert_interpreter(tflite_models.ALL[name]())
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    for detail, expected in ((source, inputs), (target, outputs)):
        quantization = detail["quantization_parameters"]
        scales, zero_points = quantization["scales"].tolist(), quantization["zero_points"].tolist()
        assert (scales, zero_points, quantization["quantized_dimension"]) == expected


def test_the_counter_keeps_its_sum_from_run_to_run() -> None:
    interpreter = litert_interpreter(tflite_models.counter())
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    sums = []
    for step in (1, 2, 3):
        interpreter.set_tensor(source, np.full((1, 1, 1), step, np.float32))
        interpreter.invoke()
        sums.append(interpreter.get_tensor(target).item())
    assert sums == [1, 3, 6]


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_the_batch_is_free(rows: int) -> None:
    x = np.zeros((rows, 4), np.float32)
    expected = {"y": np.tile(floats(0, 1, 2, 3), (rows, 1))}
    assert_answers(litert_answer(tflite_models.dynamic_batch(), {"x": x}), expected)
    assert_answers(onnx_answer(onnx_models.dynamic_batch(), {"x": x}), expected)


def test_a_narrow_mobilenet_answers_as_numpy_does() -> None:
    net = nets.mobilenet(width=0.25)
    image = np.random.default_rng(224).uniform(-1, 1, net.input_shape).astype(np.float32)
    expected = {"scores": nets.answer(net, image)}
    assert_answers(litert_answer(tflite_models.mobilenet(0.25), {"image": image}), expected)
    assert_answers(onnx_answer(onnx_models.mobilenet(0.25), {"image": image}), expected)

    stored_image = np.clip(np.round(image * 128), -128, 127).astype(np.int8)
    scores = litert_answer(tflite_models.mobilenet_int8(0.25), {"image": stored_image})["scores"]
    assert scores.argmax() == expected["scores"].argmax()
    np.testing.assert_allclose((scores + 128.0) / 256, expected["scores"], atol=0.1)


def test_a_full_mobilenet_has_the_size_of_one() -> None:
    for model in (tflite_models.mobilenet(), onnx_models.mobilenet()):
        assert 16_000_000 < len(model) < 18_000_000
    assert 4_000_000 < len(tflite_models.mobilenet_int8()) < 5_000_000


def test_the_bytes_are_the_same_on_every_run() -> None:
    program = (
        "import hashlib\n"
        "from models import onnx_models, tflite_models\n"
        "for models in (onnx_models, tflite_models):\n"
        "    for name, make in (*models.ALL.items(), ('mobilenet', models.mobilenet)):\n"
        "        print(name, hashlib.sha256(make()).hexdigest())\n"
    )
    listings = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert len(listings[0]) == len(tflite_models.ALL) + len(onnx_models.ALL) + 2
    assert listings[0] == listings[1]


def digits_scores(answer: Callable[[bytes, Arrays], Arrays], file_name: str) -> Array:
    pictures = np.load(DIGITS / "digits.npz")["pictures"] / np.float32(16)
    model = (DIGITS / file_name).read_bytes()
    assert len(model) < 150_000
    images = pictures.reshape(-1, 1, 8, 8, 1)
    return np.concatenate([answer(model, {"image": image})["scores"] for image in images])


def test_the_shipped_digits_are_the_last_third_of_the_pictures() -> None:
    training, _, pictures, labels = train_digits.split()
    with np.load(DIGITS / "digits.npz") as shipped:
        assert shipped["pictures"].dtype == shipped["labels"].dtype == np.uint8
        np.testing.assert_array_equal(shipped["pictures"], pictures)
        np.testing.assert_array_equal(shipped["labels"], labels)
    assert (len(training), len(pictures)) == (1198, 599)
    seen = {picture.tobytes() for picture in (training * 16).astype(np.uint8)}
    assert not any(picture.tobytes() in seen for picture in pictures)


def test_both_digit_models_read_handwriting_as_well_as_their_readme_says() -> None:
    labels = np.load(DIGITS / "digits.npz")["labels"]
    scores = digits_scores(litert_answer, "digits.tflite")
    np.testing.assert_allclose(digits_scores(onnx_answer, "digits.onnx"), scores, atol=1e-5)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    right_count = int((scores.argmax(axis=1) == labels).sum())
    assert right_count >= 0.98 * len(labels)
    sentence = f"{right_count} of the {len(labels)} test pictures"
    assert sentence in (DIGITS / "README.md").read_text()
