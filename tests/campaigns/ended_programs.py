"""Programs that capture, and are terminated, killed, or lose the machine at any moment.

`python tests/campaigns/ended_programs.py COUNT [SEED]`

By turns: SIGTERM, SIGKILL, and a reboot, which empties the memory that the rings are in. Prints a
line every hundred; ends with status 1 at the first one whose records are not as documented, or
whose statistics are further behind than their period. For a process of one thread that has opened
no engine, since it forks.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
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

ENDS = ("terminated", "killed", "rebooted")
STATISTICS_S = 0.1
MOST_S = 0.6  # of a program's life after its first run
SAVING_S = 1.0  # that a save may take on a machine with other work
TICK_S = 0.01


def each_end(count: int, seed: int) -> Iterator[int]:
    """Ends `count` programs; yields how many runs each had returned from."""
    generator = random.Random(seed)
    for number in range(count):
        end = ENDS[number % len(ENDS)]
        with (
            tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
            patch.dict(os.environ, EDGEWARD_RINGS=str(Path(folder, "rings"))),
        ):
            directory = Path(folder, "captures")
            returned, settled = _ended(directory, end, generator.uniform(0, MOST_S))
            if end == "rebooted":
                shutil.rmtree(Path(folder, "rings"))
            with ew.Capture(directory):  # the next one who comes
                pass
            kept = [int(captured.inputs["b"][0]) for captured in ew.read_captures(directory)]
            counted = sum(
                entry.statistics.report()["run_count"] for entry in ew.read_statistics(directory)
            )
        what = (
            f"{number} of seed {seed}, {end}: {returned} runs, {settled} settled, kept {len(kept)}"
        )
        assert kept == list(range(1, len(kept) + 1)), what
        least = settled if end == "rebooted" else returned
        assert least <= len(kept) <= returned + 1, what
        assert settled <= counted <= returned + 1, f"{what}, {counted} in the statistics"
        yield returned


def _ended(directory: Path, end: str, life_s: float) -> tuple[int, int]:
    """How many runs returned, and how many of them long enough before the end."""
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        returned: Words = np.frombuffer(page, np.int64, 1)
        child = forked(partial(_run, directory, returned))
        wait_for_runs(returned)
        begin = time.monotonic()
        ticks = []  # when, and how many runs had returned
        while (now := time.monotonic()) < begin + life_s + STATISTICS_S + SAVING_S:
            ticks.append((now, int(returned[0])))
            time.sleep(TICK_S)
        os.kill(child, signal.SIGTERM if end == "terminated" else signal.SIGKILL)
        over = time.monotonic()
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the program ended by itself"
        runs = int(returned[0])
        del returned
    settled = max((count for at, count in ticks if at < over - STATISTICS_S - SAVING_S), default=0)
    return runs, settled


def _run(directory: Path, returned: Words) -> None:
    capture = ew.Capture(directory, statistics_s=STATISTICS_S, ring_bytes=1 << 20)
    model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
    run = 0
    while True:
        run += 1
        model.predict(a=_vector(1), b=_vector(run))
        returned[0] = run
        time.sleep(0.0005)  # less than the ring takes in a second


def _vector(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(4, value, np.float32)


if __name__ == "__main__":
    sys.exit(count_runs(each_end, "ended"))
