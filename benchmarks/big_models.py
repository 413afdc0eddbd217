"""What a big model costs: python benchmarks/big_models.py [--megabytes 739] [--record]

Time and the peak of resident memory (VmHWM) of sealing, verifying, signing anew, inspecting and
loading a model of four dense layers, each in a process of its own, beside the engines' own APIs.
Then loads of the .tflite in turns with LiteRT's Interpreter, of packages that have run before.
Needs a folder with room for seven such files: --folder. Ends with 1 when a budget does not hold.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import onnx
from cases import onnx_models, tflite_models
from results import report

from edgeward import PrivateKey, PublicKey
from edgeward.trust import keys

LAYERS = 4
MEGABYTES = 739
STREAM_LIMIT_MIB = 128  # of what needs no engine
TURNS = 7
MOST_LEFT = 1.2  # of the file, after a load


class Way(NamedTuple):
    """A statement over `path`, `folder`, `trust`, `signer` and `device`, run by itself."""

    name: str
    files: tuple[str, ...]
    code: str
    limit_mib: int | None = None


SEAL = "ew.Package.seal(path, folder / 'written.ewp', ew.Release('big', '1', 1), [signer]{options})"
RUN = "model.predict(numpy.zeros(model.inputs[0].shape, numpy.float32))"
INTERPRETER = """
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(model_path=str(path), num_threads=2)
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], numpy.zeros({shape}, numpy.float32))
model.invoke()
"""
ORT = """
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
model = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
model.run(None, {{"x": numpy.zeros({shape}, numpy.float32)}})
"""
TFLITE, ONNX, EXTERNAL = "model.tflite", "model.onnx", "external.onnx"
PLAIN, ENCRYPTED = "plain.ewp", "encrypted.ewp"
WAYS = (
    Way("seal", (TFLITE,), SEAL.format(options=""), STREAM_LIMIT_MIB),
    Way(
        "seal, encrypted",
        (TFLITE,),
        SEAL.format(options=", encrypt_to=[device]"),
        STREAM_LIMIT_MIB,
    ),
    Way("seal as .ort", (ONNX, EXTERNAL), SEAL.format(options="")),
    Way("seal as it is", (ONNX, EXTERNAL), SEAL.format(options=", converts=False")),
    Way(
        "verify",
        (PLAIN, ENCRYPTED),
        "ew.Package.open(path, trust=trust).verify()",
        STREAM_LIMIT_MIB,
    ),
    Way(
        "resign",
        (PLAIN, ENCRYPTED),
        "ew.Package.unverified(path).resign(folder / 'written.ewp', [signer])",
        STREAM_LIMIT_MIB,
    ),
    Way(
        "inspect",
        (PLAIN, ENCRYPTED),
        "cli.main(['inspect', str(path)])",
        STREAM_LIMIT_MIB,
    ),
    Way("inspect", (TFLITE, ONNX, EXTERNAL), "cli.main(['inspect', str(path)])"),
    Way(
        "load and first run",
        (PLAIN, ENCRYPTED),
        f"model = ew.load(path, trust=trust, threads=2); {RUN}",
    ),
    Way(
        "load and first run",
        (TFLITE, ONNX, EXTERNAL),
        f"model = ew.load_unsigned(path, threads=2); {RUN}",
    ),
    Way("Interpreter", (TFLITE,), INTERPRETER),
    Way("InferenceSession", (ONNX, EXTERNAL), ORT),
)
# By file: how long a load may take, in times of the Interpreter's; None where nothing is promised.
LOADS = {TFLITE: 1.15, PLAIN: None, ENCRYPTED: 1.6}
# numpy and the core are there before the clock runs; the peak has all of the process.
CHILD = """
import contextlib, io, os, pathlib, sys, time
import numpy
import edgeward as ew
from edgeward import cli
path, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]).parent
trust = folder / "keys" / "trust"
signer = ew.PrivateKey.read(str(folder / "keys" / "publisher.key"))
device = ew.PublicKey.read(str(folder / "keys" / "device.pub"))
start_ns = time.perf_counter_ns()
with contextlib.redirect_stdout(io.StringIO()):
{code}
taken_s = (time.perf_counter_ns() - start_ns) / 1e9
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
mib = [int(status[field].split()[0]) / 1024 for field in ("VmHWM", "VmRSS")]
print(taken_s, *mib)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="What a big model costs.")
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--folder", type=Path, help="where there is room (default: a new one)")
    parser.add_argument("--only", default="", metavar="WORD", help="ways whose names have it")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measured = findings(Path(folder), args.megabytes, args.only)
        return report("big_models.py", measured, is_recorded=args.record)


