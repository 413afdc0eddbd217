"""load_unsigned and Model: where a model may come from, what it says of itself, and how it ends."""

import array
import copy
import importlib.metadata
import mmap
import os
import pickle
import random
import re
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import sealed
from engines_here import ENGINES, models_of
from models import onnx_models, tflite_models
from models.tflite_writer import NONE, Op, Quantization, Subgraph, Tensor, constant
from models.tflite_writer import model as tflite_file
from onnx import helper, numpy_helper

import edgeward as ew
from edgeward.engines.installed import KINDS

X = np.linspace(-8, 7, 16, dtype=np.float32)
Y = X + np.arange(16, dtype=np.float32)


@pytest.fixture
def content(engine_name):
    """y = x + [0, 1, 2, ...], float32 [16], as a file's bytes."""
    return models_of(engine_name).add()


class PathObject:
    """What os.fspath takes, and no more."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


def mapped(content):
    memory = mmap.mmap(-1, len(content))
    memory[:] = content
    return memory


# --- Sources --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        mapped,
        lambda content: memoryview(bytearray(content)),
        lambda content: memoryview(b"x" + content)[1:],
        lambda content: array.array("B", content),
        lambda content: np.frombuffer(content, np.uint8),
        lambda content: np.frombuffer(content, np.uint8).reshape(1, -1),
        lambda content: np.frombuffer(content, np.int8),
    ],
    ids=["bytes", "bytearray", "memoryview", "mmap", "of bytearray", "slice", "array", "numpy",
         "two dimensions", "signed"],
)  # fmt: skip
def test_a_model_is_read_from_whatever_holds_its_bytes(content, engine_name, wrap):
    with ew.load_unsigned(wrap(content), engine=engine_name) as model:
        np.testing.assert_array_equal(model.predict(X), Y)


def test_the_bytes_are_not_needed_after_the_load(content, engine_name):
    source = bytearray(content)
    with ew.load_unsigned(source, engine=engine_name) as model:
        source[:] = bytes(len(source))
        del source[:]  # raises if it were still borrowed
        np.testing.assert_array_equal(model.predict(X), Y)
        session = model.session()
        session.inputs["x"][:] = X
        session.run()
        np.testing.assert_array_equal(session.outputs["y"], Y)


@pytest.mark.parametrize(
    "name", [b"model", b"with space.onnx", "naïve.tflite".encode(), b"\xff\xfe", b"a\nb"]
)
@pytest.mark.parametrize(
    "path_of",
    [
        os.fsdecode,
        lambda raw: Path(os.fsdecode(raw)),
        PathObject,
        lambda raw: PathObject(os.fsdecode(raw)),
    ],
    ids=["str", "Path", "bytes path object", "path object"],
)
def test_a_model_is_read_from_any_path_whatever_it_is_called(
    content, engine_name, tmp_path, name, path_of
):
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(content)
    with ew.load_unsigned(path_of(path), engine=engine_name) as model:
        os.remove(path)
        np.testing.assert_array_equal(model.predict(X), Y)


def test_a_relative_path_and_a_link_are_paths(content, engine_name, tmp_path, monkeypatch):
    (tmp_path / "model").write_bytes(content)
    (tmp_path / "link").symlink_to("model")
    monkeypatch.chdir(tmp_path)
    with ew.load_unsigned("link", engine=engine_name) as model:
        np.testing.assert_array_equal(model.predict(X), Y)


def test_a_file_is_open_no_longer_than_the_load(content, engine_name, tmp_path):
    (tmp_path / "model").write_bytes(content)
    ew.load_unsigned(content, engine=engine_name).close()  # the engine itself may keep files open
    before = sorted(os.listdir("/proc/self/fd"))
    model = ew.load_unsigned(tmp_path / "model", engine=engine_name)
    assert sorted(os.listdir("/proc/self/fd")) == before
    model.close()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("nowhere", FileNotFoundError),
        ("", FileNotFoundError),
        ("nowhere/model", FileNotFoundError),
        ("file/model", NotADirectoryError),
        ("directory", IsADirectoryError),
        ("loop", OSError),
        ("n" * 300, OSError),
    ],
)
def test_what_the_system_cannot_open_is_an_os_error_with_its_path(
    tmp_path, monkeypatch, source, error
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for path in (source, PathObject(source)):
        with pytest.raises(error) as caught:
            ew.load_unsigned(path)
        assert caught.value.filename == source


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = {
        "fifo": str(tmp_path / "fifo"),
        "device": "/dev/zero",
        "socket": str(tmp_path / "socket"),
    }[kind]
    if kind == "fifo":
        os.mkfifo(path)
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
    with pytest.raises(
        ew.BadInput, match=rf'\Amodel file "{path}": expected a regular file, got .+\Z'
    ):
        ew.load_unsigned(path)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (None, "NoneType"),
        (5, "int"),
        (5.0, "float"),
        ([1, 2], "list"),
        (object(), "object"),
        (memoryview(b"abcdef")[::2], "memoryview"),
        (np.zeros((4, 4), np.uint8).T[1:], "ndarray"),
    ],
    ids=["None", "int", "float", "list", "object", "memoryview", "ndarray"],
)
def test_what_holds_no_bytes_is_refused_by_its_type(source, kind):
    message = rf"\Amodel: expected a path or contiguous bytes, got {kind}\Z"
    with pytest.raises(ew.BadInput, match=message):
        ew.load_unsigned(source)


def test_a_nul_in_a_path_is_a_value_error():
    with pytest.raises(ValueError, match="null byte"):
        ew.load_unsigned("a\0b")


# --- Wrong content --------------------------------------------------------------------------------

WRONG = {
    "nothing": b"",
    "one byte": b"\x08",
    "text": b"This is no model, but it is a sentence.\n",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(100),
    "elf": b"\x7fELF" + bytes(100),
    "only an identifier": struct.pack("<I4s", 8, b"TFL3"),
    "only the other identifier": struct.pack("<I4s", 8, b"ORTM"),
    "root outside": struct.pack("<I4s", 0xFFFFFFF0, b"TFL3") + bytes(64),
    "root outside, ort": struct.pack("<I4s", 0xFFFFFFF0, b"ORTM") + bytes(64),
    "root on itself": struct.pack("<I4si", 0, b"TFL3", 0) + bytes(64),
    "old version": b"\x18\x00\x00\x00TFL2" + tflite_models.add()[8:],
    "cut tflite": tflite_models.add()[:-100],
    "cut onnx": onnx_models.add()[:-10],
    "cut ort": onnx_models.to_ort(onnx_models.add())[:-10],
    "tflite twice over": tflite_models.add()[:8] * 100,
    "onnx and more": onnx_models.add() + b"\xff" * 20,
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_malformed_and_says_where(tmp_path, case):
    path = tmp_path / "model"
    path.write_bytes(WRONG[case])
    for source in (WRONG[case], path):
        with pytest.raises(ew.MalformedModel, match=r"\A[^\n]{10,}\Z"):
            ew.load_unsigned(source)


def test_a_huge_file_of_nothing_is_refused_without_reading_it(run_child, tmp_path):
    program = """
