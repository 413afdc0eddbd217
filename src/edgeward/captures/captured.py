"""Captured: one inference that was kept, as it is read back from the segments of a directory."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeward import _core
from edgeward.captures.boot_clocks import BootClocks
from edgeward.captures.folders import device_of, files_below
from edgeward.captures.quantization import Quantization
from edgeward.errors import EdgewardError, MalformedCapture, WrongKey
from edgeward.paths import PathLike

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of a ring's counters frame: what the writer counts, then what the drain knows.
FRAME_COUNTERS = (*_core.RING_COUNTERS, "last_sequence", "is_broken")


class Captured(NamedTuple):
    """One inference. Arrays are read-only views of one block of memory.

    `inputs` and `outputs` are by name; a run that failed has no outputs. A dtype that numpy lacks,
    such as bfloat16, is held as unsigned integers of its bits; `dtypes` are the model's, by (side,
    name). `sequence` numbers the records of one ring from 1, lost ones included. `time_ns` is the
    Unix time at which the run began, corrected when its device learned the time later in the same
    boot; `monotonic_ns` is the same on the monotonic clock. `device` is the folder below the
    directory that was read, "" for that directory itself. `redact` lists the rules by which values
    were left out, as dicts. `labels` are the names of the package's classes; `quantizations`, by
    (side, name), are of the tensors that have one.
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
    device: str = ""
    redact: tuple[dict[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    quantizations: Mapping[tuple[str, str], Quantization] = {}


class Segment(NamedTuple):
    """What one segment holds, without its tensors."""

    path: str
    size_bytes: int
    state: str  # "sealed", "open" (being written, or left by a crash) or "damaged"
    is_encrypted: bool
    record_count: int
    first_ns: int | None  # Unix time; None without records, or without the key to them
    last_ns: int | None
    models: tuple[str, ...]
    hole_count: int  # whole frames behind the first broken one


def read_captures(
    directory: PathLike, *, key: _core.PrivateKey | None = None
) -> Iterator[Captured]:
    """The captured inferences below `directory`, in the order in which they were written.

    Segments in folders below it are read too: one folder for each device whose captures were
    gathered there. Records that a reservoir replaced are left out. `key` is the private key that
    belongs to the capture's encrypt_to. A segment that was cut short by a crash or by damage gives
    its whole records. Raises OSError, WrongKey, MalformedCapture for a file that is no segment.
    """
    for _, captured in read_segments(segment_paths(directory), directory, key):
        yield captured


def read_segments(
    paths: Sequence[str], directory: PathLike, key: _core.PrivateKey | None = None
) -> Iterator[tuple[str, Captured]]:
    """The records of these segments below `directory`, with their paths, as read_captures.

    A segment that a running program has sealed or deleted meanwhile is read, or passed over.
    """
    replaced = _replaced(paths, key)
    clocks = BootClocks(paths, key)
    for path in paths:
        for captured in _records(path, key, device_of(path, directory), clocks):
            if (captured.ring_id, captured.sequence) not in replaced:
                yield path, captured


def segment_paths(directory: PathLike) -> list[str]:
    """Sealed and open segments in it and below it, the oldest first. Raises OSError."""
    paths = files_below(directory, _core.SEALED_SUFFIX, _core.OPEN_SUFFIX)
    known = set(paths)  # of one that is sealed meanwhile, both names may be there
    return [
        path for path in paths if path.endswith(_core.SEALED_SUFFIX) or _sealed(path) not in known
    ]


def segment_report(path: str, key: _core.PrivateKey | None = None) -> Segment:
    """A file that is no segment is reported as damaged. Raises OSError, WrongKey."""
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
    state = "open" if path.endswith(_core.OPEN_SUFFIX) else "damaged"
    state = "sealed" if reader.is_complete else state
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
    """The last counters of each ring with records in `directory`, by ring id."""
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
            if frame.ring_id != 0 and len(frame.payload) == 8 * len(FRAME_COUNTERS):
                values = np.frombuffer(frame.payload, "<u8").tolist()
                last[frame.ring_id] = dict(zip(FRAME_COUNTERS, values, strict=True))
    return last


def _records(
    path: str, key: _core.PrivateKey | None, device: str, clocks: BootClocks
) -> Iterator[Captured]:
    reader = _try_open(path, key)
    if reader is None:
        return
    if reader.is_encrypted and key is None:
        raise WrongKey(
            f'segment "{path}": expected the private key of who it is encrypted to, got none'
        )
    boot_id = reader.boot_id
    descriptions: dict[int, _Description] = {}
    while (frame := reader.next()) is not None:
        if isinstance(frame, _core.Record):
            captured = _captured(descriptions.get(frame.ring_id, UNDESCRIBED), frame, device)
            time_ns = clocks.time_ns(boot_id, captured.monotonic_ns, captured.time_ns)
            yield captured if time_ns == captured.time_ns else captured._replace(time_ns=time_ns)
        elif frame.type == "ring":
            descriptions[frame.ring_id] = _Description.parsed(frame.payload)


def _try_open(path: str, key: _core.PrivateKey | None) -> _core.SegmentReader | None:
    """None for a segment that was deleted since its name was read; it may be sealed by now."""
    with suppress(FileNotFoundError):
        return _core.open_segment(path, key)
    if path.endswith(_core.OPEN_SUFFIX):
        with suppress(FileNotFoundError):
            return _core.open_segment(_sealed(path), key)
    return None


def _sealed(open_path: str) -> str:
    return open_path.removesuffix(_core.OPEN_SUFFIX) + _core.SEALED_SUFFIX


def _replaced(paths: Sequence[str], key: _core.PrivateKey | None) -> set[tuple[int, int]]:
    """The records that a reservoir replaced. Reads all records of rings that have a reservoir."""
    replaced: set[tuple[int, int]] = set()
    for path in paths:
        reader = _try_open(path, key)
        has_reservoir = False
        while reader is not None and (frame := reader.next()) is not None:
            if isinstance(frame, _core.Record):
                if frame.replaces != 0:
                    replaced.add((frame.ring_id, frame.replaces))
            elif frame.type == "ring":
                has_reservoir |= _Description.parsed(frame.payload).has_reservoir
                if not has_reservoir:
                    break
    return replaced


class _Description(NamedTuple):
    """What the writer of a ring says of its records; empty where it says nothing usable."""

    model: str = ""
    version: str = ""
    package_id: str = ""
    signature: str = ""
    has_reservoir: bool = False
    inputs: tuple[str, ...] = ()  # names
    outputs: tuple[str, ...] = ()
    redact: tuple[dict[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    quantizations: Mapping[tuple[str, str], Quantization] = {}

    @classmethod
    def parsed(cls, payload: bytes) -> "_Description":
        """Accepts any bytes: the payload is whatever a program wrote."""
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            return UNDESCRIBED
        fields = _mapping(document)
        model = _mapping(fields.get("model"))
        inputs = _names(fields.get("inputs"), "input")
        outputs = _names(fields.get("outputs"), "output")
        return cls(
            _text(model.get("name")),
            _text(model.get("version")),
            _text(model.get("package_id")),
            _text(fields.get("signature")),
            bool(fields.get("has_reservoir")),
            inputs,
            outputs,
            _mappings(fields.get("redact")),
            _texts(fields.get("labels")),
            {
                **_quantizations("inputs", inputs, fields.get("inputs")),
                **_quantizations("outputs", outputs, fields.get("outputs")),
            },
        )

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.model or "unnamed", self.version)))


UNDESCRIBED = _Description()


def _captured(description: _Description, record: _core.Record, device: str) -> Captured:
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
        record.reasons,
        record.correlation_id,
        record.user,
        record.lost_before,
        inputs,
        outputs,
        dtypes,
        device,
        description.redact,
        description.labels,
        description.quantizations,
    )


def _names(rows: object, side: str) -> tuple[str, ...]:
    """The tensors' names; the index of a tensor where the description does not name it."""
    if not isinstance(rows, list):
        return ()
    return tuple(_text(_mapping(row).get("name"), f"{side}_{at}") for at, row in enumerate(rows))


def _mappings(rows: object) -> tuple[dict[str, Any], ...]:
    return tuple(row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()


def _texts(rows: object) -> tuple[str, ...]:
    return tuple(map(_text, rows)) if isinstance(rows, list) else ()


def _quantizations(
    side: str, names: Sequence[str], rows: object
) -> dict[tuple[str, str], Quantization]:
    if not isinstance(rows, list):
        return {}
    parsed = (Quantization.parsed(_mapping(row).get("quantization")) for row in rows)
    return {
        (side, name): quantization
        for name, quantization in zip(names, parsed, strict=True)
        if quantization is not None
    }


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object, default: str = "") -> str:
    return value if isinstance(value, str) else default
