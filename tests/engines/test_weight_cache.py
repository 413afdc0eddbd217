"""Weights that are packed once for all sessions of a model on LiteRT."""

import contextlib
import gc
import os
import resource
import threading

import numpy as np
import pytest
from models import single_operators, stateful_models, tflite_models
from models.tflite_writer import Op, Quantization, Subgraph, Tensor, constant
from models.tflite_writer import model as tflite_file

import edgeward as ew

PACKED_OPERATORS = [
    name
    for name in single_operators.ALL
    if name.startswith(("CONV_", "DEPTHWISE_CONV_2D", "FULLY_", "TRANSPOSE_CONV", "BATCH_MATMUL"))
    and name != "DEPTHWISE_CONV_2D/float32_by_int8"  # the engine's own kernel answers at random
]
PACKED_FROM_BYTES = 1 << 20  # of a file: smaller ones are not worth a cache


def padded(content):
    """The model in a file that is large enough for a cache."""
    return content + bytes(max(0, PACKED_FROM_BYTES - len(content)))


@contextlib.contextmanager
def no_cache():
    """Sessions that are made meanwhile pack for themselves: a write to a cache could fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def load(content, **options):
    return ew.load_unsigned(padded(content), engine="litert", **options)


def answers(session, generator):
    """What three runs in a row answer to random inputs."""
    result = []
    for _ in range(3):
        for array in session.inputs.values():
            values = generator.integers(0, 256, array.nbytes, np.uint8).view()
            if array.dtype.kind == "f":
                array[...] = generator.uniform(-1, 1, array.shape)
            elif array.dtype.kind == "b":
                array[...] = generator.integers(0, 2, array.shape)
            elif array.dtype.kind in "iu" and array.dtype.itemsize == 1:
                array[...] = values.view(array.dtype).reshape(array.shape)
            else:
                array[...] = generator.integers(0, 3, array.shape)
        session.run()
        result.append({name: array.tobytes() for name, array in session.outputs.items()})
    return result


def shared_mappings():
    """How often this process has mapped weights."""
    with open("/proc/self/maps") as maps:
        return sum("memfd:edgeward-weights" in line for line in maps)


def packs():
    """The descriptors of packed weights that this process has open."""
    numbers = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if "memfd:edgeward-weights" in os.readlink(f"/proc/self/fd/{name}"):
                numbers.add(int(name))
    return numbers


def fully_connected(scales):
    """int8 layers on one input, with one kernel and one bias; an output's scale for each."""
    kernel = np.arange(-64, 64, dtype=np.int8).reshape(8, 16)
    bias = np.arange(8, dtype=np.int32) * 100
    tensors = [
        Tensor("x", "int8", (1, 16), quantization=Quantization([0.5], [3])),
        constant("w", kernel, Quantization([0.25], [0])),
        constant("b", bias, Quantization([0.125], [0])),
    ]
    operators = []
    for index, scale in enumerate(scales):
        tensors.append(Tensor(f"y{index}", "int8", (1, 8), quantization=Quantization([scale], [0])))
        operators.append(Op("FULLY_CONNECTED", ["x", "w", "b"], [f"y{index}"]))
    outputs = [f"y{index}" for index in range(len(scales))]
    return tflite_file([Subgraph(tensors, operators, ["x"], outputs)])


def any_rows():
    """y = x w over any number of rows, with a kernel of 1 MiB."""
    kernel = np.random.default_rng(2).uniform(-1, 1, (128, 2048)).astype(np.float32)
    tensors = [
        Tensor("x", "float32", (1, 2048), shape_signature=(-1, 2048)),
        constant("w", kernel),
        Tensor("y", "float32", (1, 128), shape_signature=(-1, 128)),
    ]
    return tflite_file(
        [Subgraph(tensors, [Op("FULLY_CONNECTED", ["x", "w"], ["y"])], ["x"], ["y"])]
    )


def session_of_two_rows(model):
    """Its shapes are others than the first, so that it has a compiled model of its own."""
    session = model.session()
    session.resize({"x": (2, 2048)})
    return session


MODELS = {
    **tflite_models.ALL,
    **{name: single_operators.ALL[name] for name in PACKED_OPERATORS},
    "mobilenet": lambda: tflite_models.mobilenet(0.25),
    "mobilenet_int8": lambda: tflite_models.mobilenet_int8(0.25),
    "window": stateful_models.window,
    "basic_lstm": stateful_models.basic_lstm,
    "called_late": stateful_models.called_late,
    "weights_by_name": stateful_models.weights_by_name,
    "one kernel, two layers": lambda: fully_connected([4.0, 4.0]),
    "one kernel, two scales": lambda: fully_connected([4.0, 16.0]),
}


# --- Answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_sessions_answer_the_same_with_and_without(name):
    content = MODELS[name]()
    with no_cache():
        try:
            model = load(content)
        except ew.UnsupportedModel:
            pytest.skip("the engine does not run it")
        alone = {key: model.session(key) for key in model.signatures}
        expected = {
            key: answers(session, np.random.default_rng(3)) for key, session in alone.items()
        }
    model = load(content)
    for _ in range(3):
        for key in model.signatures:
            assert answers(model.session(key), np.random.default_rng(3)) == expected[key]


