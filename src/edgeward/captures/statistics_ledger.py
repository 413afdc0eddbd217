"""StatisticsLedger: which counts of one Capture are on the disk, and which are not yet.

Each count is merged once into the file of its day and release, which all processes share: under a
lock, read, merged and replaced in one step. A process that is killed loses what it had not saved;
it counts nothing twice, since nobody else knows its counts. Sealed files cannot be merged into:
they are the process's own, one for each day and release, and so are files where there is no lock.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from edgeward import _core
from edgeward.captures.statistics_budget import keep_within
from edgeward.captures.statistics_file import SEALED_SUFFIX, SUFFIX, Counted, StatisticsFile, day_in
from edgeward.errors import BadInput, MalformedCapture

LOCK_NAME = "statistics.lock"
LOCK_WAIT_S = 5.0  # a process that was stopped may have the lock
LOCK_RETRY_S = 0.01
ID_DIGITS = 16


class StatisticsLedger:
    """One caller at a time, in one process."""

    def __init__(
        self, directory: str, *, recipient: _core.PublicKey | None, most_bytes: int
    ) -> None:
        """`most_bytes` is the budget of all captures in `directory`; creates nothing."""
        self._directory = directory
        self._recipient = recipient
        self._most_bytes = most_bytes
        self._unsaved: dict[str, Counted] = {}
        self._own: dict[tuple[str, str], tuple[StatisticsFile, Counted]] = {}  # by day and key

    def add(self, counted: Counted) -> None:
        """Takes over counts that were in no other call; `save` brings them to the disk."""
        report = counted.statistics.report()
        if report["run_count"] == report["error_count"] == 0:
            return
        key = _key(counted, report["tensors"])
        if key in self._unsaved:
            self._unsaved[key].statistics.merge(counted.statistics)
        else:
            self._unsaved[key] = counted

    def save(self) -> None:
        """Raises OSError; what is not on the disk then comes there with the next call."""
        if self._unsaved:
            day = day_of(time.time(), os.listdir(self._directory))
            self._own = {key: own for key, own in self._own.items() if key[0] == day}
            with _lock(self._directory) as is_locked:
                for key in list(self._unsaved):
                    counted = self._unsaved[key]
                    if not (is_locked and self._is_shared(day, key, counted)):
                        self._keep(day, key, counted)
                    del self._unsaved[key]
        keep_within(self._directory, self._most_bytes)

    def _is_shared(self, day: str, key: str, counted: Counted) -> bool:
        """Adds to the file of all processes, or answers that this one cannot."""
        if self._recipient is not None:
            return False
        file = StatisticsFile(os.path.join(self._directory, f"{day}-{key}{SUFFIX}"))
        try:
            total = file.read()
            total.statistics.merge(counted.statistics)
        except FileNotFoundError:
            total = counted
        except (MalformedCapture, BadInput, PermissionError):
            return False  # the file stays as it is, for whoever investigates
        if total[:4] != counted[:4]:
            return False
        file.write(total)
        return True

    def _keep(self, day: str, key: str, counted: Counted) -> None:
        """Replaces the process's own file by all that it counted on this day."""
        if (day, key) in self._own:
            file, before = self._own[day, key]
            total = before._replace(statistics=_copy(before.statistics))
            total.statistics.merge(counted.statistics)
        else:
            # A name of no meaning: that of a release is for the owner of the key alone.
            suffix = SUFFIX if self._recipient is None else SEALED_SUFFIX
            name = f"{day}-{os.urandom(ID_DIGITS // 2).hex()}{suffix}"
            file, total = StatisticsFile(os.path.join(self._directory, name)), counted
        file.write(total, self._recipient)
        self._own[day, key] = file, total


def day_of(now_s: float, names: Iterable[str]) -> str:
    """The UTC day of new statistics, such as "2026-01-31", among files of these names.

    Pure. A clock that was never set says 1970: what is counted then belongs to the latest day.
    """
    day = time.strftime("%Y-%m-%d", time.gmtime(now_s))
    if now_s * 1e9 >= _core.LEAST_WALL_NS:
        return day
    return max([day, *map(day_in, names)])


def _key(counted: Counted, tensors: Iterable[dict[str, object]]) -> str:
    """The same for what can be merged: releases, signatures, tensors and bins that are the same."""
    import hashlib
    import json

    layout = [[row[field] for field in ("side", "name", "dtype", "edges")] for row in tensors]
    text = json.dumps([*counted[:4], layout])
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def _copy(statistics: _core.Statistics) -> _core.Statistics:
    return _core.Statistics.from_bytes(statistics.to_bytes())


@contextmanager
def _lock(directory: str) -> Iterator[bool]:
    """Whether this process alone merges into shared files, as long as the block runs.

    It does not where the lock is another user's, where the file system has none, and where its
    holder keeps it for longer than LOCK_WAIT_S.
    """
    import fcntl

    path = os.path.join(directory, LOCK_NAME)
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield False
        return
    try:
        yield _is_locked(number)
    finally:
        # A forked child may share the descriptor, and would keep the lock.
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_UN)
        os.close(number)


def _is_locked(number: int) -> bool:
    import fcntl

    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(LOCK_RETRY_S)
        except OSError:
            return False  # this file system has no locks
