"""Directories of this user's own, which no other user may use; in memory by default."""

import os
import stat

SHARED_MEMORY = "/dev/shm"


def in_memory() -> str:
    """Where this user's files lie in memory until the machine restarts. Creates nothing."""
    return os.path.join(SHARED_MEMORY, f"edgeward-{os.geteuid()}")


def what_is_wrong(path: str, refused_mode: int) -> str:
    """Why the directory is not this user's own: a noun for messages; "" when it is.

    A bit of `refused_mode` in its mode gives others what they must not have. A link is no
    directory. Raises OSError.
    """
    facts = os.lstat(path)
    mode = stat.S_IMODE(facts.st_mode)
    if not stat.S_ISDIR(facts.st_mode):
        return "no directory"
    if facts.st_uid != os.geteuid():
        return f"one of user {facts.st_uid}"
    return f"mode {mode:04o}" if mode & refused_mode else ""
