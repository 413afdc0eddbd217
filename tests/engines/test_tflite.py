"""tflite-runtime 2.14: the answers of its own Python API, bit for bit, state, shapes and threads.

What needs its wheel is skipped where that is not installed; what is refused before the library
runs anything is tested everywhere.
"""

import functools
import gc
import os
import re
import threading
from importlib import metadata
from pathlib import Path

import fakes
import numpy as np
import pytest
from models import tflite_models, tflite_writer
from models.tflite_writer import (
    NONE,
    Blockwise,
    Builtin,
    Op,
    Signature,
    Subgraph,
    Tensor,
    constant,
    model,
)

import edgeward as ew
from edgeward.engines import choice, installed
from edgeward.errors import BadInput, EngineMismatch, MalformedModel, UnsupportedModel

try:
    metadata.version("tflite-runtime")
    IS_INSTALLED = True
except metadata.PackageNotFoundError:
    IS_INSTALLED = False
needs_wheel = pytest.mark.skipif(not IS_INSTALLED, reason="tflite-runtime is not installed")

# Element types that came after 2.14, and int4, which it keeps a byte each where we pack two.
REFUSED_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int2", "int4", "uint4")
REFUSED = {"strings"} | {f"identity_{dtype}" for dtype in REFUSED_DTYPES}
# The official Python API has no such numpy type; an identity is its own answer.
UNKNOWN_TO_OFFICIAL = "identity_uint16"

SHARED = Path(__file__).parents[3] / "shared" / "models"
MODELS = {
    **{name: make for name, make in tflite_models.ALL.items() if name not in REFUSED},
    **{path.name: path.read_bytes for path in sorted(SHARED.glob("*.tflite"))},
}
FLOAT_MODEL, INT8_MODEL = tflite_models.conv, tflite_models.conv_int8


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The cache file of a user who has none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def load(content, **options):
    return ew.load_unsigned(content, engine="tflite", **options)


def feeds_of(model, seed):
    """Random arrays for the model's inputs, with 2 for a dimension that is not known."""
    random = np.random.default_rng(seed)
    feeds = {}
    for spec in model.inputs:
        shape = [2 if dim < 0 else dim for dim in spec.shape]
        dtype = np.dtype(spec.dtype)
        if dtype.kind in "fc":
            feeds[spec.name] = np.asarray(random.standard_normal(shape)).astype(dtype)
        elif dtype.kind == "b":
            feeds[spec.name] = np.asarray(random.integers(0, 2, shape)).astype(dtype)
        else:
            stored = random.integers(0, 256, [*shape, dtype.itemsize], np.uint8)
            feeds[spec.name] = stored.view(dtype)[..., 0]
    return feeds


@functools.cache
def official_interpreter():
    from tflite_runtime.interpreter import Interpreter

    return Interpreter


def official_outputs(content, feeds):
    """What the official Interpreter with default options answers."""
    interpreter = official_interpreter()(model_content=content)
    signatures = interpreter.get_signature_list()
    if signatures:
        interpreter.allocate_tensors()
        return interpreter.get_signature_runner(next(iter(signatures)))(**feeds)
    for details in interpreter.get_input_details():
        interpreter.resize_tensor_input(details["index"], feeds[details["name"]].shape)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], feeds[details["name"]])
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return {details["name"]: interpreter.get_tensor(details["index"]) for details in outputs}


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
        assert actual[name].tobytes() == array.tobytes(), name


def predicted(model, feeds):
    """Every output by name."""
    result = model.predict(feeds)
    return result if isinstance(result, dict) else {model.outputs[0].name: result}


# --- Refused --------------------------------------------------------------------------------------


@pytest.fixture
def use_library(monkeypatch):
    """Makes a library of ours the installed tflite-runtime."""

    def use(library, version):
        fake = installed.Installed("tflite", "tflite-runtime", version, library)
        monkeypatch.setattr(choice, "installed", lambda name: fake)
        monkeypatch.setattr(choice, "ensure_usable", lambda candidate: None)

    return use


@pytest.mark.parametrize("version", ["2.5.0", "2.13.0", "2.15.0", "3.14.0", "", "two"])
def test_another_version_is_refused_before_its_library_is_opened(use_library, tmp_path, version):
    use_library(tmp_path / "absent.so", version)
    with pytest.raises(EngineMismatch, match=rf"tflite-runtime: expected .*2\.14.*got {version}$"):
        load(tflite_models.add())


def test_a_library_that_lacks_a_symbol_is_refused_by_both_names(use_library):
    library = fakes.libraries()["litert_address"]
    use_library(library, "2.14.0")
    with pytest.raises(EngineMismatch, match=rf"{re.escape(str(library))}.*_ZN6tflite\w+"):
        load(tflite_models.add())


