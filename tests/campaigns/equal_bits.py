"""Whether Edgeward gives the bits that LiteRT's own Interpreter gives: file by file, in children.

`python tests/campaigns/equal_bits.py` runs the generated models of one operator, and
`python tests/campaigns/equal_bits.py FILE FOLDER ...` every .tflite in them. Each file runs STEPS
times on the same random inputs, in the Interpreter and then in a session, which continues a state
as the Interpreter does; `predict` must give what the first step gave. What is not equal must stand
in EXCEPTIONS with its reason; the status is 1 when something does not, or stands there in vain.
A child that dies or hangs costs one line.
"""

from __future__ import annotations

import argparse
import enum
import json
import mmap
import os
import signal
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
from models import single_operators

STEPS = 3
TIME_LIMIT_S = 60
MESSAGE_BYTES = 4096

Array = npt.NDArray[Any]

OTHER_TYPE = (
    "the kernel neither sets the output's type nor compares it: it computes elements of another "
    "size than the tensor has, so the file is refused as malformed"
)

# A generated model, or a pattern of names of them: why it is not equal.
EXCEPTIONS: Mapping[str, str] = {
    "MUL/int8/declared_float32": OTHER_TYPE,
    "MUL/uint8/declared_float32": OTHER_TYPE,
    "MUL/float32/declared_int32": OTHER_TYPE,
    "SOFTMAX/float32/declared_int8": OTHER_TYPE,
    "RESHAPE/float32/declared_int32": OTHER_TYPE,
    "MEAN/float32/declared_int32": OTHER_TYPE,
    "*/float32/declared_shape": "what follows an operator is checked by the shapes in the file: "
    "one that the kernel does not give is refused as malformed",
    "DEPTHWISE_CONV_2D/float32_by_int8": "the kernel reads a scale for each channel, the weights "
    "have one for all, and what lies behind it decides: the file is refused",
}


class Verdict(enum.StrEnum):
    """What became of one file. The Interpreter's own failures say nothing about Edgeward."""

    EQUAL = "equal"
    DIFFERENT = "different"
    REFUSED = "refused"
    FAILED = "failed"
    DIED = "died"
    HUNG = "hung"
    REFUSED_BY_INTERPRETER = "refused by the Interpreter"
    DIED_IN_INTERPRETER = "died in the Interpreter"


NOT_RUN = (Verdict.REFUSED_BY_INTERPRETER, Verdict.DIED_IN_INTERPRETER)


@dataclass(frozen=True)
class Comparison:
    """One file and its verdict; `message` is the refusal, or what differs."""

    name: str
    verdict: Verdict
    message: str = ""


