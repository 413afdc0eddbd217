"""Tensors as the Edge Manager service has them on the wire, and the arrays that they are."""

import math
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from edgeward.agent.refusal import Refusal, invalid
from edgeward.agent.shared_segment import Part, copy_to, size_of
from edgeward.agent.worker_process import TensorFacts
from edgeward.proto import edge_manager_pb2 as messages

# By the number on the wire, what a model calls it: "uint8".
DTYPES = {number: name.lower() for name, number in messages.DataType.items()}
NUMBERS = {name: number for number, name in DTYPES.items()}
MOST_DIMENSIONS = 8
# The tags of PredictResponse.tensors, Tensor.tensor_metadata and Tensor.byte_data.
TENSORS, TENSOR_METADATA, BYTE_DATA = b"\x0a", b"\x0a", b"\x22"

Specs = Sequence[TensorFacts]


def metadata(spec: TensorFacts) -> Any:
    """What the service says of a model's input or output; of an unknown shape it says none.

    Raises Refusal FAILED_PRECONDITION for a dtype that has no number.
    """
    if spec.dtype not in NUMBERS:
        text = f'tensor "{spec.name}": expected {_listed(NUMBERS)}, got {spec.dtype}'
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, text)
    shape = spec.shape or ()
    return messages.TensorMetadata(
        name=encoded(spec.name), data_type=NUMBERS[spec.dtype], shape=shape
    )


def encoded(name: str) -> bytes:
    """A tensor's name in UTF-8, also where the model's own is not valid text."""
    return name.encode("utf-8", "replace")


def response(names: Sequence[str], outputs: Sequence[NDArray[Any]]) -> bytes:
    """A PredictResponse of outputs with their shapes, inline; each is copied once.

    The two fields that hold an output are written here: messages would copy it twice more.
    """
    parts: list[Any] = []
    for name, output in zip(names, outputs, strict=True):
        described = messages.TensorMetadata(
            name=encoded(name), data_type=NUMBERS[output.dtype.name], shape=output.shape
        ).SerializeToString()
        head = TENSOR_METADATA + varint(len(described)) + described
        head += BYTE_DATA + varint(output.nbytes)
        content = np.ascontiguousarray(output).reshape(-1).view(np.uint8).data
        parts += [TENSORS + varint(len(head) + output.nbytes), head, content]
    return b"".join(parts)


def varint(number: int) -> bytes:
    """A length as protobuf writes it."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


class SegmentTensor:
    """A tensor that is still in a client's segment, which kept the rules when this was made.

    What is read of it is a copy, which nobody else can change.
    """

    def __init__(self, part: Part, dtype: str, shape: Sequence[int], most_bytes: int) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._part = part
        self.size_bytes = size_of(part, math.prod(self.shape) * self.dtype.itemsize, most_bytes)

    def copy_to(self, room: NDArray[Any]) -> None:
        """Fills an array of this shape and dtype. Raises Refusal."""
        copy_to(self._part, room.reshape(-1).view(np.uint8))
        _require_bools(room, self._part.noun)


Source = NDArray[Any] | SegmentTensor


def inputs_by_name(
    tensors: Sequence[Any], specs: Specs, uid: int, most_bytes: int
) -> dict[str, Source]:
    """The tensors of a call for the inputs `specs`, by the model's names.

    Where the tensors are named as the inputs are, they go by name; where none is, by their order.
    Raises Refusal INVALID_ARGUMENT that names the tensor, what was expected and what it got.
    """
    if len(tensors) != len(specs):
        raise invalid("tensors", f"{len(specs)} ({_names(specs)})", f"{len(tensors)}")
    return {
        spec.name: _input(tensor, spec, uid, most_bytes)
        for tensor, spec in zip(_ordered(tensors, specs), specs, strict=True)
    }


def _ordered(tensors: Sequence[Any], specs: Specs) -> Sequence[Any]:
    """The tensors in the order of the model's inputs."""
    by_name = {bytes(tensor.tensor_metadata.name): tensor for tensor in tensors}
    names = [encoded(spec.name) for spec in specs]
    if by_name.keys() == set(names):
        return [by_name[name] for name in names]
    strange = [name for name in by_name if name not in names]
    if len(strange) == len(by_name):  # copied from elsewhere, or not set: the order counts
        return tensors
    if not strange:
        raise invalid("tensors", f"each of {_names(specs)} once", "one of them twice")
    got = strange[0].decode("utf-8", "replace")
    raise invalid(f'tensor "{got}"', f"a name of {_names(specs)}", "another beside one of them")


