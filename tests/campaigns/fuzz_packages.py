"""The campaign of packages: damaged ones, each read by the core and by the reference reader.

`python tests/campaigns/fuzz_packages.py --count 1000000 --seed 1 --seconds 1800` prints how many
both read, to the same bytes, how many both refused, with the same code, and each in which they
differ. It ends with the count or the seconds, whichever is first.

A case is a package, its wrapped keys, a trust root and a device. It begins as one that is whole, of
every mode, and 1 to 4 changes are made: of facts, of the body, the table, the plaintext or stored
chunks, which are hashed and signed again by keys that the root trusts; of signatures; of the file's
bytes: bits, cuts, stretches out or twice or of another package; of the wraps, the root, which is
signed again too, and the device. A case is named by (seed, index) and made again by `mutation()`,
but for the ephemeral keys of its wraps.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import copy
import importlib.util
import json
import random
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from reference import package_reader as slow
from trials import Verdict, campaign, shown

from edgeward import _core
from edgeward.errors import EdgewardError

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "package"
SPEC = importlib.util.spec_from_file_location("make", VECTORS / "make.py")
assert SPEC is not None
assert SPEC.loader is not None
make: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make)

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
FLOOR = 5
CHANGES = (1, 1, 1, 1, 2, 2, 3, 4)  # of a case
NUMBERS = (
    0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 63, 64, 65, 255, 256, 257, 4096, 8192, 65_535, 65_536, 65_537,
    1 << 22, (1 << 22) + 1, 1 << 23, 1 << 24, (1 << 24) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
    1 << 40, (1 << 40) + 1, (1 << 48) - 1, 1 << 48, (1 << 48) + 1, 1 << 62, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 4096, (1 << 64) - 1,
)  # fmt: skip
TIMES = (0, 1, make.ISSUED_S, make.NOW_S - 1, make.NOW_S, make.NOW_S + 1, make.EXPIRES_S, 2**63)
TEXTS = (
    b"", b".", b".a", b"a", b"-", b"_", b"A", b"demo", b"Demo", b"demo-2", b"pair", b"x" * 31,
    b"x" * 32, b"x" * 33, b"x" * 64, b"x" * 65, b"a b", b"a/b", b"a\n", b"a\0b", b"any", b"\xff",
    b"\xc3\xa9", b"linux-test", b"Linux-test", b"1.0.0", b"~", b"\x7f", b"!", b"Team-A", b"Line-1",
    b"publisher", b"root", b"mixed", b"weak", b"model.tflite", b"MODEL.tflite", b"labels.txt",
)  # fmt: skip
# Fields of the body and of a member's row: offset and size.
BODY_FIELDS = (
    (0, 8), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2), (22, 2), (24, 4), (28, 4), (32, 8), (40, 8),
    (48, 8), (56, 8), (64, 8), (72, 8), (80, 8), (88, 4), (92, 4), (96, 32), (128, 32), (160, 32),
    (192, 64), (256, 32), (288, 32), (320, 32), (352, 64), (416, 32),
)  # fmt: skip
ROW_FIELDS = ((0, 64), (64, 2), (66, 2), (68, 4), (72, 8), (80, 8), (88, 32), (120, 40))
TEXT_FIELDS = (0, 192, 256, 288, 320)  # offsets, of a body's or a row's
TELLING: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 64, 65, 1.5, 1 << 16, 1 << 31, (1 << 63) - 1, 1 << 63, 10**400,
    "", "demo", "root", "ed25519", "ecdsa-p256", "x25519", "\ud800", "\0", "A" * 999, "é", [], [[]],
    {}, {"": {}}, [""],
)  # fmt: skip
TOKENS = (
    b"NaN", b"-0", b"1e3", b"1.0", b"01", b"9" * 30, b"[" * 9, b'{"a":' * 9, b"]", b"}", b",", b'"',
    b"\\ud800", b"\\u0000", b"\\u0065", b"\\/", b"\\x", b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b"\0", b"\t", b"\n", b" ", b"\x0c", b"\x7f", b"\xc2\xa0", b"null", b"=", b"==",
)  # fmt: skip


class P256Signer:
    algorithm = 2

    def __init__(self, words: str) -> None:
        self._key = ec.derive_private_key(
            int.from_bytes(make.seed(words), "big") % P256_ORDER, ec.SECP256R1()
        )
        public = self._key.public_key()
        self.public = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.id = slow.key_id(2, self.public)

    def sign(self, kind: str, body: bytes) -> bytes:
        how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = utils.decode_dss_signature(self._key.sign(slow.dsse(kind, body), how))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class WeakSigner:
    """A public key under which anybody can sign, where a reader is not strict."""

    algorithm = 1

    def __init__(self, public: bytes) -> None:
        self.public = public
        self.id = slow.key_id(1, public)

    def sign(self, kind: str, body: bytes) -> bytes:
        return bytes([1]) + bytes(63)


class Stale:
    """A key that signs, but something else."""

    def __init__(self, signer: Any) -> None:
        self.algorithm, self.public, self.id = signer.algorithm, signer.public, signer.id
        self._signer = signer

    def sign(self, kind: str, body: bytes) -> bytes:
        return bytes(self._signer.sign(kind, body + b"\0"))


HARDWARE = P256Signer("edgeward test hardware")
WEAK = [
    WeakSigner(y.to_bytes(32, "little"))
    for y in (*sorted(slow.SMALL_Y), slow.P, slow.P + 1, 1 | 1 << 255)
]
SIGNERS = (make.PUBLISHER, make.SECOND, make.OWNER, make.STRANGER, make.REVOKED, HARDWARE, *WEAK)


class Case(NamedTuple):
    """What a reader is given. `wraps` is None where there is no such file."""

    package: bytes
    wraps: bytes | None
    root: bytes
    device: slow.Device


class Plan:
    """A case that is being made. Changes of `draft` and `root` are signed in the end."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.draft = base(chance)
        self.file_changes: list[Callable[[random.Random, bytearray], None]] = []
        self.root = root_document()
        self.root_signers = [make.OWNER]
        self.root_text_changes, self.envelope_changes = 0, 0
        self.wrap_changes = 0
        self.device = slow.Device("linux-test", make.NOW_S, FLOOR, make.DEVICE_KEY)

    def finished(self) -> Case:
        package = bytearray(self.draft.build())
        for change in self.file_changes:
            change(self.chance, package)
        wraps = None
        if self.draft.cipher or self.wrap_changes:
            wraps = changed_wraps(self.chance, bytes(package), self.wrap_changes)
        payload = bytearray(json.dumps(self.root).encode())
        for _ in range(self.root_text_changes):
            damage(self.chance, payload)
        envelope = bytearray(signed_root(bytes(payload), tuple(self.root_signers)))
        for _ in range(self.envelope_changes):
            damage(self.chance, envelope)
        return Case(bytes(package), wraps, bytes(envelope), self.device)


