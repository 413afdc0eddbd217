"""A regular file, opened without waiting: opening a pipe would wait for whoever writes into it."""

import os
import stat
from io import BufferedReader

from edgeward.errors import BadInput
from edgeward.paths import PathLike


def open_regular(kind: str, path: PathLike) -> BufferedReader:
    """The file at `path`, to be read; `kind` names it in the message: "trust root".

    Raises OSError, BadInput when it is a pipe, socket or device.
    """
    import errno

    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = os.fstat(number).st_mode
    except OSError as error:
        if error.errno != errno.ENXIO:  # of a socket
            raise
        number, mode = None, stat.S_IFSOCK
    if number is not None and stat.S_ISREG(mode):
        return open(number, "rb")
    if number is not None:
        os.close(number)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fsdecode(path))
    raise BadInput(
        f'{kind} "{os.fsdecode(path)}": expected a regular file, got a device, pipe or socket'
    )
