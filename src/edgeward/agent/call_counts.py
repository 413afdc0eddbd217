"""How many predictions of a model there were, how they ended, and how long they took."""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import grpc

from edgeward.agent.refusal import Refusal

# The upper limits of the histogram; one more bin has what took longer.
LIMITS_S = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0
)  # fmt: skip


class Counted(NamedTuple):
    """The counts at one moment."""

    bins: tuple[int, ...]  # predictions by what they took, failed ones too
    total_s: float
    failures: dict[str, int]  # by status

    @property
    def predictions(self) -> int:
        return sum(self.bins)

    def percentile_s(self, percent: float) -> float:
        """An estimate within the bin; its lower limit for what took longer than all limits."""
        below, rank = 0, self.predictions * percent / 100
        low_s = 0.0
        for count, limit_s in zip(self.bins, LIMITS_S, strict=False):
            if count and below + count >= rank:
                return low_s + (limit_s - low_s) * (rank - below) / count
            below += count
            low_s = limit_s
        return low_s if self.predictions else 0.0


class CallCounts:
    """The counts of one model since it was loaded. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bins = [0] * (len(LIMITS_S) + 1)
        self._total_s = 0.0
        self._failures: Counter[str] = Counter()

    @contextmanager
    def prediction(self) -> Iterator[None]:
        """Counts what is inside as one prediction, and the status that an exception stands for."""
        start_s = time.perf_counter()
        status = ""
        try:
            yield
        except Refusal as refusal:
            status = refusal.status.name
            raise
        except BaseException:
            status = grpc.StatusCode.INTERNAL.name
            raise
        finally:
            taken_s = time.perf_counter() - start_s
            with self._lock:
                self._bins[bisect_left(LIMITS_S, taken_s)] += 1
                self._total_s += taken_s
                if status:
                    self._failures[status] += 1

    def now(self) -> Counted:
        with self._lock:
            return Counted(tuple(self._bins), self._total_s, dict(self._failures))
