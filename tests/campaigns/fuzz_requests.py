"""The campaign of requests: damaged calls of the Edge Manager agent's service, in this process.

`python tests/campaigns/fuzz_requests.py COUNT [SEED]` prints how often each status was answered,
and each request whose answer was INTERNAL or UNKNOWN, that took longer than MOST_CALL_S, or after
which the process had grown by more than MOST_GROWTH_BYTES. A request passes everything that a
client's does behind gRPC: the handler, the parser, the service, models, segments and captures.

Mutations know the messages: one to five fields are set to values that tell, with a valid request
around them; a part is damaged as bytes. A request is named by (seed, index), and made again by
`mutation()`; nothing else is random.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np
from agent.segments_of_clients import posix, system_v
from google.protobuf.message import Message
from models import onnx_models, tflite_models

from edgeward.agent.calls import Calls
from edgeward.agent.capture_intake import Buffering, CaptureIntake
from edgeward.agent.capture_layout import Layout
from edgeward.agent.edge_service import SERVICE, EdgeService
from edgeward.agent.loaded_models import LoadedModels
from edgeward.agent.model_file import ModelOpener
from edgeward.proto import edge_manager_pb2 as messages

MOST_CALL_S = 20.0
MOST_GROWTH_BYTES = 256 << 20
CHANGES = (1, 1, 1, 2, 2, 3, 5)  # of a request
BYTES_SHARE = 0.2  # of requests that are damaged as bytes
DEFECTS = ("INTERNAL", "UNKNOWN")
MODELS = {
    "fixed": ("add.tflite", lambda: tflite_models.add((4,))),
    "rows": ("rows.onnx", onnx_models.dynamic_batch),
    "any": ("any.onnx", lambda: onnx_models.negated(None)),
    "two": ("two.onnx", onnx_models.sum_product),
    "empty": ("empty.onnx", lambda: onnx_models.identity("bool")),
}
NUMBERS = (
    -1, 0, 1, 2, 3, 4, 5, 8, 16, 63, 64, 65, 100, 104, 105, 127, 255, 4096, 65535, 65536,
    (1 << 31) - 1, -(1 << 31), 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, -(1 << 63),
    1 << 63, (1 << 64) - 1, (1 << 64) - 16, 999_999_999, 253_402_300_799, 253_402_300_800,
    -62_135_596_800,
)  # fmt: skip
TEXTS = (
    "", "a", "a", "x", "y", "fixed", "rows", "any", "two", "-", "a" * 63, "a" * 64, "b" * 70_000,
    "..", "../..", "/", ".", "/dev/zero", "/dev/tty", "/proc/self/mem", "fifo", "\0", "a\0b", "\n",
    "\N{SNOWMAN}", "\N{PILE OF POO}" * 40, "%s%n{}", "\u202e", "six 6", "/" * 5000, "add.tflite",
    "missing/file",
)  # fmt: skip
SHAPES = (
    [], [0], [1], [4], [1, 4], [-1], [2, 4], [0, 4], [1 << 30], [1 << 30] * 8, [0, *[1 << 30] * 7],
    [1 << 30, 1 << 30, 0], [1] * 8, [1] * 9, [1] * 100_000, [2, 2], [65536, 65536], [-(1 << 31)],
    [2, 3],
)  # fmt: skip


class Device:
    """The service over models in this process, and a client that calls it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        os.chdir(directory)
        os.mkfifo("fifo")
        opener = ModelOpener(None, is_unsigned_allowed=True, run_time_s=None)
        self.models = LoadedModels(str(directory), opener)
        for alias, (name, make) in MODELS.items():
            Path(name).write_bytes(make())
            self.models.load(alias, name)
        layout = Layout(str(directory / "captures"), "", "fleet", "device", 64)
        buffering = Buffering(10_000, 64 << 20, 100, 0.01)
        intake = CaptureIntake(layout, buffering, str(directory))
        stack.callback(intake.close)
        handler = EdgeService(self.models, intake).handler(Calls(8))
        content = np.arange(64, dtype=np.uint8).tobytes()
        self.segments = (
            stack.enter_context(system_v(content)),
            stack.enter_context(posix(content)),
        )
        self._methods = {
            name: handler.service(Details(f"/{SERVICE}/{name}")).stream_unary for name in VALID
        }

    def answer(self, method: str, content: bytes) -> str:
        """The name of the status."""
        context = Context()
        try:
            reply = self._methods[method](iter([content]), context)
        except Aborted as aborted:
            return str(aborted.args[0].name)
        finally:
            context.end()
        assert isinstance(reply, bytes)
        return "OK"