def mutation(seed: int, index: int) -> Case:
    """Case number `index`."""
    chance = random.Random(seed << 64 | index)
    plan = Plan(chance)
    kinds, weights = zip(*KINDS, strict=True)
    for kind in chance.choices(kinds, weights, k=chance.choice(CHANGES)):
        kind(chance, plan)
    return plan.finished()


# --- what changes start from ---------------------------------------------------------------------


@cache
def large() -> bytes:
    return bytes(make.LARGE)


def base(chance: random.Random) -> Any:
    """A package that the device reads, in any of its modes."""
    draft = make.Draft(chance.choice((0, 0, 1, 2)), make.SMALL)
    draft.members = [("model.tflite", 1, 1, make.SMALL[: chance.choice((1, 100, 5000))])]
    if chance.random() < 0.1:
        draft.members = [("model.onnx", 2, 1, large()[: chance.choice((65_536, 70_000))])]
    for name, kind in (("labels.txt", 4), ("w.data", 3), ("card.md", 5)):
        if chance.random() < 0.4:
            content = make.SMALL[: chance.choice((1, 8, 4096))]
            draft.members.insert(chance.randrange(len(draft.members) + 1), (name, kind, 0, content))
    draft.metadata = chance.choice((b"", b"{}", b"{}      ", '{"a": "é"}'.encode()))
    draft.publisher, draft.signers = chance.choice(
        (
            ("publisher", [make.PUBLISHER]),
            ("publisher", [make.STRANGER, make.PUBLISHER]),
            ("pair", [make.PUBLISHER, make.SECOND]),
            ("mixed", [HARDWARE]),
            ("mixed", [HARDWARE, make.PUBLISHER]),
        )
    )
    draft.target = chance.choice(("any", "linux-test"))
    draft.binding = chance.choice((bytes(32), make.device_id(make.DEVICE_KEY)))
    draft.hard_expiry = chance.choice((0, make.NOW_S + 1))
    return draft