@needs_wheel
@pytest.mark.parametrize("dtype", REFUSED_DTYPES)
def test_a_dtype_the_engine_lacks_is_refused_by_name(dtype):
    with pytest.raises(UnsupportedModel, match=rf'"x".*{dtype}'):
        load(tflite_models.identity(dtype))


@needs_wheel
def test_an_operator_the_engine_lacks_is_refused_in_its_own_words(monkeypatch):
    monkeypatch.setitem(tflite_writer.BUILTINS, "DELEGATE", Builtin(51))
    tensors = [Tensor("x", "float32", (4,)), Tensor("y", "float32", (4,))]
    content = model([Subgraph(tensors, [Op("DELEGATE", ["x"], ["y"])], ["x"], ["y"])])
    with pytest.raises(UnsupportedModel, match="DELEGATE"):
        load(content)


@needs_wheel
def test_blockwise_quantization_is_refused():
    """The engine's schema lacks it: it computes with scales that are not there, or ends."""
    weights = Tensor("w", "int8", (2, 4), np.ones((2, 4), np.int8), quantization=Blockwise(2, 2))
    scales = constant("s", np.ones((2, 2), np.float16))
    tensors = [Tensor("x", "float32", (1, 4)), weights, scales, Tensor("y", "float32", (1, 2))]
    layer = Op("FULLY_CONNECTED", ["x", "w", NONE], ["y"])
    content = model([Subgraph(tensors, [layer], ["x"], ["y"])])
    with pytest.raises(UnsupportedModel, match=r"tensor 1: .* got blockwise quantization"):
        load(content)


@needs_wheel
def test_two_names_for_one_input_are_refused():
    tensors = [Tensor(name, "float32", (4,)) for name in "xzy"]
    graph = Subgraph(tensors, [Op("NEG", ["x"], ["y"])], ["x", "z"], ["y"])
    signature = Signature("serving_default", {"first": "x", "second": "x"}, {"y": "y"})
    with pytest.raises(MalformedModel, match=r"input 1, tensor 1, has no name"):
        load(model([graph], [signature]))


# --- Answers --------------------------------------------------------------------------------------


@needs_wheel
@pytest.mark.parametrize("name", [name for name in MODELS if name != UNKNOWN_TO_OFFICIAL])
def test_outputs_are_those_of_the_official_api(name):
    content = MODELS[name]()
    with load(content) as model:
        for seed in range(3):
            feeds = feeds_of(model, seed)
            expected = official_outputs(content, feeds)
            assert_same_bits(predicted(model, feeds), expected)
            session = model.session()
            session.resize({key: array.shape for key, array in feeds.items()})
            for key, array in feeds.items():
                session.inputs[key][...] = array
            session.run()
            assert_same_bits(dict(session.outputs), expected)


@needs_wheel
def test_uint16_passes_through():
    with load(MODELS[UNKNOWN_TO_OFFICIAL]()) as model:
        feeds = feeds_of(model, 0)
        assert_same_bits(predicted(model, feeds), {"y": feeds["x"]})


@needs_wheel
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", [FLOAT_MODEL, INT8_MODEL], ids=["float32", "int8"])
def test_the_thread_count_changes_no_bit(make, threads):
    with load(make(), threads=threads) as model:
        assert model.threads == threads
        feeds = feeds_of(model, 5)
        assert_same_bits(predicted(model, feeds), official_outputs(make(), feeds))


@needs_wheel
@pytest.mark.parametrize("make", [FLOAT_MODEL, INT8_MODEL], ids=["float32", "int8"])
def test_the_report_says_what_the_official_default_delegate_took(make):
    interpreter = official_interpreter()(model_content=make())
    interpreter.allocate_tensors()
    names = [details["op_name"] for details in interpreter._get_ops_details()]
    node_count = sum(name != "DELEGATE" for name in names)
    with load(make()) as model:
        report = model.engine
        assert (report.name, report.version) == ("tflite", metadata.version("tflite-runtime"))
        assert report.node_count == node_count
        if "DELEGATE" in names:
            assert report.delegate == "XNNPACK"
            assert 0 <= report.fallback_count < node_count
        else:
            assert (report.delegate, report.fallback_count) == ("none", node_count)


@needs_wheel
@pytest.mark.parametrize(("key", "factor"), [("double", 2), ("negate", -1)])
def test_each_signature_runs_its_own_subgraph(key, factor):
    x = np.arange(4, dtype=np.float32)
    with load(tflite_models.two_signatures()) as model:
        session = model.session(signature=key)
        session.inputs["x"][...] = x
        session.run()
        assert_same_bits(dict(session.outputs), {"y": x * factor})


# --- Memory ---------------------------------------------------------------------------------------