import resource, sys
import edgeward as ew
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for size in (1 << 32, 1 << 40):
    for head in (b"", bytes.fromhex("1c000000") + b"TFL3", bytes.fromhex("1c000000") + b"ORTM"):
        with open(sys.argv[1], "wb") as file:
            file.write(head)
            file.truncate(size)
        try:
            ew.load_unsigned(sys.argv[1])
        except (ew.MalformedModel, ew.UnsupportedModel, ew.OutOfMemory) as error:
            print(type(error).__name__, str(size) in str(error))
# Not ru_maxrss, in which the size of the process that started this one counts.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak_mib = int(status["VmHWM"].split()[0]) >> 10
assert peak_mib < 300, peak_mib
"""
    lines = run_child(program, tmp_path / "huge").splitlines()
    assert len(lines) == 6
    assert [lines[0], lines[3]] == ["MalformedModel False"] * 2  # one look at its head says so
    assert all(line.endswith(" True") for line in lines[1:3] + lines[4:]), lines


CUTS = """
import sys
import edgeward as ew
from models import onnx_models, tflite_models
name = sys.argv[1]
content = {
    "tflite": tflite_models.conv_int8,
    "signatures": tflite_models.two_signatures,
    "onnx": onnx_models.sum_product,
    "ort": lambda: onnx_models.to_ort(onnx_models.sum_product()),
}[name]()
refused = 0
for length in range(len(content)):
    try:
        with ew.load_unsigned(content[:length]) as model:
            model.session().run()
    except (ew.MalformedModel, ew.UnsupportedModel) as error:
        assert str(error) and "\\n" not in str(error), error
        refused += 1
