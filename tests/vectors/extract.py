"""The published vectors, reduced to the fields that the tests use, one vector a line.

`python tests/vectors/extract.py PUBLISHED` reads PUBLISHED/wycheproof and PUBLISHED/cctv, checkouts
of those repositories at the commits that the READMEs here name, and PUBLISHED/hpke.json, and writes
the *.txt beside this file again. A field is hexadecimal, "-" when it is empty; a line that begins
with "#" names the fields.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Vector = dict[str, Any]
Fields = tuple[str, ...]


def tests(document: Any) -> Iterator[Vector]:
    """Each test of a Wycheproof document, with what its group says of all its tests."""
    for group in document["testGroups"]:
        shared = {name: value for name, value in group.items() if name != "tests"}
        for test in group["tests"]:
            yield {**shared, **test}


def fits_our_aead(test: Vector) -> bool:
    return (test["keySize"], test["ivSize"], test["tagSize"]) == (256, 96, 128)


def aead(document: Any) -> Iterator[Fields]:
    for test in filter(fits_our_aead, tests(document)):
        names = ("result", "key", "iv", "aad", "msg", "ct", "tag")
        yield (str(test["tcId"]), *(test[name] for name in names))


def ed25519(document: Any) -> Iterator[Fields]:
    for test in tests(document):
        yield (
            str(test["tcId"]), test["result"], test["publicKey"]["pk"], test["msg"], test["sig"],
        )  # fmt: skip


def ecdsa(document: Any) -> Iterator[Fields]:
    for test in tests(document):
        point = test["publicKey"]["uncompressed"]
        yield str(test["tcId"]), test["result"], point, test["msg"], test["sig"]


def x25519(document: Any) -> Iterator[Fields]:
    for test in tests(document):
        names = ("result", "public", "private", "shared")
        yield (str(test["tcId"]), *(test[name] for name in names))


def hkdf(document: Any) -> Iterator[Fields]:
    for test in tests(document):
        names = ("result", "ikm", "salt", "info")
        yield (
            str(test["tcId"]), *(test[name] for name in names), str(test["size"]), test["okm"],
        )  # fmt: skip


def cctv(document: Any) -> Iterator[Fields]:
    for test in document:
        yield (
            str(test["number"]), ",".join(test["flags"] or []), test["key"],
            test["msg"].encode().hex(), test["sig"],
        )  # fmt: skip


def hpke(document: Any) -> Iterator[Fields]:
    for test in document:
        suite = (test["mode"], test["kem_id"], test["kdf_id"])
        if suite != (0, 0x20, 1) or test["aead_id"] not in (2, 3):
            continue
        first = test["encryptions"][0]
        names = ("skEm", "skRm", "pkRm", "enc", "info")
        yield (
            str(test["aead_id"]), *(test[name] for name in names), first["aad"], first["pt"],
            first["ct"],
        )  # fmt: skip


SETS: tuple[tuple[str, str, str, Callable[[Any], Iterable[Fields]]], ...] = (
    ("wycheproof/testvectors_v1/aes_gcm_test.json", "wycheproof/aes_256_gcm.txt",
     "number result key nonce aad plaintext ciphertext tag", aead),
    ("wycheproof/testvectors_v1/chacha20_poly1305_test.json", "wycheproof/chacha20_poly1305.txt",
     "number result key nonce aad plaintext ciphertext tag", aead),
    ("wycheproof/testvectors_v1/ed25519_test.json", "wycheproof/ed25519.txt",
     "number result public message signature", ed25519),
    ("wycheproof/testvectors_v1/ecdsa_secp256r1_sha256_p1363_test.json",
     "wycheproof/ecdsa_p256.txt", "number result public message signature", ecdsa),
    ("wycheproof/testvectors_v1/x25519_test.json", "wycheproof/x25519.txt",
     "number result public private shared", x25519),
    ("wycheproof/testvectors_v1/hkdf_sha256_test.json", "wycheproof/hkdf_sha256.txt",
     "number result input_key salt info size_bytes output", hkdf),
    ("cctv/ed25519/ed25519vectors.json", "cctv/ed25519.txt",
     "number flags public message signature", cctv),
    ("hpke.json", "hpke/rfc9180.txt",
     "aead ephemeral_private recipient_private recipient_public enc info aad plaintext ciphertext",
     hpke),
)  # fmt: skip


def main(published: Path) -> None:
    for source, target, names, vectors in SETS:
        rows = list(vectors(json.loads((published / source).read_bytes())))
        lines = [f"# {names}", *(" ".join(field or "-" for field in row) for row in rows)]
        (HERE / target).write_text("\n".join(lines) + "\n")
        print(f"{target}: {len(rows)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