def root_document() -> dict[str, Any]:
    document: dict[str, Any] = make.root_document()
    for signer in (HARDWARE, *WEAK):
        name = {1: "ed25519", 2: "ecdsa-p256"}[signer.algorithm]
        public = base64.b64encode(signer.public).decode()
        document["keys"].append({"id": signer.id.hex(), "alg": name, "pub": public})
    ids = [HARDWARE.id.hex(), make.PUBLISHER.id.hex()]
    document["roles"]["publisher:mixed"] = {"keyids": ids, "threshold": 1, "prefixes": ["", "de"]}
    weak = [signer.id.hex() for signer in WEAK]
    document["roles"]["publisher:weak"] = {"keyids": weak, "threshold": 1, "prefixes": [""]}
    return document


@lru_cache(maxsize=4)  # most cases have the root that is whole
def signed_root(payload: bytes, signers: tuple[Any, ...]) -> bytes:
    signatures = [
        {
            "keyid": signer.id.hex(),
            "sig": base64.b64encode(signer.sign(slow.ROOT_TYPE, payload)).decode(),
        }
        for signer in signers
    ]
    text = base64.b64encode(payload).decode()
    envelope = {"payloadType": slow.ROOT_TYPE, "payload": text, "signatures": signatures}
    return json.dumps(envelope).encode()


# --- changes -------------------------------------------------------------------------------------


def change_facts(chance: random.Random, plan: Plan) -> None:
    """A fact of the draft, so that all that depends on it is written as it would be."""
    draft = plan.draft
    field = chance.choice(
        ("release", "least", "created", "hard_expiry", "name", "version", "target", "publisher",
         "binding", "metadata", "chunk_bytes", "salt", "members", "signers", "gap")
    )  # fmt: skip
    if field in ("release", "least"):
        number = chance.choice((0, 1, 3, 4, 5, 6, 7, 1 << 48, 1 << 48 | 7, (1 << 64) - 1))
        setattr(draft, field, number)
    elif field in ("created", "hard_expiry"):
        setattr(draft, field, chance.choice(TIMES))
    elif field in ("name", "version", "target", "publisher"):
        size = 64 if field == "name" else 32
        setattr(draft, field, chance.choice(TEXTS)[:size].decode("ascii", "ignore"))
    elif field == "binding":
        draft.binding = chance.choice((make.device_id(make.OTHER_KEY), bytes(31) + b"\1"))
    elif field == "metadata":
        draft.metadata = chance.choice(
            (b"\0", b"\xff", b"{}\0\0\0\0\0\0", b"x" * 9, b"\xed\xa0\x80", b"\xf4\x90\x80\x80")
        )
    elif field == "chunk_bytes":
        draft.chunk_bytes = chance.choice((1 << 15, 1 << 16, 1 << 17, 3 << 16, 1 << 22, 1 << 23))
    elif field == "salt":
        draft.salt = bytes(32)
    elif field == "members":
        change_members(chance, draft)
    elif field == "signers":
        count = chance.choice((0, 1, 1, 2, 3, 16))
        draft.signers = [chance.choice(SIGNERS) for _ in range(count)]
        if chance.random() < 0.5:
            draft.signers = [chance.choice(WEAK)]
            draft.publisher = "weak"
    else:
        draft.gap = chance.choice((0, 1))