@needs_wheel
@pytest.mark.parametrize("make", [FLOAT_MODEL, INT8_MODEL], ids=["float32", "int8"])
def test_nothing_is_copied_from_aligned_inputs_or_to_outputs(make):
    with load(make()) as model:
        feeds = feeds_of(model, 1)
        for name, array in feeds.items():
            feeds[name] = ew.empty(array.shape, array.dtype)
            feeds[name][...] = array
        kept = [predicted(model, feeds) for _ in range(10)]
        assert model.copies == 0
        for outputs in kept:
            assert_same_bits(outputs, kept[0])


@needs_wheel
def test_memory_that_moves_at_every_call_is_followed():
    with load(tflite_models.add()) as model:
        addend = np.arange(16, dtype=np.float32)
        arrays = [ew.empty((16,), "float32") for _ in range(5)]
        results = []
        for number in range(20):
            x = arrays[number % 5]
            x[...] = number
            results.append(model.predict(x))
        for number, result in enumerate(results):
            assert_same_bits({"y": result}, {"y": addend + np.float32(number)})


def aliases():
    """y = x + [0, 1, 2, 3]; "again" is y, "echo" is x, "constant" is [0, 1, 2, 3]."""
    tensors = [
        Tensor("x", "float32", (4,)),
        constant("addend", np.arange(4, dtype=np.float32)),
        Tensor("y", "float32", (4,)),
    ]
    op = Op("ADD", ["x", "addend"], ["y"], {"activation": NONE})
    graph = Subgraph(tensors, [op], ["x"], ["y", "x", "addend", "y"])
    outputs = {"y": "y", "again": "y", "echo": "x", "constant": "addend"}
    return model([graph], [Signature("serving_default", {"x": "x"}, outputs)])


@needs_wheel
def test_outputs_that_are_no_tensors_of_their_own_are_right():
    addend = np.arange(4, dtype=np.float32)
    with load(aliases()) as model:
        for start in range(3):
            x = addend * 2 + start
            expected = {"y": x + addend, "again": x + addend, "echo": x, "constant": addend}
            assert_same_bits(model.predict(x), expected)


# --- Shapes ---------------------------------------------------------------------------------------


@needs_wheel
def test_a_session_takes_any_row_count_in_any_order():
    addend = np.arange(4, dtype=np.float32)
    with load(tflite_models.dynamic_batch()) as model:
        session = model.session()
        for row_count in (1, 3, 2, 700, 1):
            x = np.full((row_count, 4), row_count, np.float32)
            session.resize({"x": x.shape})
            session.inputs["x"][...] = x
            session.run()
            assert_same_bits(dict(session.outputs), {"y": x + addend})
            assert_same_bits({"y": model.predict(x)}, {"y": x + addend})


@needs_wheel
def test_a_shape_too_large_is_refused_and_the_session_still_runs():
    with load(tflite_models.dynamic_batch()) as model:
        session = model.session()
        with pytest.raises(BadInput, match='input "x"'):
            session.resize({"x": (1 << 31, 4)})
        session.inputs["x"][...] = 1
        session.run()
        assert session.outputs["y"].tolist() == [[1, 2, 3, 4]]


@pytest.fixture
def more_operators(monkeypatch):
    """Lets the writer write operators that only these tests need, and handles of variables."""
    operators = {
        "SUM": Builtin(74, 27, (("keep_dims", tflite_writer.BoolFlags),)),
        "SHAPE": Builtin(77, 55, (("dtype", tflite_writer.Int8Flags),)),
        "CALL_ONCE": Builtin(129, 103, (("subgraph", tflite_writer.Int32Flags),)),
        "VAR_HANDLE": Builtin(142, 111),
        "READ_VARIABLE": Builtin(143, 112),
        "ASSIGN_VARIABLE": Builtin(144, 113),
    }
    for name, operator in operators.items():
        monkeypatch.setitem(tflite_writer.BUILTINS, name, operator)
    monkeypatch.setitem(tflite_writer.TENSOR_TYPES, "resource", 13)


@needs_wheel
def test_an_output_that_is_known_before_the_run_follows_the_shape(more_operators):
    tensors = [
        Tensor("x", "float32", (1, 4), shape_signature=(-1, 4)),
        Tensor("y", "int32", (2,)),
    ]
    content = model([Subgraph(tensors, [Op("SHAPE", ["x"], ["y"], {"dtype": 2})], ["x"], ["y"])])
    with load(content) as loaded:
        for row_count in (1, 5, 2):
            y = loaded.predict(np.zeros((row_count, 4), np.float32))
            assert y.tolist() == [row_count, 4]


