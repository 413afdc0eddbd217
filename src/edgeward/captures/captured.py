"""Captured: one inference that was kept, read back from the segments of a directory."""

import json
import os
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeward import _core
from edgeward.errors import EdgewardError, MalformedCapture, WrongKey
from edgeward.paths import PathLike

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEALED, OPEN = ".ewc", ".open"
REASONS = ("sampled", "predicate", "manual", "failed", "pre_roll")  # bit 0 first
RING_COUNTERS = (
    "sampled_out", "committed", "lost_full", "lost_large", "overwritten", "last_sequence",
    "is_broken",
)  # fmt: skip


class Frame(IntEnum):
    """What a frame of a segment holds."""

    RING = 1
    RECORD = 2
    COUNTERS = 3
    FOOTER = 4


class Captured(NamedTuple):
    """One inference. Arrays are read-only views of one piece of memory; bfloat16 and such as bits.

    `inputs` and `outputs` are by name; a run that failed has no outputs, nor does one whose
    tensors were not asked for. `sequence` counts the records of one ring, lost ones too, from 1.
    `time_ns` is Unix time when the run began, `monotonic_ns` the same by the clock that nobody
    sets. `dtypes` are the model's own, by (side, name).
    """

    model: str
    version: str
    package_id: str
    signature: str
    ring_id: int
    sequence: int
    time_ns: int
    monotonic_ns: int
    latency_ns: int
    reasons: tuple[str, ...]
    correlation_id: int
    user: bytes
    lost_before: int
    inputs: "dict[str, NDArray[Any]]"
    outputs: "dict[str, NDArray[Any]]"
    dtypes: dict[tuple[str, str], str]


class Segment(NamedTuple):
    """What one file holds, without its tensors."""

    path: str
    size_bytes: int
    state: str  # "sealed"; "open": being written, or left by a crash; "damaged"
    is_encrypted: bool
    record_count: int
    first_ns: int | None  # Unix time; None without records, or without the key to them
    last_ns: int | None
    models: tuple[str, ...]
    hole_count: int  # whole frames behind the first broken one


def read_captures(
    directory: PathLike, *, key: _core.PrivateKey | None = None
) -> Iterator[Captured]:
    """The captured inferences below `directory`, in the order in which they came to the disk.

    What a later choice of a reservoir replaced is left out. `key` is the private key of who alone
    can read what was captured with encrypt_to. Raises OSError, WrongKey, MalformedCapture for a
    file that is no segment; a segment that a crash or damage ended early gives what is whole.
    """
    paths = segment_paths(directory)
    replaced = _replaced(paths, key)
    for path in paths:
        for captured in _records(path, key):
            if (captured.ring_id, captured.sequence) not in replaced:
                yield captured


def segment_paths(directory: PathLike) -> list[str]:
    """Sealed and open segments, the oldest first. Raises OSError."""
    place = os.fsdecode(directory)
    names = sorted(name for name in os.listdir(place) if name.endswith((SEALED, OPEN)))
    return [os.path.join(place, name) for name in names]


def segment_report(path: str, key: _core.PrivateKey | None = None) -> Segment:
    """Raises OSError, WrongKey. Something that is no segment is "damaged"."""
    size_bytes = os.path.getsize(path)
    try:
        reader = _core.open_segment(path, key)
    except MalformedCapture:
        return Segment(path, size_bytes, "damaged", False, 0, None, None, (), 0)
    count, times = 0, []
    models: dict[str, None] = {}
    while (frame := reader.next()) is not None:
        kind, _, content = frame
        if kind == Frame.RECORD:
            count += 1
            if isinstance(content, tuple):
                times.append(content[2])
        elif kind == Frame.RING and (key is not None or not reader.is_encrypted):
            models[_title(_description(content))] = None
    state = "sealed" if reader.is_complete else "open" if path.endswith(OPEN) else "damaged"
    return Segment(
        path,
        size_bytes,
        state,
        reader.is_encrypted,
        count,
        min(times, default=None),
        max(times, default=None),
        tuple(models),
        0 if reader.is_complete else reader.hole_count,
    )


