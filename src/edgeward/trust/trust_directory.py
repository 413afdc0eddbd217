"""What a device believes: a directory with its trust root, and what it must not forget.

    root.json   who may sign packages, and who may replace this file: signed, written by `root`
    state.json  the floors below which no release runs, the packages that have run here, and the
                latest time that trust roots, and each publisher's packages, have shown
    lock        held by the process that writes; not empty once there was a state

Only this module writes there, one process at a time, each file in one step. The directory itself is
the anchor of trust: who can write to it decides what the device runs.
"""

import os
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from edgeward import _core, lock_file
from edgeward._core import EPOCH_SHIFT
from edgeward.durable import is_draft_of, replace_file
from edgeward.errors import EdgewardError, MalformedRoot, RollbackRefused
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular

DEFAULT_DIRECTORY = "/var/lib/edgeward/trust"
DIRECTORY_VARIABLE = "EDGEWARD_TRUST"
STATE_VERSION = 2
NEW_STATE: dict[str, Any] = {
    "version": STATE_VERSION,
    "root_version": 0,
    "epoch": 0,  # of the root that was in force when the times below were recorded
    "time_floor_s": 0,  # when the latest root was issued
    "publisher_times_s": {},  # by publisher: when the latest of its packages that ran was sealed
    "floors": {},  # by model name: the lowest release_counter
    "accepted": {},  # by model name: package ids, the latest last
}
MOST_AHEAD_S = 86_400  # that a publisher's clock may be ahead of this device's and be believed
MOST_ACCEPTED = 8  # of one model
ROOT, STATE, LOCK = "root.json", "state.json", "lock"
HAS_STATE = b"state.json\n"  # what the lock holds


