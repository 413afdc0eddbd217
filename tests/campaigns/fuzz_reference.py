"""The campaign of references: damaged reference.json, each read as that of a package would be.

`python tests/campaigns/fuzz_reference.py --count 10000000 --seed 1` prints how many were read, how
many refused as MalformedPackage, and each that did something else: raised another error, killed the
process, hung it or took its memory. What was read must be usable: it comes back as the same bytes,
a counter takes its edges or refuses them as BadInput, and it judges a window of its own counts.

Mutations know the format: one to six changes of members, of numbers and of the statistics inside,
whose CRC is mended so that the change gets past it; a part of the documents is damaged as text.
A document is named by (seed, index) and made again by `mutation()`; nothing else is random.
Children try batches and write every verdict into shared memory, so that a death costs one document.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import random
import struct
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from models import network as nets
from models import tflite_models
from trials import Verdict, campaign, shown

import edgeward as ew
from edgeward import _core
from edgeward.captures.drift import judge
from edgeward.errors import BadInput, MalformedPackage
from edgeward.packages.calibration import calibrated
from edgeward.packages.expectation import expected
from edgeward.packages.reference_statistics import ReferenceStatistics

JUDGED = 8  # one of so many documents that were read judges a window
CHANGES = (1, 1, 1, 2, 2, 3, 6)  # of a document
TEXT_SHARE = 0.15  # of documents that are damaged as text
DEPTH = 0.75  # of going on from a member into what it holds
TELLING: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 100, 1.5, -0.0, 1e-320, 1e308, -1e308, 3.5e38, 1 << 31,
    1 << 53, (1 << 63) - 1, 1 << 63, 1 << 64, 10**400, -(10**400), float("nan"), float("inf"), "",
    "input", "output", "values", "\ud800", "\0", "A" * 999, [], [[]], {}, {"": {}},
)  # fmt: skip
TOKENS = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 2000, b"{\"a\":" * 2000, b"]", b"}", b",",
    b'"', b"\\ud800", b"\\u0000", b"\xff", b"\xef\xbb\xbf", b"\0", b"null", b"-", b"00", b"1E5",
    b'"version": 1,', b'"version": 2,', b'"thresholds": null,', b'"sample_count": 1,', b"e", b".",
)  # fmt: skip
REFUSALS = "package: reference.json: expected"


class Seed(NamedTuple):
    """A whole document, and the model that a package has beside it."""

    text: bytes
    signature: _core.Signature
    statistics: bytes  # of version 2; empty in version 1
    flips: tuple[int, ...]  # by bit of `statistics` before its CRC: what a flip does to that


# --- documents ----------------------------------------------------------------------------------


@cache
def seeds() -> tuple[Seed, ...]:
    """A row, a picture with scores, and few samples in version 2; and two in version 1."""
    generator = np.random.default_rng(3)
    dense = nets.Network(
        "row", (1, 1, 1, 3), (nets.Dense(np.eye(3, dtype=np.float32), np.zeros(3, np.float32)),),
        "scores",
    )  # fmt: skip
    models = [
        (tflite_models.network(dense), "row", (1, 1, 1, 3), 120),
        (tflite_models.add((2, 2, 2)), "x", (2, 2, 2), 100),
        (tflite_models.add((2,)), "x", (2,), 20),
    ]
    documents: list[Seed] = []
    for model, name, shape, count in models:
        samples = [{name: values} for values in generator.normal(size=(count, *shape))]
        samples = [{name: sample[name].astype(np.float32)} for sample in samples]
        with ew.load_unsigned(model) as loaded:
            (signature,) = loaded.signatures.values()
            reference = calibrated(loaded, samples)
        documents.append(_seed(reference.to_bytes(), signature))
        if count != 120:
            documents.append(_seed(json.dumps(_first_version(reference)).encode(), signature))
    return tuple(documents)


def _first_version(reference: ReferenceStatistics) -> dict[str, Any]:
    """What version 1 would say of the same calibration set."""
    fields = (
        "finite_count", "nan_count", "infinite_count", "min", "max", "mean", "variance", "edges",
        "counts",
    )  # fmt: skip
    tensors = []
    for tensor in reference.report["tensors"]:
        row = {field: tensor[field] for field in ("side", "name", "dtype", "class_counts")}
        row |= {field: tensor["parts"][0][field] for field in fields}
        tensors.append({key: np.asarray(value).tolist() for key, value in row.items()})
    return {"version": 1, "sample_count": reference.sample_count, "tensors": tensors}


def _seed(text: bytes, signature: _core.Signature) -> Seed:
    statistics = base64.b64decode(json.loads(text).get("statistics", ""))
    return Seed(text, signature, statistics, tuple(_flips(max(0, len(statistics) - 4))))


def _flips(size: int) -> Iterator[int]:
    """By bit of `size` bytes what flipping it does to their CRC-32C, which is linear."""
    steps, crcs = [], [1 << bit for bit in range(8)]
    for _ in range(size):
        crcs = [_after(crc) for crc in crcs]
        steps.append(crcs)
    for flips in reversed(steps):
        yield from flips


def _after(crc: int) -> int:
    """The remainder a byte later."""
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def mutation(seed: int, index: int) -> tuple[Seed, bytes]:
    """Damaged document number `index`, and what it was."""
    chance = random.Random(seed << 64 | index)
    start = chance.choice(seeds())
    if chance.random() < TEXT_SHARE:
        text = bytearray(start.text)
        for _ in range(chance.choice(CHANGES)):
            damage(chance, text)
        return start, bytes(text)
    document = json.loads(start.text)
    for _ in range(chance.choice(CHANGES)):
        change(chance, document, start)
    return start, json.dumps(document).encode()


def damage(chance: random.Random, text: bytearray) -> None:
    """One change of the text: a flipped bit, a byte, a token put in, a stretch out or twice."""
    at = chance.randrange(len(text)) if text else 0
    end = at + chance.choice((1, 2, 8, 64, 1000))
    kind = chance.randrange(6)
    if kind == 0 and text:
        text[at] ^= 1 << chance.randrange(8)
    elif kind == 1 and text:
        text[at] = chance.randrange(256)
    elif kind == 2:
        text[at:at] = chance.choice(TOKENS)
    elif kind == 3:
        text[at:end] = chance.choice(TOKENS)
    elif kind == 4:
        del text[at:end]
    else:
        text[at:at] = text[at:end]


def change(chance: random.Random, document: dict[str, Any], start: Seed) -> None:
    """One change of a member: another value, gone, twice, exchanged, or a new one beside it."""
    if start.statistics and "statistics" in document and chance.random() < 0.4:
        document["statistics"] = _changed_statistics(chance, start)
        return
    holder, key = _member(chance, document)
    if key is None:
        return
    kind = chance.randrange(8)
    if kind < 2:
        holder[key] = _telling(chance)
    elif kind < 4:
        holder[key] = _near(chance, holder[key])
    elif kind == 4:
        del holder[key]
    elif kind == 5:
        other = _member(chance, document)
        if other[1] is not None and not isinstance(holder[key], (dict, list)):
            other[0][other[1]] = holder[key]
    elif isinstance(holder, list):
        holder.insert(key, chance.choice((copy.deepcopy(holder[key]), _telling(chance))))
    else:
        holder[chance.choice(("", "more", "version", "tensors", "psi"))] = _telling(chance)


def _telling(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(TELLING))


def _member(chance: random.Random, document: Any) -> tuple[Any, Any]:
    """A container somewhere in the document and a key in it, None where it is empty."""
    holder, key = document, None
    while True:
        keys = range(len(holder)) if isinstance(holder, list) else list(holder)
        if not keys:
            return holder, None
        key = chance.choice(keys)
        if holder is document and chance.random() < DEPTH:  # a version that is none hides the rest
            key = next((key for key in keys if isinstance(holder[key], (dict, list))), key)
        if not isinstance(holder[key], (dict, list)) or chance.random() > DEPTH:
            return holder, key
        holder = holder[key]


def _near(chance: random.Random, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return [value]
    if isinstance(value, str):
        at = chance.randrange(len(value) + 1)
        return value[:at] + chance.choice(("", "=", "é", "A", "\n")) + value[at + 1 :]
    try:
        return chance.choice((value + 1, value - 1, -value, value * 2, value / 3, int(value)))
    except (OverflowError, ValueError):  # of what an earlier change made
        return str(value)


def _changed_statistics(chance: random.Random, start: Seed) -> str:
    """Their bytes, with some bits flipped or bytes replaced, and a CRC that is right."""
    data = bytearray(start.statistics)
    (crc,) = struct.unpack_from("<I", data, len(data) - 4)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data) - 4)
        byte = chance.choice((data[at] ^ 1 << chance.randrange(8), 0, 1, 0x7F, 0x80, 0xFF))
        for bit in range(8):
            if (data[at] ^ byte) >> bit & 1:
                crc ^= start.flips[8 * at + bit]
        data[at] = byte
    if chance.random() < 0.95:
        struct.pack_into("<I", data, len(data) - 4, crc)
    return base64.b64encode(data).decode()


# --- one document -------------------------------------------------------------------------------


def outcome(start: Seed, data: bytes, is_judged: bool) -> str:
    """ "read", or why it was refused. Raises whatever must not be raised."""
    try:
        reference = ReferenceStatistics.from_bytes(data, "package")
    except MalformedPackage as error:
        if not str(error).startswith(REFUSALS) or "\n" in str(error):
            raise AssertionError(f"a message of another form: {error}") from error
        return str(error)
    if reference.to_bytes() != data or not all(map(str, reference.shortcomings)):
        raise AssertionError("it does not come back")
    try:
        counter = _core.make_statistics_counter(start.signature, reference.edges)
    except BadInput:
        counter = None
    if is_judged:
        reports = [reference.report] + ([] if counter is None else [counter.take().report()])
        str(judge(expected(reference), reports, ["now", "then"]))
    return "read"


def tried(seed: int, index: int) -> Verdict:
    start, data = mutation(seed, index)
    try:
        said = outcome(start, data, index % JUDGED == 0)
    except Exception:
        return Verdict.WRONG
    return Verdict.READ if said == "read" else Verdict.REFUSED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="index of the first document")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    seeds()  # made once, and inherited
    total = campaign(args.seed, range(args.first, args.first + args.count), tried, shown)
    print(json.dumps(vars(args) | total.report(), indent=1))
    return 1 if total.findings else 0


if __name__ == "__main__":
    sys.exit(main())
