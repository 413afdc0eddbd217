"""What opening a sealed model of 100 MB costs: python benchmarks/opening.py [--record]

Verifying and decrypting out of a file, beside libcrypto's own SHA-256 and AES on as many bytes that
lie warm in memory, into memory that is new, as ours is, and into memory that was used before; then
from import to the first answer, in processes of their own, beside the plain file and beside
decrypting in Python for the engine's own API. Ends with 1 when a budget does not hold.
"""

import argparse
import ctypes
import ctypes.util
import mmap
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from cases import onnx_models, tflite_models
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from results import report

import edgeward as ew
from edgeward import _core
from edgeward.packages import key_wraps
from edgeward.packages.onnx_conversion import to_ort
from edgeward.trust import keys

Octets = npt.NDArray[np.uint8]

WIDTH = 2.65  # of a MobileNet of 100 MB
CHUNK_BYTES = 1 << 18
ROUNDS, TURNS = 31, 9
LEAST_SPEED = 0.9  # of libcrypto's
LEAST_GAIN = 1.7  # of two threads
MOST_START = 1.25  # times that of the plain file
MOST_EXTRA_MIB = 64


class Sealed(NamedTuple):
    plain: Path
    package: Path
    ciphertext: Path  # by `cryptography`, in one piece
    trust: Path


def main() -> int:
    parser = argparse.ArgumentParser(description="What opening a sealed model costs.")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return report("opening.py", findings(Path(folder)), is_recorded=args.record)


def findings(folder: Path) -> Iterator[tuple[str, str, bool]]:
    tflite = sealed_in(folder, "model.tflite", tflite_models.mobilenet(WIDTH))
    yield from opening(tflite)
    yield from verifying(tflite)
    yield from starts(tflite, TFLITE)
    ort = to_ort(onnx_models.mobilenet(WIDTH))
    yield from starts(sealed_in(folder, "model.ort", ort.head(ort.size_bytes)), ORT)


def sealed_in(folder: Path, name: str, model: bytes) -> Sealed:
    directory = folder / name.replace(".", "-")
    keys.make(directory, "ed25519", int(time.time()), 365)
    plain, package, ciphertext = directory / name, directory / "model.ewp", directory / "ciphertext"
    plain.write_bytes(model)
    ew.Package.seal(
        plain,
        package,
        ew.Release("model", "1", 1),
        [ew.PrivateKey.read(str(directory / "publisher.key"))],
        encrypt_to=[ew.PublicKey.read(str(directory / "device.pub"))],
    )
    ciphertext.write_bytes(AESGCM(bytes(32)).encrypt(bytes(12), model, None))
    return Sealed(plain, package, ciphertext, directory / "trust")


# --- verifying and decrypting --------------------------------------------------------------------


def openers(sealed: Sealed) -> tuple[float, dict[str, Callable[[], object]]]:
    """The payload's size in megabytes, and the ways to verify and decrypt it."""
    package = ew.Package.open(sealed.package, trust=sealed.trust)
    device = ew.PrivateKey.read(str(sealed.trust / "device.key"))
    wraps = key_wraps.read(package.core)
    key = _core.unwrap(wraps, package.core.package_id, device, int(time.time()))
    size_mb = package.core.payload_bytes / 1e6
    crypto = Libcrypto(sealed.plain.read_bytes())
    ways: dict[str, Callable[[], object]] = {
        "open, 1 thread": lambda: package.core.open_payload(key, 1),
        "open, 2 threads": lambda: package.core.open_payload(key, 2),
        "libcrypto, 1 thread": lambda: crypto.run(1, is_new=True),
        "libcrypto, 2 threads": lambda: crypto.run(2, is_new=True),
        "libcrypto into used memory, 1 thread": lambda: crypto.run(1),
    }
    return size_mb, ways