@needs_wheel
def test_outputs_after_one_whose_shape_depends_on_values_are_right(more_operators):
    tensors = [
        Tensor("x", "bool", (8,)),
        Tensor("a", "float32", (4,)),
        Tensor("b", "float32", (4,)),
        Tensor("places", "int64", (1, 1), shape_signature=(-1, 1)),
        Tensor("negative", "int64", (1, 1)),
        constant("axis", np.array([0], np.int32)),
        Tensor("sum", "int64", (1,)),
    ]
    ops = [
        Op("NEG", ["a"], ["b"]),
        Op("WHERE", ["x"], ["places"]),
        Op("NEG", ["places"], ["negative"]),
        Op("SUM", ["negative", "axis"], ["sum"], {"keep_dims": False}),
    ]
    graph = Subgraph(tensors, ops, ["x", "a"], ["places", "negative", "sum", "b"])
    a = np.arange(4, dtype=np.float32)
    kept = []
    with load(model([graph])) as loaded:
        for places in ([0, 2, 6, 7], [], [5], list(range(8))):
            x = np.isin(np.arange(8), places)
            kept.append((places, loaded.predict({"x": x, "a": a})))
    for places, outputs in kept:
        column = np.array(places, np.int64).reshape(-1, 1)
        expected = {"places": column, "negative": -column, "sum": -column.sum(axis=0), "b": -a}
        assert_same_bits(outputs, expected)


# --- State ----------------------------------------------------------------------------------------


@needs_wheel
def test_predict_starts_from_the_initial_state_and_a_session_keeps_its_own():
    ones = np.ones((1, 1, 1), np.float32)
    with load(tflite_models.counter()) as model:
        sessions = [model.session(), model.session()]
        for total in (1, 2, 3):
            assert model.predict(ones).item() == 1
            for session in sessions:
                session.inputs["x"][...] = ones
                session.run()
                assert session.outputs["y"].item() == total
        sessions[0].reset()
        for session in sessions:
            session.run()
        assert [session.outputs["y"].item() for session in sessions] == [1, 4]


def running_total():
    """y = the sum of every x since the start, from [10, 10], in a variable that is no tensor."""
    handle, shape = Tensor("handle", "resource", ()), (2,)
    ops = [
        Op("CALL_ONCE", [], [], {"subgraph": 1}),
        Op("VAR_HANDLE", [], ["handle"]),
        Op("READ_VARIABLE", ["handle"], ["before"]),
        Op("ADD", ["before", "x"], ["y"], {"activation": NONE}),
        Op("ASSIGN_VARIABLE", ["handle", "y"], []),
    ]
    tensors = [handle, *(Tensor(name, "float32", shape) for name in ("x", "before", "y"))]
    start = constant("start", np.full(shape, 10, np.float32))
    first_ops = [Op("VAR_HANDLE", [], ["handle"]), Op("ASSIGN_VARIABLE", ["handle", "start"], [])]
    first = Subgraph([handle, start], first_ops, [], [], name="first")
    return model([Subgraph(tensors, ops, ["x"], ["y"]), first])


@needs_wheel
def test_a_variable_that_is_no_tensor_is_state_too(more_operators):
    ones = np.ones(2, np.float32)
    with load(running_total()) as loaded:
        session = loaded.session()
        session.inputs["x"][...] = ones
        for total in (11, 12, 13):
            assert loaded.predict(ones).tolist() == [11, 11]
            session.run()
            assert session.outputs["y"].tolist() == [total, total]
        session.reset()
        session.run()
        assert session.outputs["y"].tolist() == [11, 11]


# --- Life -----------------------------------------------------------------------------------------


@needs_wheel
@pytest.mark.parametrize("make", [FLOAT_MODEL, INT8_MODEL], ids=["float32", "int8"])
def test_eight_threads_share_a_model(make):
    with load(make()) as model:
        work = [feeds_of(model, seed) for seed in range(8)]
        expected = [official_outputs(make(), feeds) for feeds in work]
        wrong = []

        def predict_many(feeds, answer):
            for _ in range(200):
                outputs = predicted(model, feeds)
                wrong.extend(
                    name for name in answer if outputs[name].tobytes() != answer[name].tobytes()
                )

        threads = [
            threading.Thread(target=predict_many, args=pair)
            for pair in zip(work, expected, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


@needs_wheel
def test_loading_and_closing_leaks_nothing():
    content = FLOAT_MODEL()
    x = np.zeros((1, 8, 8, 2), np.float32)

    def cycle(count):
        for _ in range(count):
            with load(content) as model:
                model.predict(x)
        gc.collect()

    cycle(300)
    before_bytes = resident_bytes()
    before_files = len(os.listdir("/proc/self/fd"))
    cycle(2000)
    assert resident_bytes() - before_bytes < 2000 * 1024
    assert len(os.listdir("/proc/self/fd")) == before_files
