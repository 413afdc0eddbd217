"""Programs that capture into one directory, and end, are killed, are stopped and fork.

`python tests/campaigns/rival_programs.py COUNT [SEED]`

In each round two or four programs share the directory and its rings, half of them with a recipient
of their own; whoever drains drains for all. Prints a line every hundred rounds; ends with status 1
at the first one that left a record torn, twice, out of order or uncounted, or a byte of what only a
recipient may read. For a process of one thread that has opened no engine, since it forks.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import sealed
from campaigns.forked_programs import Words, count_runs, forked, wait_for_runs
from models import tflite_models

import edgeward as ew
from edgeward.captures.segments import read_counters

ACTS = 5  # of a round
PAUSE_S = 0.03  # between two of them, at most
RUN, END, FORK = 0, 1, 2  # what a program is told
CANARY = np.frombuffer(b"canary-0123-9876", np.float32)  # none of them special
OPEN = np.frombuffer(b"nobody-0123-9876", np.float32)
RECIPIENT = sealed.DEVICE.public


class Rivals:
    """The programs of one round, and the page that they share: runs returned, what is told."""

    def __init__(self, directory: Path, count: int) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self.words: Words = np.frombuffer(self._page, np.int64, 2 * count).reshape(count, 2)
        self.living = {
            number: forked(partial(_run, directory, number, self.words[number]))
            for number in range(count)
        }
        wait_for_runs(self.words[:, 0])

    def act(self, generator: random.Random) -> str:
        """Something happens to one of them."""
        number = generator.choice(list(self.living))
        act = generator.choice(("end", "kill", "stop", "fork"))
        if act == "end":
            self.words[number, 1] = END
            self._wait(number)
        elif act == "kill":
            os.kill(self.living[number], signal.SIGKILL)
            self._wait(number)
        elif act == "stop":
            os.kill(self.living[number], signal.SIGSTOP)
            time.sleep(generator.uniform(0, PAUSE_S))
            os.kill(self.living[number], signal.SIGCONT)
        else:
            self.words[number, 1] = FORK
        return f"{act} {number}"

    def kill_all(self) -> None:
        for number in list(self.living):
            os.kill(self.living[number], signal.SIGKILL)
            self._wait(number)

    def _wait(self, number: int) -> None:
        _, status = os.waitpid(self.living.pop(number), 0)
        assert status in (0, signal.SIGKILL), f"program {number} ended with status {status}"


def each_round(count: int, seed: int) -> Iterator[int]:
    """Yields how many runs returned in each of `count` rounds."""
    generator = random.Random(seed)
    for number in range(count):
        with (
            tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
            patch.dict(os.environ, EDGEWARD_RINGS=str(Path(folder, "rings"))),
        ):
            directory = Path(folder, "captures")
            rivals = Rivals(directory, (2, 4)[number % 2])
            acts = []
            while rivals.living and len(acts) < ACTS:
                acts.append(rivals.act(generator))
                time.sleep(generator.uniform(0, PAUSE_S))
            rivals.kill_all()
            with ew.Capture(directory):  # the next one who comes finds what is left
                pass
            returned = rivals.words[:, 0].tolist()
            try:
                check(directory, returned)
            except AssertionError as error:
                raise AssertionError(f"{number} of seed {seed}: {acts}: {error}") from None
        yield sum(returned)


def check(directory: Path, returned: list[int]) -> None:
    """What is on the disk, of programs that returned from so many runs."""
    seen: dict[int, list[int]] = defaultdict(list)  # by ring
    program_of: dict[int, int] = {}
    for captured in ew.read_captures(directory, key=sealed.DEVICE):
        program, run = (int(value) for value in captured.inputs["b"][:2])
        assert program_of.setdefault(captured.ring_id, program) == program, "two mixed up"
        values = captured.inputs["a"]
        assert values.tobytes() == (CANARY if program % 2 else OPEN).tobytes(), "a record is torn"
        assert captured.sequence > len(seen[captured.ring_id]), "twice, or out of order"
        assert run == captured.sequence, f"run {run} of program {program} is {captured.sequence}"
        assert not seen[captured.ring_id] or run > seen[captured.ring_id][-1], "twice"
        seen[captured.ring_id].append(run)
    counters = read_counters(directory, key=sealed.DEVICE)
    assert sorted(program_of.values()) == list(range(len(returned))), "a ring is missing"
    for ring_id, runs in seen.items():
        counted = counters[ring_id]
        program = program_of[ring_id]
        ran = counted["committed"] + counted["lost_full"]
        assert ran - returned[program] in (0, 1), f"{ran} counted of {returned[program]} runs"
        assert len(runs) == counted["committed"], f"{len(runs)} of {counted['committed']} there"
    for path in directory.rglob("*"):
        assert path.is_dir() or CANARY.tobytes() not in path.read_bytes(), f"plaintext in {path}"


def _run(directory: Path, number: int, words: Words) -> None:
    recipient = RECIPIENT if number % 2 else None
    capture = ew.Capture(
        directory, ring_bytes=1 << 20, encrypt_to=recipient, statistics=False, segment_bytes=1 << 20
    )
    model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
    values = CANARY if number % 2 else OPEN
    run = 0
    while words[1] != END:
        if words[1] == FORK:
            words[1] = RUN
            if os.fork() == 0:
                time.sleep(0.2)
                os._exit(0)
        run += 1
        model.predict(a=values, b=np.array([number, run, 0, 0], np.float32))
        words[0] = run
        time.sleep(0)
    capture.close()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(count_runs(each_round, "rounds"))
