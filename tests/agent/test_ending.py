"""Signals are noted whichever thread they meet, and end a wait."""

from __future__ import annotations

import textwrap

import pytest

NOTED = """
import os, signal, sys, threading
from edgeward.agent.ending import Ending
ending = Ending()
assert not ending.is_asked()
assert not ending.is_asked(0.01)
number = getattr(signal, sys.argv[1])
# In another thread: what the main thread waits for is not interrupted.
threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), number)).start()
assert ending.is_asked(None)
assert ending.is_asked()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_that_another_thread_gets_ends_the_wait(run_child, name):
    run_child(NOTED, name)


def test_a_signal_that_is_ignored_stays_so(run_child):
    program = """
    import os, signal
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from edgeward.agent.ending import Ending
    ending = Ending()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not ending.is_asked(0.1)
    """
    run_child(textwrap.dedent(program))