def change_members(chance: random.Random, draft: Any) -> None:
    at = chance.randrange(len(draft.members))
    name, kind, entry, content = draft.members[at]
    choice = chance.randrange(6)
    if choice == 0:
        draft.members.insert(at, (name.swapcase(), kind, 0, content))
    elif choice == 1 and len(draft.members) > 1:
        del draft.members[at]
    elif choice == 2:
        text = chance.choice(TEXTS)[:64].decode("ascii", "ignore")
        draft.members[at] = (text, kind, entry, content)
    elif choice == 3:
        draft.members[at] = (name, chance.choice((0, 1, 2, 3, 4, 5, 6)), entry, content)
    elif choice == 4:
        draft.members[at] = (name, kind, chance.choice((0, 1, 2, 3)), content)
    else:
        many = chance.choice((2, 254, 255, 256, 257))
        draft.members += [(f"m{i}", 5, 0, b"x") for i in range(many)]


def change_field(chance: random.Random, data: bytearray, fields: Any, start: int = 0) -> None:
    """One field of a record: another number or text, a bit or a byte of it."""
    offset, size = chance.choice(fields)
    at = start + offset
    kind = chance.randrange(5)
    if kind == 0 and size <= 8:
        data[at : at + size] = (chance.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, "little")
    elif kind == 1 and size <= 8:
        number = int.from_bytes(data[at : at + size], "little") + chance.choice((-1, 1, 8, 4096))
        data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")
    elif kind == 2 and offset in TEXT_FIELDS:
        data[at : at + size] = chance.choice(TEXTS)[:size].ljust(size, b"\0")
    elif kind == 3:
        data[at + chance.randrange(size)] = chance.randrange(256)
    else:
        data[at + chance.randrange(size)] ^= 1 << chance.randrange(8)


