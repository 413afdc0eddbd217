"""The mutation campaign: damaged model files, each loaded and run once in a child that may die.

`python tests/campaigns/mutations.py --engine litert --count 100000 --seed 1` prints how many the
structural check refused, the engine refused, ran, killed the process or hung it. With
`--without-check` the same files go straight to the engine's own Python API; with `--shared` each
runs three times, its packed weights in a file from the second time on. A mutation is named by
(engine, seed, index) and made again by `mutation()`; nothing else is random.

Seeds are the models of `tests/models` and, where they lie beside the checkout, the real ones of
`../shared/models`. Children run batches and write every verdict into shared memory, so that a
death costs one fork and one file.
"""

from __future__ import annotations

import argparse
import enum
import importlib
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from models import custom_models, onnx_models, stateful_models, tflite_models, unwritten_models
from models.value_shapes import ALL as VALUE_SHAPES

REAL_MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "litert": (".tflite",),
    "litert-interpreter": (".tflite",),
    "tflite": (".tflite",),
    "onnx": (".onnx", ".ort"),
}
NETWORK_WIDTH = 0.25
# Of the small models and of the networks; in a small one most changes hit its frame.
SHARES = (1, 3)
# A mutation mostly hits what is parsed: the first bytes, and what writers put around the weights.
FIRST_BYTES = 64
FRAME_BYTES = 12 * 1024
TELLING_WORDS = (
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 24, 1 << 30, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 1,
)  # fmt: skip
TIME_LIMIT_S = 20
ADDRESS_SPACE_BYTES = 8 << 30
BATCH = 2000
PACKED_FROM_BYTES = 1 << 20  # of a file: smaller ones share nothing


class Verdict(enum.IntEnum):
    """What became of one damaged file."""

    UNTRIED = 0
    REFUSED_BY_CHECK = 1
    REFUSED_BY_ENGINE = 2
    RAN = 3
    DEATH = 4
    HANG = 5
    DIFFERENT = 6  # it answered otherwise with packed weights that are shared


@dataclass(frozen=True)
class Seed:
    """A valid model file that mutations start from."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Outcome:
    """Verdicts by index, and the signal of each death."""

    verdicts: list[Verdict]
    signals: dict[int, int]

    def counts(self) -> dict[str, int]:
        """How many of each verdict, every verdict present."""
        counts = Counter(self.verdicts)
        return {verdict.name.lower(): counts[verdict] for verdict in Verdict if verdict}


@cache
def seeds(engine: str) -> tuple[tuple[Seed, ...], ...]:
    """Every model at hand that `engine` reads: the small ones, then the networks."""
    if engine == "onnx":
        makers = onnx_models.ALL | onnx_models.SIZES | {"frames": onnx_models.frames}
        small = [Seed(f"{name}.onnx", make()) for name, make in makers.items()]
        networks = [Seed("mobilenet.onnx", onnx_models.mobilenet(NETWORK_WIDTH))]
        small += [Seed(f"{seed.name}>ort", onnx_models.to_ort(seed.data)) for seed in small]
        for name, make in onnx_models.OPTIMIZED_LATER.items():
            data = onnx_models.to_ort_optimized_later(make())
            small.append(Seed(f"{name}.with_runtime_opt.ort", data))
        networks += [Seed(f"{seed.name}>ort", onnx_models.to_ort(seed.data)) for seed in networks]
    else:
        makers = tflite_models.ALL | tflite_models.ALIKE | stateful_models.ALL | custom_models.ALL
        makers |= {"frames": tflite_models.frames, **unwritten_models.of(engine)}
        small = [Seed(f"{name}.tflite", make()) for name, make in makers.items()]
        if engine == "litert-interpreter":
            small = [Seed(f"{name}.tflite", case.content()) for name, case in VALUE_SHAPES.items()]
            small.append(Seed("strings.tflite", tflite_models.strings()))
        networks = [
            Seed("mobilenet.tflite", tflite_models.mobilenet(NETWORK_WIDTH)),
            Seed("mobilenet_int8.tflite", tflite_models.mobilenet_int8(NETWORK_WIDTH)),
        ]
    real = sorted(path for path in REAL_MODELS.glob("*") if path.suffix in SUFFIXES[engine])
    networks += [Seed(path.name, path.read_bytes()) for path in real]
    return tuple(small), tuple(networks)


def mutation(engine: str, seed: int, index: int) -> tuple[str, bytes]:
    """Damaged file number `index`, with the name of the model it was."""
    chance = random.Random(f"{engine}/{seed}/{index}")
    candidates = chance.choices(seeds(engine), SHARES)[0]
    start = chance.choice(candidates)
    kind = chance.random()
    if kind < 0.03:
        return start.name, start.data[: chance.randrange(len(start.data))]
    if kind < 0.06:
        return start.name, spliced(chance, start.data, chance.choice(candidates).data)
    data = bytearray(start.data)
    for _ in range(chance.randint(1, 4)):
        change(chance, data)
    return start.name, bytes(data)


def spliced(chance: random.Random, target: bytes, source: bytes) -> bytes:
    """`target` with a stretch of `source` laid over it at the same offset."""
    begin = chance.randrange(min(len(target), len(source))) & ~3
    end = min(len(target), len(source), begin + chance.randint(4, 256))
    return target[:begin] + source[begin:end] + target[end:]


def change(chance: random.Random, data: bytearray) -> None:
    """One change of 1 to 4 bytes: a flipped bit, a random byte, a telling word."""
    where = chance.random()
    if where < 0.15:
        at = chance.randrange(min(FIRST_BYTES, len(data)))
    elif where < 0.6:
        at = chance.randrange(max(0, len(data) - FRAME_BYTES), len(data))
    elif where < 0.9:
        at = chance.randrange(min(FRAME_BYTES, len(data)))
    else:
        at = chance.randrange(len(data))
    how = chance.random()
    if how < 0.4:
        data[at] ^= 1 << chance.randrange(8)
    elif how < 0.75:
        data[at] = chance.randrange(256)
    else:
        at = min(at & ~3, max(0, len(data) - 4))
        word = struct.pack("<I", chance.choice(TELLING_WORDS))
        data[at : at + 4] = word[: len(data) - at]


def run_litert(file: bytes) -> Verdict:
    """One load and run of every signature through LiteRT's own Python API."""
    from ai_edge_litert.compiled_model import CompiledModel

    try:
        model = CompiledModel.from_buffer(file)
        for number, key in enumerate(model.get_signature_list()):
            inputs = model.create_input_buffers(number)
            specs = model.get_input_tensor_details(key).values()
            for buffer, spec in zip(inputs, specs, strict=True):
                buffer.write(np.zeros(spec["shape"], spec["dtype"]))
            model.run_by_index(number, inputs, model.create_output_buffers(number))
    except Exception:
        return Verdict.REFUSED_BY_ENGINE
    return Verdict.RAN


