"""Pages of a model, bare or in a package, that go back to the system once weights are packed."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import sealed
from models import single_operators, tflite_models
from models.tflite_writer import Op, Quantization, Subgraph, Tensor, constant
from models.tflite_writer import model as tflite_file

import edgeward as ew

WIDTH = 1024
PACKED_OPERATORS = [
    name
    for name in single_operators.ALL
    if name.startswith(("CONV_", "DEPTHWISE_CONV_2D", "FULLY_"))
    and name != "DEPTHWISE_CONV_2D/float32_by_int8"  # the engine's own kernel answers at random
]


def layers(zero_points):
    """int8 layers one after another, each with a kernel of 1 MiB and of that zero point."""
    generator = np.random.default_rng(1)
    tensors = [Tensor("t0", "int8", (1, WIDTH), quantization=Quantization([0.5], [0]))]
    operators = []
    scale = 0.5
    for index, zero_point in enumerate(zero_points):
        kernel = generator.integers(-9, 9, (WIDTH, WIDTH), np.int8)
        tensors.append(constant(f"w{index}", kernel, Quantization([0.25], [zero_point])))
        scale *= 16
        quantization = Quantization([scale], [0])
        tensors.append(Tensor(f"t{index + 1}", "int8", (1, WIDTH), quantization=quantization))
        operators.append(Op("FULLY_CONNECTED", [f"t{index}", f"w{index}"], [f"t{index + 1}"]))
    outputs = [f"t{len(zero_points)}"]
    return tflite_file([Subgraph(tensors, operators, ["t0"], outputs)])


# XNNPACK takes no kernel with a zero point: the engine's own reads its weights in each run.
DELEGATED, HALF_DELEGATED = (0, 0), (0, 1)


def inputs(shape, dtype):
    generator = np.random.default_rng(2)
    if dtype == np.float32:
        return [generator.uniform(-1, 1, shape).astype(dtype) for _ in range(3)]
    return [generator.integers(-100, 100, shape).astype(dtype) for _ in range(3)]


def answers(model):
    spec = model.inputs[0]
    return [model.predict(x).tobytes() for x in inputs(spec.shape, spec.dtype)]


class Shelf:
    """A folder of models, as bare files or in packages."""

    def __init__(self, folder, kind):
        self.folder, self.kind = folder, kind
        self.trust = None if kind == "bare" else sealed.trust_at(folder / "trust")

    def put(self, content, name="model"):
        if self.kind == "bare":
            path = self.folder / f"{name}.tflite"
            path.write_bytes(content)
            return path
        recipients = [sealed.DEVICE.public] if self.kind == "encrypted" else []
        return sealed.seal(self.folder / f"{name}.ewp", model=content, encrypt_to=recipients)

    def load(self, path):
        if self.kind == "bare":
            return ew.load_unsigned(path, engine="litert", threads=1)
        return ew.load(path, trust=self.trust, engine="litert", threads=1)

    def loading(self, path):
        """The same as a statement for a program of its own."""
        if self.kind == "bare":
            return f'ew.load_unsigned({str(path)!r}, engine="litert", threads=1)'
        directory = str(self.trust.directory)
        return f'ew.load({str(path)!r}, trust={directory!r}, engine="litert", threads=1)'


@pytest.fixture(params=["bare", "plain", "encrypted"])
def shelf(request, tmp_path):
    return Shelf(tmp_path, request.param)


def alone(content):
    """From bytes, which nothing is read from again."""
    return ew.load_unsigned(content, engine="litert", threads=1)


MODELS = {
    "mobilenet": lambda: tflite_models.mobilenet(0.5),
    "mobilenet_int8": lambda: tflite_models.mobilenet_int8(0.5),
    "delegated": lambda: layers(DELEGATED),
    "half delegated": lambda: layers(HALF_DELEGATED),
}


def in_threads(model, work, count=6):
    """What `work` returned in each of them."""
    model.gil = "release"
    results = []
    barrier = threading.Barrier(count)

    def run():
        barrier.wait()
        results.append(work())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return results


@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_the_same_with_and_without_its_pages(shelf, name):
    content = MODELS[name]()
    expected = answers(alone(content))
    model = shelf.load(shelf.put(content))
    for _ in range(2):
        assert answers(model) == expected
    kept = [model.session() for _ in range(3)]
    spec = model.inputs[0]
    for session in kept:
        for x, answer in zip(inputs(spec.shape, spec.dtype), expected, strict=True):
            next(iter(session.inputs.values()))[...] = x
            session.run()
            assert next(iter(session.outputs.values())).tobytes() == answer
    assert model.engine.name == "litert"
    assert answers(model) == expected


@pytest.mark.parametrize("name", MODELS)
def test_threads_get_the_same_answers_while_the_pages_go(shelf, name):
    content = MODELS[name]()
    expected = answers(alone(content))
    model = shelf.load(shelf.put(content))
    for result in in_threads(model, lambda: [answers(model) for _ in range(3)]):
        assert result == [expected] * 3


def test_memory_is_what_is_left_of_the_file(shelf):
    for zero_points in (DELEGATED, HALF_DELEGATED):
        content = layers(zero_points)
        model = shelf.load(shelf.put(content))
        before = model.memory
        assert before.file_bytes >= len(content)
        answers(model)
        if zero_points is DELEGATED:
            assert model.memory.file_bytes < len(content) / 100
        else:
            assert model.memory.file_bytes == before.file_bytes
        # What went back is not taken for something that the engine gave back.
        assert model.memory.arenas_bytes > before.arenas_bytes - len(content) / 10
        model.close()


def dense(rows=-1):
    kernel = np.random.default_rng(3).uniform(-1, 1, (128, 2048)).astype(np.float32)
    tensors = [
        Tensor("x", "float32", (1, 2048), shape_signature=(rows, 2048)),
        constant("w", kernel),
        Tensor("y", "float32", (1, 128), shape_signature=(rows, 128)),
    ]
    return tflite_file(
        [Subgraph(tensors, [Op("FULLY_CONNECTED", ["x", "w"], ["y"])], ["x"], ["y"])]
    )


def rows_of(count):
    return np.random.default_rng(count).uniform(-1, 1, (count, 2048)).astype(np.float32)


def test_sessions_of_other_shapes_answer_the_same(shelf):
    content = dense()
    bytes_alone = alone(content)
    model = shelf.load(shelf.put(content))
    for rows in (1, 4, 2, 1, 3):
        x = rows_of(rows)
        np.testing.assert_array_equal(model.predict(x), bytes_alone.predict(x))
        assert model.memory.file_bytes < len(content) / 100  # planning anew has read no weights


def test_threads_that_plan_at_once_for_other_shapes_answer_the_same(shelf):
    """Each has the pages read again, unless another has a pack by then."""
    content = dense()
    model = shelf.load(shelf.put(content))
    model.predict(rows_of(1))
    expected = {rows: alone(content).predict(rows_of(rows)).tobytes() for rows in range(1, 5)}

    def work():
        answers = {}
        for rows in expected:
            session = model.session()
            session.resize({"x": (rows, 2048)})
            session.inputs["x"][...] = rows_of(rows)
            session.run()
            answers[rows] = session.outputs["y"].tobytes()
        return answers

    assert all(answers == expected for answers in in_threads(model, work))


def test_the_memory_of_the_file_goes_back(shelf):
    content = layers([0] * 16)
    path = shelf.put(content)
    program = f"""