def change_body(chance: random.Random, plan: Plan) -> None:
    before, number = plan.draft.change_body, chance.getrandbits(64)

    def change(body: bytearray) -> None:
        before(body)
        own = random.Random(number)
        for _ in range(own.choice((1, 1, 2))):
            if own.random() < 0.4 and len(body) >= 608:
                start = 448 + 160 * own.randrange((len(body) - 448) // 160)
                change_field(own, body, ROW_FIELDS, start)
            else:
                change_field(own, body, BODY_FIELDS)
        if own.random() < 0.05:
            at = own.randrange(448, len(body) + 1)
            body[at:at] = bytes(own.choice((1, 8, 160)))

    plan.draft.change_body = change


def change_bytes(name: str) -> Callable[[random.Random, Plan], None]:
    """A change of what the draft's hook of this name sees, before it is hashed and signed."""

    def change_hook(chance: random.Random, plan: Plan) -> None:
        before, number = getattr(plan.draft, name), chance.getrandbits(64)

        def change(data: bytearray) -> None:
            before(data)
            own = random.Random(number)
            data[own.randrange(len(data))] ^= 1 << own.randrange(8)

        setattr(plan.draft, name, change)

    return change_hook


def change_slots(chance: random.Random, plan: Plan) -> None:
    plan.file_changes.append(in_slots)


def in_slots(chance: random.Random, file: bytearray) -> None:
    """Of signatures: fields, order, numbers that are none or another spelling of the same."""
    start = slots_of(file)
    if start is None:
        return
    at = start + 144 * chance.choice((0, 0, 0, 1, 1, 2, 15))
    kind = chance.randrange(7)
    if kind == 0:
        change_field(chance, file, ((0, 2), (2, 2), (4, 4), (8, 32), (40, 64), (104, 40)), at)
    elif kind == 1:
        struct.pack_into("<I", file, 16, chance.choice((0, 1, 2, 3, 15, 16, 17)))
    elif kind == 2:
        other = start + 144 * chance.choice((0, 1, 2, 15))
        file[at : at + 144], file[other : other + 144] = (
            file[other : other + 144],
            file[at : at + 144],
        )
    elif kind == 3:
        other = start + 144 * chance.choice((0, 1, 2, 15))
        file[at : at + 144] = file[other : other + 144]
    elif kind == 4:
        s = (int.from_bytes(file[at + 72 : at + 104], "little") + ED25519_ORDER) % (1 << 256)
        file[at + 72 : at + 104] = s.to_bytes(32, "little")
    elif kind == 5:
        s = (P256_ORDER - int.from_bytes(file[at + 72 : at + 104], "big")) % (1 << 256)
        file[at + 72 : at + 104] = s.to_bytes(32, "big")
    else:
        half = at + chance.choice((40, 72))
        number = chance.choice((0, 1, P256_ORDER, slow.P, ED25519_ORDER, (1 << 256) - 1))
        file[half : half + 32] = number.to_bytes(32, chance.choice(("little", "big")))  # type: ignore[arg-type]


def slots_of(file: bytearray) -> int | None:
    """Where the slots begin, if the file is that long."""
    if len(file) < 64:
        return None
    (size,) = struct.unpack_from("<I", file, 12)
    return 64 + size if 64 + size + 2304 <= len(file) else None


def change_signers(chance: random.Random, plan: Plan) -> None:
    """A signature that does not fit beside those that do."""
    signer = Stale(chance.choice(SIGNERS))
    plan.draft.signers.insert(chance.randrange(len(plan.draft.signers) + 1), signer)
    del plan.draft.signers[16:]


def change_file(chance: random.Random, plan: Plan) -> None:
    plan.file_changes.append(chance.choice((in_file, in_file, in_preamble, cut, spliced)))


def in_file(chance: random.Random, file: bytearray) -> None:
    """Anywhere, most of all in what is not the payload."""
    end = len(file) if chance.random() < 0.3 else min(len(file), 4096)
    damage(chance, file, chance.randrange(end) if end else 0)


def in_preamble(chance: random.Random, file: bytearray) -> None:
    if len(file) >= 64:
        fields = ((0, 8), (8, 2), (10, 2), (12, 4), (16, 4), (20, 4), (24, 8), (32, 32))
        change_field(chance, file, fields)


def cut(chance: random.Random, file: bytearray) -> None:
    """Shorter or longer, with the length that the preamble says mended or not."""
    if chance.random() < 0.7:
        near = [64 + 2304, 4096, len(file) - 1, len(file) - 4096]
        size = chance.choice([chance.randrange(len(file) + 1), *near])
        del file[max(0, size) :]
    else:
        file += bytes(chance.choice((1, 8, 4096)))
    if len(file) >= 64 and chance.random() < 0.5:
        struct.pack_into("<Q", file, 24, len(file))


def spliced(chance: random.Random, file: bytearray) -> None:
    """A part of another package in the place of this one's."""
    other = bytearray(base(chance).build())
    marks = [0, 64, slots_of(file) or 64, (slots_of(file) or 64) + 2304, 4096, len(file)]
    begin, end = sorted(chance.sample(marks, 2))
    if chance.random() < 0.3:
        begin, end = sorted((chance.randrange(len(file) + 1), chance.randrange(len(file) + 1)))
    file[begin:end] = other[begin:end]


def damage(chance: random.Random, data: bytearray, at: int | None = None) -> None:
    """One change of bytes: a flipped bit, another byte, a token, a stretch out or twice."""
    if at is None:
        at = chance.randrange(len(data)) if data else 0
    end = at + chance.choice((1, 2, 8, 64, 144, 4096))
    kind = chance.randrange(8)
    if kind < 3 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 3 and at < len(data):
        data[at] = chance.randrange(256)
    elif kind == 4:
        data[at:at] = chance.choice(TOKENS)
    elif kind == 5:
        token = chance.choice(TOKENS)
        data[at : at + len(token)] = token
    elif kind == 6:
        del data[at:end]
    else:
        data[at:at] = data[at:end]


def change_wraps(chance: random.Random, plan: Plan) -> None:
    plan.wrap_changes += 1


def changed_wraps(chance: random.Random, package: bytes, change_count: int) -> bytes | None:
    """The wraps of the package for its device and perhaps others, with so many changes."""
    package = package.ljust(64, b"\0")
    others = chance.sample((make.OTHER_KEY, make.seed("third")), chance.choice((0, 0, 1, 2)))
    keys = [make.DEVICE_KEY, *others]
    times = (0, 0)
    of = package
    algorithm = chance.choice((2, 3))
    rows: list[Callable[[bytearray], None]] = []
    for _ in range(change_count):
        kind = chance.randrange(8)
        if kind == 0:
            times = (chance.choice(TIMES), chance.choice(TIMES))
        elif kind == 1:
            of = bytes(base(chance).build())
        elif kind == 2:
            return chance.choice((None, b"", bytes(215), bytes(216), b"\xff" * 217))
        elif kind == 3:
            keys = keys[1:] or [make.OTHER_KEY]
        else:
            number = chance.getrandbits(64)
            rows.append(lambda data, number=number: in_wraps(random.Random(number), data))  # type: ignore[misc]
    wraps = sorted((make.wrap(of, key, *times, algorithm) for key in keys), key=lambda w: w[48:80])
    data = bytearray(b"".join(wraps))
    for change in rows:
        change(data)
    return bytes(data)


def in_wraps(chance: random.Random, data: bytearray) -> None:
    kind = chance.randrange(4)
    if kind < 2 and data:
        fields = (
            (0, 8), (8, 2), (10, 2), (12, 2), (14, 2), (16, 32), (48, 32), (80, 8), (88, 8),
            (96, 32), (128, 40), (168, 48),
        )  # fmt: skip
        start = 216 * chance.randrange(max(1, len(data) // 216))
        if start + 216 <= len(data):
            change_field(chance, data, fields, start)
    elif kind == 2 and len(data) >= 432:
        data[:216], data[216:432] = data[216:432], data[:216]
    else:
        damage(chance, data)


def change_root(chance: random.Random, plan: Plan) -> None:
    """Its document, its text or its envelope; all but the last are signed after."""
    kind = chance.randrange(6)
    if kind == 0:
        plan.root_text_changes += 1
    elif kind == 1:
        plan.envelope_changes += 1
    elif kind == 2:
        signers = [make.OWNER, make.STRANGER, make.REVOKED, HARDWARE, Stale(make.OWNER), *WEAK]
        plan.root_signers = [
            chance.choice(signers) for _ in range(chance.choice((0, 1, 2, 16, 17)))
        ]
    else:
        for _ in range(chance.choice((1, 1, 2))):
            change_document(chance, plan.root)


def change_document(chance: random.Random, document: dict[str, Any]) -> None:
    """One change of a member somewhere: another value, gone, twice, or one more beside it."""
    holder: Any = document
    key: Any = chance.choice(list(document))
    while isinstance(holder[key], (dict, list)) and holder[key] and chance.random() < 0.8:
        holder = holder[key]
        key = chance.choice(range(len(holder)) if isinstance(holder, list) else list(holder))
    kind = chance.randrange(6)
    if kind < 2:
        holder[key] = copy.deepcopy(chance.choice(TELLING))
    elif kind == 2 and isinstance(holder[key], int):
        holder[key] += chance.choice((-1, 1))
    elif kind == 3:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(chance.choice((holder[key], *TELLING))))
    else:
        more = chance.choice(("", "more", "root", "publisher:a", "publisher:.a", "publisher:"))
        holder[more] = copy.deepcopy(chance.choice((holder[key], *TELLING)))
    if not document:
        document["version"] = 1


def change_device(chance: random.Random, plan: Plan) -> None:
    plan.device = plan.device._replace(
        **chance.choice(
            (
                {"now_s": chance.choice(TIMES[:-1])},
                {"floor": chance.choice((0, 1, 7, 8, (1 << 64) - 1))},
                {"target": chance.choice(("any", "linux-test", "linux-other"))},
                {"private_key": chance.choice((None, make.OTHER_KEY, make.seed("third")))},
                {"has_run": True, "now_s": make.EXPIRES_S},
            )
        )
    )


KINDS: tuple[tuple[Callable[[random.Random, Plan], None], int], ...] = (
    (change_facts, 6),
    (change_body, 6),
    (change_bytes("change_table"), 1),
    (change_bytes("change_payload"), 1),
    (change_bytes("change_chunk"), 1),
    (change_slots, 3),
    (change_signers, 1),
    (change_file, 4),
    (change_wraps, 3),
    (change_root, 4),
    (change_device, 2),
)


# --- one case ------------------------------------------------------------------------------------

Answer = dict[str, bytes] | str  # the members, or a code


root_of_core = lru_cache(maxsize=4)(_core.TrustRoot.first)
root_of_document = lru_cache(maxsize=4)(slow.Root)


def by_core(case: Case, path: Path) -> Answer:
    """What the core says of the case, whose package and wraps lie at `path`."""
    device = case.device
    key = None
    if device.private_key is not None:
        text = b"edgeward-private-key x25519 " + device.private_key.hex().encode()
        key = _core.PrivateKey.parse(text)
    name = case.package[64 + 192 : 64 + 256].split(b"\0")[0].decode("latin-1")
    try:
        root = root_of_core(case.root)
        floors = {name: device.floor}
        policy = _core.make_policy(
            device.target, key.public.id if key else None, floors, device.now_s, {}
        )
        package = _core.Package.verified(str(path), root, policy)
        if not device.has_run:
            root.require_current(device.now_s)
        content_key = None
        if package.cipher is not None:
            package.check_table()
            if key is None or case.wraps is None:
                return "wrong_key"  # as Package says it
            content_key = _core.unwrap(case.wraps, package.package_id, key, device.now_s)
        payload = package.open_payload(content_key, 1)
        members = {member.name: payload.read(member.name).tobytes() for member in package.members}
        package.check_payload(payload)
        package.check_members(content_key)
        for member, content in members.items():
            if package.read_member(member, content_key) != content:
                return "another member than in the payload"
    except EdgewardError as error:
        return error.code
    return members


def by_document(case: Case, path: Path) -> Answer:
    """What the reference reader says."""
    try:
        root = root_of_document(case.root)
        return slow.read_package(path, path.with_suffix(".ewk"), root, case.device)
    except slow.Refused as refusal:
        return refusal.code


def answers(case: Case, directory: Path) -> tuple[Answer, Answer]:
    path = directory / "case.ewp"
    path.write_bytes(case.package)
    path.with_suffix(".ewk").unlink(missing_ok=True)
    if case.wraps is not None:
        path.with_suffix(".ewk").write_bytes(case.wraps)
    return by_core(case, path), by_document(case, path)


def comparer(directory: Path) -> Callable[[int, int], Verdict]:
    """A try that keeps its files in `directory`, and says on standard error what differs."""

    def tried(seed: int, index: int) -> Verdict:
        core, document = answers(mutation(seed, index), directory)
        if core != document:
            words = [answer if isinstance(answer, str) else "read" for answer in (core, document)]
            print(f"\n{index}: the core {words[0]}, the reference {words[1]}", file=sys.stderr)
            return Verdict.WRONG
        return Verdict.REFUSED if isinstance(core, str) else Verdict.READ

    return tried


@contextlib.contextmanager
def scratch() -> Any:
    """A directory in memory."""
    directory = Path(tempfile.mkdtemp(prefix="edgeward-packages-", dir="/dev/shm"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="index of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after")
    args = parser.parse_args()
    indices = range(args.first, args.first + args.count)
    with scratch() as directory:
        total = campaign(args.seed, indices, comparer(directory), shown, args.seconds)
    print(json.dumps(vars(args) | total.report(), indent=1))
    return 1 if total.findings else 0


if __name__ == "__main__":
    sys.exit(main())
