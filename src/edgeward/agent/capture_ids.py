"""Which captures were asked for and what became of them, for a day or the latest 100,000 ids.

The journal is a file of lines. Before a manifest appears, a line with its path and its ids is on
the disk: after a crash, the ids are known if and only if the manifest is there.
"""

import errno
import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

from edgeward.agent.capture_layout import Manifest, discard
from edgeward.durable import replace_file
from edgeward.proto import edge_manager_pb2 as messages

log = logging.getLogger(__name__)

JOURNAL = "captures.journal"
MOST_IDS = 100_000
REMEMBERED_S = 86_400

IN_PROGRESS, SUCCESS, FAILURE = messages.IN_PROGRESS, messages.SUCCESS, messages.FAILURE


class CaptureIds:
    """The ids and their states. One thread at a time; another may `announce` and `confirm`.

    With `waits_for_store`, a manifest on the disk that was not confirmed leaves its ids
    IN_PROGRESS: whoever carries it away confirms it.
    """

    def __init__(self, directory: str, waits_for_store: bool = False) -> None:
        self._path = os.path.join(directory, JOURNAL)
        self._waits_for_store = waits_for_store
        self.on_disk: dict[str, list[str]] = {}  # manifests that wait for the store: their ids
        # By id: its state, and until when it is remembered, on the monotonic clock.
        self._states: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._written = 0  # ids in the journal
        self._file: Any = None
        self._read()
        try:
            self._rewrite()
        except OSError as error:  # a full disk: the lines that are there say the same
            log.error("captures: journal: not shortened: %s", error)
            self._written = len(self._states)

    def state(self, capture_id: str) -> int | None:
        """IN_PROGRESS, SUCCESS or FAILURE; None for an id that is not remembered."""
        self._forget()
        state = self._states.get(capture_id)
        return None if state is None else state[0]

    def begin(self, capture_id: str) -> None:
        self._states[capture_id] = IN_PROGRESS, time.monotonic() + REMEMBERED_S
        self._forget()

    def end(self, capture_ids: Collection[str], state: int) -> None:
        for capture_id in capture_ids:
            self._states[capture_id] = state, time.monotonic() + REMEMBERED_S

    def announce(self, path: str, manifest: Manifest) -> None:
        """Notes that `path` will hold the manifest; on the disk at return. Raises OSError."""
        ids = [capture.capture_id for capture in manifest.captures]
        self._written += len(ids)
        self._append({"file": path, "ids": ids})
        os.fsync(self._file.fileno())

    def confirm(self, path: str) -> None:
        """Notes that the manifest is there, and may be deleted from now on. Raises OSError."""
        self._append({"stored": path})

    def compact(self) -> None:
        """Shortens the journal when most of it is of ids that are forgotten. Raises OSError."""
        if self._written > 2 * MOST_IDS:
            self._rewrite()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, row: dict[str, Any]) -> None:
        if self._file is None:
            self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - until close()
        # A line that a full disk cut short ends where this one begins.
        line = b"\n" + json.dumps(row).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)

    def _forget(self) -> None:
        now_s = time.monotonic()
        while self._states:
            capture_id, (state, until_s) = next(iter(self._states.items()))
            if state == IN_PROGRESS or (until_s > now_s and len(self._states) <= MOST_IDS):
                return
            del self._states[capture_id]

    def _read(self) -> None:
        try:
            with open(self._path, "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return
        rows = [row for line in lines if (row := _row(line)) is not None]
        stored = {row["stored"] for row in rows if "stored" in row}
        # For a day from now: a clock that was wrong, here or then, makes no id forgotten.
        until_s = time.monotonic() + REMEMBERED_S
        for row in rows:
            if "file" not in row:
                continue
            is_confirmed = row["file"] in stored
            if not is_confirmed and not os.path.exists(row["file"]):
                discard(row["file"])
            else:
                state = SUCCESS
                if self._waits_for_store and not is_confirmed:
                    state = IN_PROGRESS
                    self.on_disk[row["file"]] = row["ids"]
                self._states.update((capture_id, (state, until_s)) for capture_id in row["ids"])
        self._forget()

    def _rewrite(self) -> None:
        """Replaces the journal by the ids that are remembered; later lines are appended to it."""
        ids = [capture_id for capture_id, (state, _) in self._states.items() if state == SUCCESS]
        rows: list[dict[str, Any]] = [{"file": "", "ids": ids}] if ids else []
        rows += [{"file": path, "ids": waiting} for path, waiting in self.on_disk.items()]
        lines: Sequence[dict[str, Any]] = [{"stored": ""}, *rows]
        replace_file(self._path, b"".join(json.dumps(row).encode() + b"\n" for row in lines), 0o600)
        if self._file is not None:
            self._file.close()
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - until close()
        self._written = len(ids) + sum(map(len, self.on_disk.values()))


def _row(line: bytes) -> dict[str, Any] | None:
    """A line of the journal; None for one that a crash cut short."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    is_row = isinstance(row, dict) and ("stored" in row or {"file", "ids"} <= row.keys())
    return row if is_row else None