class Details:
    def __init__(self, method: str) -> None:
        self.method = method


class Aborted(Exception):  # noqa: N818 - as grpc ends a call
    pass


class Context:
    """What a handler asks of grpc.ServicerContext."""

    def __init__(self) -> None:
        self._callbacks: list[Any] = []

    def peer(self) -> str:
        return f"unix:/proc/self/fd/9/{os.geteuid()}.1.1"

    def add_callback(self, callback: Any) -> bool:
        self._callbacks.append(callback)
        return True

    def end(self) -> None:
        for callback in self._callbacks:
            callback()

    def cancel(self) -> None:
        raise AssertionError("nothing stalls here")

    def abort(self, status: grpc.StatusCode, text: str) -> None:
        assert len(text.encode()) < 6000, "a client takes no longer header"
        raise Aborted(status)


def tensor(data: np.ndarray[Any, Any], name: str, data_type: int) -> Any:
    described = messages.TensorMetadata(name=name.encode(), data_type=data_type, shape=data.shape)
    return messages.Tensor(tensor_metadata=described, byte_data=data.tobytes())


def predict(alias: str, *shapes: tuple[int, ...]) -> Any:
    tensors = [tensor(np.ones(shape, np.float32), "ab"[i], 5) for i, shape in enumerate(shapes)]
    return messages.PredictRequest(name=alias, tensors=tensors)


def capture() -> Any:
    x = tensor(np.ones((2, 20), np.float32), "x", 5)
    blob = messages.AuxiliaryData(name="text", encoding=1, byte_data=b"{}")
    stamp = messages.Timestamp(seconds=1_700_000_000, nanos=5)
    return messages.CaptureDataRequest(
        model_name="fixed", capture_id="a", inference_timestamp=stamp, input_tensors=[x, x],
        output_tensors=[x], inputs=[blob], outputs=[blob],
    )  # fmt: skip


VALID: dict[str, list[Any]] = {
    "Predict": [
        predict("fixed", (4,)), predict("rows", (3, 4)), predict("any", (2, 2)),
        predict("two", (4,), (4,)),
    ],
    "LoadModel": [
        messages.LoadModelRequest(url="add.tflite", name="fresh"),
        messages.LoadModelRequest(url="rows.onnx", handle="fresh"),
    ],
    "UnLoadModel": [messages.UnLoadModelRequest(name="missing")],
    "ListModels": [messages.ListModelsRequest()],
    "DescribeModel": [messages.DescribeModelRequest(name="two")],
    "CaptureData": [capture()],
    "GetCaptureDataStatus": [messages.GetCaptureDataStatusRequest(capture_id="a")],
}  # fmt: skip
WEIGHTS = {"Predict": 8, "CaptureData": 8, "LoadModel": 3}


def mutation(seed: int, index: int, segments: tuple[int, ...]) -> tuple[str, bytes]:
    """The call's name and its request."""
    chance = random.Random((seed << 40) + index)
    names = list(VALID)
    (method,) = chance.choices(names, [WEIGHTS.get(name, 1) for name in names])
    request = type(VALID[method][0])()
    request.CopyFrom(chance.choice(VALID[method]))
    if method == "CaptureData" and chance.random() < 0.8:
        request.capture_id = f"{seed}-{index}"
    for _ in range(chance.choice(CHANGES)):
        change(request, chance, segments)
    content = request.SerializeToString()
    if chance.random() < BYTES_SHARE:
        content = damaged(content, chance)
    return method, content