print(refused, len(content))
"""


@pytest.mark.parametrize("name", ["tflite", "signatures", "onnx", "ort"])
def test_a_file_cut_anywhere_is_refused_unless_only_padding_is_lost(run_child, name):
    refused, length = map(int, run_child(CUTS, name).split())
    assert length > 100
    padding = 3 if name in ("tflite", "signatures", "ort") else 0
    assert length - padding <= refused <= length


MUTATIONS = """
import random, sys
import numpy as np
import edgeward as ew
from models import onnx_models, tflite_models
name, seed = sys.argv[1], int(sys.argv[2])
models = {"onnx": onnx_models, "ort": onnx_models}.get(name, tflite_models)
original = models.sum_product()
if name == "ort":
    original = onnx_models.to_ort(original)
generator = random.Random(seed)
outcomes = {"ran": 0}
for _ in range(400):
    content = bytearray(original)
    for _ in range(generator.choice((1, 1, 2, 8))):
        offset = generator.randrange(8 if name != "onnx" else 0, len(content))
        content[offset] = generator.choice((0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256)))
    try:
        with ew.load_unsigned(content) as model:
            session = model.session()
            session.run()
            [view.sum() for view in session.outputs.values()]
        outcomes["ran"] += 1
    except ew.EdgewardError as error:
        assert str(error) and "\\n" not in str(error), error
        outcomes[error.code] = outcomes.get(error.code, 0) + 1
print(sum(outcomes.values()), len(outcomes))
"""


@pytest.mark.parametrize("name", ["tflite", "onnx", "ort"])
def test_a_changed_file_runs_or_is_refused(run_child, name):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    count, kinds = map(int, run_child(MUTATIONS, name, seed).split())
    assert count == 400
    assert kinds >= 2


RANDOM = """
import random, sys
import edgeward as ew
generator = random.Random(int(sys.argv[1]))
for index in range(3000):
    content = generator.randbytes(generator.choice((0, 1, 7, 8, 9, 16, 64, 300, 5000)))
    identifier = (b"", b"TFL3", b"ORTM")[index % 3]
    if identifier:
        root = generator.choice((8, 12, 16, 20, generator.randrange(1 << 32)))
        content = root.to_bytes(4, "little") + identifier + content
    try:
        ew.load_unsigned(content)
    except (ew.MalformedModel, ew.UnsupportedModel) as error:
        assert str(error) and "\\n" not in str(error), error
    else:
        sys.exit(f"loaded {content!r}")
print(index + 1)
"""


def test_random_bytes_are_refused(run_child):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    assert run_child(RANDOM, seed) == "3000\n"


@pytest.mark.parametrize(
    ("scales", "zero_points"), [([], [0]), ([0.5], [0, 0]), ([0.5, 0.5], [0])], ids=str
)
def test_quantization_without_a_scale_for_each_zero_point_is_refused(
    run_child, tmp_path, scales, zero_points
):
    program = """
import sys
import edgeward as ew
try:
    ew.load_unsigned(sys.argv[1], engine="litert")
except (ew.MalformedModel, ew.UnsupportedModel):
    print("refused")
