"""Tensors as the Edge Manager service has them on the wire, and the arrays that they are."""

import math
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from edgeward.agent.refusal import Refusal, invalid
from edgeward.agent.shared_segment import Part, copied
from edgeward.agent.worker_process import TensorFacts
from edgeward.proto import edge_manager_pb2 as messages

# By the number on the wire, what a model calls it: "uint8".
DTYPES = {number: name.lower() for name, number in messages.DataType.items()}
NUMBERS = {name: number for number, name in DTYPES.items()}
MOST_DIMENSIONS = 8

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


def reply(name: str, array: NDArray[Any]) -> Any:
    """An output with its shape, inline."""
    described = messages.TensorMetadata(
        name=encoded(name), data_type=NUMBERS[array.dtype.name], shape=array.shape
    )
    return messages.Tensor(tensor_metadata=described, byte_data=array.tobytes())


def inputs_by_name(
    tensors: Sequence[Any], specs: Specs, uid: int, most_bytes: int
) -> dict[str, NDArray[Any]]:
    """The arrays of a call for the inputs `specs`, by the model's names.

    Where the tensors are named as the inputs are, they go by name; where none is, by their order.
    Raises Refusal INVALID_ARGUMENT that names the tensor, what was expected and what it got.
    """
    if len(tensors) != len(specs):
        raise invalid("tensors", f"{len(specs)} ({_names(specs)})", f"{len(tensors)}")
    return {
        spec.name: input_array(tensor, spec, uid, most_bytes)
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


def input_array(tensor: Any, spec: TensorFacts, uid: int, most_bytes: int) -> NDArray[Any]:
    """The array of one tensor for the input `spec`."""
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
    return array(tensor, noun, spec.dtype, shape, uid, most_bytes)


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


def array(
    tensor: Any, noun: str, dtype: str, shape: Sequence[int], uid: int, most_bytes: int
) -> NDArray[Any]:
    """The array of a Tensor's bytes, inline or in a segment of user `uid`; not writable inline."""
    if len(shape) > MOST_DIMENSIONS or any(size < 0 for size in shape):
        raise invalid(noun, f"at most {MOST_DIMENSIONS} sizes from 0 on", _written(shape))
    size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    content: Any
    if tensor.WhichOneof("data") == "shared_memory_handle":
        part = Part(tensor.shared_memory_handle, uid, noun)
        content = copied(part, size_bytes, most_bytes).view(dtype)
    else:
        if len(tensor.byte_data) != size_bytes:
            expected = f"{size_bytes} bytes for {dtype} {_written(shape)}"
            raise invalid(noun, expected, f"{len(tensor.byte_data)}")
        content = np.frombuffer(tensor.byte_data, dtype)
    if dtype == "bool" and content.view("uint8").max(initial=0) > 1:
        raise invalid(noun, "bytes 0 and 1 for bool", "another")
    result: NDArray[Any] = content.reshape(shape)
    return result


def _names(specs: Specs) -> str:
    return _listed(f'"{spec.name}"' for spec in specs)


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"


def _written(shape: Sequence[int] | None) -> str:
    return "of any rank" if shape is None else str(list(shape))