def _input(tensor: Any, spec: TensorFacts, uid: int, most_bytes: int) -> Source:
    """One tensor for the input `spec`."""
    noun = f'tensor "{spec.name}"'
    if tensor.HasField("tensor_metadata"):
        described = tensor.tensor_metadata
        if (got := DTYPES.get(described.data_type)) != spec.dtype:
            raise invalid(noun, spec.dtype, got or f"data type {described.data_type}")
        shape = tuple(described.shape)
        if not shape and spec.shape:
            shape = _fixed_shape(tensor, spec)
        elif not fits(shape, spec.shape):
            raise invalid(noun, f"shape {_written(spec.shape)}", _written(shape))
    else:
        shape = _fixed_shape(tensor, spec)
    return source(tensor, noun, spec.dtype, shape, uid, most_bytes)


def fits(shape: Sequence[int], wanted: Sequence[int] | None) -> bool:
    if wanted is None:
        return all(size >= 0 for size in shape)
    return len(shape) == len(wanted) and all(
        size == want or (want == -1 and size >= 0) for size, want in zip(shape, wanted, strict=True)
    )


def _fixed_shape(tensor: Any, spec: TensorFacts) -> tuple[int, ...]:
    """The shape of a tensor that does not say it: the model's, its one open size by the bytes."""
    noun = f'tensor "{spec.name}"'
    if spec.shape is None or spec.shape.count(-1) > 1:
        raise invalid(noun, "a shape, of which the model leaves more than one size open", "none")
    if -1 not in spec.shape:
        return tuple(spec.shape)
    step = math.prod(size for size in spec.shape if size >= 0) * np.dtype(spec.dtype).itemsize
    size_bytes = len(tensor.byte_data) or tensor.shared_memory_handle.size
    if not step or not size_bytes or size_bytes % step:
        raise invalid(noun, f"a multiple of {step} bytes, or a shape", f"{size_bytes} bytes")
    return tuple(size_bytes // step if size == -1 else size for size in spec.shape)


def source(
    tensor: Any, noun: str, dtype: str, shape: Sequence[int], uid: int, most_bytes: int
) -> Source:
    """A Tensor's content: an array that is not writable, or what is in a segment of user `uid`."""
    if len(shape) > MOST_DIMENSIONS or any(size < 0 for size in shape):
        raise invalid(noun, f"at most {MOST_DIMENSIONS} sizes from 0 on", _written(shape))
    if tensor.WhichOneof("data") == "shared_memory_handle":
        part = Part(tensor.shared_memory_handle, uid, noun)
        return SegmentTensor(part, dtype, shape, most_bytes)
    return from_bytes(tensor.byte_data, noun, dtype, shape)


def from_bytes(content: bytes, noun: str, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
    """The array of these bytes, as they are. Raises Refusal."""
    size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if len(content) != size_bytes:
        expected = f"{size_bytes} bytes for {dtype} {_written(shape)}"
        raise invalid(noun, expected, f"{len(content)}")
    array: NDArray[Any] = np.frombuffer(content, dtype).reshape(shape)
    _require_bools(array, noun)
    return array


def _require_bools(array: NDArray[Any], noun: str) -> None:
    if array.dtype == bool and array.view("uint8").max(initial=0) > 1:
        raise invalid(noun, "bytes 0 and 1 for bool", "another")


def _names(specs: Specs) -> str:
    return _listed(f'"{spec.name}"' for spec in specs)


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"


def _written(shape: Sequence[int] | None) -> str:
    return "of any rank" if shape is None else str(list(shape))
