"""What a Capture leaves behind when it ends: captures, and nothing in memory."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
from models import tflite_models
from programs import Program, values

import edgeward as ew
from edgeward.captures import rings

ONES = np.ones(4, np.float32)
YEAR_S = 365.25 * 86_400
PROGRAMS, ROUNDS = 4, 25


def capture(directory, *inputs):
    with ew.Capture(directory, ring_bytes=1 << 16) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        with model.session() as session:
            for value in inputs:
                session.inputs["a"][:], session.inputs["b"][:] = value, 1
                session.run()
        del session, model


def test_old_rings_that_were_refused_are_removed(directory):
    folder = Path(rings.directory_of(directory))
    rings.make_directory(str(folder))
    refused = [folder / f"{number:016x}.ring.refused" for number in range(20)]
    long_ago_s = time.time() - YEAR_S
    for path in refused:
        path.write_bytes(b"noise")
        os.utime(path, (long_ago_s, long_ago_s))
    capture(directory, 1)
    assert [path.name for path in refused if path.exists()] == []


def test_the_directory_of_rings_goes_with_the_last_program(directory):
    capture(directory, 1)
    assert not os.path.exists(rings.directory_of(directory))
    assert values(directory) == [1]


def test_the_rings_directory_stays_while_somebody_needs_it(directory):
    with Program(directory) as program:
        capture(directory, 1)
        program("run(2)")
        assert program("capture.flush()")
        program.end()
    assert sorted(values(directory)) == [1, 2]
    assert not os.path.exists(rings.directory_of(directory))


def capture_again_and_again(directory: Path, first: int) -> None:
    for value in range(first, first + ROUNDS):
        capture(directory, value)


def test_programs_that_begin_while_others_end_lose_nothing(directory):
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=capture_again_and_again, args=(directory, number * ROUNDS))
        for number in range(PROGRAMS)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * PROGRAMS
    assert sorted(values(directory)) == list(range(PROGRAMS * ROUNDS))
    assert not os.path.exists(rings.directory_of(directory))