class Trust:
    """The trust directory of this device. Any thread; several processes may share one.

    What another process changes there holds here from the next call on. Raises, as every method
    does, OSError when there is no root, MalformedRoot, UntrustedRoot, and RollbackRefused when the
    root is older than one that was in force here. Warns of a directory that others can write to,
    and of a state that is missing where packages have run. What root writes belongs to the
    directory's owner, a service that goes on with it. `for_owner`: root looks after a service's
    directory and runs nothing by it, so that it is not warned of its owner.
    """

    def __init__(self, directory: PathLike | None = None, *, for_owner: bool = False) -> None:
        self.directory = chosen(directory)
        self._for_owner = for_owner
        self._parsed: tuple[bytes, _core.TrustRoot] | None = None
        self._read()
        for oddity in self._oddities():
            warnings.warn(oddity, stacklevel=2)

    def __repr__(self) -> str:
        return f'<Trust "{self.directory}">'

    @property
    def root(self) -> _core.TrustRoot:
        """The TrustRoot in force."""
        return self._read()[0]

    def now_s(self) -> int:
        """The time to judge by, Unix seconds: the clock's, but no earlier than a root was issued.

        A clock that was set back makes nothing valid again that a later root outdates.
        """
        root, state = self._read()
        certain_s: int = _under(root, state)["time_floor_s"]
        return max(int(time.time()), certain_s)

    def publisher_times_s(self) -> dict[str, int]:
        """By publisher, Unix seconds: the time that its packages which ran here have shown.

        Its own packages are judged by no earlier time; no other publisher's are, nor the root.
        """
        root, state = self._read()
        return dict(_under(root, state)["publisher_times_s"])

    def require_current(self, package_id: str) -> None:
        """Raises ExpiredRoot when the root is past its day, unless the package has run here before.

        An expired root stops new packages, not the ones in service: a device that restarts without
        an operator, or with a dead clock battery, continues with the model it had.
        """
        if not self.has_run(package_id):
            self.root.require_current(self.now_s())

    def has_run(self, package_id: str) -> bool:
        """Whether this very package is among the last eight of its model that ran here."""
        accepted = self._read()[1]["accepted"]
        return any(package_id in ids for ids in accepted.values())

    def floors(self) -> dict[str, int]:
        """By model name: the lowest release_counter that a package may have here.

        A counter holds its epoch above bit 48, so that a new epoch is above every floor of an old.
        """
        return dict(self._read()[1]["floors"])

    def accept(self, package: _core.Package) -> None:
        """Remember of a verified package that runs: the floor it sets, its id, when it was made.

        Raises RollbackRefused when a floor or an epoch has passed it since it was verified, OSError
        when a floor that must rise cannot be stored. It is no error when anything else cannot.
        """
        root, state = self._read()
        after = _after(root, state, package)
        if after == state:
            return
        try:
            with self._locked() as lock:
                root, state = self._read()
                after = _after(root, state, package)
                self._write_state(after, lock)
        except OSError:
            if after["floors"] != state["floors"]:
                raise

    def update(self, envelope: bytes) -> None:
        """Replace the root by its successor, which both must have signed.

        Raises MalformedRoot, UntrustedRoot, RollbackRefused; the root is then as it was. After an
        OSError or a crash it is the old one or the successor, and the same update may be repeated.
        """
        with self._locked() as lock:
            # What is in force now: another process may have gone ahead.
            root, state = self._read()
            if envelope != self._root_bytes():
                root = root.successor(envelope)
                # From here on it holds; until the state says so too, _under() and accept() do.
                replace_file(self._root_path, envelope, owner=self._owner())
            if (after := _under(root, state)) != state:
                self._write_state(after, lock)

    def _oddities(self) -> Iterator[str]:
        """Who else can write here, and what is missing, a sentence each."""
        lock_path = os.path.join(self.directory, LOCK)
        trusted_users = {0, os.geteuid()}
        if self._for_owner and os.geteuid() == 0:
            trusted_users.add(os.stat(self.directory).st_uid)
        for path in (self.directory, self._root_path, self._state_path, lock_path):
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue
            if status.st_uid not in trusted_users:
                yield (
                    f'trust directory: expected "{path}" to belong to root or to this user '
                    f"({os.geteuid()}), got {status.st_uid}: its owner decides what runs here"
                )
            is_own_group = status.st_gid == os.getegid()
            if status.st_mode & (stat.S_IWOTH | (0 if is_own_group else stat.S_IWGRP)):
                yield (
                    f'trust directory: expected "{path}" to be written by its owner alone, got '
                    f"mode {stat.S_IMODE(status.st_mode):04o}: whoever can write decides what runs "
                    "here"
                )
        if not os.path.exists(self._state_path) and _size_bytes(lock_path) > 0:
            yield (
                f'trust state: expected "{self._state_path}", which was there, got no such file: '
                "restore it; without it, older releases can come back"
            )

    @property
    def _root_path(self) -> str:
        return os.path.join(self.directory, ROOT)

    @property
    def _state_path(self) -> str:
        return os.path.join(self.directory, STATE)

    def _read(self) -> tuple[_core.TrustRoot, dict[str, Any]]:
        """The root in force, and what is remembered."""
        # The state first: update() writes it last, so that a root which is read later is no older.
        state = self._state()
        root = self._root()
        if root.version < state["root_version"]:
            raise RollbackRefused(
                f'trust root "{self._root_path}": expected version {state["root_version"]} or '
                f"later, which this device has had, got {root.version}"
            )
        return root, state

    def _root(self) -> _core.TrustRoot:
        envelope = self._root_bytes()
        parsed = self._parsed
        if parsed is None or parsed[0] != envelope:
            try:
                parsed = envelope, _core.TrustRoot.first(envelope)
            except EdgewardError as error:
                raise type(error)(f'trust root "{self._root_path}": {error}') from None
            self._parsed = parsed
        return parsed[1]

    def _root_bytes(self) -> bytes:
        try:
            with open_regular("trust root", self._root_path) as file:
                return file.read(_core.MAX_ROOT_BYTES + 1)
        except FileNotFoundError as missing:
            message = (
                "expected this device's trust root, got no such file: copy the directory here that "
                "edgeward keygen or device add made where you seal, or name it with --trust or "
                f"${DIRECTORY_VARIABLE}"
            )
            raise FileNotFoundError(missing.errno, message, self._root_path) from None

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Holds the directory's lock, a descriptor, until the end of the block or of the process.

        Drafts that killed writers left are removed.
        """
        with lock_file.held(os.path.join(self.directory, LOCK), "the trust directory") as number:
            owner = self._owner()
            if owner is not None and os.fstat(number).st_nlink == 1:  # no file of elsewhere
                os.fchown(number, *owner)
            for draft in sorted(os.listdir(self.directory)):
                if is_draft_of(draft, (ROOT, STATE)):
                    os.unlink(os.path.join(self.directory, draft))
            yield number

    def _owner(self) -> tuple[int, int] | None:
        """Whose what is written is to be, user and group. None: this process's."""
        if os.geteuid() != 0:
            return None
        status = os.stat(self.directory)
        return status.st_uid, status.st_gid

    def _state(self) -> dict[str, Any]:
        import json

        try:
            with open_regular("trust state", self._state_path) as file:
                text = file.read()
        except FileNotFoundError:
            return dict(NEW_STATE)
        try:
            state = json.loads(text)
        except (ValueError, RecursionError):
            state = None
        if isinstance(state, dict) and state.get("version") == 1:
            # Version 1 has one time, of roots and all packages: it holds on as the roots'.
            state = {"publisher_times_s": {}, **state, "version": STATE_VERSION}
        if not _is_state(state):
            raise MalformedRoot(
                f'trust state "{self._state_path}": expected what this program writes there, got '
                "something else: restore it; without it, older releases could come back"
            )
        return dict(state)

    def _write_state(self, state: dict[str, Any], lock: int) -> None:
        import json

        document = json.dumps(state, indent=1, sort_keys=True).encode()
        replace_file(self._state_path, document, owner=self._owner())
        with suppress(OSError):  # the state is stored, whatever becomes of this
            os.pwrite(lock, HAS_STATE, 0)


