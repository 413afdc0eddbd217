"""DraftFile: a file that gets its name when it is complete.

It is open only while it is written to, so that any number of them fits a process. What was written
since the last spill is held in memory. Has the methods that pyarrow asks of a file.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from edgeward.durable import sync
from edgeward.errors import BadInput


def finished_together(finish: Iterable[Callable[[], str]]) -> list[str]:
    """The paths of the files that each finishes; none of them stays when one cannot be finished."""
    paths: list[str] = []
    try:
        for step in finish:
            paths.append(step())
    except BaseException:
        remove(paths)
        raise
    return paths


def remove(paths: Iterable[str]) -> None:
    """Those that are regular files, and can be removed."""
    for path in paths:
        with suppress(OSError):
            if os.path.isfile(path):
                os.unlink(path)


class DraftFile:
    """One thread at a time. Ends by commit() or discard(); what is written later goes nowhere."""

    def __init__(self, path: str, draft: str | None = None) -> None:
        """Creates the draft, beside `path` unless it is named.

        Raises OSError, BadInput when there is a file called `path`.
        """
        if os.path.lexists(path):
            raise BadInput(f'output "{path}": expected no such file yet, got one')
        self.path = path
        self.draft = draft or f"{path}.draft-{os.getpid()}"
        self.closed = False
        self._parts: list[bytes] = []
        self._size_bytes = 0
        with open(self.draft, "wb"):
            pass

    def write(self, data: bytes) -> int:
        if not self.closed:
            self._parts.append(bytes(data))
        self._size_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size_bytes

    def spill(self) -> None:
        """Brings what was written to the disk. Raises OSError."""
        if self._parts:
            with open(self.draft, "ab") as file:
                file.writelines(self._parts)
            self._parts.clear()

    def commit(self) -> str:
        """Gives the file its name, durably, and returns it. Raises OSError."""
        self.spill()
        sync(self.draft)
        os.replace(self.draft, self.path)
        self.closed = True
        sync(os.path.dirname(self.path) or os.curdir)
        return self.path

    def discard(self) -> None:
        """Removes the draft. Does nothing to a file that has its name."""
        self._parts.clear()
        if not self.closed:
            self.closed = True
            with suppress(FileNotFoundError):
                os.unlink(self.draft)

    def flush(self) -> None:
        """Does nothing: spill() is called where a batch ends."""

    def close(self) -> None:
        """Does nothing: whoever made the draft commits or discards it."""
