"""A try that goes wrong in any way costs itself alone, and is seen."""

import os
import signal

import trials
from trials import Verdict, campaign


def test_an_error_a_death_and_a_hang_cost_one_document_each(monkeypatch):
    def run(seed: int, index: int) -> Verdict:
        if index == 11:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 13:
            signal.pause()
        return Verdict.WRONG if index == 14 else Verdict.READ

    monkeypatch.setattr(trials, "TIME_LIMIT_S", 1)
    total = campaign(1, range(10, 16), run)
    assert total.findings == {11: Verdict.DEATH, 13: Verdict.HANG, 14: Verdict.WRONG}
    assert total.counts[Verdict.READ] == 3


def test_memory_has_a_limit(monkeypatch):
    def run(seed: int, index: int) -> Verdict:
        try:
            return Verdict.READ if bytearray(2 * trials.MEMORY_BYTES) else Verdict.REFUSED
        except MemoryError:
            return Verdict.WRONG

    assert campaign(1, range(1), run).findings == {0: Verdict.WRONG}


def test_a_campaign_ends_with_its_time():
    def run(seed: int, index: int) -> Verdict:
        return Verdict.READ

    total = campaign(1, range(10**9), run, seconds=0.5)
    assert set(total.counts) == {Verdict.READ}
    assert total.counts[Verdict.READ] > 0
    assert campaign(1, range(10**9), run, seconds=0).counts == {}