import sys
import numpy as np
import edgeward as ew
def resident_kib():
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
ew.load_unsigned({tflite_models.add()!r}, engine="litert").close()
before = resident_kib()
model = {shelf.loading(path)}
model.predict(np.zeros((1, {WIDTH}), np.int8))
print(resident_kib() - before)
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    # The packed weights are as large as the file. Packages bring libcrypto, and more of Python.
    assert int(child.stdout) * 1024 < 1.5 * len(content) + (0 if shelf.kind == "bare" else 8 << 20)


def overwrite(path):
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.write(bytes(size))


def empty(path):
    os.truncate(path, 0)


def shorten(path):
    os.truncate(path, 100)


def replace(path):
    """By a file that cannot be opened."""
    other = path.with_name("other")
    other.write_bytes(bytes(1000))
    os.rename(other, path)


@pytest.mark.parametrize("change", [overwrite, empty, shorten, replace, os.unlink])
@pytest.mark.parametrize("zero_points", [DELEGATED, HALF_DELEGATED], ids=str)
@pytest.mark.parametrize("runs_first", [False, True], ids=["loaded", "run"])
def test_a_file_that_changes_changes_no_answer(shelf, change, zero_points, runs_first):
    content = layers(zero_points)
    path = shelf.put(content)
    expected = answers(alone(content))
    model = shelf.load(path)
    if runs_first:
        assert answers(model) == expected
    change(path)
    assert answers(model) == expected
    for result in in_threads(model, lambda: answers(model)):
        assert result == expected
    model.trim()
    assert answers(model) == expected
    assert [model.session() for _ in range(3)]
    assert answers(model) == expected
    assert model.engine.name == "litert"
    assert answers(model) == expected


