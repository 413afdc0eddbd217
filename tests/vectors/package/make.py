"""Makes the vectors of the package format: `python make.py` writes them beside this file.

An own writer, from docs/package-format.md alone and with fixed keys, so that the bytes are the same
each time. A case is a base file with some bytes changed, and what a reader must say to it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = Path(__file__).parent
NOW_S = 1_750_000_000
ISSUED_S, EXPIRES_S = 1_700_000_000, 1_900_000_000


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def seed(words: str) -> bytes:
    return sha256(words.encode())


class Signer:
    algorithm = 1

    def __init__(self, words: str) -> None:
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(seed(words))
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = sha256(b"edgeward/key/v1\0" + struct.pack(">H", 1) + self.public)

    def sign(self, kind: str, body: bytes) -> bytes:
        return self._key.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body))


PUBLISHER, SECOND = Signer("edgeward test publisher 1"), Signer("edgeward test publisher 2")
OWNER, STRANGER = Signer("edgeward test owner"), Signer("edgeward test stranger")
REVOKED = Signer("edgeward test revoked")
DEVICE_KEY, OTHER_KEY = seed("edgeward test device"), seed("edgeward test other device")


def device_id(private: bytes) -> bytes:
    public = x25519.X25519PrivateKey.from_private_bytes(private).public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return sha256(b"edgeward/key/v1\0" + struct.pack(">H", 0x20) + raw)


# --- The trust root -----------------------------------------------------------------------------


def root_document() -> dict[str, Any]:
    keys = [PUBLISHER, SECOND, OWNER, REVOKED]
    ids = {key: key.id.hex() for key in keys}
    return {
        "version": 1,
        "epoch": 0,
        "issued": ISSUED_S,
        "expires": EXPIRES_S,
        "keys": [
            {"id": ids[key], "alg": "ed25519", "pub": base64.b64encode(key.public).decode()}
            for key in keys
        ],
        "roles": {
            "root": {"keyids": [ids[OWNER]], "threshold": 1},
            "publisher:publisher": {
                "keyids": [ids[PUBLISHER], ids[REVOKED]],
                "threshold": 1,
                "prefixes": ["demo"],
            },
            "publisher:pair": {
                "keyids": [ids[PUBLISHER], ids[SECOND]],
                "threshold": 2,
                "prefixes": [""],
            },
            "publisher:Team-A": {
                "keyids": [ids[SECOND]],
                "threshold": 1,
                "prefixes": ["Line-"],
            },
        },
        "revoked": [ids[REVOKED]],
    }


def signed_root(document: dict[str, Any], signer: Signer = OWNER) -> bytes:
    return envelope(json.dumps(document).encode(), signer)


def envelope(payload: bytes, signer: Signer) -> bytes:
    kind = "application/vnd.edgeward.root.v1+json"
    signature = base64.b64encode(signer.sign(kind, payload)).decode()
    return json.dumps(
        {
            "payloadType": kind,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": signer.id.hex(), "sig": signature}],
        }
    ).encode()


# --- A package ----------------------------------------------------------------------------------


class Draft:
    """All that goes into a package; a case changes some of it before, or of the body after."""

    def __init__(self, cipher: int, model: bytes) -> None:
        self.cipher = cipher
        self.chunk_bytes = 65_536
        self.release, self.least = 7, 3
        self.created, self.hard_expiry = 1_700_000_000, 0
        self.name, self.version, self.target, self.publisher = "demo", "1.0.0", "any", "publisher"
        self.binding = bytes(32)
        self.metadata = b"{}"
        self.members = [("model.tflite", 1, 1, model), ("labels.txt", 4, 0, b"cat\ndog\n")]
        self.signers = [PUBLISHER]
        self.content_key, self.salt = seed("edgeward test cek"), seed("edgeward test salt")
        self.gap = 0  # what lies between members
        self.change_payload: Callable[[bytearray], None] = lambda payload: None
        self.change_chunk: Callable[[bytearray], None] = lambda chunk: None  # before its hash
        self.change_body: Callable[[bytearray], None] = lambda body: None
        self.change_table: Callable[[bytearray], None] = lambda table: None
        self.change_file: Callable[[bytearray], None] = lambda file: None

    def build(self) -> bytes:
        payload, rows = bytearray(), b""
        for name, kind, entry, content in self.members:
            payload += bytes([self.gap]) * (-len(payload) % 4096)
            rows += struct.pack(
                "<64sHHIQQ32s40x",
                name.encode(), kind, entry, 0, len(payload), len(content), sha256(content),
            )  # fmt: skip
            payload += content
        self.change_payload(payload)
        size = 448 + len(rows) + -(-len(self.metadata) // 8) * 8
        count = -(-len(payload) // self.chunk_bytes)
        table_at = 64 + size + 2304
        payload_at = -(-(table_at + 48 * count) // 4096) * 4096
        name = self.name.encode().ljust(64, b"\0")
        info = b"edgeward/ewp/v1\0" + struct.pack(
            ">HIQQ", self.cipher, self.chunk_bytes, len(payload), self.release
        )
        derived = HKDF(hashes.SHA256(), 64, self.salt, info + name).derive(self.content_key)
        key, commitment = derived[:32], derived[32:]
        table, stored = bytearray(), b""
        for index in range(count):
            chunk = bytes(payload[index * self.chunk_bytes : (index + 1) * self.chunk_bytes])
            tag = bytes(16)
            if self.cipher:
                nonce = bytes(3) + struct.pack(">Q", index) + bytes([index == count - 1])
                seal = (AESGCM if self.cipher == 1 else ChaCha20Poly1305)(key)
                sealed = seal.encrypt(nonce, chunk, None)
                chunk, tag = sealed[:-16], sealed[-16:]
            changed = bytearray(chunk)
            self.change_chunk(changed)
            table += sha256(bytes(changed)) + tag
            stored += changed
        self.change_table(table)
        body = bytearray(
            struct.pack(
                "<8sHHIIHHIIQQQQQQQII32s",
                b"EWBODY01",
                1,
                0,
                size,
                int(self.cipher != 0),
                1,
                self.cipher,
                self.chunk_bytes,
                len(self.members),
                count,
                payload_at,
                len(payload),
                self.release,
                self.least,
                self.created,
                self.hard_expiry,
                len(self.metadata),
                0,
                sha256(bytes(table)),
            )
        )
        body += (self.salt + commitment) if self.cipher else bytes(64)
        body += name + b"".join(
            text.encode().ljust(32, b"\0") for text in (self.version, self.target, self.publisher)
        )
        body += bytes(64) + self.binding + rows + self.metadata
        body += bytes(size - len(body))
        self.change_body(body)
        signed = bytes(body)
        slots = b"".join(
            struct.pack("<HHI32s64s40x", signer.algorithm, 0, 64, signer.id,
                        signer.sign("application/vnd.edgeward.ewp.body.v1", signed))
            for signer in self.signers
        )  # fmt: skip
        file = bytearray(
            struct.pack("<8sHHIIIQ32s", b"EWPK\r\n\x1a\x01", 1, 0, len(signed), len(self.signers),
                        0, payload_at + len(stored), sha256(signed))
        )  # fmt: skip
        file += signed + slots.ljust(2304, b"\0") + table
        file += bytes(max(0, payload_at - len(file))) + stored
        self.change_file(file)
        return bytes(file)


def wrap(package: bytes, private: bytes, begin: int = 0, end: int = 0, aead: int = 2) -> bytes:
    """One wrap. Its ephemeral key is new each time: the committed ones are kept, not remade."""
    head = struct.pack("<HHHH", 0x20, 1, aead, 32) + package[32:64] + device_id(private)
    head += struct.pack("<QQ", begin, end)
    suite = Suite(
        KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM if aead == 2 else AEAD.CHACHA20_POLY1305
    )
    public = x25519.X25519PrivateKey.from_private_bytes(private).public_key()
    sealed = suite.encrypt(seed("edgeward test cek"), public, b"edgeward/ewk/v1\0" + head)
    return b"EWKEY\r\n\x01" + head + sealed[:32] + bytes(40) + sealed[32:]


LARGE = bytes(((i * i * 31 + i * 7) >> 3) & 255 for i in range(70_000))
SMALL = LARGE[:5000]
CIPHERS = {"signed": 0, "sealed-aes": 1, "sealed-chacha": 2}


def at(offset: int, content: bytes) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[offset : offset + len(content)] = content

    return change


def number(offset: int, value: int, size: int) -> Callable[[bytearray], None]:
    return at(offset, value.to_bytes(size, "little"))


def first_row(offset: int) -> int:
    return 448 + offset


# name, cipher, what it changes of a Draft, and the code that a reader must give
BODIES: list[tuple[str, int, dict[str, Any], str]] = [
    ("body magic", 0, {"change_body": at(0, b"EWBODY02")}, "malformed_package"),
    ("body major version", 0, {"change_body": number(8, 2, 2)}, "malformed_package"),
    ("body minor version", 0, {"change_body": number(10, 1, 2)}, "malformed_package"),
    ("body length field", 0, {"change_body": number(12, 784, 4)}, "malformed_package"),
    ("unknown flag", 0, {"change_body": number(16, 2, 4)}, "malformed_package"),
    ("encrypted without cipher", 0, {"change_body": number(16, 1, 4)}, "malformed_package"),
    ("unknown hash", 0, {"change_body": number(20, 2, 2)}, "malformed_package"),
    ("unknown cipher", 1, {"change_body": number(22, 3, 2)}, "malformed_package"),
    ("chunk size no power of two", 0, {"change_body": number(24, 65_537, 4)}, "malformed_package"),
    ("chunk size too small", 0, {"change_body": number(24, 32_768, 4)}, "malformed_package"),
    ("no members", 0, {"change_body": number(28, 0, 4)}, "malformed_package"),
    ("too many members", 0, {"change_body": number(28, 257, 4)}, "malformed_package"),
    ("chunk count", 0, {"change_body": number(32, 2, 8)}, "malformed_package"),
    ("payload offset", 0, {"change_body": number(40, 8192, 8)}, "malformed_package"),
    ("payload length", 0, {"change_body": number(48, 8201, 8)}, "malformed_package"),
    ("payload without end", 0, {"change_body": number(48, 2**64 - 1, 8)}, "malformed_package"),
    ("min counter zero", 0, {"least": 0}, "malformed_package"),
    ("release below min counter", 0, {"release": 2}, "malformed_package"),
    ("metadata too long", 0, {"change_body": number(88, 2**20 + 1, 4)}, "malformed_package"),
    ("reserved word", 0, {"change_body": number(92, 1, 4)}, "malformed_package"),
    ("another table", 0, {"change_body": at(96, bytes(32))}, "malformed_package"),
    ("salt without encryption", 0, {"change_body": number(128, 1, 1)}, "malformed_package"),
    ("another commitment", 1, {"change_body": at(160, bytes(32))}, "wrong_key"),
    ("version with a space", 0, {"version": "1 0"}, "malformed_package"),
    ("no version", 0, {"version": ""}, "malformed_package"),
    ("bytes after the version", 0, {"change_body": at(285, b"x")}, "malformed_package"),
    ("target with a slash", 0, {"target": "linux/x"}, "malformed_package"),
    ("target with a capital", 0, {"target": "Linux-test"}, "malformed_package"),
    ("reserved bytes of the body", 0, {"change_body": number(400, 1, 1)}, "malformed_package"),
    ("member name with a dot first", 0, {"change_body": at(448, b".")}, "malformed_package"),
    ("member name with a slash", 0, {"change_body": at(450, b"/")}, "malformed_package"),
    ("two members of one name", 0,
     {"members": [("a", 1, 1, SMALL), ("a", 4, 0, b"x")]}, "malformed_package"),
    ("two members of one name but for capitals", 0,
     {"members": [("a-Z", 1, 1, SMALL), ("A-z", 4, 0, b"x")]}, "malformed_package"),
    ("member of type 6", 0, {"members": [("a", 6, 1, SMALL)]}, "malformed_package"),
    ("no entry", 0, {"members": [("a", 1, 0, SMALL)]}, "malformed_package"),
    ("two entries", 0, {"members": [("a", 1, 1, SMALL), ("b", 2, 1, b"x")]}, "malformed_package"),
    ("entry that is no model", 0, {"members": [("a", 4, 1, SMALL)]}, "malformed_package"),
    ("flag of a member", 0, {"change_body": number(first_row(66), 3, 2)}, "malformed_package"),
    ("reserved word of a member", 0,
     {"change_body": number(first_row(68), 1, 4)}, "malformed_package"),
    ("offset of a member", 0, {"change_body": number(first_row(72), 4096, 8)}, "malformed_package"),
    ("member of length 0", 0, {"change_body": number(first_row(80), 0, 8)}, "malformed_package"),
    ("member without end", 0,
     {"change_body": number(first_row(80), 2**64 - 1, 8)}, "malformed_package"),
    ("padding of a member", 0, {"change_body": number(first_row(159), 1, 1)}, "malformed_package"),
    ("digest of a member", 0, {"change_body": number(first_row(88), 0, 1)}, "malformed_package"),
    ("digest of an encrypted member", 1,
     {"change_body": number(first_row(160 + 88), 0, 1)}, "malformed_package"),
    ("bytes between members", 0, {"gap": 1}, "malformed_package"),
    ("bytes between encrypted members", 1, {"gap": 1}, "malformed_package"),
    ("metadata that is no UTF-8", 0, {"metadata": b"\xff\xfe"}, "malformed_package"),
    ("metadata with a zero", 0, {"metadata": b"{}\0"}, "malformed_package"),
    ("padding of the metadata", 0,
     {"change_body": number(775, 1, 1)}, "malformed_package"),
    ("a tag without encryption", 0, {"change_table": number(40, 1, 1)}, "malformed_package"),
    ("another tag", 1, {"change_table": number(40, 1, 1)}, "malformed_package"),
    ("no publisher of this name", 0, {"publisher": "nobody"}, "untrusted_package"),
    ("a model name outside the prefixes", 0, {"name": "cat"}, "untrusted_package"),
    ("a model name outside the prefixes by a capital", 0, {"name": "Demo"}, "untrusted_package"),
    ("a publisher's name with another capital", 0, {"publisher": "Publisher"}, "untrusted_package"),
    ("a model name with a space", 0, {"name": "demo 1"}, "untrusted_package"),
    ("no model name", 0, {"name": ""}, "untrusted_package"),
    ("a stranger's signature", 0, {"signers": [STRANGER]}, "untrusted_package"),
    ("a signature of another role's key", 0, {"signers": [SECOND]}, "untrusted_package"),
    ("a revoked key's signature", 0, {"signers": [REVOKED]}, "untrusted_package"),
    ("one key twice toward two", 0,
     {"publisher": "pair", "signers": [PUBLISHER, PUBLISHER]}, "untrusted_package"),
    ("one of two signatures", 0, {"publisher": "pair"}, "untrusted_package"),
    ("another epoch", 0, {"release": 1 << 48 | 7, "least": 1 << 48 | 3}, "rollback_refused"),
    ("below the floor", 0, {"release": 4}, "rollback_refused"),
    ("another target", 0, {"target": "linux-sparc"}, "wrong_target"),
    ("bound to another device", 0, {"binding": device_id(OTHER_KEY)}, "wrong_target"),
    ("past its day", 0, {"hard_expiry": NOW_S}, "expired_package"),
    ("file magic", 0, {"change_file": at(0, b"EWPX")}, "malformed_package"),
    ("file major version", 0, {"change_file": number(8, 2, 2)}, "malformed_package"),
    ("file minor version", 0, {"change_file": number(10, 1, 2)}, "malformed_package"),
    ("body length no multiple of 8", 0, {"change_file": number(12, 777, 4)}, "malformed_package"),
    ("body length past the file", 0, {"change_file": number(12, 2**21, 4)}, "malformed_package"),
    ("no signatures", 0, {"change_file": number(16, 0, 4)}, "malformed_package"),
    ("17 signatures", 0, {"change_file": number(16, 17, 4)}, "malformed_package"),
    ("reserved word of the file", 0, {"change_file": number(20, 1, 4)}, "malformed_package"),
    ("file length", 0, {"change_file": number(24, 12_297, 8)}, "malformed_package"),
    ("package id", 0, {"change_file": number(32, 1, 1)}, "malformed_package"),
    ("signature of algorithm 3", 0, {"change_file": number(840, 3, 2)}, "malformed_package"),
    ("signature of the other algorithm", 0,
     {"change_file": number(840, 2, 2)}, "untrusted_package"),
    ("signature length", 0, {"change_file": number(844, 63, 4)}, "malformed_package"),
    ("a bit of the signature", 0, {"change_file": number(900, 1, 1)}, "untrusted_package"),
    ("padding of a signature", 0, {"change_file": number(980, 1, 1)}, "malformed_package"),
    ("an unused slot", 0, {"change_file": number(3000, 1, 1)}, "malformed_package"),
    ("a bit of the table", 0, {"change_file": number(3144, 1, 1)}, "malformed_package"),
    ("bytes after the table", 0, {"change_file": number(4000, 1, 1)}, "malformed_package"),
    ("a bit of the payload", 0, {"change_file": number(4096, 1, 1)}, "malformed_package"),
    ("a bit of the encrypted payload", 1, {"change_file": number(4096, 1, 1)}, "malformed_package"),
]  # fmt: skip
ACCEPTED: list[tuple[str, int, dict[str, Any]]] = [
    ("two signatures toward two", 0, {"publisher": "pair", "signers": [PUBLISHER, SECOND]}),
    ("a stranger beside the publisher", 0, {"signers": [STRANGER, PUBLISHER]}),
    ("a revoked key beside the publisher", 0, {"signers": [REVOKED, PUBLISHER]}),
    ("this device's own", 1, {"binding": device_id(DEVICE_KEY)}),
    ("this machine's", 0, {"target": "linux-test"}),
    ("before its day", 0, {"hard_expiry": NOW_S + 1}),
    ("no metadata to speak of", 0, {"metadata": b"{}      "}),
    ("chunks of 4 MiB", 2, {"chunk_bytes": 1 << 22}),
    ("a model name with capitals and hyphens", 1, {"name": "demo-A-Z"}),
    (
        "members with capitals",
        0,
        {"members": [("Model.tflite", 1, 1, SMALL), ("W--0.DATA", 5, 0, b"x")]},
    ),
    (
        "a publisher and prefixes with capitals",
        0,
        {"name": "Line-1-Z", "publisher": "Team-A", "signers": [SECOND]},
    ),
]


def draft(cipher: int, changes: dict[str, Any]) -> Draft:
    result = Draft(cipher, SMALL)
    for name, value in changes.items():
        setattr(result, name, value)
    return result


def difference(base: bytes, changed: bytes) -> list[list[Any]]:
    """[offset, hex] of the runs of bytes that differ; of files of one length."""
    runs: list[list[Any]] = []
    for offset, (left, right) in enumerate(zip(base, changed, strict=True)):
        if left == right:
            continue
        if runs and offset - runs[-1][0] - len(runs[-1][1]) < 8:
            runs[-1][1] += changed[runs[-1][0] + len(runs[-1][1]) : offset + 1]
        else:
            runs.append([offset, changed[offset : offset + 1]])
    return [[offset, content.hex()] for offset, content in runs]


def members_of(package: Draft) -> dict[str, str]:
    return {name: sha256(content).hex() for name, _, _, content in package.members}


def cases(bases: dict[int, bytes]) -> list[dict[str, Any]]:
    cases = []
    for name, cipher, changes, code in BODIES:
        cases.append(case(name, cipher, draft(cipher, changes).build(), bases[cipher], code))
    for name, cipher, changes in ACCEPTED:
        package = draft(cipher, changes)
        cases.append(case(name, cipher, package.build(), bases[cipher], members_of(package)))
    return cases


def case(name: str, cipher: int, data: bytes, base: bytes, expected: Any) -> dict[str, Any]:
    vector: dict[str, Any] = {"name": name, "cipher": cipher, "expected": expected}
    if len(data) == len(base):
        vector["changes"] = difference(base, data)
    else:
        vector["content"] = base64.b64encode(data).decode()
    return vector


def roots() -> dict[str, tuple[bytes, str | None]]:
    """Trust roots by name, each with the code that a reader must give it; None: it is right."""

    def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
        document = root_document()
        change(document)
        return signed_root(document)

    def role(document: dict[str, Any]) -> dict[str, Any]:
        return document["roles"]["publisher:publisher"]

    text = json.dumps(root_document())
    return {
        "right": (signed_root(root_document()), None),
        "ended": (changed(lambda d: d.update(expires=NOW_S)), None),
        "signed by a stranger": (signed_root(root_document(), STRANGER), "untrusted_root"),
        "another type": (
            signed_root(root_document()).replace(b".root.v1", b".root.v2"),
            "malformed_root",
        ),
        "threshold 0": (changed(lambda d: role(d).update(threshold=0)), "malformed_root"),
        "threshold -1": (changed(lambda d: role(d).update(threshold=-1)), "malformed_root"),
        "threshold above the keys": (
            changed(lambda d: role(d).update(threshold=3)),
            "malformed_root",
        ),
        "threshold that is no number": (
            changed(lambda d: role(d).update(threshold=True)),
            "malformed_root",
        ),
        "a key twice": (changed(lambda d: d["keys"].append(d["keys"][0])), "malformed_root"),
        "an id twice in a role": (
            changed(lambda d: role(d)["keyids"].append(role(d)["keyids"][0])),
            "malformed_root",
        ),
        "a prefix with a space": (
            changed(lambda d: role(d).update(prefixes=["a b"])),
            "malformed_root",
        ),
        "a publisher whose name begins with a dot": (
            changed(lambda d: d["roles"].update({"publisher:.A": role(d)})),
            "malformed_root",
        ),
        "an unknown field": (changed(lambda d: d.update(more=1)), "malformed_root"),
        "a field twice": (envelope(text[:-1].encode() + b', "epoch": 0}', OWNER), "malformed_root"),
        "a number with a fraction": (
            envelope(text.replace('"epoch": 0', '"epoch": 0.0').encode(), OWNER),
            "malformed_root",
        ),
        "something after it": (envelope(text.encode() + b" 1", OWNER), "malformed_root"),
        "ends before it begins": (changed(lambda d: d.update(expires=ISSUED_S)), "malformed_root"),
    }


def wraps(packages: dict[int, bytes]) -> dict[str, tuple[bytes, str | None]]:
    """Files of wraps for the package of cipher 1, each with the code that a reader must give."""
    package = packages[1]
    right = wrap(package, DEVICE_KEY)
    other = wrap(package, OTHER_KEY)
    pair = sorted((right, other), key=lambda wrap: wrap[48:80])
    altered = bytearray(right)
    altered[170] ^= 1
    kem = bytearray(right)
    kem[8] = 0x10
    padding = bytearray(right)
    padding[130] = 1
    return {
        "for both": (b"".join(pair), None),
        "by ChaCha": (wrap(package, DEVICE_KEY, aead=3), None),
        "in time": (wrap(package, DEVICE_KEY, NOW_S, NOW_S + 1), None),
        "too early": (wrap(package, DEVICE_KEY, NOW_S + 1), "wrong_key"),
        "too late": (wrap(package, DEVICE_KEY, 0, NOW_S), "wrong_key"),
        "for the other": (other, "wrong_key"),
        "of another package": (wrap(packages[2], DEVICE_KEY), "wrong_key"),
        "altered": (bytes(altered), "wrong_key"),
        "in the wrong order": (b"".join(reversed(pair)), "malformed_key"),
        "twice": (right + right, "malformed_key"),
        "cut": (right[:-1], "malformed_key"),
        "empty": (b"", "malformed_key"),
        "another KEM": (bytes(kem), "malformed_key"),
        "padding": (bytes(padding), "malformed_key"),
    }


def packages() -> dict[str, bytes]:
    """The files that are committed whole: the reference vectors, and the bases of the cases."""
    files = {f"{name}.ewp": Draft(cipher, LARGE).build() for name, cipher in CIPHERS.items()}
    return files | {f"base-{n}.ewp": Draft(n, SMALL).build() for n in CIPHERS.values()}


def bases() -> dict[int, bytes]:
    return {cipher: Draft(cipher, SMALL).build() for cipher in CIPHERS.values()}


def encoded(files: dict[str, tuple[bytes, str | None]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "content": base64.b64encode(content).decode(), "expected": code}
        for name, (content, code) in files.items()
    ]


def manifest() -> dict[str, Any]:
    """All that is the same each time it is made: everything but the wraps."""
    return {
        "now_s": NOW_S,
        "target": "linux-test",
        "floor": 5,
        "device_key": DEVICE_KEY.hex(),
        "packages": cases(bases()),
        "roots": encoded(roots()),
    }


if __name__ == "__main__":
    for name, content in packages().items():
        (HERE / name).write_bytes(content)
    (HERE / "manifest.json").write_text(json.dumps(manifest(), indent=1) + "\n")
    (HERE / "wraps.json").write_text(json.dumps(encoded(wraps(bases())), indent=1) + "\n")
