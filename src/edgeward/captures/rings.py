"""Where the rings of a capture directory lie: in memory, under a name that every process finds."""

import os
import stat

from edgeward.errors import BadInput
from edgeward.paths import PathLike

VARIABLE = "EDGEWARD_RINGS"
SHARED_MEMORY = "/dev/shm"
ID_DIGITS = 16


def directory_of(captures: PathLike) -> str:
    """The directory of the rings whose records belong into `captures`. Makes nothing.

    Below $EDGEWARD_RINGS, else below /dev/shm in a directory of this user's own.
    """
    import hashlib

    base = os.environ.get(VARIABLE) or os.path.join(SHARED_MEMORY, f"edgeward-{os.getuid()}")
    place = os.path.realpath(os.fsdecode(captures))
    return os.path.join(base, hashlib.sha256(os.fsencode(place)).hexdigest()[:ID_DIGITS])


def make_directory(path: str) -> None:
    """Make it, and what it lies in, for this user alone.

    Raises BadInput when it is somebody else's, who could then read or forge what is captured.
    """
    for place in (os.path.dirname(path), path):
        os.makedirs(place, mode=0o700, exist_ok=True)
        facts = os.lstat(place)
        is_safe = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()
        if not is_safe or (place == path and stat.S_IMODE(facts.st_mode) & 0o022):
            raise BadInput(
                f'rings "{place}": expected a directory of this user\'s own, got another: '
                f"name one with ${VARIABLE}"
            )