def findings(folder: Path, megabytes: float, word: str) -> Iterator[tuple[str, str, bool]]:
    width = int((megabytes * 1e6 / 4 / LAYERS) ** 0.5) // 16 * 16
    make_files(folder, width)
    for way in WAYS:
        for name in way.files:
            what = f"{way.name}, {name}, {width**2 * 4 * LAYERS / 1e6:.0f} MB"
            if word not in what:
                continue
            code = way.code.format(shape=(1, width)).strip()
            taken_s, peak_mib, left_mib = in_child(code, folder / name, folder)
            holds = way.limit_mib is None or peak_mib <= way.limit_mib
            text = f"{taken_s:.2f} s, peak {peak_mib:.0f} MiB, {left_mib:.0f} MiB afterwards"
            if way.limit_mib is not None:
                text += f", limit {way.limit_mib} MiB {'holds' if holds else 'does not hold'}"
            yield what, text, holds
    if word in "in turns":
        yield from loads(folder, width)


def loads(folder: Path, width: int) -> Iterator[tuple[str, str, bool]]:
    """Loads with a first run in turns with the Interpreter's; one turn more warms up."""
    ways = {
        name: way.code.format(shape=(1, width)).strip()
        for way in WAYS
        for name in way.files
        if way.name == "load and first run" and name in LOADS
    }
    interpreter = INTERPRETER.format(shape=(1, width)).strip()
    turns: dict[str, list[tuple[float, ...]]] = {name: [] for name in ("", *ways)}
    for turn in range(TURNS + 1):
        for name, code in {"": interpreter, **ways}.items():
            measured = in_child(code, folder / (name or TFLITE), folder)
            if turn > 0:
                turns[name].append(measured)
    peak_mib = max(peak for _, peak, _ in turns[""])
    file_mib = (folder / TFLITE).stat().st_size / 2**20
    for name in ways:
        pairs = zip(turns[name], turns[""], strict=True)
        ratio = median(own[0] / other[0] for own, other in pairs)
        own_peak_mib, left_mib = (max(turn[i] for turn in turns[name]) for i in (1, 2))
        most = LOADS[name]
        holds = (
            (most is None or ratio <= most)
            and own_peak_mib <= peak_mib
            and left_mib <= MOST_LEFT * file_mib
        )
        text = (
            f"{ratio:.2f} of the Interpreter's time, limit {most or 'none'}; peak "
            f"{own_peak_mib:.0f} MiB, limit its {peak_mib:.0f}; {left_mib:.0f} MiB afterwards, "
            f"limit {MOST_LEFT * file_mib:.0f}: {'holds' if holds else 'does not hold'}"
        )
        yield f"load and first run, {name}, {file_mib * 1.048576:.0f} MB, in turns", text, holds


def make_files(folder: Path, width: int) -> None:
    """The models, the keys, and packages of the .tflite, made in a process that ends."""
    keys.make(folder / "keys", "ed25519", int(time.time()), 365)
    if os.fork() == 0:
        (folder / TFLITE).write_bytes(tflite_models.dense(width, LAYERS))
        network = onnx_models.dense(width, LAYERS)
        onnx.save_model(network, str(folder / ONNX))
        onnx.save_model(
            network, str(folder / EXTERNAL), save_as_external_data=True, location="data"
        )
        os._exit(0)
    if os.wait()[1] != 0:
        raise SystemExit("the models could not be made")
    signer = PrivateKey.read(str(folder / "keys" / "publisher.key"))
    device = PublicKey.read(str(folder / "keys" / "device.pub"))
    for name, devices in ((PLAIN, []), (ENCRYPTED, [device])):
        seal(folder / TFLITE, folder / name, signer, devices)


def seal(path: Path, output: Path, signer: PrivateKey, devices: list[PublicKey]) -> None:
    from edgeward import Package, Release

    Package.seal(path, output, Release("big", "1", 1), [signer], encrypt_to=devices)


def in_child(code: str, path: Path, folder: Path) -> tuple[float, ...]:
    body = CHILD.replace("{code}", "\n".join(f"    {line}" for line in code.splitlines()))
    command = [sys.executable, "-c", body, str(path)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    child = subprocess.run(
        command, capture_output=True, text=True, cwd=tempfile.gettempdir(), env=environment
    )
    if child.returncode != 0:
        raise SystemExit(child.stderr)
    return tuple(float(word) for word in child.stdout.split())


if __name__ == "__main__":
    sys.exit(main())