def opening(sealed: Sealed) -> Iterator[tuple[str, str, bool]]:
    size_mb, ways = openers(sealed)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name in random.sample(list(ways), len(ways)):
            start_ns = time.perf_counter_ns()
            kept = ways[name]()  # a payload is wiped when it is dropped: not part of opening it
            times[name].append((time.perf_counter_ns() - start_ns) / 1e9)
            del kept
    speeds = "; ".join(
        f"{name}: {size_mb / median(taken):.0f} MB/s" for name, taken in times.items()
    )
    yield f"verify and decrypt {size_mb:.1f} MB, AES-256-GCM", speeds, True
    pairs = (
        ("open, 1 thread", "libcrypto, 1 thread", LEAST_SPEED),
        ("open, 2 threads", "open, 1 thread", LEAST_GAIN),
        ("open, 2 threads", "libcrypto, 2 threads", 0.0),
        ("open, 1 thread", "libcrypto into used memory, 1 thread", 0.0),
    )
    for ours, other, least in pairs:
        ratios = [b / a for a, b in zip(times[ours], times[other], strict=True)]
        holds = median(ratios) >= least
        text = f"{median(ratios):.3f}, {min(ratios):.2f} to {max(ratios):.2f}"
        if least:
            text += f", limit {least:g} {'holds' if holds else 'does not hold'}"
        yield f"speed of {ours} / {other}", text, holds


