"""A ticker calls its function while it is open, once more at its end, and never afterwards."""

import os
import threading

from edgeward.captures.ticker import Ticker

LONG_S = 3_600.0
LIMIT_S = 20.0


def test_it_calls_again_and_again():
    ticks = threading.Semaphore(0)
    ticker = Ticker(ticks.release, 0.001)
    for _ in range(3):
        assert ticks.acquire(timeout=LIMIT_S)
    ticker.close()


def test_its_end_is_a_call():
    calls = []
    ticker = Ticker(lambda: calls.append(threading.get_ident()), LONG_S)
    ticker.close()
    assert len(calls) == 1
    assert calls != [threading.get_ident()]
    ticker.close()
    assert len(calls) == 1


def test_it_may_be_closed_from_its_own_call():
    calls = []
    has_name, is_done = threading.Event(), threading.Event()

    def tick():
        calls.append(1)
        has_name.wait(LIMIT_S)
        ticker.close()
        if len(calls) == 2:
            is_done.set()

    ticker = Ticker(tick, 0.001)
    has_name.set()
    assert is_done.wait(LIMIT_S)
    ticker.close()
    assert len(calls) == 2


def test_an_error_in_a_call_is_said_and_ends_no_later_one(monkeypatch):
    errors, ticks = [], threading.Semaphore(0)
    monkeypatch.setattr(threading, "excepthook", errors.append)

    def tick():
        ticks.release()
        raise KeyError("a defect")

    ticker = Ticker(tick, 0.001)
    for _ in range(3):
        assert ticks.acquire(timeout=LIMIT_S)
    ticker.close()
    assert len(errors) >= 3
    assert {str(error.exc_value) for error in errors} == {"'a defect'"}


def test_a_forked_child_does_not_have_it():
    read, write = os.pipe()
    ticker = Ticker(lambda: os.write(write, b"."), 0.001)
    assert os.read(read, 1) == b"."
    child = os.fork()
    if child == 0:
        os._exit(len([thread for thread in threading.enumerate() if "ticker" in thread.name]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ticker.close()
    os.close(read)
    os.close(write)
