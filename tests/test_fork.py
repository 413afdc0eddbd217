"""A forked child: what was loaded before is refused there at once, and the child ends well."""

import pytest
from engines_here import models_of

# Each program runs in a process of its own, with one engine.
HEAD = """
import os, signal, sys, threading
import numpy as np
import edgeward as ew

engine_name, path = sys.argv[1:]
x = np.arange(16, dtype=np.float32)

def load(**options):
    return ew.load_unsigned(path, engine=engine_name, **options)

def in_child(work):
    \"\"\"Runs work() in a forked child, which must end by itself, with status 0.\"\"\"
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            work()
        except Exception:
            import traceback
            traceback.print_exc()
            os._exit(1)
        sys.exit(0)  # through the interpreter's whole ending
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, os.waitstatus_to_exitcode(status)

def forked(use):
    try:
        use()
    except ew.Forked as error:
        assert "expected use in the process that loaded it, got a forked child" in str(error)
        assert "\\n" not in str(error)
    else:
        raise AssertionError("went through")
"""


@pytest.fixture
def run_program(run_child, engine_name, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(models_of(engine_name).add())
    return lambda program: run_child(HEAD + program, engine_name, path)


@pytest.mark.parametrize("threads", [1, 2])
def test_everything_that_runs_is_refused_in_a_child(run_program, threads):
    program = f"""
model = load(threads={threads})
session = model.session()
session.inputs["x"][:] = x
session.run()
y, view = model.predict(x), session.outputs["y"]

def child():
    for use in (
        lambda: model.predict(x), lambda: model.predict({{"x": x}}),
        lambda: model.predict(x, out=y),
        model.session, model.trim, model.close, session.run, session.reset, session.close,
        lambda: session.resize({{}}), lambda: session.time_bare_runs(1),
    ):
        forked(use)
    assert model.inputs[0].name == "x"
    np.testing.assert_array_equal(y, x + x)  # memory is memory
    np.testing.assert_array_equal(view, x + x)

in_child(child)
np.testing.assert_array_equal(model.predict(x), x + x)
session.run()
model.close()
print("parent works")
"""
    assert run_program(program).endswith("parent works\n")


def test_a_child_may_let_everything_go(run_program):
    program = """
import gc
model, held = load(), []
session = model.session()
views = session.inputs, session.outputs
for _ in range(20):
    held.append(model.predict(x))

def child():
    global model, session, views, held
    del held[::2]
    del model, session, views
    gc.collect()
    del held
    gc.collect()

in_child(child)
for y in held:
    np.testing.assert_array_equal(y, x + x)
np.testing.assert_array_equal(model.predict(x), x + x)
print("parent works")
"""
    assert run_program(program).endswith("parent works\n")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_child_may_load_anew(run_program, threads):
    program = f"""
model = load(threads={threads})
model.predict(x)

def child():
    forked(lambda: model.predict(x))
    own = load(threads={threads})
    np.testing.assert_array_equal(own.predict(x), x + x)
    session = own.session()
    session.inputs["x"][:] = x
    session.run()
    np.testing.assert_array_equal(session.outputs["y"], x + x)
    in_child(lambda: forked(lambda: own.predict(x)))  # a child of the child
    np.testing.assert_array_equal(own.predict(x), x + x)
    own.close()

for _ in range(3):
    in_child(child)
np.testing.assert_array_equal(model.predict(x), x + x)
print("parent works")
"""
    assert run_program(program).endswith("parent works\n")


def test_a_child_may_leave_a_with_block(run_program):
    program = """
def child():
    sys.exit(0)

with load() as model, model.session():
    in_child(child)
    np.testing.assert_array_equal(model.predict(x), x + x)
print("parent works")
"""
    assert run_program(program).endswith("parent works\n")


def test_a_child_of_a_process_that_only_imported_is_free(run_program):
    program = """
def child():
    np.testing.assert_array_equal(load().predict(x), x + x)

in_child(child)
in_child(child)
np.testing.assert_array_equal(load().predict(x), x + x)
print("parent works")
"""
    assert run_program(program).endswith("parent works\n")


def test_a_fork_while_other_threads_predict(run_program):
    program = """
model = load()
model.gil = "release"
done = threading.Event()

def work():
    while not done.is_set():
        np.testing.assert_array_equal(model.predict(x), x + x)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
try:
    for _ in range(20):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            try:
                forked(lambda: model.predict(x))
            except BaseException:
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
finally:
    done.set()
    for thread in threads:
        thread.join()
print("parent works")
"""
    assert run_program(program).endswith("parent works\n")


def test_a_forking_pool_uses_models_of_its_own(run_program):
    program = """
import multiprocessing
model = load()
model.predict(x)
own = None

def start():
    global own
    own = load()

def work(step):
    try:
        model.predict(x)
    except ew.Forked:
        return own.predict(x + step)
    return None

context = multiprocessing.get_context("fork")
with context.Pool(2, start) as pool:
    for step, y in enumerate(pool.map(work, range(20))):
        np.testing.assert_array_equal(y, x + step + np.arange(16))
np.testing.assert_array_equal(model.predict(x), x + x)
print("parent works")
"""
    assert run_program(program).endswith("parent works\n")


def test_a_child_may_become_another_program(run_program):
    program = """
model = load()
def child():
    os.execv(sys.executable, [sys.executable, "-c", "import edgeward"])
in_child(child)
np.testing.assert_array_equal(model.predict(x), x + x)
print("parent works")
"""
    assert run_program(program).endswith("parent works\n")