"""
    quantization = Quantization([0.5], [3])
    tensors = [
        Tensor("x", "int8", (16,), quantization=quantization),
        constant("one", np.array([2], np.int8), Quantization(scales, zero_points)),
        Tensor("y", "int8", (16,), quantization=quantization),
    ]
    op = Op("ADD", ["x", "one"], ["y"], {"activation": NONE})
    path = tmp_path / "model"
    path.write_bytes(tflite_file([Subgraph(tensors, [op], ["x"], ["y"])]))
    assert run_child(program, path) == "refused\n"


def test_a_tensor_of_a_signature_without_a_name_is_refused():
    content = bytearray(tflite_models.sum_product())
    assert content[256] == 8  # in a table, where its name lies
    content[256] = 0
    with pytest.raises(ew.EdgewardError, match=r"\A[^\n]+\Z"):
        ew.load_unsigned(content, engine="litert")


# --- Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["", "LITERT", "tensorflow", "../x", 5, (), []], ids=repr)
def test_an_engine_that_is_none_is_refused_with_those_that_are(content, wanted):
    with pytest.raises(
        ew.BadInput,
        match=r"\Aengine: expected litert, litert-interpreter, onnx, tflite, auto, got .*\Z",
    ):
        ew.load_unsigned(content, engine=wanted)


@pytest.mark.parametrize(
    ("engine", "content", "runs", "got"),
    [
        ("onnx", tflite_models.add(), ".onnx or .ort", ".tflite"),
        ("litert", onnx_models.add(), ".tflite", ".onnx"),
        ("litert", onnx_models.to_ort(onnx_models.add()), ".tflite", ".ort"),
        ("tflite", onnx_models.add(), ".tflite", ".onnx"),
    ],
    ids=["tflite to onnx", "onnx to litert", "ort to litert", "onnx to tflite"],
)
def test_an_engine_runs_its_own_formats(engine, content, runs, got):
    message = rf'\Aengine "{engine}": expected a {runs} model, got {got}\Z'
    with pytest.raises(ew.BadInput, match=message):
        ew.load_unsigned(content, engine=engine)


@pytest.mark.parametrize(
    "threads", [0, -1, -(2**31), 2**31, 2**64, 100_000, "2", 2.0, [2], b"2"], ids=repr
)
def test_threads_must_be_a_number_that_makes_sense(run_child, threads):
    program = """
import sys
import edgeward as ew
from models import tflite_models
try:
    ew.load_unsigned(tflite_models.conv(), threads=eval(sys.argv[1]))
except (ew.BadInput, TypeError) as error:
    print(error)
