"""What a client gives to CaptureData, checked and copied: a Captured is nobody else's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from edgeward import _core
from edgeward.agent.loaded_models import LoadedModel
from edgeward.agent.refusal import Refusal, invalid
from edgeward.agent.served_model import whole
from edgeward.agent.shared_segment import Part, copied, size_of
from edgeward.agent.wire_tensor import DTYPES, SegmentTensor, source
from edgeward.proto import edge_manager_pb2 as messages

MOST_ID_CHARACTERS = 512
LEAST_S, MOST_S = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
NANOS = 1_000_000_000
PAYLOAD_BYTES = 512  # of a payload in memory, beside its content

Claim = Callable[[int], None]  # asks for room for a copy of so many bytes; raises Refusal


@dataclass(frozen=True)
class Payload:
    """One tensor or blob of a capture."""

    kind: str  # the folder of its raw file: "input-tensors"
    name: str
    content_type: str  # "Tensor[float32; 1, 4]", or what the client calls a blob
    encoding: str  # of `content`: NONE, CSV, JSON or BASE64
    content: bytes


@dataclass(frozen=True)
class Captured:
    """One CaptureData call."""

    capture_id: str
    model_name: str
    model_version: str
    time_s: int  # when the inference was, Unix seconds
    payloads: tuple[Payload, ...]

    @property
    def size_bytes(self) -> int:
        return sum(PAYLOAD_BYTES + len(payload.content) for payload in self.payloads)


def captured(
    request: Any, loaded: LoadedModel, uid: int, most_bytes: int, claim: Claim
) -> Captured:
    """A copy of all that the request names, for a client of user `uid`. Raises Refusal.

    `claim` is asked before anything of a segment is copied.
    """
    time_s = _time_s(request)
    tensors = (
        *_tensors(request.input_tensors, "input-tensors", uid, most_bytes, claim),
        *_tensors(request.output_tensors, "output-tensors", uid, most_bytes, claim),
    )
    blobs = (
        *_blobs(request.inputs, "auxiliary-inputs", uid, most_bytes, claim),
        *_blobs(request.outputs, "auxiliary-outputs", uid, most_bytes, claim),
    )
    return Captured(
        request.capture_id, loaded.model.name, loaded.model.version, time_s, (*tensors, *blobs)
    )


def require_id(capture_id: str) -> None:
    """Raises Refusal INVALID_ARGUMENT."""
    if not 1 <= len(capture_id) <= MOST_ID_CHARACTERS:
        expected = f"1 to {MOST_ID_CHARACTERS} characters"
        raise invalid("capture_id", expected, f"{len(capture_id)}")


def _time_s(request: Any) -> int:
    now_s = time.time()
    if not request.HasField("inference_timestamp"):
        return int(now_s)
    stamp = request.inference_timestamp
    if not 0 <= stamp.nanos < NANOS:
        raise invalid("inference_timestamp.nanos", f"0 to {NANOS - 1}", f"{stamp.nanos}")
    if not LEAST_S <= stamp.seconds <= MOST_S:
        raise invalid("inference_timestamp.seconds", f"{LEAST_S} to {MOST_S}", f"{stamp.seconds}")
    # A clock that stands before this program was written is not right about the future either.
    is_clock_set = now_s * NANOS >= _core.LEAST_WALL_NS
    if is_clock_set and stamp.seconds + stamp.nanos / NANOS > now_s:
        text = f"inference_timestamp: expected at most {now_s:.0f} s, got {stamp.seconds}"
        raise Refusal(grpc.StatusCode.OUT_OF_RANGE, text)
    return int(stamp.seconds)


def _tensors(tensors: Any, kind: str, uid: int, most_bytes: int, claim: Claim) -> Iterator[Payload]:
    for index, tensor in enumerate(tensors):
        described = tensor.tensor_metadata
        name = described.name.decode("utf-8", "replace")
        noun = f'{kind.removesuffix("s").replace("-", " ")} {index} "{name}"'
        if not tensor.HasField("tensor_metadata"):
            raise invalid(noun, "tensor_metadata, which says type and shape", "none")
        dtype = DTYPES.get(described.data_type)
        if dtype is None:
            raise invalid(noun, "a data type of the service", f"{described.data_type}")
        tensor_source = source(tensor, noun, dtype, described.shape, uid, most_bytes)
        if isinstance(tensor_source, SegmentTensor):
            claim(tensor_source.size_bytes)
        content = whole(tensor_source).tobytes()
        shape = "".join(f", {size}" for size in described.shape)[2:]
        yield Payload(kind, name, f"Tensor[{dtype}; {shape}]", "NONE", content)


def _blobs(blobs: Any, kind: str, uid: int, most_bytes: int, claim: Claim) -> Iterator[Payload]:
    for index, blob in enumerate(blobs):
        noun = f'{kind.removesuffix("s").replace("-", " ")} {index} "{blob.name}"'
        encoding = messages.Encoding.Name(blob.encoding) if blob.encoding in ENCODINGS else None
        if encoding is None:
            raise invalid(noun, "an encoding of the service", f"{blob.encoding}")
        if blob.WhichOneof("data") == "shared_memory_handle":
            part = Part(blob.shared_memory_handle, uid, noun)
            size_bytes = size_of(part, None, most_bytes)
            claim(size_bytes)
            content = copied(part, size_bytes).tobytes()
        else:
            content = blob.byte_data
        yield Payload(kind, blob.name, blob.name, encoding, content)


ENCODINGS = frozenset(messages.Encoding.values())
