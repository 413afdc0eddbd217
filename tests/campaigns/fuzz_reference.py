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
import enum
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from models import network as nets
from models import tflite_models

import edgeward as ew
from edgeward import _core
from edgeward.captures.drift import judge
from edgeward.errors import BadInput, MalformedPackage
from edgeward.packages.calibration import calibrated
from edgeward.packages.expectation import expected
from edgeward.packages.reference_statistics import ReferenceStatistics

TIME_LIMIT_S = 20
MEMORY_BYTES = 1 << 30  # beyond what the process has before the first document
BATCH = 20_000
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


class Verdict(enum.IntEnum):
    """What became of a damaged document."""

    UNTRIED = 0
    READ = 1
    REFUSED = 2
    OTHER_ERROR = 3  # or what was read cannot be used
    DEATH = 4
    HANG = 5


FINDINGS = (Verdict.OTHER_ERROR, Verdict.DEATH, Verdict.HANG)


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
        return Verdict.OTHER_ERROR
    return Verdict.READ if said == "read" else Verdict.REFUSED


# --- many ---------------------------------------------------------------------------------------


class Campaign(NamedTuple):
    counts: Counter[Verdict]
    findings: dict[int, Verdict]  # by index


def campaign(
    seed: int,
    indices: range,
    run: Callable[[int, int], Verdict] = tried,
    progress: Callable[[int, int], None] = lambda done, finding_count: None,
) -> Campaign:
    """Tries every document of `indices` with `run`, in children one after the other."""
    seeds()  # made once, and inherited
    total = Campaign(Counter(), {})
    done = 0
    while done < len(indices):
        batch = indices[done : done + BATCH]
        record = mmap.mmap(-1, len(batch))
        child = os.fork()
        if child == 0:
            run_batch(seed, batch, run, record)
        status = os.waitpid(child, 0)[1]
        verdicts = [Verdict(record[at]) for at in range(len(batch))]
        if Verdict.UNTRIED in verdicts:
            at = verdicts.index(Verdict.UNTRIED)
            is_late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
            verdicts[at:] = [Verdict.HANG if is_late else Verdict.DEATH]
        for index, verdict in zip(batch, verdicts, strict=False):
            total.counts[verdict] += 1
            if verdict in FINDINGS:
                total.findings[index] = verdict
        done += len(verdicts)
        progress(done, len(total.findings))
    return total


def run_batch(
    seed: int, batch: range, run: Callable[[int, int], Verdict], record: mmap.mmap
) -> None:
    """What a child does: never returns. Past the time limit the kernel ends it with SIGALRM."""
    (pages,) = Path("/proc/self/statm").read_text().split()[:1]
    most = int(pages) * mmap.PAGESIZE + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    warnings.simplefilter("error")
    for at, index in enumerate(batch):
        signal.alarm(TIME_LIMIT_S)
        try:
            record[at] = run(seed, index)
        except BaseException:
            os._exit(1)
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="index of the first document")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begin = time.monotonic()

    def progress(done: int, finding_count: int) -> None:
        rate = done / (time.monotonic() - begin)
        text = f"{done:,} of {args.count:,}, {finding_count} findings, {rate:,.0f} a second"
        print(f"\r{text}", end="", file=sys.stderr, flush=True)

    indices = range(args.first, args.first + args.count)
    total = campaign(args.seed, indices, progress=progress)
    print(file=sys.stderr)
    report = {verdict.name.lower(): total.counts[verdict] for verdict in Verdict if verdict}
    report |= {"findings": {index: verdict.name for index, verdict in total.findings.items()}}
    print(json.dumps(vars(args) | report, indent=1))
    return 1 if total.findings else 0


if __name__ == "__main__":
    sys.exit(main())