def run_onnx(file: bytes) -> Verdict:
    """One load and run through onnxruntime's own Python API."""
    import onnxruntime

    kinds = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(bool)": "bool"}
    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        feed: dict[str, Any] = {}
        for spec in session.get_inputs():
            shape = [dim if isinstance(dim, int) and dim >= 0 else 1 for dim in spec.shape]
            kind = kinds.get(spec.type, spec.type.removeprefix("tensor(").removesuffix(")"))
            feed[spec.name] = np.zeros(shape, kind)
        session.run(None, feed)
    except Exception:
        return Verdict.REFUSED_BY_ENGINE
    return Verdict.RAN


def run_interpreter(package: str, file: bytes) -> Verdict:
    """One load and run through the Interpreter of ai-edge-litert or tflite-runtime."""
    module = importlib.import_module(f"{package}.interpreter")
    try:
        interpreter = module.Interpreter(model_content=file, num_threads=1)
        interpreter.allocate_tensors()
        for spec in interpreter.get_input_details():
            interpreter.set_tensor(spec["index"], np.zeros(spec["shape"], spec["dtype"]))
        interpreter.invoke()
    except Exception:
        return Verdict.REFUSED_BY_ENGINE
    return Verdict.RAN


WITHOUT_CHECK: Mapping[str, Callable[[bytes], Verdict]] = {
    "litert": run_litert,
    "litert-interpreter": partial(run_interpreter, "ai_edge_litert"),
    "onnx": run_onnx,
    "tflite": partial(run_interpreter, "tflite_runtime"),
}


def answers(engine: str, model: Any) -> list[bytes]:
    """Every signature run, reset and run; what it answered."""
    outputs = []
    for key in model.signatures:
        session = model.session(key)
        for size in (1, 0) if engine == "onnx" else (1,):
            session.resize(
                {
                    spec.name: tuple(size if dim < 0 else dim for dim in spec.shape or ())
                    for spec in model.signatures[key].inputs
                    if spec.shape is None or -1 in spec.shape
                }
            )
            for view in session.inputs.values():
                view[...] = np.zeros((), view.dtype) if view.dtype != object else "some text"
            session.run()
            session.reset()
            session.run()
            outputs += [
                array.tobytes() for array in session.outputs.values() if array.dtype != object
            ]
        session.close()
    return outputs


