"""Captured: one inference that was kept, read back from the segments of a directory."""

import json
import os
from collections.abc import Iterator
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
    path = os.fsdecode(directory)
    names = sorted(name for name in os.listdir(path) if name.endswith((SEALED, OPEN)))
    return [os.path.join(path, name) for name in names]


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
        if isinstance(frame, _core.Record):
            count += 1
            times.append(frame.wall_ns)
        elif frame.type == "record":
            count += 1
        elif frame.type == "ring" and (key is not None or not reader.is_encrypted):
            models[_Description.parsed(frame.payload).title] = None
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
            if isinstance(frame, _core.Record) or frame.type != "counters":
                continue
            if frame.ring_id != 0 and len(frame.payload) == 8 * len(RING_COUNTERS):
                values = np.frombuffer(frame.payload, "<u8").tolist()
                last[frame.ring_id] = dict(zip(RING_COUNTERS, values, strict=True))
    return last


def _records(path: str, key: _core.PrivateKey | None) -> Iterator[Captured]:
    reader = _core.open_segment(path, key)
    if reader.is_encrypted and key is None:
        raise WrongKey(
            f'segment "{path}": expected the private key of who it is encrypted to, got none'
        )
    descriptions: dict[int, _Description] = {}
    while (frame := reader.next()) is not None:
        if isinstance(frame, _core.Record):
            yield _captured(descriptions.get(frame.ring_id, UNDESCRIBED), frame)
        elif frame.type == "ring":
            descriptions[frame.ring_id] = _Description.parsed(frame.payload)


def _replaced(paths: list[str], key: _core.PrivateKey | None) -> set[tuple[int, int]]:
    """Records that a reservoir gave up: a look at all of them, where a ring has such a rule."""
    replaced: set[tuple[int, int]] = set()
    for path in paths:
        reader = _core.open_segment(path, key)
        has_reservoir = False
        while (frame := reader.next()) is not None:
            if isinstance(frame, _core.Record):
                if frame.replaces != 0:
                    replaced.add((frame.ring_id, frame.replaces))
            elif frame.type == "ring":
                has_reservoir |= _Description.parsed(frame.payload).has_reservoir
                if not has_reservoir:
                    break
    return replaced


class _Description(NamedTuple):
    """What the writer of a ring says of its records. Empty where it says nothing of use."""

    model: str = ""
    version: str = ""
    package_id: str = ""
    signature: str = ""
    has_reservoir: bool = False
    inputs: tuple[str, ...] = ()  # names
    outputs: tuple[str, ...] = ()

    @classmethod
    def parsed(cls, payload: bytes) -> "_Description":
        """The payload may be anything: it is a program's own word."""
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            return UNDESCRIBED
        fields = _mapping(document)
        model = _mapping(fields.get("model"))
        return cls(
            _text(model.get("name")),
            _text(model.get("version")),
            _text(model.get("package_id")),
            _text(fields.get("signature")),
            bool(fields.get("has_reservoir")),
            _names(fields.get("inputs"), "input"),
            _names(fields.get("outputs"), "output"),
        )

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.model or "unnamed", self.version)))


UNDESCRIBED = _Description()


def _captured(description: _Description, record: _core.Record) -> Captured:
    inputs: dict[str, NDArray[Any]] = {}
    outputs: dict[str, NDArray[Any]] = {}
    dtypes = {}
    for tensor in record.tensors:
        index = tensor.index
        if tensor.is_output:
            side, names, arrays = "outputs", description.outputs, outputs
        else:
            side, names, arrays = "inputs", description.inputs, inputs
        name = names[index] if index < len(names) else f"{side[:-1]}_{index}"
        arrays[name] = tensor.array
        dtypes[side, name] = tensor.dtype
    reason = record.reason
    return Captured(
        description.model,
        description.version,
        description.package_id,
        description.signature,
        record.ring_id,
        record.sequence,
        record.wall_ns,
        record.monotonic_ns,
        record.latency_ns,
        tuple(word for bit, word in enumerate(REASONS) if reason >> bit & 1),
        record.correlation_id,
        record.user,
        record.lost_before,
        inputs,
        outputs,
        dtypes,
    )


def _names(rows: object, side: str) -> tuple[str, ...]:
    """The tensors' names; the index of a tensor where the description does not name it."""
    if not isinstance(rows, list):
        return ()
    return tuple(_text(_mapping(row).get("name"), f"{side}_{at}") for at, row in enumerate(rows))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object, default: str = "") -> str:
    return value if isinstance(value, str) else default
