"""Tries by the million, each named by (seed, index), in children that may die, hang or take memory.

Children try batches and write every verdict into shared memory, so that a death costs one try.
"""

from __future__ import annotations

import enum
import mmap
import os
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

TIME_LIMIT_S = 20
MEMORY_BYTES = 1 << 30  # beyond what the process has before the first try
BATCH = 20_000


class Verdict(enum.IntEnum):
    """What became of a try."""

    UNTRIED = 0
    READ = 1
    REFUSED = 2
    WRONG = 3  # anything else that is no death
    DEATH = 4
    HANG = 5


FINDINGS = (Verdict.WRONG, Verdict.DEATH, Verdict.HANG)
Try = Callable[[int, int], Verdict]  # of a seed and an index


class Campaign(NamedTuple):
    counts: Counter[Verdict]
    findings: dict[int, Verdict]  # by index

    def report(self) -> dict[str, Any]:
        counts = {verdict.name.lower(): self.counts[verdict] for verdict in Verdict if verdict}
        return counts | {"findings": {index: kind.name for index, kind in self.findings.items()}}


def shown(done: int, count: int, finding_count: int, since_s: float) -> None:
    """A line on standard error that says how far a campaign is."""
    rate = done / since_s
    text = f"{done:,} of {count:,}, {finding_count} findings, {rate:,.0f} a second"
    print(f"\r{text}", end="\n" if done == count else "", file=sys.stderr, flush=True)


def campaign(
    seed: int,
    indices: range,
    run: Try,
    progress: Callable[[int, int, int, float], None] = lambda done, count, finding_count, s: None,
    seconds: float = float("inf"),
) -> Campaign:
    """Tries all of `indices`, in children one after the other; begins no try after `seconds`."""
    total = Campaign(Counter(), {})
    begin = time.monotonic()
    done = 0
    while done < len(indices) and time.monotonic() - begin < seconds:
        batch = indices[done : done + BATCH]
        record = mmap.mmap(-1, len(batch))
        child = os.fork()
        if child == 0:
            run_batch(seed, batch, run, record, begin + seconds)
        status = os.waitpid(child, 0)[1]
        verdicts = [Verdict(record[at]) for at in range(len(batch))]
        if Verdict.UNTRIED in verdicts:
            at = verdicts.index(Verdict.UNTRIED)
            is_late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
            last = [] if status == 0 else [Verdict.HANG if is_late else Verdict.DEATH]
            verdicts[at:] = last
        for index, verdict in zip(batch, verdicts, strict=False):
            total.counts[verdict] += 1
            if verdict in FINDINGS:
                total.findings[index] = verdict
        done += len(verdicts)
        progress(done, len(indices), len(total.findings), time.monotonic() - begin)
    return total


def run_batch(seed: int, batch: range, run: Try, record: mmap.mmap, end_s: float) -> None:
    """What a child does: never returns. Past a try's time limit the kernel ends it with SIGALRM."""
    (pages,) = Path("/proc/self/statm").read_text().split()[:1]
    most = int(pages) * mmap.PAGESIZE + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    warnings.simplefilter("error")
    for at, index in enumerate(batch):
        if time.monotonic() > end_s:
            break
        signal.alarm(TIME_LIMIT_S)
        try:
            record[at] = run(seed, index)
        except BaseException:
            os._exit(1)
    os._exit(0)
