"""The black box: what ran last is on the disk when its session ends, and whenever one asks."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from models import tflite_models
from programs import Program, comes_true, values

import edgeward as ew
from edgeward.captures import rules

ONES = np.ones(4, np.float32)
TRIGGER = rules.above("s", 100)


def run(model, *inputs):
    for value in inputs:
        model.predict(a=np.full(4, value, np.float32), b=ONES)


def run_session(session, *inputs):
    for value in inputs:
        session.inputs["a"][...], session.inputs["b"][...] = value, 1
        session.run()


def rings_in_memory() -> list[str]:
    return [path.name for path in Path(os.environ["EDGEWARD_RINGS"]).rglob("*.ring")]


def pair(capture):
    return ew.load_unsigned(tflite_models.sum_product(), capture=capture)


# --- its session ends ----------------------------------------------------------------------------


def test_it_is_on_the_disk_when_its_session_is_closed(directory):
    with ew.Capture(directory, keep="newest") as capture:
        model = pair(capture)
        session = model.session()
        run_session(session, 1, 2, 3)
        session.close()
        assert capture.flush()
        assert values(directory) == [1, 2, 3]


def test_it_is_on_the_disk_when_its_capture_is_closed(directory):
    with ew.Capture(directory, keep="newest") as capture:
        model = pair(capture)
        session = model.session()
        run_session(session, 1, 2, 3)
        session.close()
    assert values(directory) == [1, 2, 3]
    assert rings_in_memory() == []


@pytest.mark.parametrize("keep", ["oldest", "newest"])
def test_it_is_on_the_disk_when_its_program_ends(directory, run_child, keep):
    program = """
    import sys
    import edgeward as ew
    from models import tflite_models
    capture = ew.Capture(sys.argv[1], keep=sys.argv[2])
    model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
    session = model.session()
    for value in (1, 2, 3):
        session.inputs["a"][...] = value
        session.run()
    """
    run_child(textwrap.dedent(program), directory, keep)
    assert values(directory) == [1, 2, 3]
    assert rings_in_memory() == []


@pytest.mark.parametrize("keep", ["oldest", "newest"])
def test_a_session_that_is_closed_gives_its_memory_back(directory, keep):
    with ew.Capture(directory, keep=keep) as capture:
        model = pair(capture)
        with model.session():  # the one that was made with the model
            before = rings_in_memory()
            session = model.session()
            run_session(session, 1)
            session.close()
            assert capture.flush()
            assert comes_true(lambda: rings_in_memory() == before)


@pytest.mark.parametrize("keep", ["oldest", "newest"])
def test_a_model_that_is_closed_gives_its_memory_back(directory, keep):
    with ew.Capture(directory, keep=keep) as capture:
        model = pair(capture)
        session = model.session()
        run_session(session, 1)
        run(model, 2)
        model.close()
        session.close()
        assert capture.flush()
        assert comes_true(lambda: rings_in_memory() == [])
        assert sorted(values(directory)) == [1, 2]


# --- saved now -----------------------------------------------------------------------------------


def test_save_brings_it_to_the_disk_and_goes_on(directory):
    with ew.Capture(directory, keep="newest") as capture:
        model = pair(capture)
        run(model, *range(5))
        assert capture.save()
        assert values(directory) == [0, 1, 2, 3, 4]
        run(model, *range(5, 10))
        assert capture.save()
        assert values(directory) == list(range(10))
    assert values(directory) == list(range(10))


def test_save_keeps_what_is_given_up_later(directory):
    with ew.Capture(directory, keep="newest", ring_bytes=1 << 16) as capture:
        model = pair(capture)
        run(model, *range(20))
        assert capture.save()
        run(model, *range(20, 2000))
        assert capture.counters["overwritten"] > 0
        assert values(directory) == list(range(20))
    kept = values(directory)
    assert kept[:20] == list(range(20))
    assert kept[20:] == list(range(2020 - len(kept), 2000))


def test_what_was_saved_outlives_a_kill_once(directory):
    with Program(directory, "keep='newest'") as program:
        program("run(1, 2)")
        assert program("capture.save()")
        program("run(3)")
        program.kill()
    with ew.Capture(directory):
        pass
    assert values(directory) == [1, 2, 3]


# --- after a trigger -----------------------------------------------------------------------------


def test_what_came_after_a_trigger_is_kept_too(directory):
    with ew.Capture(directory, when=TRIGGER, pre_roll=2, post_roll=3) as capture:
        run(pair(capture), 1, 2, 3, 200, 4, 5, 6, 7, 8)
    captured = list(ew.read_captures(directory))
    assert [record.inputs["a"][0] for record in captured] == [2, 3, 200, 4, 5, 6]
    before, trigger, after = ("pre_roll",), ("predicate",), ("post_roll",)
    assert [record.reasons for record in captured] == [before] * 2 + [trigger] + [after] * 3


def test_a_trigger_among_what_comes_after_one_begins_anew(directory):
    with ew.Capture(directory, when=TRIGGER, post_roll=2) as capture:
        run(pair(capture), 200, 1, 300, 2, 3, 4)
    assert values(directory) == [200, 1, 300, 2, 3]


def test_what_comes_too_long_after_a_trigger_is_not_kept(directory):
    with ew.Capture(directory, when=TRIGGER, post_roll=10, post_roll_s=0.05) as capture:
        model = pair(capture)
        run(model, 200)
        begin_s = time.monotonic()
        assert comes_true(lambda: time.monotonic() - begin_s > 0.05)
        run(model, 1, 2)
    assert values(directory) == [200]


def test_what_comes_soon_after_a_trigger_is_kept(directory):
    with ew.Capture(directory, when=TRIGGER, post_roll=2, post_roll_s=3600.0) as capture:
        run(pair(capture), 200, 1, 2, 3)
    assert values(directory) == [200, 1, 2]


# --- its size ------------------------------------------------------------------------------------


def test_its_size_in_records(directory):
    with ew.Capture(directory, keep="newest", ring_records=10) as capture:
        run(pair(capture), *range(50))
    assert values(directory) == list(range(40, 50))


def test_its_size_in_seconds(directory):
    with ew.Capture(directory, keep="newest", ring_s=0.5) as capture:
        model = pair(capture)
        run(model, 1, 2)
        begin_s = time.monotonic()
        assert comes_true(lambda: time.monotonic() - begin_s > 0.5)
        run(model, 3)
        assert capture.save()
        assert values(directory) == [3]