class Libcrypto:
    """SHA-256 and AES-256-GCM of bytes in memory, chunk by chunk, by libcrypto alone."""

    def __init__(self, plaintext: bytes) -> None:
        self._lib = lib = ctypes.CDLL(ctypes.util.find_library("crypto"))
        for name in ("EVP_MD_CTX_new", "EVP_CIPHER_CTX_new", "EVP_sha256", "EVP_aes_256_gcm"):
            getattr(lib, name).restype = ctypes.c_void_p
        aead, self._chunks = AESGCM(bytes(32)), []
        self._stored = np.empty(len(plaintext), np.uint8)
        self._used = np.zeros(len(plaintext), np.uint8)
        for index, at in enumerate(range(0, len(plaintext), CHUNK_BYTES)):
            chunk = plaintext[at : at + CHUNK_BYTES]
            nonce = index.to_bytes(12, "big")
            sealed = aead.encrypt(nonce, chunk, None)
            self._stored[at : at + len(chunk)] = np.frombuffer(sealed[:-16], np.uint8)
            self._chunks.append((at, len(chunk), nonce, sealed[-16:]))
        if self.run(1).tobytes() != plaintext:
            raise SystemExit("libcrypto: expected the plaintext, got something else")

    def run(self, count: int, *, is_new: bool = False) -> Octets:
        """The plaintext, in huge pages that nothing has touched or in memory of the run before."""
        target = self._used
        if is_new:
            pages = mmap.mmap(-1, len(target), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            pages.madvise(mmap.MADV_HUGEPAGE)
            target = np.frombuffer(pages, np.uint8)
        threads = [
            threading.Thread(target=self._open, args=(self._chunks[part::count], target))
            for part in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return target

    def _open(self, chunks: list[tuple[int, int, bytes, bytes]], target: Octets) -> None:
        lib, pointer = self._lib, ctypes.c_void_p
        hashing, cipher = pointer(lib.EVP_MD_CTX_new()), pointer(lib.EVP_CIPHER_CTX_new())
        sha256, gcm = pointer(lib.EVP_sha256()), pointer(lib.EVP_aes_256_gcm())
        digest, length = ctypes.create_string_buffer(32), ctypes.c_int()
        stored, opened = self._stored.ctypes.data, target.ctypes.data
        ok = lib.EVP_DecryptInit_ex(cipher, gcm, None, bytes(32), None) == 1
        for at, size, nonce, tag in chunks:
            ok &= lib.EVP_DigestInit_ex(hashing, sha256, None) == 1
            ok &= lib.EVP_DigestUpdate(hashing, pointer(stored + at), ctypes.c_size_t(size)) == 1
            ok &= lib.EVP_DigestFinal_ex(hashing, digest, None) == 1
            ok &= lib.EVP_DecryptInit_ex(cipher, None, None, None, nonce) == 1
            target, source = pointer(opened + at), pointer(stored + at)
            ok &= lib.EVP_DecryptUpdate(cipher, target, ctypes.byref(length), source, size) == 1
            ok &= lib.EVP_CIPHER_CTX_ctrl(cipher, 0x11, 16, tag) == 1  # EVP_CTRL_AEAD_SET_TAG
            ok &= lib.EVP_DecryptFinal_ex(cipher, digest, ctypes.byref(length)) == 1
        lib.EVP_MD_CTX_free(hashing)
        lib.EVP_CIPHER_CTX_free(cipher)
        if not ok:
            raise SystemExit("libcrypto: a call failed")


# --- from import to the first answer -------------------------------------------------------------

EDGEWARD = """
import edgeward
model = {}
model.predict(numpy.zeros(model.inputs[0].shape, model.inputs[0].dtype))
"""
PLAIN = EDGEWARD.format("edgeward.load_unsigned(plain, threads=1)")
SEALED = EDGEWARD.format("edgeward.load(package, trust=trust, threads=1)")
DECRYPTED = """
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
with open(ciphertext, "rb") as file:
    content = AESGCM(bytes(32)).decrypt(bytes(12), file.read(), None)
"""
TFLITE = {
    "plain file, edgeward": PLAIN,
    "package, edgeward": SEALED,
    "decrypted with cryptography, ai_edge_litert Interpreter": DECRYPTED
    + """
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(model_content=content, num_threads=1)
model.allocate_tensors()
detail = model.get_input_details()[0]
model.set_tensor(detail["index"], numpy.zeros(detail["shape"], detail["dtype"]))
model.invoke()
""",
}
ORT = {
    "plain file, edgeward": PLAIN,
    "package, edgeward": SEALED,
    "decrypted with cryptography, onnxruntime": DECRYPTED
    + """
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
model = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
source = model.get_inputs()[0]
model.run(None, {source.name: numpy.zeros(source.shape, numpy.float32)})
""",
}
START = """
import os, sys, time
import numpy
plain, package, ciphertext, trust = sys.argv[1:]
os.environ["XDG_CACHE_HOME"] = trust  # where probes of engines are remembered
start_ns = time.perf_counter_ns()
{load}
taken_ms = (time.perf_counter_ns() - start_ns) / 1e6
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(taken_ms, int(status["VmHWM"].split()[0]) / 1024)
"""


VERIFY = "import edgeward as ew; ew.Package.open(package, trust=trust).verify()"


def verifying(sealed: Sealed) -> Iterator[tuple[str, str, bool]]:
    """What it takes to hold every byte and member against what was signed."""
    code = START.format(load=VERIFY)
    turns = [in_child(code, *map(str, sealed)) for _ in range(TURNS)]
    taken_ms, peak_mib = (median(column) for column in zip(*turns, strict=True))
    size_mb = sealed.package.stat().st_size / 1e6
    yield f"verify {size_mb:.1f} MB, encrypted", f"{taken_ms:.0f} ms, peak {peak_mib:.0f} MiB", True


def starts(sealed: Sealed, loaders: dict[str, str]) -> Iterator[tuple[str, str, bool]]:
    """Time and peak of resident memory; one turn more, whose numbers are not taken, warms up."""
    numbers: dict[str, list[tuple[float, ...]]] = {name: [] for name in loaders}
    for turn in range(TURNS + 1):
        for name in random.sample(list(loaders), len(loaders)):
            got = in_child(START.format(load=loaders[name]), *map(str, sealed))
            if turn:
                numbers[name].append(got)
    name = sealed.plain.name
    size_mb = sealed.plain.stat().st_size / 1e6
    for way, turns in numbers.items():
        taken_ms, peak_mib = (median(column) for column in zip(*turns, strict=True))
        what = f"import, load and first run of {name}, {size_mb:.1f} MB, {way}"
        yield what, f"{taken_ms:.0f} ms, peak {peak_mib:.0f} MiB", True
    plain, package, other = numbers.values()
    for way, base, most in (("the plain file", plain, MOST_START), ("decrypting", other, 1.0)):
        ratios = [a[0] / b[0] for a, b in zip(package, base, strict=True)]
        extra_mib = median(a[1] - b[1] for a, b in zip(package, base, strict=True))
        most_mib = MOST_EXTRA_MIB if base is plain else 0
        holds = median(ratios) <= most and extra_mib <= most_mib
        text = f"{median(ratios):.3f}, {min(ratios):.2f} to {max(ratios):.2f}, limit {most:g}; "
        text += f"peak {extra_mib:+.0f} MiB, limit {most_mib:+d}; "
        yield f"{name}: package / {way}", text + ("holds" if holds else "does not hold"), holds


def in_child(code: str, *arguments: str) -> tuple[float, ...]:
    command = [sys.executable, "-c", code, *arguments]
    child = subprocess.run(
        command, capture_output=True, text=True, cwd=tempfile.gettempdir(), env={**os.environ}
    )
    if child.returncode != 0:
        raise SystemExit(child.stderr)
    return tuple(float(word) for word in child.stdout.split())


if __name__ == "__main__":
    sys.exit(main())