def change(message: Message, chance: random.Random, segments: tuple[int, ...]) -> None:
    """Sets a field of the message, or of one that it holds."""
    if isinstance(message, messages.SharedMemoryHandle) and chance.random() < 0.5:
        message.segment_id = chance.choice(segments)
        return
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = chance.choice(fields)
    value = getattr(message, field.name)
    if field.name == "shape":
        del value[:]
        value.extend(chance.choice(SHAPES))
    elif field.is_repeated:
        if value and chance.random() < 0.7:
            change(chance.choice(value), chance, segments)
        elif value and chance.random() < 0.3:
            del value[chance.randrange(len(value))]
        else:
            for _ in range(chance.choice((1, 1, 2, 1100))):
                value.add()
    elif field.message_type:
        if chance.random() < 0.2:
            message.ClearField(field.name)
        else:
            value.SetInParent()
            change(value, chance, segments)
    else:
        setattr(message, field.name, scalar(field, chance))


def scalar(field: Any, chance: random.Random) -> Any:
    if field.type == field.TYPE_STRING:
        return chance.choice(TEXTS)
    if field.type == field.TYPE_BYTES:
        if field.name == "name":
            return chance.choice((b"x", b"a", b"b", b"\xff\xfe", b"", b"n" * 50_000))
        return bytes(chance.choice((0, 1, 3, 4, 16, 17, 32, 64, 100_000)))
    low, high = {
        field.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
        field.TYPE_ENUM: (-(1 << 31), (1 << 31) - 1),
        field.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
        field.TYPE_UINT64: (0, (1 << 64) - 1),
    }[field.type]
    if chance.random() < 0.3:
        return chance.randint(low, high)
    return chance.choice([number for number in NUMBERS if low <= number <= high])


def damaged(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice(CHANGES)):
        position = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[position : position + chance.choice((1, 1, 2, 50))] = b""
        elif kind == 1:
            data[position:position] = chance.randbytes(chance.choice((1, 2, 8)))
        elif kind == 2 and position < len(data):
            data[position] ^= 1 << chance.randrange(8)
        else:
            data[position:position] = data[: chance.randrange(len(data) + 1)]
    return bytes(data)


@contextmanager
def device() -> Iterator[Device]:
    with tempfile.TemporaryDirectory(prefix="requests") as folder, ExitStack() as stack:
        stack.callback(os.chdir, os.getcwd())
        yield Device(Path(folder), stack)


def campaign(target: Device, seed: int, count: int) -> tuple[Counter[str], list[str]]:
    """How often each call ended with each status, and the findings."""
    signal.signal(signal.SIGALRM, late)
    seen: Counter[str] = Counter()
    findings = []
    for index in range(count):
        method, content = mutation(seed, index, target.segments)
        start_s, before = time.monotonic(), peak_bytes()
        signal.alarm(int(MOST_CALL_S))
        status = target.answer(method, content)
        signal.alarm(0)
        taken_s, grown = time.monotonic() - start_s, peak_bytes() - before
        seen[f"{method} {status}"] += 1
        if status in DEFECTS or taken_s > MOST_CALL_S or grown > MOST_GROWTH_BYTES:
            findings.append(
                f"{seed}, {index}: {method}: {status}, {taken_s:.1f} s, {grown >> 20} MiB"
            )
            print(findings[-1], flush=True)
        for alias in [loaded.load.alias for loaded in target.models.all()]:
            if alias not in MODELS:
                target.models.unload(alias)
    return seen, findings


def late(*_: object) -> None:
    raise TimeoutError(f"expected an answer in {MOST_CALL_S} s")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    with device() as target:
        before = peak_bytes()
        seen, findings = campaign(target, seed, count)
        print(f"{count} requests of seed {seed}: {len(findings)} findings; "
              f"grown by {peak_bytes() - before >> 20} MiB")  # fmt: skip
    for name, times in sorted(seen.items()):
        print(f"  {times:9} {name}")


if __name__ == "__main__":
    main()
