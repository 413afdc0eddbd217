"""A slow reader of packages, written from docs/package-format.md alone. Numbers are its sections.

For comparison with the one that devices use, never instead of it: it keeps keys in plain memory.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import stat
import struct
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BODY_TYPE = "application/vnd.edgeward.ewp.body.v1"
ROOT_TYPE = "application/vnd.edgeward.root.v1+json"
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")
TARGET = re.compile(r"[a-z0-9_-][a-z0-9._-]*\Z")
VERSION = re.compile(r"[!-~]+\Z")
KEY_BYTES = {1: 32, 2: 65, 0x20: 32}
ALGORITHMS = {"ed25519": 1, "ecdsa-p256": 2}
P = 2**255 - 19
SMALL_Y = {
    0, 1, P - 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7,
}  # fmt: skip


class Refused(Exception):  # noqa: N818 - named by what happened
    """`code` is one of section 10."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


def require(condition: object, code: str, why: str) -> None:
    if not condition:
        raise Refused(code, why)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def key_id(algorithm: int, public: bytes) -> bytes:
    return sha256(b"edgeward/key/v1\0" + struct.pack(">H", algorithm) + public)


def dsse(kind: str, body: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)


def fits(algorithm: int, public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is one of the key over the message. Section 3."""
    if len(signature) != 64:
        return False
    try:
        if algorithm == 1:
            y = int.from_bytes(public, "little") & (2**255 - 1)
            if y >= P or y in SMALL_Y:
                return False
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        else:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
            r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
            der = utils.encode_dss_signature(r, s)
            key.verify(der, message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


# --- Strict JSON: section 8 --------------------------------------------------------------------


def strict_json(data: bytes) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        require(len({key for key, _ in items}) == len(items), "malformed_root", "a key twice")
        return dict(items)

    def whole(text: str) -> int:
        number = int(text)
        is_plain = text == str(number) and text != "-0" and -(2**63) <= number < 2**63
        require(is_plain, "malformed_root", f"the number {text}")
        return number

    def never(text: str) -> Any:
        raise Refused("malformed_root", f"the number {text}")

    try:
        text = data.decode()
        document = json.loads(
            text, object_pairs_hook=pairs, parse_int=whole, parse_float=never, parse_constant=never
        )
    except (ValueError, RecursionError) as error:
        raise Refused("malformed_root", str(error)) from None
    require(not data.startswith(b"\xef\xbb\xbf"), "malformed_root", "a byte order mark")
    require("\0" not in text and depth(document) <= 8, "malformed_root", "zeros, or too deep")
    require(not any("\0" in text for text in texts(document)), "malformed_root", "a zero character")
    return document


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *texts(item)]]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def fields(value: Any, names: set[str]) -> dict[str, Any]:
    require(isinstance(value, dict) and set(value) == names, "malformed_root", f"{names}")
    return dict(value)


def whole_number(value: Any, least: int, most: int = 2**63 - 1) -> int:
    is_right = type(value) is int and least <= value <= most
    require(is_right, "malformed_root", f"{value!r}: expected {least} to {most}")
    return int(value)


def listed(value: Any, least: int, most: int) -> list[Any]:
    require(isinstance(value, list) and least <= len(value) <= most, "malformed_root", "a list")
    return list(value)


def hex_id(value: Any) -> bytes:
    is_id = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)
    require(is_id, "malformed_root", f"the id {value!r}")
    return bytes.fromhex(value)


def from_base64(value: Any) -> bytes:
    require(isinstance(value, str), "malformed_root", "base64")
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError as error:
        raise Refused("malformed_root", str(error)) from None
    require(base64.b64encode(data).decode() == value, "malformed_root", "base64")
    return data


# --- The trust root: section 8 -----------------------------------------------------------------


class Root:
    """A trust root that is signed by its own root role."""

    def __init__(self, envelope: bytes) -> None:
        require(len(envelope) <= 512 << 10, "malformed_root", "too large")
        outer = fields(strict_json(envelope), {"payloadType", "payload", "signatures"})
        self.payload = from_base64(outer["payload"])
        require(isinstance(outer["payloadType"], str), "malformed_root", "payloadType")
        self.signatures = []
        for entry in listed(outer["signatures"], 0, 16):
            signature = fields(entry, {"keyid", "sig"})
            self.signatures.append((hex_id(signature["keyid"]), from_base64(signature["sig"])))
        require(outer["payloadType"] == ROOT_TYPE, "malformed_root", "payloadType")
        self._parse()
        self.require_root_signatures(self)

    def _parse(self) -> None:
        require(len(self.payload) <= 256 << 10, "malformed_root", "too large")
        document = fields(
            strict_json(self.payload),
            {"version", "epoch", "issued", "expires", "keys", "roles", "revoked"},
        )
        self.version = whole_number(document["version"], 1)
        self.epoch = whole_number(document["epoch"], 0, 65_535)
        self.issued = whole_number(document["issued"], 0, 2**63 - 2)
        self.expires = whole_number(document["expires"], self.issued + 1)
        self.keys: dict[bytes, tuple[int, bytes]] = {}
        for entry in listed(document["keys"], 0, 64):
            key = fields(entry, {"id", "alg", "pub"})
            require(key["alg"] in list(ALGORITHMS), "malformed_root", f"algorithm {key['alg']!r}")
            algorithm, public = ALGORITHMS[key["alg"]], from_base64(key["pub"])
            require(len(public) == KEY_BYTES[algorithm], "malformed_root", "length of a key")
            name = hex_id(key["id"])
            require(name == key_id(algorithm, public), "malformed_root", "id of a key")
            require(name not in self.keys, "malformed_root", "a key twice")
            self.keys[name] = algorithm, public
        self.revoked = [hex_id(value) for value in listed(document["revoked"], 0, 1024)]
        require(len(set(self.revoked)) == len(self.revoked), "malformed_root", "revoked twice")
        roles = document["roles"]
        is_right = isinstance(roles, dict) and "root" in roles and len(roles) <= 65
        require(is_right, "malformed_root", "roles")
        self.roles = {name: self._role(name, role) for name, role in roles.items()}

    def _role(self, name: str, value: Any) -> tuple[list[bytes], int, list[str]]:
        publisher = name.removeprefix("publisher:")
        is_name = name == "root" or (
            publisher != name and len(publisher) <= 32 and NAME.match(publisher)
        )
        require(is_name, "malformed_root", f"role {name}")
        names = {"keyids", "threshold"} | (set() if name == "root" else {"prefixes"})
        role = fields(value, names)
        ids = [hex_id(value) for value in listed(role["keyids"], 1, 64)]
        require(len(set(ids)) == len(ids) and set(ids) <= set(self.keys), "malformed_root", "ids")
        threshold = whole_number(role["threshold"], 1, len(ids))
        prefixes = [] if name == "root" else listed(role["prefixes"], 1, 256)
        for prefix in prefixes:
            is_prefix = isinstance(prefix, str) and re.fullmatch("[A-Za-z0-9._-]*", prefix)
            require(is_prefix, "malformed_root", f"prefix {prefix!r}")
        return ids, threshold, prefixes

    def count(
        self,
        role: str,
        message: bytes,
        signatures: list[tuple[bytes, bytes]] | list[tuple[bytes, bytes, int]],
        code: str,
    ) -> int:
        """Section 7, step 4: how many distinct keys of the role have signed."""
        counted = set()
        for name, signature, *claimed in signatures:
            if name not in self.keys or name in self.revoked:
                continue
            algorithm, public = self.keys[name]
            is_right = claimed in ([], [algorithm]) and fits(algorithm, public, message, signature)
            require(is_right, code, "a known key's signature does not fit")
            if name in self.roles[role][0]:
                counted.add(name)
        return len(counted)

    def require_root_signatures(self, other: Root) -> None:
        message = dsse(ROOT_TYPE, other.payload)
        count = self.count("root", message, other.signatures, "untrusted_root")
        require(count >= self.roles["root"][1], "untrusted_root", f"{count} signatures")

    def successor(self, envelope: bytes) -> Root:
        other = Root(envelope)
        self.require_root_signatures(other)
        require(other.version > self.version, "rollback_refused", "version")
        require(other.version == self.version + 1, "untrusted_root", "a version is left out")
        is_later = other.epoch >= self.epoch and other.issued >= self.issued
        require(is_later, "rollback_refused", "epoch or issued")
        return other


# --- The package -------------------------------------------------------------------------------


class Device(NamedTuple):
    """What a device asks with: section 7, steps 6 and 8."""

    target: str
    now_s: int
    floor: int = 0
    private_key: bytes | None = None  # X25519
    has_run: bool = False  # this very package, before

    @property
    def id(self) -> bytes | None:
        if self.private_key is None:
            return None
        private = x25519.X25519PrivateKey.from_private_bytes(self.private_key)
        return key_id(0x20, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def text(field: bytes, pattern: re.Pattern[str], code: str) -> str:
    stripped = field.split(b"\0", 1)[0]
    require(field == stripped.ljust(len(field), b"\0"), code, "padding of a text")
    decoded = stripped.decode("latin-1")
    require(pattern.match(decoded), code, f"the text {decoded!r}")
    return decoded


def round_up(size: int, to: int) -> int:
    return -(-size // to) * to


def read_package(path: Path, wraps_path: Path, root: Root, device: Device) -> dict[str, bytes]:
    """The members of the package, or Refused. The steps are those of section 7."""

    def malformed(condition: object, why: str) -> None:
        require(condition, "malformed_package", why)

    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # 1
    with open(number, "rb") as file:
        assert stat.S_ISREG(os.fstat(number).st_mode)
        data = file.read()

    malformed(len(data) >= 64 and data[:8] == b"EWPK\r\n\x1a\x01", "magic")  # 2
    major, minor, size, count, zero, length, package_id = struct.unpack_from("<HHIIIQ32s", data, 8)
    malformed((major, zero, length) == (1, 0, len(data)), "preamble")
    malformed(608 <= size <= 2 << 20 and size % 8 == 0 and 1 <= count <= 16, "preamble")
    malformed(64 + size + 2304 <= len(data), "length of the body")

    body, slots = data[64 : 64 + size], data[64 + size : 64 + size + 2304]  # 3
    malformed(sha256(body) == package_id, "package id")
    signatures = []
    for index in range(16):
        slot = slots[index * 144 : index * 144 + 144]
        if index >= count:
            malformed(not any(slot), "unused slot")
            continue
        algorithm, zero, sixty_four, name, signature = struct.unpack_from("<HHI32s64s", slot)
        is_plain = algorithm in (1, 2) and zero == 0 and sixty_four == 64 and not any(slot[104:])
        malformed(is_plain, "signature slot")
        signatures.append((name, signature, algorithm))

    publisher = text(body[320:352], NAME, "untrusted_package")  # 4
    model = text(body[192:256], NAME, "untrusted_package")
    role = f"publisher:{publisher}"
    require(role in root.roles, "untrusted_package", "publisher")
    signed = root.count(role, dsse(BODY_TYPE, body), signatures, "untrusted_package")
    _, threshold, prefixes = root.roles[role]
    require(signed >= threshold, "untrusted_package", f"{signed} signatures")
    require(any(map(model.startswith, prefixes)), "untrusted_package", "name")

    facts = parse_body(body, minor, len(data))  # 5

    epochs = {facts.release >> 48, facts.least >> 48}  # 6
    require(epochs == {root.epoch}, "rollback_refused", "epoch")
    require(facts.release >= device.floor, "rollback_refused", "floor")
    require(facts.target in ("any", device.target), "wrong_target", facts.target)
    binding = body[416:448]
    require(not any(binding) or binding == device.id, "wrong_target", "binding")
    is_current = facts.hard_expiry == 0 or device.now_s < facts.hard_expiry
    require(is_current, "expired_package", "hard expiry")
    require(device.has_run or device.now_s < root.expires, "expired_root", "trust root")

    table_at = 64 + size + 2304  # 7
    rows = data[table_at : table_at + 48 * facts.chunk_count]
    malformed(sha256(rows) == body[96:128], "table")
    malformed(not any(data[table_at + len(rows) : facts.payload_at]), "zeros after the table")

    key = None  # 8
    if facts.cipher:
        content_key = unwrap(wraps_path, package_id, device)
        info = b"edgeward/ewp/v1\0" + struct.pack(
            ">HIQQ", facts.cipher, facts.chunk_bytes, facts.payload_bytes, facts.release
        )
        derived = HKDF(hashes.SHA256(), 64, body[128:160], info + body[192:256]).derive(content_key)
        key, commitment = derived[:32], derived[32:]
        require(hmac.compare_digest(commitment, body[160:192]), "wrong_key", "commitment")

    plain = bytearray()  # 9
    for index in range(facts.chunk_count):
        row = rows[index * 48 : index * 48 + 48]
        begin = facts.payload_at + index * facts.chunk_bytes
        stored = data[begin : min(begin + facts.chunk_bytes, len(data))]
        malformed(sha256(stored) == row[:32], f"chunk {index}")
        if key is None:
            malformed(not any(row[32:]), "a tag without encryption")
            plain += stored
            continue
        is_last = index == facts.chunk_count - 1
        nonce = bytes(3) + struct.pack(">Q", index) + bytes([is_last])
        cipher = AESGCM(key) if facts.cipher == 1 else ChaCha20Poly1305(key)
        try:
            plain += cipher.decrypt(nonce, stored + row[32:], None)
        except InvalidTag:
            raise Refused("malformed_package", f"tag of chunk {index}") from None
    members, end = {}, 0
    for name, offset, length, digest in facts.members:
        malformed(not any(plain[end:offset]), "bytes between members")
        end = offset + length
        members[name] = bytes(plain[offset:end])
        malformed(sha256(members[name]) == digest, f"member {name}")
    return members


class Facts(NamedTuple):
    cipher: int
    chunk_bytes: int
    chunk_count: int
    payload_at: int
    payload_bytes: int
    release: int
    least: int
    hard_expiry: int
    target: str
    members: list[tuple[str, int, int, bytes]]


def parse_body(body: bytes, minor: int, file_length: int) -> Facts:
    """Section 2."""

    def malformed(condition: object, why: str) -> None:
        require(condition, "malformed_package", why)

    malformed(body[:8] == b"EWBODY01", "magic of the body")
    major_again, minor_again, size_again, flags, hash_kind, cipher = struct.unpack_from(
        "<HHIIHH", body, 8
    )
    malformed((major_again, minor_again, size_again) == (1, minor, len(body)), "versions")
    malformed(minor == 0 and flags <= 1 and hash_kind == 1, "flags or hash")
    malformed(cipher in ((1, 2) if flags else (0,)), "cipher")
    chunk, member_count, chunk_count, payload_at, payload, release, least = struct.unpack_from(
        "<IIQQQQQ", body, 24
    )
    malformed(2**16 <= chunk <= 2**22 and chunk & (chunk - 1) == 0, "chunk size")
    malformed(1 <= payload <= 2**40 and 1 <= chunk_count <= 2**24, "sizes")
    malformed(chunk_count == -(-payload // chunk), "chunk count")
    malformed(payload_at == round_up(64 + len(body) + 2304 + 48 * chunk_count, 4096), "offset")
    malformed(payload_at + payload == file_length, "file length")
    malformed(least & (2**48 - 1) and release >= least, "counters")
    _, hard_expiry, metadata_bytes, zero = struct.unpack_from("<QQII", body, 72)
    malformed(zero == 0 and metadata_bytes <= 2**20, "metadata")
    malformed(flags or not any(body[128:192]), "salt and commitment")
    text(body[256:288], VERSION, "malformed_package")
    target = text(body[288:320], TARGET, "malformed_package")
    malformed(not any(body[352:416]), "reserved bytes")

    malformed(1 <= member_count <= 256, "member count")
    metadata_at = 448 + 160 * member_count
    malformed(len(body) == metadata_at + round_up(metadata_bytes, 8), "length of the body")
    members, end, entries = [], 0, 0
    for index in range(member_count):
        row = body[448 + index * 160 : 448 + index * 160 + 160]
        name = text(row[:64], NAME, "malformed_package")
        kind, entry, zero, offset, length, digest = struct.unpack_from("<HHIQQ32s", row, 64)
        malformed(1 <= kind <= 5 and entry <= 1 and zero == 0 and not any(row[120:]), "member")
        malformed(not entry or kind in (1, 2), "type of the entry")
        malformed(offset == round_up(end, 4096) and length >= 1, "place of a member")
        end, entries = offset + length, entries + entry
        malformed(end <= payload, "end of a member")
        members.append((name, offset, length, digest))
    malformed(end == payload and entries == 1, "members")
    malformed(len({name.lower() for name, *_ in members}) == member_count, "names of members")
    metadata = body[metadata_at : metadata_at + metadata_bytes]
    try:
        malformed("\0" not in metadata.decode(), "metadata")
    except UnicodeDecodeError:
        raise Refused("malformed_package", "metadata") from None
    malformed(not any(body[metadata_at + metadata_bytes :]), "padding of the metadata")
    return Facts(
        cipher, chunk, chunk_count, payload_at, payload, release, least, hard_expiry, target,
        members,
    )  # fmt: skip


# --- Key wraps: section 6 ----------------------------------------------------------------------


def unwrap(path: Path, package_id: bytes, device: Device) -> bytes:
    require(device.private_key is not None, "wrong_key", "no key")
    require(path.exists(), "wrong_key", "no wraps")
    data, wrap_of_device, before = path.read_bytes(), None, b""
    is_row = len(data) % 216 == 0 and 1 <= len(data) // 216 <= 65_536
    require(is_row, "malformed_key", "length of the wraps")
    for at in range(0, len(data), 216):
        wrap = data[at : at + 216]
        kem, kdf, aead, enc_bytes = struct.unpack_from("<HHHH", wrap, 8)
        is_right = wrap[:8] == b"EWKEY\r\n\x01" and (kem, kdf, enc_bytes) == (0x20, 1, 32)
        require(is_right and aead in (2, 3) and not any(wrap[128:168]), "malformed_key", "a wrap")
        require(before < wrap[48:80], "malformed_key", "order of the wraps")
        before = wrap[48:80]
        if wrap[48:80] == device.id:
            wrap_of_device = wrap
    require(wrap_of_device is not None, "wrong_key", "no wrap for this device")
    assert wrap_of_device is not None
    assert device.private_key is not None
    require(wrap_of_device[16:48] == package_id, "wrong_key", "another package's wrap")
    begin, end = struct.unpack_from("<QQ", wrap_of_device, 80)
    is_in_time = begin <= device.now_s and (end == 0 or device.now_s < end)
    require(is_in_time, "wrong_key", "time")
    aead = struct.unpack_from("<H", wrap_of_device, 12)[0]
    info = b"edgeward/ewk/v1\0" + wrap_of_device[8:96]
    try:
        return hpke_open(
            aead, device.private_key, wrap_of_device[96:128], info, wrap_of_device[168:]
        )
    except (InvalidTag, ValueError):
        raise Refused("wrong_key", "the wrap does not open") from None


def hpke_open(aead: int, private: bytes, enc: bytes, info: bytes, sealed: bytes) -> bytes:
    """RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), message 0."""

    def extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + key, "sha256")

    def expand(suite: bytes, key: bytes, label: bytes, context: bytes, size: int) -> bytes:
        labelled = struct.pack(">H", size) + b"HPKE-v1" + suite + label + context
        return HKDFExpand(hashes.SHA256(), size, labelled).derive(key)

    ours = x25519.X25519PrivateKey.from_private_bytes(private)
    agreed = ours.exchange(x25519.X25519PublicKey.from_public_bytes(enc))
    kem = b"KEM" + struct.pack(">H", 0x20)
    public = ours.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = expand(kem, extract(kem, b"", b"eae_prk", agreed), b"shared_secret", enc + public, 32)
    suite = b"HPKE" + struct.pack(">HHH", 0x20, 1, aead)
    context = (
        b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    )
    secret = extract(suite, shared, b"secret", b"")
    key = expand(suite, secret, b"key", context, 32)
    nonce = expand(suite, secret, b"base_nonce", context, 12)
    cipher = AESGCM(key) if aead == 2 else ChaCha20Poly1305(key)
    return cipher.decrypt(nonce, sealed, b"")