"""
    said = run_child(program, repr(threads)).splitlines()
    assert len(said) == 1
    assert said[0].startswith("threads: expected ")
    assert repr(threads) in said[0]


@pytest.mark.parametrize("threads", [1, 2, 3, np.int64(2)], ids=repr)
def test_threads_do_not_change_an_answer(engine_name, threads):
    content = models_of(engine_name).conv()
    image = np.random.default_rng(3).normal(size=(1, 8, 8, 2)).astype(np.float32)
    with (
        ew.load_unsigned(content, engine=engine_name, threads=threads) as model,
        ew.load_unsigned(content, engine=engine_name) as usual,
    ):
        assert (model.threads, type(model.threads)) == (int(threads), int)
        np.testing.assert_array_equal(model.predict(image), usual.predict(image))


def test_a_small_model_gets_one_thread(content, engine_name):
    assert ew.load_unsigned(content, engine=engine_name, threads=None).threads == 1


# --- What it says of itself -----------------------------------------------------------------------


def test_inputs_and_outputs_are_described(load):
    model = load("add")
    for spec, name in zip((*model.inputs, *model.outputs), "xy", strict=True):
        assert (spec.name, spec.dtype, spec.shape, spec.quantization) == (
            name,
            "float32",
            (16,),
            None,
        )
        assert repr(spec) == f'TensorSpec("{name}", float32, [16])'
    assert (type(model.inputs), type(model.outputs)) == (tuple, tuple)


def test_a_dimension_that_is_free_is_minus_one(load):
    model = load("dynamic_batch")
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [(-1, 4), (-1, 4)]


@pytest.mark.parametrize("engine_name", [name for name in ENGINES if name != "onnx"])
def test_quantization_is_told(engine_name):
    with ew.load_unsigned(tflite_models.quantized_add(), engine=engine_name) as model:
        (x,), (y,) = model.inputs, model.outputs
        assert (x.quantization.scales, x.quantization.zero_points) == ((0.5,), (3,))
        assert (y.quantization.scales, y.quantization.zero_points) == ((0.25,), (-7,))
    with ew.load_unsigned(tflite_models.per_channel(), engine=engine_name) as model:
        (x,) = model.inputs
        assert x.quantization.scales == (0.5, 0.25, 0.125)
        assert (x.quantization.zero_points, x.quantization.axis) == ((0, 0, 0), 1)


@pytest.mark.parametrize("engine_name", [name for name in ENGINES if name != "onnx"])
def test_every_signature_is_listed_and_predict_uses_the_first(engine_name):
    with ew.load_unsigned(tflite_models.two_signatures(), engine=engine_name) as model:
        assert list(model.signatures) == ["double", "negate"]
        for name, signature in model.signatures.items():
            assert signature.name == name
            assert [spec.name for spec in signature.inputs + signature.outputs] == ["x", "y"]
        x = np.array([1, -2, 3, 4], np.float32)
        np.testing.assert_array_equal(model.predict(x), x + x)


def test_a_model_without_signatures_has_one(load):
    (signature,) = load("add").signatures.values()
    assert [spec.name for spec in signature.inputs + signature.outputs] == ["x", "y"]


def test_the_engine_that_runs_is_named(load, engine_name):
    report = load("conv").engine
    assert report.name == engine_name
    assert report.version == importlib.metadata.version(KINDS[engine_name].package)
    assert report.delegate
    assert report.node_count == -1 or report.node_count > 0
    assert -1 <= report.fallback_count <= max(report.node_count, 0)


@pytest.mark.parametrize("name", ["inputs", "outputs", "signatures", "engine", "threads", "copies"])
def test_what_it_says_cannot_be_set(load, name):
    model = load("add")
    with pytest.raises(AttributeError):
        setattr(model, name, None)
    with pytest.raises(AttributeError):
        delattr(model, name)


@pytest.mark.parametrize("dtype", ["string", "complex128"])
def test_a_tensor_that_cannot_be_shown_is_refused_by_name(engine_name, dtype):
    models = models_of(engine_name)
    if dtype == "string":
        if engine_name in ("litert-interpreter", "onnx"):  # which run strings
            return
        with pytest.raises(ew.UnsupportedModel, match=r'\A[^\n]*"x"[^\n]*string[^\n]*\Z'):
            ew.load_unsigned(models.strings(), engine=engine_name)
    elif engine_name not in ("litert-interpreter", "tflite"):  # which run complex128
        with pytest.raises(ew.UnsupportedModel, match=r"\A[^\n]+\Z"):
            ew.load_unsigned(models.identity(dtype), engine=engine_name)


# --- Graphs with corners --------------------------------------------------------------------------


def onnx_graph(nodes, inputs, outputs, constants=()):
    values = [
        [helper.make_tensor_value_info(name, element, shape) for name, element, shape in side]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "main", *values, list(constants))
    opsets = [helper.make_opsetid("", onnx_models.OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=onnx_models.IR_VERSION)
    return model.SerializeToString()


def passing_through(engine_name):
    """A graph whose output is its input, with no operator between."""
    if engine_name == "onnx":
        return onnx_graph([], [("x", 1, (4,))], [("x", 1, (4,))])
    return tflite_file([Subgraph([Tensor("x", "float32", (4,))], [], ["x"], ["x"])])


def test_a_graph_that_hands_its_input_back_is_right_or_refused(engine_name):
    x = np.array([1, 2, 3, 4], np.float32)
    try:
        model = ew.load_unsigned(passing_through(engine_name), engine=engine_name)
    except (ew.UnsupportedModel, ew.MalformedModel) as error:
        assert '"x"' in str(error)  # noqa: PT017
    else:
        np.testing.assert_array_equal(model.predict(x), x)


def without_elements(engine_name):
    """y = x, both of shape [0, 4]."""
    if engine_name == "onnx":
        node = helper.make_node("Identity", ["x"], ["y"])
        return onnx_graph([node], [("x", 1, (0, 4))], [("y", 1, (0, 4))])
    shape = constant("shape", np.array([0, 4], np.int32))
    tensors = [Tensor("x", "float32", (0, 4)), shape, Tensor("y", "float32", (0, 4))]
    return tflite_file([Subgraph(tensors, [Op("RESHAPE", ["x", "shape"], ["y"])], ["x"], ["y"])])


def test_a_tensor_without_elements_is_right_or_refused(engine_name):
    x = np.zeros((0, 4), np.float32)
    try:
        model = ew.load_unsigned(without_elements(engine_name), engine=engine_name)
    except ew.UnsupportedModel as error:
        assert '"x"' in str(error)  # noqa: PT017
    else:
        assert model.predict(x).shape == (0, 4)


def test_a_constant_may_be_an_output():
    held = np.arange(4, dtype=np.float32)
    constants = [numpy_helper.from_array(held, "c")]
    node = helper.make_node("Neg", ["x"], ["y"])
    values = [("y", 1, (4,)), ("c", 1, (4,))]
    content = onnx_graph([node], [("x", 1, (4,))], values, constants)
    with ew.load_unsigned(content) as model:
        for _ in range(3):
            answer = model.predict(held)
            np.testing.assert_array_equal(answer["y"], -held)
            np.testing.assert_array_equal(answer["c"], held)
            answer["c"][:] = 7  # belongs to the caller, not to the model


def test_an_onnx_model_without_inputs_runs():
    node = helper.make_node("Constant", [], ["y"], value_float=3.0)
    with ew.load_unsigned(onnx_graph([node], [], [("y", 1, ())])) as model:
        assert model.predict().item() == 3.0
        assert model.predict({}).item() == 3.0
        with pytest.raises(ew.BadInput, match=r"\Apredict: expected at most 0 arrays, got 1\Z"):
            model.predict(X)


def test_two_inputs_that_the_engine_cannot_add_are_an_error_of_the_engine():
    node = helper.make_node("Add", ["a", "b"], ["y"])
    values = [("a", 1, ("N", 4)), ("b", 1, ("N", 4))]
    with ew.load_unsigned(onnx_graph([node], values, [("y", 1, ("N", 4))])) as model:
        three, two = np.ones((3, 4), np.float32), np.ones((2, 4), np.float32)
        for _ in range(2):
            with pytest.raises(ew.EngineFailed, match=r"\Aonnx: [^\n]+\Z"):
                model.predict(three, two)
            np.testing.assert_array_equal(model.predict(two, two), two + two)


def test_an_input_may_be_called_out():
    node = helper.make_node("Neg", ["out"], ["y"])
    with ew.load_unsigned(onnx_graph([node], [("out", 1, (4,))], [("y", 1, (4,))])) as model:
        x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
        assert model.predict({"out": x}, out=y) is y
        np.testing.assert_array_equal(model.predict(x), -x)


# --- The end --------------------------------------------------------------------------------------

CLOSED = r"\Amodel: expected use before close\(\), got a call after it\Z"


def test_a_closed_model_refuses_work_and_still_describes_itself(load, engine_name):
    model = load("add")
    model.predict(X)
    model.close()
    model.close()
    for use in (lambda: model.predict(X), lambda: model.predict({}), model.session, model.trim):
        with pytest.raises(ew.Closed, match=CLOSED):
            use()
    assert model.inputs[0].name == "x"
    assert model.engine.name == engine_name
    assert model.signatures


def test_with_closes_also_when_the_block_fails(load):
    with pytest.raises(KeyError), load("add") as model:
        raise KeyError
    with pytest.raises(ew.Closed, match=CLOSED):
        model.predict(X)


def test_the_first_session_starts_as_a_new_one_whatever_predict_was_asked(load):
    for model in (load("add"), load("add")):
        model.predict(X + 1)
        session = model.session()
        assert session.copies == 0
        session.run()
        np.testing.assert_array_equal(session.outputs["y"], np.arange(16, dtype=np.float32))


def test_a_trimmed_model_goes_on(load):
    model = load("add")
    session, result = model.session(), model.predict(X)
    model.trim()
    np.testing.assert_array_equal(model.predict(X), Y)
    session.inputs["x"][:] = X
    session.run()
    np.testing.assert_array_equal(session.outputs["y"], Y)
    np.testing.assert_array_equal(result, Y)


def test_a_session_outlives_the_model(load):
    with load("add") as model:
        session = model.session()
    session.inputs["x"][:] = X
    session.run()
    np.testing.assert_array_equal(session.outputs["y"], Y)


def test_a_model_that_failed_to_load_leaves_nothing_behind(load, engine_name):
    for _ in range(20):
        with pytest.raises(ew.EdgewardError):
            ew.load_unsigned(models_of(engine_name).identity("complex64")[:-1], engine=engine_name)
    np.testing.assert_array_equal(load("add").predict(X), Y)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_models_and_sessions_cannot_be_copied(load, copied):
    model = load("add")
    for original in (model, model.session()):
        with pytest.raises(TypeError):
            copied(original)


@pytest.mark.parametrize(
    "use",
    [
        "ew.Model.__new__(ew.Model).predict(X)",
        "ew.Model.__new__(ew.Model).predict({})",
        "ew.Model.__new__(ew.Model).inputs",
        "ew.Model.__new__(ew.Model).session()",
        "ew.Model.__new__(ew.Model).close()",
        "ew.Session.__new__(ew.Session).run()",
        "ew.Session.__new__(ew.Session).inputs",
        "ew.Session.__new__(ew.Session).resize({})",
        "ew.Session()",
        "ew.Model()",
        "ew.Model.predict(None, X)",
        "ew.Model.predict(3, X)",
        "ew.Session.run(ew.load_unsigned(content))",
        "ew.TensorSpec.__new__(ew.TensorSpec).name",
        "type('Mine', (ew.Model,), {'__init__': lambda self: None})().predict(X)",
        "type('Mine', (ew.Session,), {'__init__': lambda self: None})().run()",
    ],
)
def test_an_object_that_was_never_made_cannot_crash(run_child, use):
    program = """
