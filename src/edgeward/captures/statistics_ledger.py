"""StatisticsLedger: which counts of one Capture are on the disk, and which are not yet.

Time is cut into periods of a boot's monotonic clock. Each count is merged once into the window of
the period in which it is saved, a file that all processes share: under a lock, read, merged and
replaced in one step. A process that is killed loses what it had not saved; it counts nothing twice,
since nobody else knows its counts. Sealed files cannot be merged into: they are the process's own,
one for each period and release, and so are files where there is no lock or no boot id.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from edgeward import _core
from edgeward.captures.statistics_budget import keep_within
from edgeward.captures.statistics_file import SEALED_SUFFIX, SUFFIX, StatisticsFile
from edgeward.captures.window import ID_DIGITS, UNKNOWN_BOOT, Counted, Window
from edgeward.errors import BadInput, MalformedCapture

LOCK_NAME = "statistics.lock"
LOCK_WAIT_S = 5.0  # a process that was stopped may have the lock
LOCK_RETRY_S = 0.01


class StatisticsLedger:
    """One caller at a time, in one process. Counts belong to the period in which they are saved."""

    def __init__(
        self,
        directory: str,
        *,
        recipient: _core.PublicKey | None,
        most_bytes: int,
        window_ns: int,
        now: Callable[[], _core.Moment] = _core.moment_now,
    ) -> None:
        """`most_bytes` is the budget of all captures in `directory`; creates nothing."""
        self._directory = directory
        self._recipient = recipient
        self._most_bytes = most_bytes
        self._window_ns = window_ns
        self._now = now
        self._unsaved: dict[str, Counted] = {}
        self._own: dict[str, tuple[StatisticsFile, Window]] = {}  # by key

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
        """Raises OSError; what is not on the disk then comes there with the next call.

        What cannot be saved keeps nothing else from being saved.
        """
        failure: Exception | None = None
        if self._unsaved:
            with _lock(self._directory) as is_locked:
                # Read behind the lock: whoever has it next saves in no earlier period, so that a
                # window is complete once a later one is there.
                moment = self._now()
                for key in list(self._unsaved):
                    window = _window_at(moment, self._window_ns, self._unsaved[key])
                    try:
                        if not (is_locked and self._is_shared(window, key, moment)):
                            self._keep(window, key, moment)
                    except Exception as error:
                        failure = failure or error
                    else:
                        del self._unsaved[key]
        keep_within(self._directory, self._most_bytes)
        if failure is not None:
            raise failure

    def _is_shared(self, window: Window, key: str, moment: _core.Moment) -> bool:
        """Adds to the file of all processes, or answers that this one cannot."""
        if self._recipient is not None or window.boot_id == UNKNOWN_BOOT:
            return False
        period = f"{window.boot_id.hex()} {window.begin_ns} {window.end_ns}"
        file = StatisticsFile(self._path(_hash(f"{key} {period}") + SUFFIX, moment))
        try:
            saved = file.read()
            if not isinstance(saved, Window) or not _is_alike(saved, window):
                return False
            window = _sum(saved, window)
        except FileNotFoundError:
            pass
        except (MalformedCapture, BadInput, OSError):
            return False  # the file stays as it is, for whoever investigates
        file.write(window)
        return True

    def _keep(self, window: Window, key: str, moment: _core.Moment) -> None:
        """Replaces the process's own file by all that it counted in this period."""
        self._own = {
            other: own for other, own in self._own.items() if own[1].period == window.period
        }
        if key in self._own:
            file, before = self._own[key]
            statistics = _core.Statistics.from_bytes(before.counted.statistics.to_bytes())
            copy = before._replace(counted=before.counted._replace(statistics=statistics))
            window = _sum(copy, window)
        else:
            # A name of no meaning: that of a release is for the owner of the key alone.
            suffix = SUFFIX if self._recipient is None else SEALED_SUFFIX
            file = StatisticsFile(self._path(_random_id() + suffix, moment))
        file.write(window, self._recipient)
        self._own[key] = file, window

    def _path(self, ending: str, moment: _core.Moment) -> str:
        """Of the file whose name ends so; as yet of none, with the next number before it."""
        names = os.listdir(self._directory)
        known = (name for name in names if name.endswith(f"-{ending}"))
        number = _core.next_segment_number(moment.wall_ns, names)
        return os.path.join(self._directory, next(known, f"{number:020}-{ending}"))


def _window_at(moment: _core.Moment, window_ns: int, counted: Counted) -> Window:
    """An own one, of the period of `moment`."""
    begin_ns = moment.monotonic_ns // window_ns * window_ns
    wall_ns = None
    if moment.wall_ns >= _core.LEAST_WALL_NS:
        wall_ns = moment.wall_ns - (moment.monotonic_ns - begin_ns)
    return Window(counted, _random_id(), moment.boot_id, begin_ns, begin_ns + window_ns, wall_ns)


def _is_alike(saved: Window, window: Window) -> bool:
    """Whether both are of one release and one period; a file's name says so, but by a hash."""
    return (saved.counted[:4], saved.period) == (window.counted[:4], window.period)


def _sum(before: Window, window: Window) -> Window:
    """The window of `before`, with the counts of both in its statistics.

    Raises BadInput where they count something else.
    """
    statistics = before.counted.statistics
    statistics.merge(window.counted.statistics)
    counted = window.counted._replace(statistics=statistics)
    return window._replace(counted=counted, id=before.id, wall_ns=window.wall_ns or before.wall_ns)


def _key(counted: Counted, tensors: Iterable[dict[str, Any]]) -> str:
    """The same for what can be merged: releases, signatures, tensors and bins that are the same."""
    import json

    layout = [
        [*(row[field] for field in ("side", "name", "dtype")), *map(_bins_of, row["parts"])]
        for row in tensors
    ]
    return _hash(json.dumps([*counted[:4], layout]))


def _bins_of(part: dict[str, Any]) -> list[Any]:
    """The same for parts that can be merged; adaptive bins always can."""
    edges = None if part["is_adaptive"] else part["edges"].tolist()
    return [part["kind"], part["name"], edges]


def _hash(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def _random_id() -> str:
    return os.urandom(ID_DIGITS // 2).hex()


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
