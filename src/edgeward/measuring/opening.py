"""How fast an encrypted package is opened: verified and decrypted, by cipher and threads."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgeward import _core

CIPHERS = ("aes-256-gcm", "chacha20-poly1305")
PAYLOAD_BYTES = 32 << 20
LEAST_ROUNDS = 3
MODEL = Path(__file__).parents[1] / "digits" / "digits.tflite"


class Opening(NamedTuple):
    cipher: str
    threads: int
    rounds: int
    mb_per_s: float  # of plaintext, median of the rounds


def report(
    thread_counts: Sequence[int], seconds: float, say: Callable[[str], None]
) -> list[Opening]:
    """Each cipher on each number of threads, which take turns for `seconds` of each cipher.

    The package is written to a temporary directory, and its file lies in the page cache. Raises
    OSError where there is no room for it.
    """
    openings = []
    for cipher in CIPHERS:
        say(f"opening {PAYLOAD_BYTES >> 20} MiB, {cipher}, {seconds:g} s")
        with tempfile.TemporaryDirectory(prefix="edgeward-bench-") as directory:
            path = os.path.join(directory, "model.ewp")
            key = _sealed(path, cipher)
            openings += _openings(path, cipher, key, thread_counts, seconds)
    return openings


def _sealed(path: str, cipher: str) -> _core.ContentKey:
    source = _core.PackageSource()
    source.name, source.version, source.target = "bench", "1", "any"
    source.publisher, source.metadata = "default", "{}"
    source.release_counter, source.min_counter, source.cipher = 1, 1, cipher
    source.created_s = int(time.time())
    weights = np.random.default_rng(1).bytes(PAYLOAD_BYTES)
    source.add_member("model.tflite", "tflite", True, MODEL.read_bytes())
    source.add_member("weights.bin", "auxiliary", False, weights)
    sealed = _core.seal_package(path, source, [_core.PrivateKey.generate("ed25519")], None)
    assert sealed.content_key is not None  # there is a cipher
    return sealed.content_key


def _openings(
    path: str,
    cipher: str,
    key: _core.ContentKey,
    thread_counts: Sequence[int],
    seconds: float,
) -> list[Opening]:
    package = _core.Package.unverified(path)
    package.open_payload(key, 1)  # from now on the file lies in the page cache
    taken_s: dict[int, list[float]] = {threads: [] for threads in thread_counts}
    begin_s, count = time.perf_counter(), 0
    while count < LEAST_ROUNDS or time.perf_counter() < begin_s + seconds:
        for threads in thread_counts:
            start_s = time.perf_counter()
            payload = package.open_payload(key, threads)
            taken_s[threads].append(time.perf_counter() - start_s)
            del payload  # it is wiped, which is no part of opening it
        count += 1
    size_mb = package.payload_bytes / 1e6
    return [
        Opening(cipher, threads, count, size_mb / float(np.median(taken)))
        for threads, taken in taken_s.items()
    ]
