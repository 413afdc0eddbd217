"""Nothing is copied: engines that tell the addresses they were given see the caller's memory.

What has to be copied (a layout or an address that the engine cannot use) is counted.
"""

import fakes
import numpy as np
import pytest
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward.engines import choice, installed

MODELS = {"litert": tflite_models, "onnx": onnx_models}
SHAPE = (16,)


@pytest.fixture(params=list(MODELS))
def model(request, monkeypatch):
    """A model on a fake engine: a run writes the input's address, then the output's, into "y"."""
    library = fakes.libraries()[f"{request.param}_address"]
    version = installed.KINDS[request.param].lowest
    fake = installed.Installed(request.param, "fake", version, str(library))
    monkeypatch.setattr(choice, "installed", lambda name: fake)
    monkeypatch.setattr(choice, "ensure_usable", lambda candidate: None)
    with ew.load_unsigned(MODELS[request.param].add(SHAPE, "uint64")) as model:
        yield model


@pytest.fixture
def x():
    return ew.empty(SHAPE, "uint64")


def address(array):
    return array.__array_interface__["data"][0]


def seen(output):
    """The addresses that the engine saw, of its input and its output."""
    return int(output[0]), int(output[1])


def test_a_session_runs_on_its_views(model):
    session = model.session()
    for _ in range(3):
        session.run()
        views = session.inputs["x"], session.outputs["y"]
        assert seen(session.outputs["y"]) == (address(views[0]), address(views[1]))
    assert session.copies == 0


def test_sessions_do_not_share_memory(model):
    sessions = [model.session() for _ in range(3)]
    for session in sessions:
        session.run()
    views = [view for session in sessions for view in (session.inputs["x"], session.outputs["y"])]
    assert len({address(view) for view in views}) == len(views)
    assert [
        address_seen for session in sessions for address_seen in seen(session.outputs["y"])
    ] == [address(view) for view in views]


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model.predict(x),
        lambda model, x: model.predict(x=x),
        lambda model, x: model.predict({"x": x}),
    ],
    ids=["positional", "keyword", "mapping"],
)
def test_predict_reads_the_callers_memory_and_hands_out_the_engines(model, x, call):
    held = [call(model, x) for _ in range(10)]
    assert [seen(y) for y in held] == [(address(x), address(y)) for y in held]
    assert len({address(y) for y in held}) == len(held)
    assert model.copies == 0


@pytest.mark.parametrize("wrap", [lambda y: y, lambda y: {"y": y}], ids=["array", "mapping"])
def test_predict_writes_into_the_callers_memory(model, x, wrap):
    y = ew.empty(SHAPE, "uint64")
    for _ in range(3):
        y[:] = 0
        model.predict(x, out=wrap(y))
        assert seen(y) == (address(x), address(y))
    assert model.copies == 0


def test_other_memory_at_each_call_is_still_used_in_place(model):
    arrays = [ew.empty(SHAPE, "uint64") for _ in range(6)]
    pairs = [(x, y) for x in arrays for y in arrays if x is not y]
    for x, y in pairs:
        model.predict(x, out=y)
        assert seen(y) == (address(x), address(y))
    assert model.copies == 0


def test_a_view_of_a_session_is_read_in_place_by_predict(model):
    session = model.session()
    y = model.predict(session.inputs["x"])
    assert seen(y) == (address(session.inputs["x"]), address(y))
    assert model.copies == 0


def test_a_loop_that_lets_its_outputs_go_gets_the_same_memory_again(model, x):
    places = [seen(model.predict(x))[1] for _ in range(100)]
    assert len(set(places)) < len(places)
    assert model.copies == 0


@pytest.mark.parametrize(
    "layout",
    [
        lambda memory: memory[: 2 * SHAPE[0] : 2],
        lambda memory: memory[: SHAPE[0]][::-1],
    ],
    ids=["every second", "backwards"],
)
def test_an_input_that_is_not_contiguous_is_copied_and_counted(model, layout):
    x = layout(ew.empty(2 * SHAPE[0], "uint64"))
    for count in (1, 2, 3):
        y = model.predict(x)
        assert seen(y)[0] != address(x)
        assert seen(y)[1] == address(y)
        assert model.copies == count


def test_misaligned_memory_is_copied_and_counted_where_the_engine_needs_alignment(model):
    x = ew.empty(SHAPE[0] + 1, "uint64")[1:]
    y = ew.empty(SHAPE[0] + 1, "uint64")[1:]
    model.predict(x, out=y)
    is_in_place = seen(y) == (address(x), address(y))
    assert (model.engine.name, model.copies, is_in_place) in [
        ("litert", 2, False),
        ("onnx", 0, True),
    ]


def test_an_element_that_is_not_aligned_by_itself_is_copied_for_every_engine(model):
    x, y = (ew.empty(SHAPE[0] * 8 + 1, "uint8")[1:].view("uint64") for _ in range(2))
    model.predict(x, out=y)
    assert seen(y)[0] != address(x)
    assert seen(y)[1] != address(y)
    assert model.copies == 2


def test_an_input_that_is_also_the_output_is_copied_and_counted(model, x):
    model.predict(x, out=x)
    assert seen(x)[0] != seen(x)[1] == address(x)
    assert model.copies == 1


# --- Real engines do not tell addresses: results appear in memory that was shown before -----------


@pytest.fixture(params=[engine.name for engine in installed.all_installed()])
def real(request, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))
    models = MODELS.get(request.param, tflite_models)
    with ew.load_unsigned(models.add(SHAPE), engine=request.param) as model:
        yield model


def test_an_engine_is_here_to_test():
    assert installed.all_installed()


def test_a_real_engine_reads_and_writes_the_views_of_a_session(real):
    session = real.session()
    x, y = session.inputs["x"], session.outputs["y"]
    places = address(x), address(y)
    for step in range(3):
        x[:] = step
        session.run()
        np.testing.assert_array_equal(y, np.arange(SHAPE[0]) + step)
    assert (address(session.inputs["x"]), address(session.outputs["y"])) == places
    assert session.copies == 0


def test_a_real_engine_reads_and_writes_the_callers_memory(real):
    x, y = ew.empty(SHAPE), ew.empty(SHAPE)
    for step in range(3):
        x[:] = step
        assert real.predict(x, out=y) is y
        np.testing.assert_array_equal(y, np.arange(SHAPE[0]) + step)
        np.testing.assert_array_equal(real.predict(x), y)
    assert real.copies == 0