def test_a_file_that_cannot_be_read_any_more_changes_no_answer(shelf):
    path = shelf.put(layers(DELEGATED))
    program = f"""
import os
import numpy as np
import edgeward as ew
model = {shelf.loading(path)}
expected = model.predict(np.ones((1, {WIDTH}), np.int8))
for number in os.listdir("/proc/self/fd"):
    link = "/proc/self/fd/" + number
    if os.path.lexists(link) and os.readlink(link) == {str(path)!r}:
        os.close(int(number))
print(model.engine.fallback_count, model.session() is not None)
print((model.predict(np.ones((1, {WIDTH}), np.int8)) == expected).all())
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert child.stdout == "-1 True\nTrue\n", child.stderr


def test_other_shapes_need_the_file_as_it_was(shelf):
    content = dense()
    path = shelf.put(content)
    stored = path.read_bytes()
    model = shelf.load(path)
    first = model.session()
    first.run()
    second = model.session()
    overwrite(path)
    with pytest.raises(ew.BadInput, match=rf"{path.name}.*expected the.* packs its weights again"):
        second.resize({"x": (4, 2048)})
    expected = alone(content).predict(rows_of(1))
    second.inputs["x"][...] = rows_of(1)
    second.run()
    np.testing.assert_array_equal(second.outputs["y"], expected)
    second.close()
    first.resize({"x": (4, 2048)})  # it takes the compiled model that both had
    first.inputs["x"][...] = rows_of(4)
    first.run()
    np.testing.assert_array_equal(first.outputs["y"], alone(content).predict(rows_of(4)))
    path.write_bytes(stored)
    np.testing.assert_array_equal(model.predict(rows_of(1)), expected)
    np.testing.assert_array_equal(model.predict(rows_of(4)), alone(content).predict(rows_of(4)))


# The index names no row of the table.
BAD, GOOD = np.array([99], np.int32), np.array([3], np.int32)


def lookup(zero_point):
    """Rows of a table through a layer; a run with an index out of bounds ends before the layer."""
    generator = np.random.default_rng(4)
    table = generator.integers(-100, 100, (8, WIDTH), np.int8)
    kernel = generator.integers(-9, 9, (WIDTH, WIDTH), np.int8)

    def rows(name, scale):
        quantization = Quantization([scale], [0])
        return Tensor(name, "int8", (1, WIDTH), None, (-1, WIDTH), quantization)

    tensors = [
        Tensor("i", "int32", (1,), shape_signature=(-1,)),
        constant("table", table, Quantization([0.5], [0])),
        rows("x", 0.5),
        constant("w", kernel, Quantization([0.25], [zero_point])),
        rows("y", 8),
    ]
    operators = [
        Op("GATHER", ["table", "i"], ["x"], {"axis": 0}),
        Op("FULLY_CONNECTED", ["x", "w"], ["y"]),
    ]
    return tflite_file([Subgraph(tensors, operators, ["i"], ["y"])])


@pytest.mark.parametrize("zero_point", [0, 1])
@pytest.mark.parametrize("count", [1, 2])
def test_a_first_run_that_fails_shows_nothing_of_the_next(shelf, zero_point, count):
    content = lookup(zero_point)
    expected = alone(content).predict(GOOD.repeat(count))
    model = shelf.load(shelf.put(content))
    session = model.session()
    session.resize({"i": (count,)})
    for index in (BAD, GOOD):
        session.inputs["i"][...] = index
        if index is BAD:
            with pytest.raises(ew.EngineFailed, match="out of bounds"):
                session.run()
            assert model.memory.file_bytes >= len(content)
        else:
            session.run()
    np.testing.assert_array_equal(session.outputs["y"], expected)
    assert (model.memory.file_bytes < len(content) / 2) == (zero_point == 0)


def test_a_run_that_fails_does_not_end_a_model_whose_file_has_changed(shelf):
    path = shelf.put(lookup(0))
    model = shelf.load(path)
    expected = model.predict(GOOD)
    overwrite(path)
    for _ in range(2):
        with pytest.raises(ew.EngineFailed, match="out of bounds"):
            model.predict(BAD)
        np.testing.assert_array_equal(model.predict(GOOD), expected)


def test_a_child_that_loads_the_model_itself_gets_its_answers(shelf):
    path = shelf.put(layers(DELEGATED))
    model = shelf.load(path)
    expected = answers(model)
    child = os.fork()
    if child == 0:
        os._exit(0 if answers(shelf.load(path)) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert answers(model) == expected


@pytest.mark.parametrize("shelf", ["plain", "encrypted"], indirect=True)
def test_a_package_that_stays_open_reads_its_members_anew(shelf):
    content = layers(DELEGATED)
    package = ew.Package.open(shelf.put(content), trust=shelf.trust)
    models = [package.load(engine="litert", threads=1) for _ in range(2)]
    expected = answers(alone(content))
    for model in models:
        assert answers(model) == expected
        assert model.memory.file_bytes < len(content) / 100
    assert package.read("model.tflite") == content
    package.verify()


@pytest.mark.parametrize("shelf", ["plain", "encrypted"], indirect=True)
def test_pages_stay_for_whoever_else_has_the_payload(shelf):
    content = layers(DELEGATED)
    package = ew.Package.open(shelf.put(content), trust=shelf.trust)
    array = package._payload.read("model.tflite")
    model = package.load(engine="litert", threads=1)
    assert answers(model) == answers(alone(content))
    assert array.tobytes() == content


@pytest.mark.parametrize("shelf", ["plain", "encrypted"], indirect=True)
def test_a_package_of_which_one_byte_changes_is_not_read_again(shelf):
    path = shelf.put(dense())
    model = shelf.load(path)
    model.predict(rows_of(1))
    other = model.session()
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    with open(path, "r+b") as file:
        file.write(stored)
    with pytest.raises(ew.BadInput, match=r"chunk \d+: expected the bytes that were signed"):
        other.resize({"x": (2, 2048)})


@pytest.mark.parametrize("name", PACKED_OPERATORS)
@pytest.mark.parametrize("shelf", ["bare"], indirect=True)
def test_every_operator_with_weights_answers_the_same(shelf, name):
    content = single_operators.ALL[name]()
    content += bytes(max(0, (1 << 20) - len(content)))
    path = shelf.put(content)
    try:
        expected = answers(alone(content))
    except ew.EdgewardError:
        pytest.skip("the engine does not run it")
    assert answers(shelf.load(path)) == expected
