"""Where the rings of a capture directory are: in memory, by a name that every process derives."""

import os

from edgeward import _core, own_directory
from edgeward.errors import BadInput
from edgeward.paths import PathLike

VARIABLE = "EDGEWARD_RINGS"
ID_DIGITS = 16
SESSIONS = 32  # whose rings the memory has room for by default
MAX_DEFAULT_BYTES = 16 << 20


def base_directory() -> str:
    """Below which rings are: $EDGEWARD_RINGS, else this user's directory in memory."""
    return os.environ.get(VARIABLE) or own_directory.in_memory()


def name_of(captures: PathLike) -> str:
    """Of the directory of the rings that are drained into `captures`."""
    import hashlib

    real_path = os.path.realpath(os.fsdecode(captures))
    return hashlib.sha256(os.fsencode(real_path)).hexdigest()[:ID_DIGITS]


def directory_of(captures: PathLike) -> str:
    """The directory of the rings that are drained into `captures`. Creates nothing."""
    return os.path.join(base_directory(), name_of(captures))


def make_directory(path: str) -> None:
    """Create the directory and its parent for this user alone.

    Raises BadInput when another user owns it, or can write to it: that user could read or forge
    records.
    """
    for level in (os.path.dirname(path), path):
        os.makedirs(level, mode=0o700, exist_ok=True)
        # The parent may be one that $EDGEWARD_RINGS names, in which others write too.
        wrong = own_directory.what_is_wrong(level, 0o022 if level == path else 0)
        if wrong:
            raise BadInput(
                f'rings "{level}": expected a directory of this user\'s own, got {wrong}: '
                f"name one with ${VARIABLE}"
            )


def default_bytes(path: str) -> int:
    """The size of a ring in the file system of `path`, which exists: room for 32 of them, but for
    their heads, or for more.

    A power of two, at least the smallest size of a ring and at most 16 MiB.
    """
    facts = os.statvfs(path)
    share = facts.f_blocks * facts.f_frsize // SESSIONS
    size = 1 << max(share, 1).bit_length() - 1
    return min(max(size, _core.MIN_RING_BYTES), MAX_DEFAULT_BYTES)
