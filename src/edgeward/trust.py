"""What a device believes: a directory with its trust root, and what it must not forget.

    root.json   who may sign packages, and who may replace this file: signed, written by `root`
    state.json  the floors below which no release runs, the packages that have run here, and the
                latest time that is certain

Only this module writes there, one process at a time, each file in one step. The directory itself is
the anchor: whoever may write to it decides what the device runs.
"""

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgeward import _core
from edgeward.durable import replace_file
from edgeward.errors import EdgewardError, MalformedRoot, RollbackRefused
from edgeward.release import EPOCH_SHIFT

DEFAULT_DIRECTORY = "/var/lib/edgeward/trust"
DIRECTORY_VARIABLE = "EDGEWARD_TRUST"
STATE_VERSION = 1
NEW_STATE: dict[str, Any] = {
    "version": STATE_VERSION,
    "root_version": 0,
    "time_floor_s": 0,
    "floors": {},  # by model name: the lowest release_counter
    "accepted": {},  # by model name: package ids, the latest last
}
MOST_ACCEPTED = 8  # of one model
MOST_ROOT_BYTES = 512 << 10


class Trust:
    """The trust directory of this device. Any thread; several processes may share one.

    `root` is the TrustRoot in force. Raises OSError when there is no root, MalformedRoot,
    UntrustedRoot, and RollbackRefused when the root is older than one that was in force here.
    """

    def __init__(self, directory: "str | os.PathLike[str] | None" = None) -> None:
        chosen = directory or os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY
        self.directory = os.fsdecode(chosen)
        try:
            with open(self._root_path, "rb") as file:
                self.root = _core.TrustRoot.first(file.read(MOST_ROOT_BYTES + 1))
        except FileNotFoundError:
            told = (
                "expected this device's trust root, got no such file: make one with edgeward "
                f"keygen, or name its directory with --trust or ${DIRECTORY_VARIABLE}"
            )
            raise FileNotFoundError(errno.ENOENT, told, self._root_path) from None
        except EdgewardError as error:
            raise type(error)(f'trust root "{self._root_path}": {error}') from None
        known_version = self._state()["root_version"]
        if self.root.version < known_version:
            raise RollbackRefused(
                f'trust root "{self._root_path}": expected version {known_version} or later, which '
                f"this device has had, got {self.root.version}"
            )

    @property
    def _root_path(self) -> str:
        return os.path.join(self.directory, "root.json")

    @property
    def _state_path(self) -> str:
        return os.path.join(self.directory, "state.json")

    def now_s(self) -> int:
        """The time to judge by, Unix seconds: the clock's, but no earlier than what is certain.

        A clock that was set back makes nothing valid again that a later signature outdates.
        """
        certain_s: int = self._state()["time_floor_s"]
        return max(int(time.time()), certain_s, self.root.issued_s)

    def require_current(self, package_id: str) -> None:
        """Raises ExpiredRoot when the root is past its day, unless the package has run here before.

        An expired root stops what is new, not what serves: a device that restarts with nobody on
        site, or with a dead clock battery, goes on with the model it had.
        """
        if not any(package_id in ids for ids in self._state()["accepted"].values()):
            self.root.require_current(self.now_s())

    def floors(self) -> dict[str, int]:
        """By model name: the lowest release_counter that a package may have here.

        A counter holds its epoch above bit 48, so that a new epoch is above every floor of an old.
        """
        floors: dict[str, int] = self._state()["floors"]
        return floors

    def accept(self, package: _core.Package) -> None:
        """Remember of a verified package that runs: the floor it sets, its id, when it was made.

        Raises OSError when a floor that must rise cannot be kept; anything else that would be noted
        in a directory that cannot be written is let pass.
        """
        state = self._state()
        after = self._after(state, package)
        if after == state:
            return
        try:
            with self._locked():
                self._write_state(self._after(self._state(), package))
        except OSError:
            if after["floors"] != state["floors"]:
                raise

    def _after(self, state: dict[str, Any], package: _core.Package) -> dict[str, Any]:
        """What the state becomes when `package` runs."""
        least = self.root.epoch << EPOCH_SHIFT | 1  # below which no package of this epoch can be
        floors = dict(state["floors"])
        if package.min_counter > max(least, floors.get(package.name, 0)):
            floors[package.name] = package.min_counter
        package_id = package.package_id.hex()
        known = state["accepted"].get(package.name, [])
        if package_id not in known:
            known = [*known, package_id][-MOST_ACCEPTED:]
        # A publisher may not push the time past the root's own day, which would end the root.
        certain_s = min(package.created_s, self.root.expires_s - 1)
        return {
            "version": STATE_VERSION,
            "root_version": max(state["root_version"], self.root.version),
            "time_floor_s": max(state["time_floor_s"], certain_s),
            "floors": floors,
            "accepted": {**state["accepted"], package.name: known},
        }

    def update(self, envelope: bytes) -> None:
        """Replace the root by its successor, which both must have signed.

        Raises MalformedRoot, UntrustedRoot, RollbackRefused, OSError; the root is then as it was.
        """
        with self._locked():
            successor = self.root.successor(envelope)
            replace_file(self._root_path, envelope)
            self.root = successor
            state = self._state()
            state["root_version"] = successor.version
            state["time_floor_s"] = max(state["time_floor_s"], successor.issued_s)
            self._write_state(state)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """This process alone in the directory, until the end of the block or of the process."""
        import fcntl

        number = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)

    def _state(self) -> dict[str, Any]:
        try:
            with open(self._state_path, "rb") as file:
                text = file.read()
        except FileNotFoundError:
            return dict(NEW_STATE)
        try:
            state = json.loads(text)
        except (ValueError, RecursionError):
            state = None
        if not _is_state(state):
            raise MalformedRoot(
                f'trust state "{self._state_path}": expected what this program writes there, got '
                "something else: restore it; without it, older releases could come back"
            )
        return dict(state)

    def _write_state(self, state: dict[str, Any]) -> None:
        replace_file(self._state_path, json.dumps(state, indent=1, sort_keys=True).encode())


def _is_state(state: object) -> bool:
    if not isinstance(state, dict) or set(state) != set(NEW_STATE):
        return False
    floors, accepted = state["floors"], state["accepted"]
    if state["version"] != STATE_VERSION or not isinstance(floors, dict):
        return False
    numbers = [state["root_version"], state["time_floor_s"], *floors.values()]
    return (
        all(type(number) is int and 0 <= number < 1 << 64 for number in numbers)
        and isinstance(accepted, dict)
        and all(isinstance(ids, list) for ids in accepted.values())
        and all(isinstance(one, str) for ids in accepted.values() for one in ids)
    )
