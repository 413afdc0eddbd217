"""Forked programs that run until a campaign ends them, and the loop that counts their runs.

For a process of one thread that has opened no engine, since it forks.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

NEVER_S = 60.0

Words = np.ndarray[Any, np.dtype[np.int64]]


def forked(run: Callable[[], object]) -> int:
    """The process id of a child that runs this. It ends by itself if the campaign forgets it."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(int(NEVER_S))
            run()
        finally:
            traceback.print_exc()
            os._exit(1)
    return child


def wait_for_runs(returned: Words) -> None:
    """Until each program has returned from a run."""
    until = time.monotonic() + NEVER_S
    while (returned == 0).any() and time.monotonic() < until:
        time.sleep(0.001)
    assert (returned > 0).all(), f"expected a run of each in {NEVER_S} s, got none"


def count_runs(each: Callable[[int, int], Iterator[int]], done: str) -> int:
    """The main program of a campaign: `COUNT [SEED]`, and a line every hundred."""
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    runs = 0
    for number, returned in enumerate(each(count, seed), 1):
        runs += returned
        if number % 100 == 0:
            print(f"{number} {done}, {runs} runs returned: right", flush=True)
    return 0
