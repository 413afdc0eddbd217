"""Programs that capture, each killed at any moment.

`python tests/campaigns/killed_programs.py COUNT [SEED]`

By turns they have a black box, and keep what a rule picks with PRE_ROLL runs before it. Prints a
line every hundred; ends with status 1 at the first one that left something else than it should.
For a process of one thread that has opened no engine, since it forks.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from campaigns.forked_programs import Words, count_runs, forked, wait_for_runs
from models import tflite_models

import edgeward as ew
from edgeward.captures import rules

PRE_ROLL = 5
PICKED = 50  # every so many runs the rule holds
LEAST_KEPT = 50  # that a ring of 64 KiB has room for
MOST_S = 0.004  # of a program's life after its first run


def each_kill(count: int, seed: int) -> Iterator[int]:
    """Kills `count` programs; yields how many runs each had returned from."""
    generator = random.Random(seed)
    for number in range(count):
        keep = ("newest", "oldest")[number % 2]
        with (
            tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
            patch.dict(os.environ, EDGEWARD_RINGS=str(Path(folder, "rings"))),
        ):
            directory = Path(folder, "captures")
            returned = _killed(directory, keep, generator.uniform(0, MOST_S))
            with ew.Capture(directory):  # the next one who comes finds the ring
                pass
            kept = [int(captured.inputs["b"][0]) for captured in ew.read_captures(directory)]
        what = f"{number} of seed {seed}: {returned} runs, kept {kept}"
        if keep == "newest":
            assert kept[-1] in (returned, returned + 1), what
            assert len(kept) >= min(returned, LEAST_KEPT), what
            assert kept == list(range(kept[-1] - len(kept) + 1, kept[-1] + 1)), what
        else:
            # Of the run that did not return, and of those before it, any may be there.
            must, may = _picked(returned), _picked(returned + 1)
            assert kept[: len(must)] == must, what
            assert kept == sorted(set(kept) & set(may)), what
        yield returned


def _picked(runs: int) -> list[int]:
    return [
        run for end in range(PICKED, runs + 1, PICKED) for run in range(end - PRE_ROLL, end + 1)
    ]


def _killed(directory: Path, keep: str, life_s: float) -> int:
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        returned: Words = np.frombuffer(page, np.int64, 1)
        child = forked(partial(_run, directory, keep, returned))
        wait_for_runs(returned)
        time.sleep(life_s)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the program ended by itself"
        runs = int(returned[0])
        del returned
    return runs


def _run(directory: Path, keep: str, returned: Words) -> None:
    if keep == "newest":
        capture = ew.Capture(directory, keep="newest", ring_bytes=1 << 16)
    else:
        capture = ew.Capture(directory, when=rules.above("s", 5e6), pre_roll=PRE_ROLL)
    model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
    run = 0
    while True:
        run += 1
        model.predict(a=_vector(0 if run % PICKED else 1e7), b=_vector(run))
        returned[0] = run


def _vector(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(4, value, np.float32)


if __name__ == "__main__":
    sys.exit(count_runs(each_kill, "killed"))
