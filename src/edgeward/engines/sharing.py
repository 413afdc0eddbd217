"""Where the processes of this user keep packed weights, of which they map one copy."""

import contextlib
import os

from edgeward import _core, own_directory
from edgeward.engines.choice import MAX_DEFAULT_THREADS
from edgeward.engines.processors import processor, usable_cpus
from edgeward.errors import BadInput
from edgeward.paths import PathLike

VARIABLE = "EDGEWARD_WEIGHTS"


def sharing(shared: bool | PathLike) -> _core.Sharing | None:
    """For load_unsigned's argument `shared`; None when nothing is shared.

    Makes the directory that it names, or for True that of $EDGEWARD_WEIGHTS or of this user in
    memory. Raises OSError, BadInput for one that others than this user may enter; where that is the
    one in memory, nothing is shared.
    """
    if not isinstance(shared, bool | str | os.PathLike):
        raise BadInput(f"shared: expected True, False or a directory, got {shared!r}")
    if shared is False:
        return None
    named = os.environ.get(VARIABLE) if isinstance(shared, bool) else os.fsdecode(shared)
    if named:
        make_directory(named)
        return _at(named)
    directory = directory_in_memory()
    try:
        make_directory(os.path.dirname(directory))
        make_directory(directory)
    except (OSError, BadInput):  # another user may have taken the name
        return None
    return _at(directory)


def _at(directory: str) -> _core.Sharing:
    return _core.Sharing.at(directory, processor(), min(usable_cpus(), MAX_DEFAULT_THREADS))


def directory_in_memory() -> str:
    """Below the run-time directory of this user's session, else in memory. Creates nothing."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return os.path.join(runtime, "edgeward", "weights")
    return os.path.join(own_directory.in_memory(), "weights")


def make_directory(path: str) -> None:
    """Create the directory for this user alone, if there is none.

    Raises OSError, BadInput for one that others than this user may enter.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    wrong = own_directory.what_is_wrong(path, 0o077)
    if wrong:
        raise BadInput(
            f'shared weights "{path}": expected a directory of this user\'s own with mode 0700, '
            f"got {wrong}"
        )