def chosen(directory: PathLike | None) -> str:
    """The path of the trust directory: `directory`, the environment's, or the default."""
    return os.fsdecode(directory or os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY)


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _under(root: _core.TrustRoot, state: dict[str, Any]) -> dict[str, Any]:
    """What is remembered while `root` is in force.

    A new epoch voids the times that packages of the old epoch set, as it voids their floors: a
    stolen publisher key may have set a time far ahead.
    """
    is_new_epoch = root.epoch > state["epoch"]
    certain_s = 0 if is_new_epoch else state["time_floor_s"]
    return {
        **state,
        "root_version": max(state["root_version"], root.version),
        "epoch": max(state["epoch"], root.epoch),
        "time_floor_s": max(certain_s, root.issued_s),
        "publisher_times_s": {} if is_new_epoch else state["publisher_times_s"],
    }


def _after(root: _core.TrustRoot, state: dict[str, Any], package: _core.Package) -> dict[str, Any]:
    """What is remembered once `package` runs. Raises RollbackRefused when it may not."""
    state = _under(root, state)
    least = root.epoch << EPOCH_SHIFT | 1  # below which no package of this epoch can be
    floor = max(least, state["floors"].get(package.name, 0))
    if package.release_counter < floor:
        raise RollbackRefused(
            f'package "{package.path}": release_counter: expected at least {_counter_text(floor)}, '
            "the floor that was set after it was opened, got "
            f"{_counter_text(package.release_counter)}"
        )
    floors = state["floors"]
    if package.min_counter > floor:
        floors = {**floors, package.name: package.min_counter}
    package_id = package.package_id.hex()
    earlier = [
        accepted_id
        for accepted_id in state["accepted"].get(package.name, [])
        if accepted_id != package_id
    ]
    times = state["publisher_times_s"]
    if times.get(package.publisher, 0) < package.created_s <= _latest_s(root, int(time.time())):
        times = {**times, package.publisher: package.created_s}
    return {
        **state,
        "publisher_times_s": times,
        "floors": floors,
        "accepted": {
            **state["accepted"],
            package.name: [*earlier, package_id][-MOST_ACCEPTED:],
        },
    }


def _latest_s(root: _core.TrustRoot, clock_s: int) -> int:
    """The latest time of sealing that is believed.

    A clock that can be right, since the root was issued before, is believed more than a publisher.
    When it cannot, the root says until when the time can be.
    """
    if clock_s < root.issued_s:
        return root.expires_s - 1
    return min(clock_s + MOST_AHEAD_S, root.expires_s - 1)


def _counter_text(counter: int) -> str:
    return f"{counter & ((1 << EPOCH_SHIFT) - 1)} of epoch {counter >> EPOCH_SHIFT}"


def _is_state(state: object) -> bool:
    if not isinstance(state, dict) or set(state) != set(NEW_STATE):
        return False
    floors, times, accepted = state["floors"], state["publisher_times_s"], state["accepted"]
    if state["version"] != STATE_VERSION:
        return False
    if not isinstance(floors, dict) or not isinstance(times, dict):
        return False
    limits = [(state["root_version"], 63), (state["epoch"], 16), (state["time_floor_s"], 63)]
    limits += [(floor, 64) for floor in floors.values()]
    limits += [(seconds, 63) for seconds in times.values()]
    return (
        all(type(number) is int and 0 <= number < 1 << bits for number, bits in limits)
        and isinstance(accepted, dict)
        and all(isinstance(ids, list) for ids in accepted.values())
        and all(isinstance(package_id, str) for ids in accepted.values() for package_id in ids)
    )
