"""Segments laid out by hand: records that no model gives, frames that are cut, relabelled, spliced.

Written from docs/capture-format.md, sections 2 and 3. What is laid out here is not encrypted; the
frames of an encrypted segment that a Capture wrote can be taken apart and put together without its
key, as an attacker would.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RING, COUNTERS, FOOTER, BLOCK, INDEX, RECOVERED = 1, 3, 4, 5, 6, 7
HEAD_BYTES, FRAME_HEAD_BYTES = 192, 80
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64", "bfloat16", "complex64", "complex128",
)  # fmt: skip
START_NS = 1_790_000_000_000_000_000


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _crc_table()


def crc32c(data: bytes, before: int = 0) -> int:
    crc = before ^ 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 64)


# --- records -----------------------------------------------------------------------------------


class Tensor(NamedTuple):
    """One row of a record and its bytes, which need not fit each other."""

    side: int  # 0 input, 1 output
    index: int
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def tensor(side: int, index: int, array: NDArray[Any]) -> Tensor:
    return Tensor(side, index, array.dtype.name, array.shape, array.tobytes())


def record(
    sequence: int,
    tensors: Iterable[Tensor],
    *,
    user: bytes = b"",
    reasons: int = 1,
    lost_before: int = 0,
    time_ns: int | None = None,
) -> bytes:
    rows = [*tensors]
    table = b"".join(
        struct.pack("<BBBBIQ", row.side, DTYPES.index(row.dtype), len(row.shape), 0, row.index,
                    len(row.data)) + struct.pack("<8q", *row.shape, *[0] * (8 - len(row.shape)))
        for row in rows
    )  # fmt: skip
    body = table + user
    content = bytes(128) + body
    for row in rows:
        content = padded(content) + row.data
    time_ns = START_NS + sequence * 1_000_000 if time_ns is None else time_ns
    head = struct.pack(
        "<IHHQQQqQQQQIII", len(content), 1, len(rows), sequence, 0, sequence * 1_000_000, time_ns,
        1000, lost_before, sequence, 0, reasons, len(user), crc32c(body),
    )  # fmt: skip
    head_crc = crc32c(head + bytes(128 - len(head)))
    return head + struct.pack("<I", head_crc) + bytes(40) + content[128:]


def description(
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    *,
    model: str = "pair",
    version: str = "1.0",
    **changes: Any,
) -> bytes:
    """What the writer of a ring says of it; names may be anything that JSON can spell."""
    facts: dict[str, Any] = {
        "model": {"name": model, "version": version, "package_id": ""},
        "signature": "serving_default",
        "has_reservoir": False,
        "inputs": [{"name": name} for name in inputs],
        "outputs": [{"name": name} for name in outputs],
    }
    return json.dumps({**facts, **changes}).encode()


# --- frames ------------------------------------------------------------------------------------


class Frame(NamedTuple):
    kind: int
    ring_id: int
    payload: bytes
    first: int = 0  # sequences of a block's records
    last: int = 0
    count: int = 0
    tag: bytes = bytes(16)


def block(ring_id: int, data: bytes) -> Frame:
    """A block of one record, which is given as a ring has it."""
    _, _, tensors, *fields = struct.unpack_from("<IHHQQQqQQQQII", data)
    sequence, _, monotonic, time, latency, lost, correlation, replaces, reasons, user_bytes = fields
    end = 128 + 80 * tensors
    rows, user = data[128:end], data[end : end + user_bytes]
    head = struct.pack("<IHHQ", 1, tensors, 0, user_bytes) + rows
    head += struct.pack(
        "<QQqQQQQII", sequence, monotonic, time, latency, lost, correlation, replaces, reasons,
        user_bytes,
    )  # fmt: skip
    # Both begin with tensors at the next multiple of 64, and have one behind another.
    payload, at = head + user, len(data[: end + user_bytes])
    for row in range(tensors):
        (size,) = struct.unpack_from("<Q", rows, 80 * row + 8)
        at += -at % 64
        payload = padded(payload) + data[at : at + size]
        at += size
    return Frame(BLOCK, ring_id, payload, sequence, sequence, 1)


def head(salt: bytes, created_ns: int = START_NS) -> bytes:
    """The head of a segment that is not encrypted."""
    fields = struct.pack("<8s8sqII", b"EWSEG02\0", salt, created_ns, 0, 0)
    fields += bytes(188 - len(fields))
    return fields + struct.pack("<I", crc32c(fields))


def segment(head: bytes, frames: Iterable[Frame], *, is_recovered: bool = False) -> bytes:
    """A sealed segment: the frames in this order, numbered anew, and an end that fits them."""
    salt = head[8:16]
    stored, index = head, b""
    count = records = 0
    for frame in frames:
        index += _row(len(stored), frame)
        stored += _frame(salt, count, frame)
        count += 1
        records += frame.count
    index_offset = len(stored)
    stored += _frame(salt, count, Frame(INDEX, 0, index))
    footer = struct.pack(
        "<QQIIQ32s", count + 1, len(stored), 0, 0, index_offset, hashlib.sha256(stored).digest()
    )
    kind = RECOVERED if is_recovered else FOOTER
    return stored + _frame(salt, count + 1, Frame(kind, 0, footer, count=records))


def frames(data: bytes) -> tuple[bytes, list[Frame]]:
    """The head of a segment and its frames as they are stored, without index and last frame."""
    stored = []
    at = HEAD_BYTES
    while at < len(data):
        kind, _, ring_id, _, first, last, count, size, _, tag = struct.unpack_from(
            "<I8sQQQQQII16s", data, at + 4
        )
        payload = data[at + FRAME_HEAD_BYTES : at + FRAME_HEAD_BYTES + size]
        if kind not in (FOOTER, INDEX, RECOVERED):
            stored.append(Frame(kind, ring_id, payload, first, last, count, tag))
        at += len(padded(bytes(FRAME_HEAD_BYTES) + payload))
    return data[:HEAD_BYTES], stored


def _row(offset: int, frame: Frame) -> bytes:
    """Of the index. Times and reasons are those of a block of one record."""
    times, reasons, flags = (0, 0, 0, 0), 0, 0
    if frame.kind == BLOCK and frame.count == 1:
        (tensors,) = struct.unpack_from("<H", frame.payload, 4)
        at = 16 + 80 * tensors
        if len(frame.payload) >= at + 64:
            fields = struct.unpack_from("<QQqQQQQII", frame.payload, at)
            monotonic, time, replaces, reasons = fields[1], fields[2], fields[6], fields[7]
            times = (time, time, monotonic, monotonic)
            flags = (replaces != 0) + 2 * _is_odd(frame.payload[16:at])
    return struct.pack(
        "<QQQQqqQQIIII", offset, frame.ring_id, frame.first, frame.last, *times, frame.kind,
        frame.count, reasons, flags,
    )  # fmt: skip


def _is_odd(rows: bytes) -> bool:
    """Whether a tensor's dimensions, but for zeros, multiply to 2^63 bytes or more."""
    for at in range(0, len(rows), 80):
        size = 8
        for extent in struct.unpack_from("<8q", rows, at + 16):
            size *= max(extent, 1)
        if size >= 1 << 63:
            return True
    return False


