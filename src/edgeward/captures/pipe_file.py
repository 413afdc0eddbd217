"""PipeFile: what is written at once into standard output, a pipe or a device."""

import os
import stat
import sys
from contextlib import suppress

from edgeward.errors import BadInput

STANDARD_OUTPUT = ("-", "/dev/stdout")


def is_pipe(path: str) -> bool:
    """Whether what is written to `path` is read while it is written, and has no name of its own."""
    if path in STANDARD_OUTPUT:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class PipeFile:
    """One thread at a time. Has the methods of DraftFile; what was written cannot be taken back."""

    def __init__(self, path: str) -> None:
        """Opens it, where it is not standard output. Raises OSError, BadInput for a terminal."""
        self.path = path
        self.closed = False
        self._size_bytes = 0
        number = os.dup(sys.stdout.fileno()) if path in STANDARD_OUTPUT else None
        self._file = open(path if number is None else number, "wb")  # noqa: SIM115 - until commit
        if self._file.isatty():
            self._file.close()
            raise BadInput(f'output "{path}": expected a file or a pipe, got a terminal')

    def write(self, data: bytes) -> int:
        if not self.closed:
            self._file.write(data)
        self._size_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size_bytes

    def spill(self) -> None:
        """Hands on what was written. Raises OSError."""
        self._file.flush()

    def commit(self) -> str:
        """Ends it, and returns its path. Raises OSError."""
        self.closed = True
        self._file.close()
        return self.path

    def discard(self) -> None:
        """Ends it where it is."""
        self.closed = True
        with suppress(OSError):
            self._file.close()

    def flush(self) -> None:
        """Does nothing: spill() is called where a batch ends."""

    def close(self) -> None:
        """Does nothing: whoever opened it commits or discards it."""