def random_array(chance: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Values of any size that kernels take; strings are short."""
    kind = np.dtype(dtype)
    if kind.kind in "OSU":
        words = [b"", b"a", b"two words", "naïve".encode()]
        drawn = np.asarray(chance.integers(0, len(words), shape))
        return np.array([words[index] for index in drawn.flat], object).reshape(shape)
    if kind.kind == "b":
        return np.asarray(chance.integers(0, 2, shape)).astype(bool)
    if kind.kind in "iu":
        low, high = (0, 256) if kind == np.uint8 else (-128, 128) if kind == np.int8 else (0, 5)
        return np.asarray(chance.integers(low, high, shape)).astype(kind)
    return np.asarray(chance.uniform(-2, 2, shape)).astype(kind)


class InterpreterRun:
    """One signature of a file in the Interpreter, by index of its tensors."""

    def __init__(self, file: bytes, key: str | None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_content=file, num_threads=1)
        self.runner = self.interpreter.get_signature_runner(key) if key is not None else None
        if self.runner is None:
            self.interpreter.allocate_tensors()
            self.inputs = self.interpreter.get_input_details()
            self.output_count = len(self.interpreter.get_output_details())
        else:
            details = self.runner.get_input_details()
            self.inputs = [{**detail, "key": name} for name, detail in details.items()]
            self.output_count = len(self.runner.get_output_details())

    def step(self, arrays: list[Array]) -> dict[str, Array]:
        """Outputs by name of a signature, or by position where there are no names."""
        if self.runner is not None:
            names = (detail["key"] for detail in self.inputs)
            outputs = self.runner(**dict(zip(names, arrays, strict=True)))
            return {name: np.array(value) for name, value in outputs.items()}
        for detail, array in zip(self.inputs, arrays, strict=True):
            self.interpreter.set_tensor(detail["index"], array)
        self.interpreter.invoke()
        details = self.interpreter.get_output_details()
        return {
            str(position): self.interpreter.get_tensor(detail["index"])
            for position, detail in enumerate(details)
        }


def signature_keys(file: bytes) -> list[str | None]:
    from ai_edge_litert.interpreter import Interpreter

    return list(Interpreter(model_content=file, num_threads=1).get_signature_list()) or [None]


def same_bits(got: Array, wanted: Array) -> bool:
    if wanted.dtype.kind in "OSU":
        return got.shape == wanted.shape and [as_bytes(item) for item in got.flat] == [
            as_bytes(item) for item in wanted.flat
        ]
    return got.dtype == wanted.dtype and got.shape == wanted.shape and bits(got) == bits(wanted)


def as_bytes(item: object) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def bits(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def difference(got: Mapping[str, Any], wanted: Mapping[str, Array], what: str) -> str:
    """The first output that is not equal; "" when all are."""
    for name, expected in wanted.items():
        array = np.asarray(got[name])
        if not same_bits(array, expected):
            return (
                f"{what}: output {name}: expected {expected.dtype} {list(expected.shape)} "
                f"{expected.ravel()[:4]}, got {array.dtype} {list(array.shape)} {array.ravel()[:4]}"
            )
    return ""


def compare(file: bytes, begin: Callable[[], None]) -> tuple[Verdict, str]:
    """Runs both sides in this process; `begin` is called when it is Edgeward's turn."""
    chance = np.random.default_rng(zlib.crc32(file))
    expected: list[tuple[str | None, list[list[Array]], list[dict[str, Array]], list[str]]] = []
    try:
        for key in signature_keys(file):
            run = InterpreterRun(file, key)
            arrays = [
                [random_array(chance, tuple(spec["shape"]), spec["dtype"]) for spec in run.inputs]
                for _ in range(STEPS)
            ]
            names = [spec.get("key", "") for spec in run.inputs]
            expected.append((key, arrays, [run.step(step) for step in arrays], names))
    except Exception as error:
        return Verdict.REFUSED_BY_INTERPRETER, str(error)
    begin()
    return compare_sessions(file, expected)


def compare_sessions(file: bytes, expected: Iterable[Any]) -> tuple[Verdict, str]:
    import edgeward as ew

    try:
        model = ew.load_unsigned(file, threads=1)
        for key, arrays, outputs, names in expected:
            signature = next(iter(model.signatures)) if key is None else key
            session = model.session(signature)
            specs = model.signatures[signature]
            inputs = [spec.name for spec in specs.inputs] if key is None else names
            # Where there are no signatures, both sides keep the file's order.
            labels = {
                spec.name: str(position) if key is None else spec.name
                for position, spec in enumerate(specs.outputs)
            }
            session.resize({n: a.shape for n, a in zip(inputs, arrays[0], strict=True)})
            for step, (feed, wanted) in enumerate(zip(arrays, outputs, strict=True)):
                for name, array in zip(inputs, feed, strict=True):
                    session.inputs[name][...] = array
                session.run()
                got = {label: session.outputs[name] for name, label in labels.items()}
                if text := difference(got, wanted, f"step {step}"):
                    return Verdict.DIFFERENT, text
            if signature == next(iter(model.signatures)):
                answer = model.predict(dict(zip(inputs, arrays[0], strict=True)))
                values = answer if isinstance(answer, dict) else {next(iter(labels)): answer}
                got = {label: values[name] for name, label in labels.items()}
                if text := difference(got, outputs[0], "predict"):
                    return Verdict.DIFFERENT, text
    except (ew.UnsupportedModel, ew.MalformedModel) as error:
        return Verdict.REFUSED, f"{type(error).__name__}: {error}"
    except Exception as error:
        return Verdict.FAILED, f"{type(error).__name__}: {error}"
    return Verdict.EQUAL, ""


def compare_in_child(name: str, file: bytes) -> Comparison:
    """The comparison of one file; a child that dies is a verdict of its own."""
    shared = mmap.mmap(-1, MESSAGE_BYTES)
    child = os.fork()
    if child == 0:
        run_child(file, shared)
    status = os.waitpid(child, 0)[1]
    stage, _, text = shared[:].rstrip(b"\0").decode(errors="replace").partition("\n")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        text = signal.Signals(number).name
        if stage != "edgeward":
            return Comparison(name, Verdict.DIED_IN_INTERPRETER, text)
        return Comparison(name, Verdict.HUNG if number == signal.SIGALRM else Verdict.DIED, text)
    return Comparison(name, Verdict(stage), text)


def run_child(file: bytes, shared: mmap.mmap) -> None:
    """What a child does: never returns. Past the time limit the kernel ends it with SIGALRM."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(TIME_LIMIT_S)

    def tell(text: str) -> None:
        shared[:] = text.encode()[:MESSAGE_BYTES].ljust(MESSAGE_BYTES, b"\0")

    try:
        verdict, message = compare(file, lambda: tell("edgeward\n"))
        tell(f"{verdict}\n{message}")
    except BaseException as error:
        tell(f"{Verdict.FAILED}\n{error!r}")
    os._exit(0)


def preload() -> None:
    """Imports both sides once; children inherit them."""
    import ai_edge_litert.interpreter  # noqa: F401

    import edgeward  # noqa: F401


def files(paths: Iterable[Path]) -> dict[str, Callable[[], bytes]]:
    """By its name, what reads each file."""
    return {
        str(file): file.read_bytes
        for path in paths
        for file in (sorted(path.rglob("*.tflite")) if path.is_dir() else [path])
    }


def reason(name: str) -> str:
    """Why a generated model is excepted; "" when it is not."""
    return next((why for pattern, why in EXCEPTIONS.items() if fnmatch(name, pattern)), "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders; none: generated")
    parser.add_argument("--only", default="*", help="a pattern of names")
    parser.add_argument("--every", type=int, default=1, help="of these, one in so many")
    parser.add_argument("--json", action="store_true")
    choice = parser.parse_args()
    makers = files(choice.paths) if choice.paths else single_operators.ALL
    preload()
    comparisons = []
    chosen = [name for name in makers if fnmatch(name, choice.only)][:: choice.every]
    for done, name in enumerate(chosen):
        print(f"\r{done}/{len(chosen)}", end="", file=sys.stderr, flush=True)
        comparison = compare_in_child(name, makers[name]())
        comparisons.append(comparison)
        if comparison.verdict != Verdict.EQUAL and not choice.json:
            print(f"\r{name}: {comparison.verdict}: {comparison.message}", flush=True)
    print(f"\r{len(chosen)}/{len(chosen)}", file=sys.stderr)
    counts = Counter(comparison.verdict for comparison in comparisons)
    unexpected = [
        comparison.name
        for comparison in comparisons
        if comparison.verdict not in NOT_RUN
        and (comparison.verdict == Verdict.EQUAL) == bool(reason(comparison.name))
    ]
    report = {
        "files": len(comparisons),
        "run_by_interpreter": len(comparisons) - sum(counts[verdict] for verdict in NOT_RUN),
        "verdicts": {str(verdict): counts[verdict] for verdict in Verdict},
        "unexpected": unexpected,
    }
    if choice.json:
        report["comparisons"] = [asdict(comparison) for comparison in comparisons]
    print(json.dumps(report, indent=1))
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