import sys
import edgeward as ew
from models import tflite_models
from test_model import X
content = tflite_models.add()
try:
    eval(sys.argv[1])
except Exception as error:
    print(type(error).__name__)
"""
    assert run_child(program, use) in {"TypeError\n", "Closed\n", ""}


# --- ew.empty -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [0, 3, (), (0,), (3, 0), (2, 3), [2, 3], (1,) * 8, np.int64(3), range(3)], ids=repr
)
@pytest.mark.parametrize("dtype", ["float32", "bool", np.int64, np.dtype("complex64"), float])
def test_empty_is_an_ordinary_array(shape, dtype):
    array = ew.empty(shape, dtype)
    assert (array.dtype, array.shape) == (np.dtype(dtype), np.empty(shape, dtype).shape)
    assert (array.flags.writeable, array.flags.c_contiguous) == (True, True)
    assert array.ctypes.data % 64 == 0
    array[...] = 1


def test_empty_is_float32_unless_told():
    assert ew.empty(3).dtype == np.float32


@pytest.mark.parametrize(
    ("dtype", "stored", "count"),
    [
        ("bfloat16", "uint16", 6),
        ("float8_e5m2", "uint8", 6),
        ("int4", "uint8", 3),
        ("int2", "uint8", 2),
    ],
)
def test_empty_of_a_type_that_numpy_lacks_holds_its_bits(dtype, stored, count):
    array = ew.empty((2, 3), dtype)
    assert (array.dtype, array.size) == (stored, count)


@pytest.mark.parametrize(
    "shape",
    [-1, (2, -1), 2**62, 2**63, 2**70, (2**40, 2**40), (1,) * 9, (2.5,), "ab", ("a",), (None,)],
    ids=repr,
)
def test_empty_refuses_a_shape_that_is_none(shape):
    with pytest.raises((ew.BadInput, TypeError), match=r"\A[^\n]*expected [^\n]*got [^\n]*\Z"):
        ew.empty(shape)


def test_empty_of_more_than_there_is_says_how_much():
    with pytest.raises(ew.OutOfMemory, match=rf"\Amemory: expected {2**50} bytes, got none\Z"):
        ew.empty(2**50, "uint8")


@pytest.mark.parametrize(
    "dtype", [">f4", "S3", "U3", object, "M8[s]", "f4,f4", "longdouble", "int5"]
)
def test_empty_refuses_a_dtype_that_models_do_not_have(dtype):
    with pytest.raises((ew.BadInput, TypeError), match=r"\A[^\n]+\Z"):
        ew.empty(3, dtype)


def test_empty_outlives_everything():
    part = ew.empty(1000)[10:20]
    part[:] = 3
    junk = [ew.empty(1000) for _ in range(20)]
    for piece in junk:
        piece[:] = 5
    assert (part == 3).all()


# --- Drift ----------------------------------------------------------------------------------------


def test_a_model_tells_whether_what_it_has_counted_has_drifted(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    trust = sealed.trust_at(tmp_path / "trust")
    order = np.random.default_rng(3).permutation(200)
    samples = [np.full(4, value, np.float32) for value in order]
    contents = ew.Contents(
        calibration=[{"x": sample} for sample in samples],
        columns={"x": ["flow", "height", "width", "depth"]},
    )
    path = sealed.seal(tmp_path / "p.ewp", contents=contents)
    reference = ew.Package.open(path, trust=trust).reference
    bare = ew.load(path, trust=trust)
    with pytest.raises(ew.BadInput, match="expected runs that a Capture has counted"):
        bare.drift(reference)
    with ew.Capture(tmp_path / "captures") as capture:
        model = ew.load(path, trust=trust, capture=capture)
        for sample in samples:
            model.predict(sample)
        attached_s = time.time()
        assert not model.drift(reference).has_drifted
        for sample in samples * 3:
            model.predict(sample + 100)
        judgement = model.drift(reference)
    assert judgement.has_drifted
    words = [finding.words for finding in judgement.findings if finding.part.tensor == "x"]
    expected = 'column 3 (depth) of input "x" has moved up by 1.3'
    assert any(text.startswith(expected) for text in words), words
    minutes = {
        time.strftime("%Y-%m-%d %H:%M", time.gmtime(attached_s - before_s)) for before_s in (0, 60)
    }
    assert all(any(f"since {minute}" in text for minute in minutes) for text in words), words


def test_what_a_model_says_of_itself_compares_by_value_and_is_shown(load):
    first, second, other = load("add"), load("add"), load("add", (4,))
    assert first.inputs == second.inputs != other.inputs
    assert hash(first.inputs) == hash(second.inputs)
    signature = next(iter(first.signatures.values()))
    assert signature == next(iter(second.signatures.values()))
    assert first.engine == second.engine
    assert first.engine != signature
    assert repr(first.engine).startswith('EngineReport("')
    assert repr(signature).startswith('Signature("')
    shown = re.escape(f"{other.inputs[0].name} float32 [4] -> {other.outputs[0].name} float32 [4]")
    assert re.fullmatch(f"<Model {shown}>", repr(other))
    assert re.fullmatch(f"<Session {shown}>", repr(other.session()))


def test_what_a_model_says_of_itself_pickles(load):
    model = load("add")
    values = (*model.inputs, *model.outputs, *model.signatures.values(), model.engine)
    assert [pickle.loads(pickle.dumps(value)) for value in values] == list(values)
    assert [copy.deepcopy(value) for value in values] == list(values)


def test_a_wrong_name_of_an_array_is_told_the_right_ones(load):
    with load("add").session() as session:
        with pytest.raises(KeyError, match=r'expected "x", got .*typo'):
            session.inputs["typo"]
        assert "float32 [16]" in repr(session.inputs)


def test_a_masked_array_is_taken_only_without_masked_elements(load):
    model, x = load("add", (4,)), np.zeros(4, np.float32)
    assert model.predict(np.ma.masked_array(x)).shape == (4,)
    with pytest.raises(ew.BadInput, match=r'input "x": .*got a masked array'):
        model.predict(np.ma.masked_array(x, [0, 1, 0, 0]))