def _frame(salt: bytes, index: int, frame: Frame) -> bytes:
    def fields(crc: int) -> bytes:
        return struct.pack(
            "<4sI8sQQQQQII16s", b"EWF2", frame.kind, salt, frame.ring_id, index, frame.first,
            frame.last, frame.count, len(frame.payload), crc, frame.tag,
        )  # fmt: skip

    return padded(fields(crc32c(frame.payload, crc32c(fields(0)))) + frame.payload)


# --- directories -------------------------------------------------------------------------------


def write(
    directory: Path,
    records: Iterable[bytes],
    *,
    described: bytes | None = None,
    ring_id: int = 1,
    number: int = 1,
) -> Path:
    """A sealed segment of one ring's records in `directory`, the `number`th there."""
    salt = hashlib.sha256(f"{directory.name} {number}".encode()).digest()[:8]
    rows = [Frame(RING, ring_id, description() if described is None else described)]
    rows += [block(ring_id, data) for data in records]
    directory.mkdir(parents=True, exist_ok=True)
    created_ns = START_NS + number
    path = directory / f"{created_ns:020}-{salt.hex()}.ewc"
    path.write_bytes(segment(head(salt, created_ns), rows))
    return path


def plain(sequence: int, value: float | None = None, **facts: Any) -> bytes:
    """A record of an ordinary model: x and y of four floats."""
    x = np.full(4, sequence if value is None else value, np.float32)
    return record(sequence, [tensor(0, 0, x), tensor(1, 0, x + 1)], **facts)


def shaped(sequence: int, shape: tuple[int, ...], dtype: str = "float32") -> bytes:
    """A record whose output has this shape."""
    x = np.full(4, sequence, np.float32)
    return record(sequence, [tensor(0, 0, x), tensor(1, 0, np.ones(shape, dtype))])
