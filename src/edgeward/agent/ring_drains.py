"""The rings of a device's programs, which the agent drains into the captures that they are for.

A program names a directory of captures, and writes rings into a directory in memory that is its own
by name: edgeward.captures.rings. Whoever drains those writes into that directory of captures alone,
since what lies there open tells a later drain what is on the disk already.
"""

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from edgeward import _core, own_directory
from edgeward.captures import rings
from edgeward.captures.capture import SEGMENT_BYTES
from edgeward.captures.limits import default_least_free_bytes
from edgeward.durable import replace_file
from edgeward.errors import BadInput

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
MOST_SPAN_S = 600.0  # how long one segment is written, so that records leave the device in time
STATE = "drained.json"
NAME = re.compile(rf"[0-9a-f]{{{rings.ID_DIGITS}}}")


@dataclass(frozen=True)
class Limits:
    """Of each directory of captures."""

    most_bytes: int
    most_age_s: int  # 0: any


@dataclass
class RingDirectory:
    """One directory of rings. `drain` is None where it is not drained: `complaint` says why."""

    path: str
    captures: str = ""
    drain: _core.Drain | None = None
    complaint: str = ""
    reported: str = field(default="")  # what of it is in the log

    def report(self) -> dict[str, Any]:
        drain = self.drain
        return {
            "rings": self.path,
            "captures": self.captures,
            "records": 0 if drain is None else drain.counters["records"],
            "holder": "" if drain is None else drain.holder,
            "complaint": self.complaint if drain is None else drain.complaint,
        }


class RingDrains:
    """Drains every directory of rings below `base`, and those that appear there, until `close`.

    Where another process drains, its records are left to it, and taken over within half a second
    when it ends. Directories that were found once, which `state_directory` remembers, are drained
    from the start: before their programs, which leave it to the agent then. `on_drained` is called
    once with each directory of captures. Captures in or above `own_captures` are refused. Any
    thread.
    """

    def __init__(
        self,
        base: str,
        state_directory: str,
        limits: Limits,
        own_captures: str,
        on_drained: Callable[[str], None],
    ) -> None:
        self._base = base
        self._state_path = os.path.join(state_directory, STATE)
        self._limits = limits
        self._own_captures = own_captures and os.path.realpath(own_captures)
        self._on_drained = on_drained
        self._lock = threading.Lock()  # guards _entries
        self._entries: dict[str, RingDirectory] = {}
        self._ended = threading.Event()
        for captures in self._remembered():
            if os.path.isdir(captures):
                self._take(RingDirectory(os.path.join(base, rings.name_of(captures)), captures))
        self._thread = threading.Thread(target=self._run, name="rings", daemon=True)
        self._thread.start()

    def report(self) -> list[dict[str, Any]]:
        """Each directory of rings: where its records go, how many did, who else drains, and why
        they do not reach the disk."""
        with self._lock:
            entries = list(self._entries.values())
        return [each.report() for each in sorted(entries, key=lambda each: each.path)]

    def close(self) -> None:
        """Brings what the rings hold to the disk, and leaves them to whoever drains next."""
        self._ended.set()
        self._thread.join()
        for entry in self._entries.values():
            if entry.drain is not None:
                entry.drain.close()

    def _run(self) -> None:
        reported = ""
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                self._look()
            except Exception as error:  # what others' directories have must not end the looking
                if str(error) != reported:
                    log.exception("rings")
                reported = str(error)

    def _look(self) -> None:
        for path in self._directories():
            with self._lock:
                entry = self._entries.get(path) or RingDirectory(path)
            if entry.drain is None:
                self._consider(entry)
            self._tell(entry)

    def _directories(self) -> Iterator[str]:
        """The directories of rings; of other users' those that lie beside ours in memory."""
        with suppress(FileNotFoundError), os.scandir(self._base) as entries:
            yield from sorted(entry.path for entry in entries if NAME.fullmatch(entry.name))
        if self._base == own_directory.in_memory():
            beside, _, start = self._base.rpartition("/")
            pattern = re.compile(start.rpartition("-")[0] + "-[0-9]+")
            for name in sorted(os.listdir(beside)):
                if pattern.fullmatch(name) and name != start:
                    yield os.path.join(beside, name)

    def _consider(self, entry: RingDirectory) -> None:
        """Takes a directory of rings, or says why not; neither while it is being made."""
        try:
            wrong = own_directory.what_is_wrong(entry.path, 0o022)
            if wrong:
                expected = "a directory of this user's own"
                raise BadInput(f'rings "{entry.path}": expected {expected}, got {wrong}')
            captures = _core.drained_into(entry.path)
            if captures or has_rings(entry.path):
                self._require_captures(entry.path, captures)
                entry.captures = captures
                self._take(entry)
        except FileNotFoundError:  # its last program ended
            self._forget(entry)
        except (BadInput, OSError) as error:
            entry.complaint = str(error)
            with self._lock:
                self._entries[entry.path] = entry

    def _require_captures(self, path: str, captures: str) -> None:
        """Raises BadInput unless `captures` is what the rings in `path` are for."""
        name = os.path.basename(path)
        if not os.path.isabs(captures) or rings.name_of(captures) != name:
            expected = "a drain.lock that says what captures they are for"
            raise BadInput(f'rings "{path}": expected {expected}, got "{captures}"')
        real = os.path.realpath(captures)
        if self._own_captures and os.path.commonpath([real, self._own_captures]) in (
            real,
            self._own_captures,
        ):
            expected = f"captures apart from the agent's own in {self._own_captures}"
            raise BadInput(f'rings "{path}": expected {expected}, got "{captures}"')

    def _take(self, entry: RingDirectory) -> None:
        budget = _core.Budget()
        budget.segment_bytes = SEGMENT_BYTES
        budget.most_span_ns = int(MOST_SPAN_S * 1e9)
        budget.most_bytes = self._limits.most_bytes
        budget.most_age_ns = self._limits.most_age_s * 1_000_000_000
        try:
            rings.make_directory(entry.path)
            budget.least_free_bytes = default_least_free_bytes(entry.captures)
            entry.drain = _core.make_drain(entry.path, entry.captures, budget)
        except (BadInput, OSError) as error:
            entry.complaint = str(error)
        with self._lock:
            self._entries[entry.path] = entry
        if entry.drain is not None:
            log.info("rings: %s: drained into %s", entry.path, entry.captures)
            self._remember()
            self._on_drained(entry.captures)

    def _forget(self, entry: RingDirectory) -> None:
        with self._lock:
            self._entries.pop(entry.path, None)

    def _tell(self, entry: RingDirectory) -> None:
        """Logs each complaint once."""
        complaint = entry.report()["complaint"]
        if complaint and complaint != entry.reported:
            log.warning("rings: %s", complaint)
        entry.reported = complaint

    def _remembered(self) -> list[str]:
        try:
            with open(self._state_path, "rb") as file:
                names = json.loads(file.read())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            log.warning("rings: %s: %s: they are found again by looking", self._state_path, error)
            return []
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    def _remember(self) -> None:
        with self._lock:
            drained = sorted(each.captures for each in self._entries.values() if each.drain)
        try:
            replace_file(self._state_path, json.dumps(drained).encode(), 0o600)
        except OSError as error:
            log.warning("rings: %s: %s", self._state_path, error)


def has_rings(path: str) -> bool:
    return any(name.endswith(_core.RING_SUFFIX) for name in os.listdir(path))
