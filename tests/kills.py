"""A step that dies: the same work in child after child, each killed one call later than the last.

A call is one into C, where every system call is; the child is killed before it and after it. For a
process of one thread, since it forks.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Container, Iterator
from itertools import count
from typing import Any


def each_kill(work: Callable[[], object], calls: Container[str] | None = None) -> Iterator[str]:
    """Yields after each death which call it was at, until a child does all of `work`.

    What the caller changes between two steps is what the next child finds. With `calls` it dies at
    those of these names alone.
    """
    for step in count():
        source, target = os.pipe()
        child = os.fork()
        if child == 0:
            _die_at(step, target, work, calls)
        os.close(target)
        with open(source) as file:
            name = file.read()
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work failed before it was killed"
            return
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        yield name


def _die_at(
    step: int, target: int, work: Callable[[], object], calls: Container[str] | None
) -> None:
    left = step

    def look(frame: object, event: str, called: Any) -> None:
        nonlocal left
        if event not in ("c_call", "c_return", "c_exception"):
            return
        if calls is not None and called.__name__ not in calls:
            return
        if left == 0:
            side = "before" if event == "c_call" else "after"
            os.write(target, f"{side} {called.__name__}".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    try:
        sys.setprofile(look)
        work()
        sys.setprofile(None)
    except BaseException:
        sys.setprofile(None)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
