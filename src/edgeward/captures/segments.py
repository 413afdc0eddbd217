"""Segments: files of captured records, opened one by one, and the blocks in them that are wanted.

What a segment holds is known from its end: blocks that cannot hold what is wanted are not read.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeward import _core
from edgeward.captures.boot_clocks import BootClocks
from edgeward.captures.description import UNDESCRIBED, Description
from edgeward.captures.folders import files_below
from edgeward.errors import EdgewardError, MalformedCapture, PassedOver, WrongKey
from edgeward.paths import PathLike

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of a ring's counters frame: what the writer counts, then what the drain knows.
FRAME_COUNTERS = (*_core.RING_COUNTERS, "last_sequence", "is_broken")


class Choice(NamedTuple):
    """Which records are wanted; None: whichever."""

    model: str | None = None
    reason: str | None = None
    since_ns: int | None = None  # Unix time, of the first
    until_ns: int | None = None  # of none


ALL = Choice()


class Segment(NamedTuple):
    """What one segment holds, without its tensors."""

    path: str
    size_bytes: int
    # "sealed", "recovered" (a crash cut it), "open" (being written, or left by a crash), "damaged",
    # or "unauthenticated" (encrypted in format 1, which does not prove that nobody changed it)
    state: str
    is_encrypted: bool
    is_readable: bool  # not encrypted, or with the key
    record_count: int
    first_ns: int | None  # Unix time; None without records, or without the key to them
    last_ns: int | None
    models: tuple[str, ...]
    hole_count: int  # whole frames behind the first broken one
    fault: str  # "frame 7", "end"; empty where nothing is wrong


class Contents:
    """A segment that is open: its rows, its rings, the block that was loaded last.

    One thread at a time.
    """

    def __init__(self, path: str, segment: _core.Segment) -> None:
        self.path, self.segment = path, segment
        self.rows = segment.rows
        self._descriptions: dict[int, Description] = {}

    def description(self, ring_id: int) -> Description:
        """What the ring says of itself; where it says nothing, or is damaged, of nothing."""
        if ring_id not in self._descriptions:
            payload = self._last_payload(ring_id, _core.RING_FRAME)
            known = UNDESCRIBED if payload is None else Description.parsed(payload)
            self._descriptions[ring_id] = known
        return self._descriptions[ring_id]

    def ring_ids(self, frame_type: int) -> list[int]:
        """The rings that have frames of this type, in order."""
        rings = self.rows["ring_id"][self.rows["type"] == frame_type].tolist()
        return list(dict.fromkeys(rings))

    def counters(self) -> dict[int, dict[str, int]]:
        """The last counters of each ring, by ring id."""
        import numpy as np

        last = {}
        for ring_id in self.ring_ids(_core.COUNTERS_FRAME):
            payload = self._last_payload(ring_id, _core.COUNTERS_FRAME)
            if ring_id != 0 and payload is not None and len(payload) == 8 * len(FRAME_COUNTERS):
                values = np.frombuffer(payload, "<u8").tolist()
                last[ring_id] = dict(zip(FRAME_COUNTERS, values, strict=True))
        return last

    def blocks(self, choice: Choice = ALL) -> list[int]:
        """The frames that may hold records that are wanted, in order."""
        import numpy as np

        rows = self.rows
        wanted = _are_records(rows)
        if choice.reason is not None:
            wanted &= rows["reasons"] & _bit(choice.reason) != 0
        if choice.since_ns is not None:
            # A clock that was not set then says nothing: the records' times are put right later.
            wanted &= (rows["most_wall_ns"] >= choice.since_ns) | (
                rows["least_wall_ns"] < _core.LEAST_WALL_NS
            )
        if choice.until_ns is not None:
            wanted &= rows["least_wall_ns"] < choice.until_ns
        if choice.model is not None:
            rings = np.unique(rows["ring_id"][wanted]).tolist()
            fitting = [ring for ring in rings if self.description(ring).model == choice.model]
            wanted &= np.isin(rows["ring_id"], np.array(fitting, np.uint64))
        frames: list[int] = np.flatnonzero(wanted).tolist()
        return frames

    def load(self, frame: int) -> bool:
        """Whether its records are loaded; else it is passed over, with a warning."""
        self.description(int(self.rows["ring_id"][frame]))  # reading it later would unload them
        if not self.segment.load(frame):
            count = int(self.rows["record_count"][frame])
            self._pass_over(f"frame {frame}: expected {count} records, got other bytes")
            return False
        if int(self.rows["flags"][frame]) & _core.ODD_FLAG:
            self.warn_of_odd(frame)
            return False
        return True

    def warn_of_odd(self, frame: int) -> None:
        """Names records that no array can hold."""
        row = self.rows[frame]
        first, last = int(row["first_sequence"]), int(row["last_sequence"])
        numbers = f"number {first}" if first == last else f"numbers {first} to {last}"
        self._pass_over(
            f"{numbers} of ring {int(row['ring_id']):016x}: expected shapes that arrays have, "
            "got larger ones"
        )

    def runs(
        self, choice: Choice, clocks: BootClocks, replaced: dict[int, set[int]]
    ) -> list[tuple[int, int]]:
        """Of the loaded records the wanted ones: where each row of them begins and ends."""
        import numpy as np

        segment, ring_id = self.segment, self.segment.ring_id
        wanted = np.ones(segment.count, bool)
        if choice.reason is not None:
            wanted &= segment.record_reasons & _bit(choice.reason) != 0
        if choice.since_ns is not None or choice.until_ns is not None:
            times = self.times(clocks)
            if choice.since_ns is not None:
                wanted &= times >= choice.since_ns
            if choice.until_ns is not None:
                wanted &= times < choice.until_ns
        if ring_id in replaced:
            gone = np.fromiter(replaced[ring_id], np.uint64)
            wanted &= ~np.isin(segment.record_sequences, gone)
        if wanted.all():
            return [(0, segment.count)]
        edges = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0))
        return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))

    def times(self, clocks: BootClocks) -> "NDArray[Any]":
        """The Unix times of the loaded records."""
        segment = self.segment
        return put_right(
            clocks, segment.boot_id, segment.record_monotonic_ns, segment.record_wall_ns
        )

    def note_replaced(self, replaced: dict[int, set[int]]) -> None:
        """Adds what the loaded records replace, by ring id."""
        sequences = self.segment.record_replaced
        ring = replaced.setdefault(self.segment.ring_id, set())
        ring.update(sequences[sequences != 0].tolist())

    def _last_payload(self, ring_id: int, frame_type: int) -> bytes | None:
        import numpy as np

        rows = self.rows
        frames = np.flatnonzero((rows["type"] == frame_type) & (rows["ring_id"] == ring_id))
        return self.segment.payload(int(frames[-1])) if len(frames) else None

    def _pass_over(self, why: str) -> None:
        warnings.warn(f'segment "{self.path}": {why}: passed over', PassedOver, stacklevel=2)


def put_right(
    clocks: BootClocks, boot_id: bytes, monotonic_ns: "NDArray[Any]", wall_ns: "NDArray[Any]"
) -> "NDArray[Any]":
    """Unix times, corrected where the device's clock was not set."""
    unset = wall_ns < _core.LEAST_WALL_NS
    if not unset.any():
        return wall_ns
    corrected: NDArray[Any] = wall_ns.copy()
    for index in unset.nonzero()[0].tolist():
        monotonic, wall = int(monotonic_ns[index]), int(wall_ns[index])
        corrected[index] = clocks.time_ns(boot_id, monotonic, wall)
    return corrected