def test_resized_sessions_answer_the_same():
    model = load(tflite_models.dynamic_batch())
    sessions = [model.session() for _ in range(3)]
    (name,) = sessions[0].inputs
    for rows in (1, 5, 2):
        results = []
        for session in sessions:
            shape = (rows, *session.inputs[name].shape[1:])
            session.resize({name: shape})
            session.inputs[name][...] = np.arange(np.prod(shape)).reshape(shape)
            session.run()
            results.append({key: array.copy() for key, array in session.outputs.items()})
        for result in results[1:]:
            for key, array in result.items():
                np.testing.assert_array_equal(array, results[0][key])


def test_the_first_session_keeps_its_arrays_when_it_shares():
    model = load(any_rows())
    first = session_of_two_rows(model)
    inputs, outputs = dict(first.inputs), dict(first.outputs)
    for array in inputs.values():
        array[...] = 0.5
    first.run()
    before = {name: array.copy() for name, array in outputs.items()}
    for array in outputs.values():
        array[...] = 0
    model.session()
    first.run()
    for name, array in outputs.items():
        assert first.outputs[name].ctypes.data == array.ctypes.data
        np.testing.assert_array_equal(array, before[name])


def test_layers_that_share_a_kernel_and_differ_pack_for_themselves():
    assert load(fully_connected([4.0, 4.0])).engine.shares_weights
    assert not load(fully_connected([4.0, 16.0])).engine.shares_weights


# --- Memory ---------------------------------------------------------------------------------------


def test_each_session_maps_one_pack():
    gc.collect()
    model = load(any_rows())
    assert model.engine.shares_weights
    first = session_of_two_rows(model)
    assert shared_mappings() == 0
    second = session_of_two_rows(model)
    assert shared_mappings() == 2
    third = session_of_two_rows(model)
    assert shared_mappings() == 3
    model.predict(first.inputs[next(iter(first.inputs))].copy())
    assert shared_mappings() == 4
    model.trim()
    assert shared_mappings() == 3
    model.close()
    del first, second
    third.run()
    del third, model
    gc.collect()
    assert shared_mappings() == 0


def test_sessions_that_do_not_run_at_once_take_no_pack():
    before = shared_mappings()
    model = load(any_rows())
    sessions = [model.session() for _ in range(4)]
    expected = answers(sessions[0], np.random.default_rng(7))
    for session in sessions:
        assert answers(session, np.random.default_rng(7)) == expected
    assert shared_mappings() == before


def test_the_memory_of_a_pack_is_sealed_and_ends_with_the_model():
    before = packs()
    model = load(any_rows())
    sessions = [session_of_two_rows(model), session_of_two_rows(model)]
    (number,) = packs() - before
    path = f"/proc/self/fd/{number}"
    assert os.stat(path).st_size >= 1 << 20
    assert not os.get_inheritable(number)
    with pytest.raises(PermissionError):
        os.pwrite(number, b"x", 0)
    with pytest.raises(PermissionError):
        open(path, "wb").close()
    del sessions, model
    gc.collect()
    assert packs() == before


def test_without_a_place_for_it_every_session_packs_for_itself():
    before = shared_mappings()
    with no_cache():
        model = load(any_rows())
        sessions = [session_of_two_rows(model) for _ in range(3)]
        assert shared_mappings() == before
        assert not model.engine.shares_weights
        for session in sessions:
            session.run()


# --- Threads, forks -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["predict", "session"])
def test_threads_get_their_own_answers_on_a_few_compiled_models(way):
    content = tflite_models.mobilenet(0.25)
    generator = np.random.default_rng(4)
    with no_cache():
        model = load(content)
        shape = model.inputs[0].shape
        images = [generator.uniform(-1, 1, shape).astype(np.float32) for _ in range(6)]
        expected = [model.predict(image) for image in images]
    before = shared_mappings()
    model = load(content)
    model.gil = "release"
    wrong = []

    def run(session, image):
        next(iter(session.inputs.values()))[...] = image
        session.run()
        return next(iter(session.outputs.values()))

    def work(index):
        session = model.session() if way == "session" else None
        if session is not None:
            session.gil = "release"
        for _ in range(20):
            image = images[index]
            result = model.predict(image) if session is None else run(session, image)
            if not np.array_equal(result, expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert shared_mappings() - before <= len(os.sched_getaffinity(0))


def test_a_child_that_ends_leaves_its_parent_what_it_maps():
    model = load(any_rows())
    sessions = [session_of_two_rows(model), session_of_two_rows(model)]
    expected = answers(sessions[1], np.random.default_rng(5))
    child = os.fork()
    if child == 0:
        del model, sessions
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert answers(sessions[0], np.random.default_rng(5)) == expected
    assert answers(session_of_two_rows(model), np.random.default_rng(5)) == expected


def test_a_model_whose_descriptor_somebody_closed_goes_on_and_harms_no_file(tmp_path):
    before = packs()
    model = load(any_rows())
    sessions = [session_of_two_rows(model), session_of_two_rows(model)]
    expected = answers(sessions[0], np.random.default_rng(6))
    (number,) = packs() - before
    kept = os.dup(number)
    bystander = tmp_path / "bystander"
    bystander.write_bytes(b"of somebody else")
    with open(bystander, "r+b") as file:
        os.dup2(file.fileno(), number)
        assert answers(session_of_two_rows(model), np.random.default_rng(6)) == expected
        os.dup2(kept, number)
    os.close(kept)
    assert bystander.read_bytes() == b"of somebody else"
    assert answers(sessions[1], np.random.default_rng(6)) == expected
