"""BootClocks: Unix times of what was captured before its device's clock was set.

A clock that was never set says 1970. Monotonic time goes on when it is set: what the same boot
wrote later, and knows the Unix time of, tells that of what came before.
"""

from collections.abc import Sequence

from edgeward import _core
from edgeward.errors import EdgewardError

UNKNOWN_BOOT = bytes(16)


class BootClocks:
    """Of the segments at `paths`, in the order in which they were begun. One thread at a time.

    Reads nothing until a time is asked for that its device did not know.
    """

    def __init__(self, paths: Sequence[str], key: _core.PrivateKey | None) -> None:
        self._paths = paths
        self._key = key
        self._begins: dict[bytes, int] | None = None  # by boot id: Unix time, in nanoseconds

    def time_ns(self, boot_id: bytes, monotonic_ns: int, wall_ns: int) -> int:
        """The Unix time of what happened in this boot at `monotonic_ns`.

        That is `wall_ns`, unless the clock was not set then and the boot learned the time later.
        Raises OSError.
        """
        if wall_ns >= _core.LEAST_WALL_NS or boot_id == UNKNOWN_BOOT:
            return wall_ns
        if self._begins is None:
            self._begins = self._learned()
        begin_ns = self._begins.get(boot_id)
        return wall_ns if begin_ns is None else begin_ns + monotonic_ns

    def _learned(self) -> dict[bytes, int]:
        begins: dict[bytes, int] = {}
        last: dict[bytes, str] = {}  # the last segment of each boot
        for path in self._paths:
            try:
                reader = _core.open_segment(path, None)
            except (EdgewardError, FileNotFoundError):
                continue
            last[reader.boot_id] = path
            if reader.wall_ns >= _core.LEAST_WALL_NS:
                begins[reader.boot_id] = reader.wall_ns - reader.monotonic_ns
        for boot_id, path in last.items():
            if boot_id not in begins and (begin_ns := self._learned_within(path)) is not None:
                begins[boot_id] = begin_ns
        return begins

    def _learned_within(self, path: str) -> int | None:
        """From the records of a segment that was begun before the clock was set."""
        begin_ns = None
        try:
            segment = _core.open_segment(path, self._key)
        except FileNotFoundError:
            return None
        rows = segment.rows
        for frame in (rows["most_wall_ns"] >= _core.LEAST_WALL_NS).nonzero()[0].tolist():
            if segment.load(frame):
                walls, monotonics = segment.record_wall_ns, segment.record_monotonic_ns
                index = int((walls >= _core.LEAST_WALL_NS).nonzero()[0][-1])
                begin_ns = int(walls[index]) - int(monotonics[index])
        return begin_ns