def run_checked(engine: str, file: bytes) -> Verdict:
    """Through edgeward, which checks the file first."""
    import edgeward as ew

    try:
        with ew.load_unsigned(file, engine=engine, threads=1) as model:
            answers(engine, model)
    except (ew.MalformedModel, ew.UnsupportedModel):
        return Verdict.REFUSED_BY_CHECK
    except ew.EdgewardError:
        return Verdict.REFUSED_BY_ENGINE
    return Verdict.RAN


def run_shared(directory: Path, file: bytes) -> Verdict:
    """On LiteRT: without a file of packed weights, with one that is made, and found."""
    import edgeward as ew

    path = directory / "model.tflite"
    path.write_bytes(file + bytes(max(0, PACKED_FROM_BYTES - len(file))))
    results = []
    try:
        for shared in (False, directory / "weights", directory / "weights"):
            with ew.load_unsigned(path, engine="litert", threads=1, shared=shared) as model:
                results.append(answers("litert", model))
    except (ew.MalformedModel, ew.UnsupportedModel):
        return Verdict.REFUSED_BY_CHECK if not results else Verdict.DIFFERENT
    except ew.EdgewardError:
        return Verdict.REFUSED_BY_ENGINE if not results else Verdict.DIFFERENT
    is_same = all(result == results[0] for result in results)
    return Verdict.RAN if is_same else Verdict.DIFFERENT


def campaign(
    engine: str,
    seed: int,
    indices: range,
    run: Callable[[bytes], Verdict],
    progress: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Tries every mutation of `indices` with `run`, in children one after the other."""
    run(seeds(engine)[0][0].data)  # the engine is loaded once, and its children inherit it
    record = mmap.mmap(-1, len(indices) + 1)
    signals: dict[int, int] = {}
    done = 0
    while done < len(indices):
        stop = min(done + BATCH, len(indices))
        child = os.fork()
        if child == 0:
            run_batch(engine, seed, indices, range(done, stop), run, record)
        status = os.waitpid(child, 0)[1]
        while done < stop and record[done] != Verdict.UNTRIED:
            done += 1
        if done < stop:
            if not os.WIFSIGNALED(status):
                raise RuntimeError(f"child of mutation {indices[done]} ended with status {status}")
            number = os.WTERMSIG(status)
            record[done] = Verdict.HANG if number == signal.SIGALRM else Verdict.DEATH
            signals[indices[done]] = number
            done += 1
        progress(done)
    return Outcome([Verdict(record[position]) for position in range(len(indices))], signals)


def run_batch(
    engine: str,
    seed: int,
    indices: range,
    positions: range,
    run: Callable[[bytes], Verdict],
    record: mmap.mmap,
) -> None:
    """What a child does: never returns. Past the time limit the kernel ends it with SIGALRM."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        for position in positions:
            file = mutation(engine, seed, indices[position])[1]
            signal.alarm(TIME_LIMIT_S)
            verdict = run(file)
            signal.alarm(0)
            record[position] = verdict
    except BaseException:
        os._exit(1)
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=sorted(SUFFIXES), required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="index of the first mutation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-check", action="store_true")
    parser.add_argument("--shared", action="store_true", help="packed weights in a file")
    choice = parser.parse_args()
    engine: str = choice.engine
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        run = partial(run_checked, engine)
        if choice.without_check:
            run = WITHOUT_CHECK[engine]
        elif choice.shared:
            run = partial(run_shared, Path(directory))
        return report_of(choice, run)


def report_of(choice: argparse.Namespace, run: Callable[[bytes], Verdict]) -> int:
    engine: str = choice.engine
    started = time.monotonic()

    def progress(done: int) -> None:
        print(f"\r{done}/{choice.count}", end="", file=sys.stderr, flush=True)

    indices = range(choice.first, choice.first + choice.count)
    outcome = campaign(engine, choice.seed, indices, run, progress)
    killers = [
        {"index": index, "signal": number, "model": mutation(engine, choice.seed, index)[0]}
        for index, number in outcome.signals.items()
    ]
    print(file=sys.stderr)
    report = {
        "engine": engine,
        "check": not choice.without_check,
        "shared": choice.shared,
        "seed": choice.seed,
        "first": choice.first,
        "count": choice.count,
        "seconds": round(time.monotonic() - started),
        **outcome.counts(),
        "killers": killers,
    }
    print(json.dumps(report, indent=1))
    return 1 if killers or report["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