def segment_paths(directory: PathLike) -> list[str]:
    """Sealed and open segments in it and below it, the oldest first. Raises OSError."""
    paths = files_below(directory, _core.SEALED_SUFFIX, _core.OPEN_SUFFIX)
    known = set(paths)  # of one that is sealed meanwhile, both names may be there
    return [
        path for path in paths if path.endswith(_core.SEALED_SUFFIX) or _sealed(path) not in known
    ]


def contents(paths: Sequence[str], key: _core.PrivateKey | None) -> Iterator[Contents]:
    """Each of them, opened. One that is deleted meanwhile is passed over.

    Raises OSError, WrongKey, MalformedCapture.
    """
    for path in paths:
        segment = _try_open(path, key)
        if segment is None:
            continue
        if not segment.is_readable:
            raise WrongKey(
                f'segment "{path}": expected the private key of who it is encrypted to, got none'
            )
        yield Contents(path, segment)


def replaced_records(paths: Sequence[str], key: _core.PrivateKey | None) -> dict[int, set[int]]:
    """The sequences of records that a reservoir replaced, by ring id."""
    replaced: dict[int, set[int]] = {}
    for opened in contents(paths, key):
        flags = opened.rows["flags"]
        for frame in (flags & _core.REPLACING_FLAG).nonzero()[0].tolist():
            if opened.segment.load(frame):
                opened.note_replaced(replaced)
    return replaced


