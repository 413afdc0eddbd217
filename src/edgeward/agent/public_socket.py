"""The unix socket that clients connect to: its file is bound, replaced when stale, and removed."""

import errno
import os
import socket
import stat
from contextlib import suppress

from edgeward.errors import Busy

BACKLOG = 4096  # of connections that nobody has accepted; the kernel may allow fewer


def listening(path: str, mode: int, replaces: bool) -> socket.socket:
    """A socket that listens at `path`, whose file has `mode`; the folder is made.

    The file of an agent that is gone is replaced; with `replaces`, that of a living one too. Raises
    Busy where a living process listens, OSError, and FileExistsError for any other file.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    _remove_socket(path, replaces)
    listener = socket.socket(socket.AF_UNIX)
    # From its first moment on nobody else may connect; fchmod does not reach the file of a socket.
    mask = os.umask(0o777 & ~mode)
    try:
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror or str(error), path) from None
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


def remove(path: str, identity: tuple[int, int]) -> None:
    """Removes the file `path` while it is that of `identity`, and not another agent's."""
    with suppress(OSError):
        if identity_of(path) == identity:
            os.unlink(path)


def identity_of(path: str) -> tuple[int, int]:
    """What tells the file at `path` from any other. Raises OSError."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _remove_socket(path: str, replaces: bool) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise FileExistsError(errno.EEXIST, "expected a socket or nothing, got another file", path)
    if not replaces and _is_answered(path):
        raise Busy(f'socket "{path}": expected none or one left behind, got one in use: stop that '
                   "agent, or choose another path")  # fmt: skip
    os.unlink(path)


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue is full, so it is there
            return True
        return True