def read_counters(directory: PathLike, key: _core.PrivateKey | None = None) -> dict[int, Any]:
    """The last counters of each ring whose records are below `directory`, by ring id."""
    import numpy as np

    last: dict[int, dict[str, int]] = {}
    for path in segment_paths(directory):
        try:
            reader = _core.open_segment(path, key)
        except EdgewardError:
            continue
        if reader.is_encrypted and key is None:
            continue
        while (frame := reader.next()) is not None:
            kind, ring_id, content = frame
            if kind != Frame.COUNTERS or ring_id == 0 or len(content) != 8 * len(RING_COUNTERS):
                continue
            values = np.frombuffer(content, "<u8").tolist()
            last[ring_id] = dict(zip(RING_COUNTERS, values, strict=True))
    return last


def _records(path: str, key: _core.PrivateKey | None) -> Iterator[Captured]:
    reader = _core.open_segment(path, key)
    if reader.is_encrypted and key is None:
        raise WrongKey(
            f'segment "{path}": expected the private key of who it is encrypted to, got none'
        )
    descriptions: dict[int, Mapping[str, Any]] = {}
    while (frame := reader.next()) is not None:
        kind, ring_id, content = frame
        if kind == Frame.RING:
            descriptions[ring_id] = _description(content)
        elif kind == Frame.RECORD and isinstance(content, tuple):
            yield _captured(ring_id, descriptions.get(ring_id, {}), content)


def _replaced(paths: list[str], key: _core.PrivateKey | None) -> set[tuple[int, int]]:
    """Records that a reservoir gave up: a look at all of them, where a ring has such a rule."""
    found: set[tuple[int, int]] = set()
    for path in paths:
        reader = _core.open_segment(path, key)
        has_reservoir = False
        while (frame := reader.next()) is not None:
            kind, ring_id, content = frame
            if kind == Frame.RING:
                has_reservoir |= bool(_description(content).get("has_reservoir"))
                if not has_reservoir:
                    break
            elif kind == Frame.RECORD and isinstance(content, tuple) and content[6] != 0:
                found.add((ring_id, content[6]))
    return found


def _description(content: bytes) -> Mapping[str, Any]:
    """What the writer of a ring said of it; it may be anything."""
    try:
        described = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return described if isinstance(described, dict) else {}


def _captured(ring_id: int, described: Mapping[str, Any], content: tuple[Any, ...]) -> Captured:
    sequence, monotonic_ns, wall_ns, latency_ns, lost, correlation, _, reason, user, tensors = (
        content
    )
    sides: dict[str, dict[str, NDArray[Any]]] = {"inputs": {}, "outputs": {}}
    dtypes = {}
    for is_output, index, dtype, array in tensors:
        side = "outputs" if is_output else "inputs"
        name = _name(described, side, index)
        sides[side][name] = array
        dtypes[side, name] = dtype
    name, version, package_id = _identity(described)
    return Captured(
        name,
        version,
        package_id,
        _text(described.get("signature")),
        ring_id,
        sequence,
        wall_ns,
        monotonic_ns,
        latency_ns,
        tuple(word for bit, word in enumerate(REASONS) if reason >> bit & 1),
        correlation,
        user,
        lost,
        sides["inputs"],
        sides["outputs"],
        dtypes,
    )


def _identity(described: Mapping[str, Any]) -> tuple[str, str, str]:
    model = described.get("model")
    model = model if isinstance(model, dict) else {}
    return _text(model.get("name")), _text(model.get("version")), _text(model.get("package_id"))


def _title(described: Mapping[str, Any]) -> str:
    name, version, _ = _identity(described)
    return " ".join(filter(None, (name or "unnamed", version)))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _name(described: Mapping[str, Any], side: str, index: int) -> str:
    """A tensor's name; its place where the description does not say."""
    try:
        name = described[side][index]["name"]
    except (KeyError, IndexError, TypeError):
        name = None
    return name if isinstance(name, str) else f"{side[:-1]}_{index}"