def segment_report(path: str, key: _core.PrivateKey | None = None) -> Segment:
    """A file that is no segment is reported as damaged. Raises OSError, WrongKey."""
    return look_into(path, key)[0]


def look_into(
    path: str, key: _core.PrivateKey | None = None
) -> tuple[Segment, dict[int, dict[str, int]]]:
    """What a segment holds, and the last counters of its rings. Raises OSError, WrongKey.

    Warns of records that no array can hold.
    """
    size_bytes = os.path.getsize(path)
    try:
        segment = _core.open_segment(path, key)
    except MalformedCapture:
        state, fault = ("open", "") if is_unbegun(path) else ("damaged", "head")
        return Segment(path, size_bytes, state, False, True, 0, None, None, (), 0, fault), {}
    opened = Contents(path, segment)
    records = opened.rows[_are_records(opened.rows)]
    is_readable, has_times = segment.is_readable, segment.is_readable and len(records) > 0
    titles = [opened.description(ring).title for ring in opened.ring_ids(_core.RING_FRAME)]
    for frame in (opened.rows["flags"] & _core.ODD_FLAG).nonzero()[0].tolist():
        opened.warn_of_odd(frame)
    report = Segment(
        path,
        size_bytes,
        segment.state,
        segment.is_encrypted,
        is_readable,
        segment.record_count,
        int(records["least_wall_ns"].min()) if has_times else None,
        int(records["most_wall_ns"].max()) if has_times else None,
        tuple(dict.fromkeys(titles)) if is_readable else (),
        segment.hole_count,
        segment.fault,
    )
    return report, opened.counters() if is_readable else {}


def read_counters(directory: PathLike, key: _core.PrivateKey | None = None) -> dict[int, Any]:
    """The last counters of each ring with records in `directory`, by ring id."""
    last: dict[int, dict[str, int]] = {}
    for path in segment_paths(directory):
        with suppress(EdgewardError):
            last.update(look_into(path, key)[1])
    return last


def _are_records(rows: "NDArray[Any]") -> "NDArray[Any]":
    are: NDArray[Any] = (rows["type"] == _core.BLOCK_FRAME) | (rows["type"] == _core.RECORD_FRAME)
    return are


def _bit(reason: str) -> int:
    return 1 << _core.REASONS.index(reason)


def _try_open(path: str, key: _core.PrivateKey | None) -> _core.Segment | None:
    """None for one that is not begun, or was deleted since its name was read.

    It may be sealed by now.
    """
    with suppress(FileNotFoundError):
        try:
            return _core.open_segment(path, key)
        except MalformedCapture:
            if is_unbegun(path):
                return None
            raise
    if path.endswith(_core.OPEN_SUFFIX):
        with suppress(FileNotFoundError):
            return _core.open_segment(_sealed(path), key)
    return None


def is_unbegun(path: str) -> bool:
    """Whether a writer was killed, or is at work, between making the file and writing its head.

    Raises FileNotFoundError, OSError.
    """
    return path.endswith(_core.OPEN_SUFFIX) and os.path.getsize(path) < _core.SEGMENT_HEAD_BYTES


def _sealed(open_path: str) -> str:
    return open_path.removesuffix(_core.OPEN_SUFFIX) + _core.SEALED_SUFFIX
