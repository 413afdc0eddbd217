"""Shims: libraries, preloaded into a process, that give it another kernel; the C is beside this.

`no_locks`: flock fails for each file with $NO_LOCKS_FOR in its path, with the error of the number
$NO_LOCKS_ERROR.
`wall_clock`: the wall's clock is ahead by the nanoseconds in the file $WALL_AHEAD, which anybody
may change while the process runs.
"""

import atexit
import functools
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent


@functools.cache
def library(name: str) -> str:
    """The path of one, compiled once in this process."""
    folder = tempfile.mkdtemp(prefix="edgeward-shims-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/{name}.so"
    source = str(SOURCES / f"{name}.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"], check=True)
    return path


class WallClock:
    """The clock on the wall of the processes that get its environment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set_ahead(0)
        self.environment = {"LD_PRELOAD": library("wall_clock"), "WALL_AHEAD": str(path)}

    def set_ahead(self, seconds: float) -> None:
        """Of the real time; a negative number is behind it."""
        with open(self._path, "r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))
