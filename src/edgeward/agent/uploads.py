"""Uploads: directories whose files are carried to one store, each by a thread of its own."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from edgeward.agent.object_upload import ObjectUpload

log = logging.getLogger(__name__)

GRACE_S = 5.0  # for the file that is being sent when they end


class Uploads:
    """Carries what `start` names, every `period_s` seconds, until `close`. Any thread."""

    def __init__(self, store: Any, period_s: float) -> None:
        self._store = store
        self._period_s = period_s
        self._lock = threading.Lock()  # guards what follows
        self._running: list[tuple[ObjectUpload, threading.Thread]] = []
        self._is_closed = False

    def start(
        self,
        directory: str,
        *,
        prefix: str = "",
        suffix: str = "",
        on_stored: Callable[[str], None] = lambda key: None,
    ) -> None:
        """As ObjectUpload has them. Nothing after `close`."""
        upload = ObjectUpload(
            directory,
            self._store,
            prefix=prefix,
            suffix=suffix,
            on_stored=on_stored,
            on_failed=lambda key, why: log.warning("upload: %s: stays here: %s", key, why),
        )
        thread = threading.Thread(
            target=upload.run, args=(self._period_s,), name="upload", daemon=True
        )
        with self._lock:
            if not self._is_closed:
                thread.start()
                self._running.append((upload, thread))

    def close(self) -> None:
        """Ends each after the file that it is at."""
        with self._lock:
            self._is_closed = True
            running = list(self._running)
        for upload, _ in running:
            upload.stop()
        for _, thread in running:
            thread.join(GRACE_S)
