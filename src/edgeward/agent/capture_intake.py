"""Captures on their way to the disk: a bounded buffer, and a thread that writes batches.

CaptureData is answered when a capture is in the buffer; the state of its id is SUCCESS when it is
on the disk, or where captures go to a store, when it is there. A full disk delays captures, and the
buffer fills: it loses none.
"""

import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc

from edgeward.agent.capture_ids import FAILURE, SUCCESS, CaptureIds
from edgeward.agent.capture_layout import Layout, Manifest, store
from edgeward.agent.capture_request import Captured, Claim
from edgeward.agent.refusal import Refusal

log = logging.getLogger(__name__)


class Buffering(NamedTuple):
    most_captures: int
    most_bytes: int
    batch: int  # captures that are written as soon as they are there,
    period_s: float  # or as many as there are, when the oldest has waited this long


class CaptureIntake:
    """Takes captures until `close`. Any thread.

    With `waits_for_store`, a capture on the disk is not yet SUCCESS: `stored` says when it is.
    """

    def __init__(
        self,
        layout: Layout,
        buffering: Buffering,
        directory: str,
        waits_for_store: bool = False,
    ) -> None:
        self.buffering = buffering
        self._layout = layout
        self._waits_for_store = waits_for_store
        self._ids = CaptureIds(directory, waits_for_store)
        self._changed = threading.Condition()
        self._waiting: deque[Captured] = deque()
        self._first_s = 0.0  # when the oldest of them came
        self._held = 0  # captures that wait or are being written, and their bytes
        self._held_bytes = 0
        self._copying_bytes = 0  # of segments that calls under way copy
        self._stored_count = 0
        self.uploads = 0  # files that the store has
        self._closing = False
        self._complaint = ""
        self._thread = threading.Thread(target=self._write, name="captures", daemon=True)
        self._thread.start()

    def require_room(self, capture_id: str) -> None:
        """Raises Refusal ALREADY_EXISTS, RESOURCE_EXHAUSTED: before a capture is copied."""
        with self._changed:
            self._require_room(capture_id, 0)

    @contextmanager
    def copying(self) -> Iterator[Claim]:
        """For one call: what it asks before it copies, so that all calls together have a limit."""
        claimed = 0

        def claim(size_bytes: int) -> None:
            nonlocal claimed
            with self._changed:
                taken = self._held_bytes + self._copying_bytes
                if taken + size_bytes > self.buffering.most_bytes:
                    text = (
                        f"captures: expected at most {self.buffering.most_bytes} bytes in memory, "
                        f"got {taken} before these {size_bytes}"
                    )
                    raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
                self._copying_bytes += size_bytes
            claimed += size_bytes

        try:
            yield claim
        finally:
            with self._changed:
                self._copying_bytes -= claimed

    def accept(self, capture: Captured) -> None:
        """Takes a capture. Raises Refusal ALREADY_EXISTS, RESOURCE_EXHAUSTED."""
        with self._changed:
            self._require_room(capture.capture_id, capture.size_bytes)
            self._ids.begin(capture.capture_id)
            if not self._waiting:
                self._first_s = time.monotonic()
            self._waiting.append(capture)
            self._held += 1
            self._held_bytes += capture.size_bytes
            self._changed.notify_all()

    def state(self, capture_id: str) -> int | None:
        """As CaptureIds has it."""
        with self._changed:
            return self._ids.state(capture_id)

    def report(self) -> dict[str, Any]:
        """Where captures go, how many wait and how many were stored, what the disk refuses."""
        with self._changed:
            return {
                "directory": self._layout.root,
                "waiting": self._held,
                "waiting_bytes": self._held_bytes,
                "stored": self._stored_count,
                "complaint": self._complaint,
            }

    def stored(self, key: str) -> None:
        """Notes that the file `key` below the capture directory is in the store. Raises OSError."""
        path = os.path.join(self._layout.root, key)
        with self._changed:
            self.uploads += 1
            if path in self._ids.on_disk:
                self._ids.confirm(path)
                self._ids.end(self._ids.on_disk.pop(path), SUCCESS)

    def close(self) -> None:
        """Writes what is there, as far as the disk takes it; what it refuses is FAILURE."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._ids.close()

    def _require_room(self, capture_id: str, size_bytes: int) -> None:
        if self._ids.state(capture_id) is not None:
            text = f'capture_id "{capture_id}": expected one that was not used before'
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, text)
        limits = self.buffering
        if self._held >= limits.most_captures or self._held_bytes + size_bytes > limits.most_bytes:
            text = (
                f"captures: expected at most {limits.most_captures} of {limits.most_bytes} bytes "
                f"in memory, got {self._held} of {self._held_bytes} before this of {size_bytes}"
            )
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    def _write(self) -> None:
        while batch := self._next_batch():
            manifests = deque(self._manifests(batch))
            while manifests:
                is_last_attempt = self._closing
                if self._stored(manifests[0]):
                    self._finish(manifests.popleft(), SUCCESS)
                elif is_last_attempt:
                    self._finish(manifests.popleft(), FAILURE)
                else:
                    with self._changed:
                        self._changed.wait_for(lambda: self._closing, self.buffering.period_s)

    def _next_batch(self) -> list[Captured]:
        """What is written next, when it is time; nothing when all is written at the end."""
        limits = self.buffering
        with self._changed:
            while not self._closing and len(self._waiting) < limits.batch:
                left_s = self._first_s + limits.period_s - time.monotonic()
                if self._waiting and left_s <= 0:
                    break
                self._changed.wait(left_s if self._waiting else None)
            count = min(len(self._waiting), limits.batch)
            batch = [self._waiting.popleft() for _ in range(count)]
            self._first_s = time.monotonic()
            return batch

    def _manifests(self, batch: list[Captured]) -> list[Manifest]:
        by_folder: dict[str, list[Captured]] = {}
        for capture in batch:
            by_folder.setdefault(self._layout.folder(capture), []).append(capture)
        return [
            Manifest(folder, uuid.uuid4().hex, captures) for folder, captures in by_folder.items()
        ]

    def _stored(self, manifest: Manifest) -> bool:
        path = manifest.path(self._layout)
        try:
            with self._changed:
                self._ids.compact()
            self._ids.announce(path, manifest)
            store(manifest, self._layout)
        except (OSError, MemoryError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.error("captures: kept in memory until they can be written: %s", error)
            return False
        self._complaint = ""
        if self._waits_for_store:
            return True
        try:
            self._ids.confirm(path)
        except OSError as error:
            log.warning("captures: %s", error)
        return True

    def _finish(self, manifest: Manifest, state: int) -> None:
        ids = [capture.capture_id for capture in manifest.captures]
        with self._changed:
            self._stored_count += len(ids) if state == SUCCESS else 0
            if state == SUCCESS and self._waits_for_store:
                self._ids.on_disk[manifest.path(self._layout)] = ids
            else:
                self._ids.end(ids, state)
            self._held -= len(manifest.captures)
            self._held_bytes -= sum(capture.size_bytes for capture in manifest.captures)
