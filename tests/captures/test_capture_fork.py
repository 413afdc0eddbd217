"""Captures and fork: a child ends well however it ends, and captures what it loads anew."""

from __future__ import annotations

import pytest
from programs import values

# Each program runs in a process of its own; its arguments are the directory and the way.
HEAD = """
import os, signal, sys, traceback
import numpy as np
import edgeward as ew
from models import tflite_models

directory, way = sys.argv[1:]
CONTENT = tflite_models.sum_product()
ones = np.ones(4, np.float32)

def load():
    \"\"\"A model and a Capture, under the names of those that were there before.\"\"\"
    global capture, model
    model = ew.load_unsigned(CONTENT)
    capture = ew.Capture(directory)
    capture.attach(model)

def run(*values):
    for value in values:
        model.predict(a=np.full(4, value, np.float32), b=ones)

def forked(use):
    try:
        use()
    except ew.Forked:
        return
    raise AssertionError("went through")

def child_of(work):
    \"\"\"The process id of a forked child that does work(), then comes to its normal end.\"\"\"
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            work()
        except Exception:
            traceback.print_exc()
            os._exit(1)
        sys.exit(0)
    return child

def ends_well(child):
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"expected the child to end with status 0, got {code}"

def in_child(work):
    ends_well(child_of(work))
"""


@pytest.fixture
def run_program(run_child, directory):
    return lambda program, way="": run_child(HEAD + program, directory, way)


def test_a_child_comes_to_its_normal_end(run_program, directory):
    program = """
load()
run(1)
in_child(lambda: None)
run(2)
"""
    run_program(program)
    assert values(directory) == [1, 2]


def test_a_child_may_let_everything_go(run_program, directory):
    program = """
import gc
load()
session = model.session()
run(1)

def child():
    global capture, model, session
    del session
    del model
    del capture
    gc.collect()

in_child(child)
run(2)
"""
    run_program(program)
    assert values(directory) == [1, 2]


def test_a_child_may_load_anew_under_the_same_names(run_program, directory):
    program = """
load()
run(1)

def child():
    load()
    run(2, 3)
    assert capture.counters["committed"] == 2
    capture.close()

in_child(child)
run(4)
"""
    run_program(program)
    assert sorted(values(directory)) == [1, 2, 3, 4]


@pytest.mark.parametrize("use", ["capture.counters", "model.statistics"])
def test_what_is_the_parents_is_refused_in_a_child(run_program, directory, use):
    program = f"""
load()
run(1)

def child():
    forked(lambda: {use})
    os._exit(0)

in_child(child)
run(2)
assert capture.flush()
"""
    run_program(program)
    assert values(directory) == [1, 2]


POOL = """
def start():
    load()
    run(-1)

def work(value):
    run(value)
    return value

load()
run(0)
"""


def test_a_forking_pool_captures_each_run_once(run_program, directory):
    program = """
import multiprocessing
with multiprocessing.get_context("fork").Pool(2, start) as pool:
    assert pool.map_async(work, range(1, 41)).get(10) == list(range(1, 41))
    pool.close()
    pool.join()
run(41)
"""
    run_program(POOL + program)
    assert sorted(values(directory)) == [-1, -1, *range(42)]


def test_a_process_pool_executor_captures_each_run_once(run_program, directory):
    program = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
context = multiprocessing.get_context("fork")
with ProcessPoolExecutor(2, context, start) as pool:
    assert list(pool.map(work, range(1, 41))) == list(range(1, 41))
run(41)
"""
    run_program(POOL + program)
    kept = sorted(values(directory))
    started = kept.count(-1)  # it makes as many processes as it has work for
    assert started in (1, 2)
    assert kept[started:] == list(range(42))


def test_a_program_that_becomes_a_daemon_captures_on(run_program, directory):
    program = """
load()
run(1)
source, target = os.pipe()
middle = os.fork()
if middle:
    os.close(target)
    ends_well(middle)
    assert os.read(source, 1) == b"!", "the daemon died"
    sys.exit(0)
os.setsid()
if os.fork():
    sys.exit(0)
load()
run(2)
os.write(target, b"!")  # its parents end behind it
run(3)
sys.exit(0)
"""
    run_program(program)  # reads what the daemon says until it has ended
    assert sorted(values(directory)) == [1, 2, 3]
    assert list(directory.glob("*.open")) == []
