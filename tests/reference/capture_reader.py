"""A slow reader of rings, segments and statistics, written from docs/capture-format.md alone.

Each function takes the bytes of a file and gives what is in them, or raises Refused.
"""

import base64
import hashlib
import json
import struct
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KIB = 1024
DTYPE_BITS = {
    "bool": 8, "int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "uint16": 16,
    "uint32": 32, "uint64": 64, "float16": 16, "float32": 32, "float64": 64, "bfloat16": 16,
    "complex64": 64, "complex128": 128, "int2": 2, "int4": 4, "uint4": 4, "float8_e4m3fn": 8,
    "float8_e4m3fnuz": 8, "float8_e5m2": 8, "float8_e5m2fnuz": 8, "uint2": 2, "float8_e8m0fnu": 8,
}  # fmt: skip
DTYPES = list(DTYPE_BITS)
REASONS = {
    1: "sampled", 2: "predicate", 4: "manual", 8: "failed", 16: "pre_roll", 32: "post_roll",
}  # fmt: skip


class Refused(Exception):  # noqa: N818 - named by what happened
    pass


def require(condition: object, why: str) -> None:
    if not condition:
        raise Refused(why)


def crc32c(data: bytes, before: int = 0) -> int:
    """RFC 3720, B.4, a bit at a time."""
    crc = before ^ 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def round_up(size: int) -> int:
    return -(-size // 64) * 64


# --- 2. records --------------------------------------------------------------------------------


class Tensor(NamedTuple):
    side: int
    index: int
    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Record(NamedTuple):
    sequence: int
    position: int
    monotonic_ns: int
    time_ns: int
    latency_ns: int
    lost_before: int
    correlation_id: int
    replaces: int
    reasons: set[str]
    user: bytes
    tensors: list[Tensor]


def row(data: bytes) -> tuple[int, int, str, tuple[int, ...], int]:
    """Side, index, dtype, shape and bytes of a tensor."""
    side, dtype, rank, zero, index, tensor_bytes = struct.unpack_from("<BBBBIQ", data)
    require(side <= 1 and dtype < len(DTYPES) and rank <= 8 and zero == 0, "a row's fields")
    shape = struct.unpack_from("<8q", data, 16)[:rank]
    require(all(dim >= 0 for dim in shape), "dimensions")
    elements = 1
    for dim in shape:
        elements *= dim
    bits = elements * DTYPE_BITS[DTYPES[dtype]]
    require(-(-bits // 8) == tensor_bytes, "the bytes of a tensor")
    return side, index, DTYPES[dtype], shape, tensor_bytes


def record(data: bytes) -> Record:
    require(len(data) >= 128, "a head")
    size, kind, count = struct.unpack_from("<IHH", data)
    sequence, position, monotonic, time, latency, lost, correlation, replaces = struct.unpack_from(
        "<QQQqQQQQ", data, 8
    )
    reasons, user_bytes, rows_crc, head_crc = struct.unpack_from("<IIII", data, 72)
    require(crc32c(data[:84] + bytes(4) + data[88:128]) == head_crc, "the CRC of the head")
    require(size == len(data) and kind == 1 and not any(data[88:128]), "a head's fields")
    require(count <= 256 and user_bytes <= 65_536, "a head's limits")
    rows_end = 128 + 80 * count
    end = rows_end + user_bytes
    require(end <= size and crc32c(data[128:end]) == rows_crc, "the CRC of the rows")
    user = data[rows_end:end]
    tensors = []
    for at in range(128, rows_end, 80):
        side, index, dtype, shape, tensor_bytes = row(data[at : at + 80])
        start = round_up(end)
        require(start + tensor_bytes <= size and not any(data[end:start]), "a tensor's offset")
        end = start + tensor_bytes
        tensors.append(Tensor(side, index, dtype, shape, data[start:end]))
    require(end == size, "the end of a record")
    words = {word for bit, word in REASONS.items() if reasons & bit}
    return Record(
        sequence, position, monotonic, time, latency, lost, correlation, replaces, words, user,
        tensors,
    )  # fmt: skip


# --- 1. rings ----------------------------------------------------------------------------------


class Ring(NamedTuple):
    ring_id: int
    keeps_newest: bool
    process_id: int
    description: Any
    is_closed: bool
    counters: tuple[int, ...]
    records: list[Record]


def ring(data: bytes) -> Ring:
    magic, version, keep, capacity, ring_id, process, _, described, flags, crc, first_crc = (
        struct.unpack_from("<8sIIQQQqIIII", data)
    )
    require((magic, version) in ((b"EWRING01", 1), (b"EWRING02", 2)), "a ring's magic")
    require(keep in (1, 2) and flags <= version - 1, "a header")
    require(crc32c(data[:60]) == first_crc, "the CRC of the header's first part")
    if version == 2:
        require(not any(data[120:252]), "zeros")
        require(crc32c(data[:252]) == struct.unpack_from("<I", data, 252)[0], "the header's CRC")
    require(len(data) == 192 * KIB + capacity and described <= 60 * KIB, "sizes")
    description = data[4096 : 4096 + described]
    require(crc32c(description) == crc, "the CRC of the description")
    lines = 64 * KIB
    (tail,), (oldest,) = (struct.unpack_from("<Q", data, lines + at) for at in (0, 128))
    counters = struct.unpack_from("<5Q", data, lines + 256)
    (state,) = struct.unpack_from("<Q", data, lines + 384)
    head, complement = struct.unpack_from("<QQ", data, 128 * KIB)
    require(head ^ complement == 2**64 - 1, "a head")
    position = oldest if keep == 2 else head
    bytes_of_ring = data[192 * KIB :]
    records = []
    while position != tail:
        offset = position % capacity
        twice = bytes_of_ring[offset:] + bytes_of_ring[:offset]
        (size,) = struct.unpack_from("<I", twice)
        require(128 <= size <= tail - position <= capacity, "a record's size")
        whole = record(twice[:size])
        require(whole.position == position, "a record's position")
        records.append(whole)
        position += round_up(size)
    return Ring(ring_id, keep == 2, process, json.loads(description), state == 2, counters, records)


# --- 3. segments -------------------------------------------------------------------------------


class Segment(NamedTuple):
    is_complete: bool
    is_recovered: bool
    descriptions: dict[int, Any]
    records: list[tuple[int, Record]]
    counters: dict[int, tuple[int, ...]]


class FrameHead(NamedTuple):
    kind: int
    ring_id: int
    number: int
    first: int
    last: int
    count: int
    size: int
    tag: bytes
    end: int  # of the frame


RING, RECORD, COUNTERS, FOOTER, BLOCK, INDEX, RECOVERED = range(1, 8)


def segment(data: bytes, private_key: bytes | None = None) -> Segment:
    require(len(data) >= 192, "a head")
    magic, salt, _, flags, zero = struct.unpack_from("<8s8sqII", data)
    require(magic in (b"EWSEG01\0", b"EWSEG02\0") and flags <= 1 and zero == 0, "a head")
    require(crc32c(data[:188]) == struct.unpack_from("<I", data, 188)[0], "the CRC of the head")
    version = int(magic[5:7])
    cipher = None
    if flags == 1:
        require(private_key is not None, "a key")
        assert private_key is not None
        info = b"edgeward/ewc/v%d\0" % version + salt
        key = hpke_open(private_key, data[32:64], info, data[64:112])
        cipher = ChaCha20Poly1305(key)
    content = Segment(False, False, {}, [], {})
    at, index = 192, 0
    rows: list[tuple[int, FrameHead]] = []
    listed: list[tuple[int, ...]] | None = None
    while (head := frame_head(data, at, version, salt)) is not None and head.number == index:
        start = at + (64 if version == 1 else 80)
        payload = data[start : start + head.size]
        is_clear = head.kind == RECOVERED or (version == 1 and head.kind == FOOTER)
        if cipher is not None and not is_clear:
            associated = None
            if version == 2:
                own = data[at : at + 60] + bytes(20)
                associated = hashlib.sha256(data[:192]).digest() + own
            try:
                nonce = bytes(4) + index.to_bytes(8, "big")
                payload = cipher.decrypt(nonce, payload + head.tag, associated)
            except InvalidTag:
                break
        if head.kind in (FOOTER, RECOVERED):
            return last(data, at, head, payload, rows, listed, content)
        if head.kind == INDEX:
            listed = [row[:4] + row[8:10] for row in struct.iter_unpack("<QQQQqqQQIIII", payload)]
            at, index = head.end, index + 1
            continue
        require(listed is None, "nothing behind an index but the last frame")
        rows.append((at, head))
        if head.kind == RING:
            content.descriptions[head.ring_id] = json.loads(payload)
        elif head.kind == RECORD:
            content.records.append((head.ring_id, record(payload)))
            require(content.records[-1][1].sequence == head.last, "the sequence of a record")
        elif head.kind == BLOCK:
            records = block(payload)
            claimed = (head.first, head.last, head.count)
            require(claimed == (records[0].sequence, records[-1].sequence, len(records)), "a block")
            content.records.extend((head.ring_id, record) for record in records)
        else:
            content.counters[head.ring_id] = struct.unpack(f"<{len(payload) // 8}Q", payload)
        at, index = head.end, index + 1
    return content


def frame_head(data: bytes, at: int, version: int, salt: bytes) -> FrameHead | None:
    """Of the whole frame that begins there; None where there is none."""
    size_of_head = 64 if version == 1 else 80
    head = data[at : at + size_of_head]
    if len(head) < size_of_head:
        return None
    if version == 1:
        mark, kind, of, ring_id, number, size, crc, tag, first = struct.unpack(
            "<4sI8sQQII16sQ", head
        )
        last, count, crc_at, kinds = first, int(kind == RECORD), 36, range(1, 5)
        has_records = kind == RECORD
    else:
        mark, kind, of, ring_id, number, first, last, count, size, crc, tag = struct.unpack(
            "<4sI8sQQQQQII16s", head
        )
        crc_at, kinds, has_records = 60, (1, 3, 4, 5, 6, 7), kind == BLOCK
    if mark != (b"EWFR", b"EWF2")[version - 1] or of != salt or kind not in kinds:
        return None
    if (first or last) and not has_records:
        return None
    if count and not has_records and kind not in (FOOTER, RECOVERED):
        return None
    end = at + round_up(size_of_head + size)
    stored = data[at + size_of_head : at + size_of_head + size]
    if end > len(data) or any(data[at + size_of_head + size : end]):
        return None
    if crc32c(stored, crc32c(head[:crc_at] + bytes(4) + head[crc_at + 4 :])) != crc:
        return None
    return FrameHead(kind, ring_id, number, first, last, count, size, tag, end)


def block(data: bytes) -> list[Record]:
    require(len(data) >= 16, "the head of a block")
    count, tensors, zero, user_bytes = struct.unpack_from("<IHHQ", data)
    require(count > 0 and zero == 0 and tensors <= 256, "the head of a block")
    forms = [row(data[16 + 80 * number : 96 + 80 * number]) for number in range(tensors)]
    at = 16 + 80 * tensors
    end = at + 64 * count + user_bytes
    require(end <= len(data), "the fields of a block")
    columns = []
    for letter, width in (*zip("QQqQQQQ", [8] * 7, strict=True), ("I", 4), ("I", 4)):
        columns.append(struct.unpack_from(f"<{count}{letter}", data, at))
        at += width * count
    users = data[at:end]
    ends = columns[8]
    require(list(ends) == sorted(ends) and ends[-1] == user_bytes, "the users' bytes")
    tables = []
    for _, _, _, _, size in forms:
        start = round_up(end)
        require(start + size * count <= len(data) and not any(data[end:start]), "a tensor")
        end = start + size * count
        tables.append(data[start:end])
    require(end == len(data), "the end of a block")
    records = []
    for number in range(count):
        sequence, monotonic, time, latency, lost, correlation, replaces, reasons = (
            column[number] for column in columns[:8]
        )
        user = users[0 if number == 0 else ends[number - 1] : ends[number]]
        words = {word for bit, word in REASONS.items() if reasons & bit}
        arrays = [
            Tensor(*form[:4], table[number * form[4] : (number + 1) * form[4]])
            for form, table in zip(forms, tables, strict=True)
        ]
        records.append(
            Record(sequence, 0, monotonic, time, latency, lost, correlation, replaces, words, user,
                   arrays)
        )  # fmt: skip
    return records


def last(
    data: bytes,
    at: int,
    head: FrameHead,
    payload: bytes,
    rows: list[tuple[int, FrameHead]],
    listed: list[tuple[int, ...]] | None,
    content: Segment,
) -> Segment:
    """What was read, and whether its last frame agrees with it."""
    if len(payload) == 56:
        frames, before, flags, _, digest = struct.unpack("<QQII32s", payload)
        is_recovered, index_offset, index_count = flags == 1, 0, 0
    else:
        frames, before, _, _, index_offset, digest = struct.unpack("<QQIIQ32s", payload)
        is_recovered, index_count = head.kind == RECOVERED, int(index_offset != 0)
        expected = [
            (at, head.ring_id, head.first, head.last, head.kind, head.count) for at, head in rows
        ]
        require((listed is not None) == (index_count == 1), "an index")
        require(listed is None or listed == expected, "an index that agrees")
        require(head.count == sum(row.count for _, row in rows), "the number of records")
    is_complete = (frames, before, head.end) == (len(rows) + index_count, at, len(data))
    is_complete = is_complete and digest == hashlib.sha256(data[:at]).digest()
    return content._replace(is_complete=is_complete, is_recovered=is_recovered)


def hpke_open(
    private_key: bytes, encapsulated: bytes, info: bytes, sealed: bytes, data: bytes = b""
) -> bytes:
    """RFC 9180: base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305; the first message."""
    kem, suite = b"KEM\0\x20", b"HPKE\0\x20\0\x01\0\x03"

    def extract(salt: bytes, label: bytes, secret: bytes, name: bytes) -> bytes:
        from hmac import digest

        return digest(salt or bytes(32), b"HPKE-v1" + name + label + secret, "sha256")

    def expand(secret: bytes, label: bytes, context: bytes, length: int, name: bytes) -> bytes:
        labeled = length.to_bytes(2, "big") + b"HPKE-v1" + name + label + context
        return HKDFExpand(hashes.SHA256(), length, labeled).derive(secret)

    own = x25519.X25519PrivateKey.from_private_bytes(private_key)
    shared = own.exchange(x25519.X25519PublicKey.from_public_bytes(encapsulated))
    public = own.public_key().public_bytes_raw()
    prk = extract(b"", b"eae_prk", shared, kem)
    secret = expand(prk, b"shared_secret", encapsulated + public, 32, kem)
    context = b"\0" + extract(b"", b"psk_id_hash", b"", suite)
    context += extract(b"", b"info_hash", info, suite)
    prk = extract(secret, b"secret", b"", suite)
    key = expand(prk, b"key", context, 32, suite)
    nonce = expand(prk, b"base_nonce", context, 12, suite)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, data)
    except InvalidTag:
        raise Refused("another key") from None


# --- 4. statistics -----------------------------------------------------------------------------


PART_KINDS = (
    "values", "column", "mean", "deviation", "least", "largest", "channel", "margin", "entropy",
)  # fmt: skip


class _Statistics:
    """Bytes, and how far they were read."""

    def __init__(self, data: bytes) -> None:
        require(crc32c(data[:-4]) == int.from_bytes(data[-4:], "little"), "the CRC")
        self.data, self.at = data[:-4], 8

    def take(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def count(self) -> int:
        number = 0
        for shift in range(0, 63, 7):
            byte = self.take("B")
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise Refused("a number")

    def text(self) -> str:
        return self.take(f"{self.count()}s").decode()

    def sparse(self, size: int) -> list[int]:
        counts = [0] * size
        index = -1
        for _ in range(self.count()):
            index += self.count() + 1
            counts[index] = self.count()
        return counts

    def pairs(self) -> list[int]:
        """As version 1 has them."""
        counts = [0] * self.take("Q")
        for _ in range(self.take("Q")):
            index = self.take("I")
            counts[index] = self.take("Q")
        return counts


def _float_bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def _cell(value: float, fraction: int, low: int) -> int:
    """Of adaptive bins: how many cells from that of zero."""
    bits = _float_bits(value)
    distance = max(((bits & 0x7FFFFFFF) >> (23 - fraction)) - (low << fraction) + 1, 0)
    return -distance if bits >> 31 else distance


def _cell_edge(cell: int, fraction: int, low: int) -> float:
    """The least value of a cell."""
    magnitude = (abs(cell - (cell <= 0)) + (low << fraction) - 1) << (23 - fraction)
    if cell > 0:
        return float(struct.unpack("<f", struct.pack("<I", magnitude))[0])
    # The next float above the greatest magnitude of the cell before: one bit less of it.
    return -float(struct.unpack("<f", struct.pack("<I", magnitude - 1))[0])


def _adaptive(reader: _Statistics, low_value: float, high_value: float) -> dict[str, Any]:
    fraction = reader.take("B")
    top = max((_float_bits(value) & 0x7FFFFFFF) >> 23 for value in (low_value, high_value))
    low = max(top - 30, 1)
    first, last = (_cell(value, fraction, low) for value in (low_value, high_value))
    edges = [_cell_edge(cell, fraction, low) for cell in range(first + 1, last + 1)]
    return {"edges": edges, "counts": reader.sparse(last - first + 1)}


def _part(reader: _Statistics) -> dict[str, Any]:
    kind, index = PART_KINDS[reader.take("B")], reader.count()
    name = {"values": "", "column": f"{index}", "channel": f"channel {index}"}.get(kind, kind)
    fields = (
        "finite_count", "nan_count", "infinite_count", "clipped_count", "unchanged_count",
        "pair_count",
    )  # fmt: skip
    part: dict[str, Any] = {
        "kind": kind if kind in ("values", "column") else "figure", "name": name,
        **{field: reader.count() for field in fields}, "step_squares": reader.take("d"),
    }  # fmt: skip
    extent = dict.fromkeys(("min", "max", "mean", "squares"), 0.0)
    if part["finite_count"]:
        extent = dict(zip(extent, (reader.take(form) for form in "ffdd"), strict=True))
    bin_count = reader.count()
    if bin_count:
        bins = {"edges": [reader.take("f") for _ in range(bin_count - 1)]}
        bins["counts"] = [reader.count() for _ in range(bin_count)]
    elif part["finite_count"]:
        bins = _adaptive(reader, extent["min"], extent["max"])
    else:
        bins = {"edges": [], "counts": [0]}
    return {**part, **extent, **bins, "is_adaptive": bin_count == 0}


def statistics(data: bytes) -> dict[str, Any]:
    if data[:8] == b"EWSTAT01":
        return first_statistics(data)
    require(data[:8] == b"EWSTAT02", "the magic")
    reader = _Statistics(data)
    counted: dict[str, Any] = {"description": reader.text()}
    counted |= {"run_count": reader.count(), "error_count": reader.count()}
    counted["latency_counts"] = reader.sparse(976)
    counted["tensors"] = []
    for _ in range(reader.count()):
        side, dtype = reader.take("B"), reader.take("B")
        tensor = {"side": ("input", "output")[side], "dtype": DTYPES[dtype], "name": reader.text()}
        tensor["class_counts"] = reader.sparse(reader.count())
        tensor["parts"] = [_part(reader) for _ in range(reader.count())]
        counted["tensors"].append(tensor)
    require(reader.at == len(reader.data), "the end")
    return counted


def first_statistics(data: bytes) -> dict[str, Any]:
    """Version 1."""
    reader = _Statistics(data)
    take = reader.take
    counted: dict[str, Any] = {"run_count": take("Q"), "error_count": take("Q")}
    counted["latency_counts"] = reader.pairs()
    counted["tensors"] = []
    for _ in range(take("Q")):
        side, dtype = take("B"), take("B")
        name = take(f"{take('Q')}s").decode()
        counts = {which: take("Q") for which in ("finite_count", "nan_count", "infinite_count")}
        numbers = {which: take("d") for which in ("min", "max", "mean", "squares")}
        edges = [take("d") for _ in range(take("Q"))]
        counted["tensors"].append(
            {"side": ("input", "output")[side], "name": name, "dtype": DTYPES[dtype], **counts,
             **numbers, "edges": edges, "counts": reader.pairs(), "class_counts": reader.pairs()}
        )  # fmt: skip
    require(reader.at == len(reader.data), "the end")
    return counted


# --- 5. statistics files -----------------------------------------------------------------------


def statistics_file(data: bytes, private_key: bytes | None = None) -> dict[str, Any]:
    """What its document says; with a key, of a sealed one."""
    if private_key is not None:
        require(data[:8] == b"EWSTSL01", "the magic")
        data = hpke_open(private_key, data[40:72], b"edgeward/stats/v1\0", data[72:], data[:40])
    if data[:1] == b"{":
        document = json.loads(data)
        require(document["version"] == 1, "the version")
        counted = statistics(base64.b64decode(document["statistics"]))
    else:
        counted = statistics(data)
        document = json.loads(counted["description"])
    return {
        **document["model"],
        **document.get("window", {}),
        "columns": document.get("columns", {}),
        "signature": document["signature"],
        "statistics": counted,
    }
