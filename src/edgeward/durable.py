"""Files that are replaced in one step, and durable when the call returns."""

import os
from contextlib import suppress

from edgeward.paths import PathLike


def replace_file(path: PathLike, data: bytes, mode: int = 0o644) -> None:
    """Replace the contents of `path` by `data`: a power cut leaves all old bytes or all new ones.

    Raises OSError; the file then has its old contents, or `data` when syncing the directory failed.
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
        # After an interrupt, the draft may have its new name already.
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    sync(directory)  # the new name is durable only with its directory


def sync(path: PathLike) -> None:
    """Returns when what was written to the file or directory is on the disk. Raises OSError."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
