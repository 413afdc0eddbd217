"""Files that are replaced in one step, and durable when the call returns."""

import os
from collections.abc import Collection
from contextlib import suppress

from edgeward.paths import PathLike

DRAFT_SUFFIX = ".draft"  # a killed writer may leave one


def replace_file(
    path: PathLike, data: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Replace the contents of `path` by `data`: a power cut leaves all old bytes or all new ones.

    The file is this process's, or that of `owner`, numbers of a user and a group.

    Raises OSError; the file then has its old contents, or `data` when syncing the directory failed.
    """
    import tempfile

    target = os.path.abspath(path)
    directory = os.path.dirname(target)
    name = os.path.basename(target)
    number, draft = tempfile.mkstemp(prefix=f"{name}.", suffix=DRAFT_SUFFIX, dir=directory)
    try:
        with open(number, "wb") as file:
            os.fchmod(number, mode)
            if owner is not None:
                os.fchown(number, *owner)
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


def is_draft_of(name: str, targets: Collection[str]) -> bool:
    """Whether a file of this name is a draft that replace_file writes for one of `targets`."""
    stem, dot, _ = name.removesuffix(DRAFT_SUFFIX).rpartition(".")
    return name.endswith(DRAFT_SUFFIX) and dot != "" and stem in targets


def sync(path: PathLike) -> None:
    """Returns when what was written to the file or directory is on the disk. Raises OSError."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
