"""A directory's lock: a file in it that its owner alone can open, held by one process at a time.

A lock on the directory itself, or on a file that others can read, could be held by them for ever.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST_WAIT_S = 10.0  # for a process that writes
PAUSE_S = 0.01


@contextmanager
def held(path: str, noun: str, most_wait_s: float | None = None) -> Iterator[int]:
    """Holds the lock, a descriptor, until the end of the block or of the process.

    `noun` is what it locks, for the message: "the trust directory". Raises TimeoutError when others
    hold it for `most_wait_s`, by default MOST_WAIT_S, and OSError.
    """
    import fcntl

    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _wait(number, path, noun, MOST_WAIT_S if most_wait_s is None else most_wait_s)
        yield number
    finally:
        # Unlock explicitly: a forked child shares the descriptor and would keep the lock.
        fcntl.flock(number, fcntl.LOCK_UN)
        os.close(number)


def _wait(number: int, path: str, noun: str, most_wait_s: float) -> None:
    import errno
    import fcntl

    end_s = time.monotonic() + most_wait_s
    while True:
        try:
            return fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                message = (
                    f"expected the lock of {noun} within {most_wait_s:g} s, got none: another "
                    "process holds it"
                )
                raise TimeoutError(errno.ETIMEDOUT, message, path) from None
            time.sleep(PAUSE_S)
