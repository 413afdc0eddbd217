"""Files that are replaced in one step and are on the disk when the call returns."""

import os
from contextlib import suppress

from edgeward.paths import PathLike


def replace_file(path: PathLike, data: bytes, mode: int = 0o644) -> None:
    """Put `data` where `path` is: after a power cut it holds all of the old bytes or all of these.

    Raises OSError; the file is then as it was, or all of `data` when only the name of it could not
    be made durable.
    """
    import tempfile

    target = os.path.abspath(path)
    directory = os.path.dirname(target)
    number, draft = tempfile.mkstemp(prefix=f"{os.path.basename(target)}.", dir=directory)
    try:
        with open(number, "wb") as file:
            os.fchmod(number, mode)
            file.write(data)
            file.flush()
            os.fsync(number)
        os.replace(draft, target)
    except BaseException:
        # An interrupt may come when the draft has its new name already.
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    # The new name is durable only with its directory.
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
