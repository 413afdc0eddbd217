"""Ticker: a thread that calls a function again and again, until it is closed."""

import _thread
from collections.abc import Callable


class Ticker:
    """Does not keep the program alive, and is not in a forked child."""

    def __init__(self, tick: Callable[[], object], period_s: float) -> None:
        """Calls `tick` every `period_s` seconds from now, and once more when it is closed.

        An exception of a call ends no later one: it goes to threading.excepthook.
        """
        import threading

        self._tick = tick
        self._period_s = period_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgeward ticker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the last call, unless this is it."""
        self._is_over.set()
        if _thread.get_ident() != self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(self._period_s):
            self._call()
        self._call()

    def _call(self) -> None:
        import sys
        import threading

        try:
            self._tick()
        except Exception:
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))
