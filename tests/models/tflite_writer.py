"""Writes .tflite files: a graph of named tensors and operators in, flatbuffer bytes out.

Operators name their tensors, so a graph reads like the model it describes. The same graph gives the
same bytes on every run. Nothing is checked that engines check: a broken graph can be written too.
Slot numbers are those of the public TensorFlow Lite schema, version 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from flatbuffers.number_types import (
    BoolFlags,
    Float32Flags,
    Int8Flags,
    Int32Flags,
    Uint8Flags,
    Uint32Flags,
    Uint64Flags,
)

SCHEMA_VERSION = 3
BUFFER_ALIGNMENT_BYTES = 16

TENSOR_TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "bool": 6,
    "int16": 7, "complex64": 8, "int8": 9, "float64": 10, "complex128": 11, "uint64": 12,
    "resource": 13,
    "uint32": 15, "uint16": 16, "int4": 17, "bfloat16": 18, "int2": 19, "uint4": 20,
    "float8_e4m3fn": 21, "float8_e5m2": 22,
}  # fmt: skip

SAME, VALID = 0, 1  # Padding
NONE, RELU, RELU6 = 0, 1, 3  # ActivationFunctionType


@dataclass(frozen=True)
class Builtin:
    """An operator of the schema: its code, and its options as (name, type) in slot order."""

    code: int
    options_type: int = 0
    options: tuple[tuple[str, Any], ...] = ()


_ACTIVATION = ("activation", Int8Flags)
_WINDOW = (("padding", Int8Flags), ("stride_w", Int32Flags), ("stride_h", Int32Flags))
_FILTER = (("filter_w", Int32Flags), ("filter_h", Int32Flags))
_CLIPS = (("cell_clip", Float32Flags), ("proj_clip", Float32Flags))
_SLICE_MASKS = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")

BUILTINS = {
    "ADD": Builtin(0, 11, (_ACTIVATION,)),
    "CONCATENATION": Builtin(2, 10, (("axis", Int32Flags), _ACTIVATION)),
    "CONV_2D": Builtin(3, 1, (*_WINDOW, _ACTIVATION)),
    "DEPTHWISE_CONV_2D": Builtin(4, 2, (*_WINDOW, ("depth_multiplier", Int32Flags), _ACTIVATION)),
    "DEQUANTIZE": Builtin(6, 26),
    "FULLY_CONNECTED": Builtin(9, 8, (_ACTIVATION,)),
    "LSTM": Builtin(16, 14, (_ACTIVATION, *_CLIPS, ("kernel_type", Int8Flags))),
    "MAX_POOL_2D": Builtin(17, 5, (*_WINDOW, *_FILTER, _ACTIVATION)),
    "MUL": Builtin(18, 21, (_ACTIVATION,)),
    "RESHAPE": Builtin(22, 17),
    "SOFTMAX": Builtin(25, 9, (("beta", Float32Flags),)),
    "RNN": Builtin(24, 7, (_ACTIVATION,)),
    "SVDF": Builtin(27, 6, (("rank", Int32Flags), _ACTIVATION)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": Builtin(35, 31, (("time_major", BoolFlags), _ACTIVATION)),
    "GATHER": Builtin(36, 23, (("axis", Int32Flags),)),
    "SUB": Builtin(41, 28, (_ACTIVATION,)),
    "MEAN": Builtin(40, 27, (("keep_dims", BoolFlags),)),
    "STRIDED_SLICE": Builtin(45, 32, tuple((name, Int32Flags) for name in _SLICE_MASKS)),
    "TOPK_V2": Builtin(48),
    "CAST": Builtin(53, 37, (("from", Int8Flags), ("to", Int8Flags))),
    "NEG": Builtin(59, 42),
    "SLICE": Builtin(65),
    "TILE": Builtin(69),
    "SUM": Builtin(74, 27, (("keep_dims", BoolFlags),)),
    "SHAPE": Builtin(77, 55, (("type", Int8Flags),)),
    "REDUCE_PROD": Builtin(81, 27, (("keep_dims", BoolFlags),)),
    "PACK": Builtin(83, 59, (("count", Int32Flags), ("axis", Int32Flags))),
    "FILL": Builtin(94),
    "RANGE": Builtin(96),
    "UNIQUE": Builtin(103, 80, (("index_type", Int8Flags),)),
    "GATHER_ND": Builtin(107),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Builtin(
        44, 71, (_ACTIVATION, *_CLIPS, ("time_major", BoolFlags))
    ),
    "BIDIRECTIONAL_SEQUENCE_RNN": Builtin(
        46, 70, (("time_major", BoolFlags), _ACTIVATION, ("merge_outputs", BoolFlags))
    ),
    "BIDIRECTIONAL_SEQUENCE_LSTM": Builtin(
        52, 69, (_ACTIVATION, *_CLIPS, ("merge_outputs", BoolFlags), ("time_major", BoolFlags))
    ),
    "CALL_ONCE": Builtin(129, 103, (("subgraph", Int32Flags),)),
    "VAR_HANDLE": Builtin(142, 111, (("container", str), ("name", str))),
    "READ_VARIABLE": Builtin(143, 112),
    "ASSIGN_VARIABLE": Builtin(144, 113),
    "WHERE": Builtin(109, 85),
    "RANK": Builtin(110),
    "IF": Builtin(118, 92, (("then", Int32Flags), ("otherwise", Int32Flags))),
    "NON_MAX_SUPPRESSION_V4": Builtin(120),
    "BROADCAST_TO": Builtin(130),
    "DENSIFY": Builtin(124, 99),
}

CUSTOM = Builtin(32)


@dataclass(frozen=True)
class Quantization:
    """real = scale * (stored - zero_point), one pair for the tensor or one per index of `axis`."""

    scales: Sequence[float]
    zero_points: Sequence[int]
    axis: int = 0


@dataclass(frozen=True)
class Sparsity:
    """Which elements a constant's data holds, by level in the order of traversal.

    A level is a dense size, or (segments, indices) for one that lists its indices.
    """

    traversal_order: Sequence[int]
    block_map: Sequence[int]
    levels: Sequence[int | tuple[Sequence[int], Sequence[int]]]


@dataclass(frozen=True)
class Tensor:
    """A tensor with `data` is a constant; `shape_signature` has -1 where a dimension is free."""

    name: str
    dtype: str
    shape: Sequence[int]
    data: npt.NDArray[Any] | bytes | None = None
    shape_signature: Sequence[int] | None = None
    quantization: Quantization | None = None
    is_variable: bool = False
    sparsity: Sparsity | None = None
    label: str | None = ""
    """What the file calls it: "" for `name`, None for nothing."""


def constant(name: str, data: npt.NDArray[Any], quantization: Quantization | None = None) -> Tensor:
    """A constant whose dtype and shape are those of its numpy array."""
    return Tensor(name, data.dtype.name, data.shape, data, quantization=quantization)


@dataclass(frozen=True)
class Op:
    """An operator over tensors named in its subgraph; "" is an optional input left out.

    One that is not in BUILTINS is a custom operator, with `custom_options`.
    """

    builtin: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    custom_options: bytes = b""
    intermediates: Sequence[str] = ()
    mutates: Sequence[bool] = ()  # for each input: whether a run writes to it


@dataclass(frozen=True)
class Subgraph:
    tensors: Sequence[Tensor]
    ops: Sequence[Op]
    inputs: Sequence[str]
    outputs: Sequence[str]
    name: str = "main"

    def index(self, tensor_name: str) -> int:
        """The place of a tensor in this subgraph; -1 for "", as the schema has it."""
        names = [tensor.name for tensor in self.tensors]
        return names.index(tensor_name) if tensor_name else -1


@dataclass(frozen=True)
class Signature:
    """Maps names that callers use to tensors of one subgraph, in the order given here."""

    key: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    subgraph_index: int = 0


@dataclass(frozen=True)
class Place:
    """Where something already written lies, counted from the end of the file."""

    offset: int


@dataclass
class Outside:
    """Buffers behind the flatbuffer, each at a multiple of 16; `end` is where that ends."""

    end: int = 0
    data: bytes = b""

    def add(self, content: bytes) -> int:
        """Where `content` lies in the file."""
        while (self.end + len(self.data)) % BUFFER_ALIGNMENT_BYTES:
            self.data += b"\0"
        self.data += content
        return self.end + len(self.data) - len(content)


def model(subgraphs: Sequence[Subgraph], signatures: Sequence[Signature] = ()) -> bytes:
    """The file. Buffer 0 is empty by rule of the format; constants follow in graph order."""
    return _flatbuffer(subgraphs, signatures, None)


def model_with_outer_buffers(
    subgraphs: Sequence[Subgraph], signatures: Sequence[Signature] = ()
) -> bytes:
    """The same with every constant behind the flatbuffer, as converters write large ones."""
    # The offsets are numbers of a fixed width, so the first writing has the length of the second.
    outside = Outside(end=len(_flatbuffer(subgraphs, signatures, Outside())))
    flatbuffer = _flatbuffer(subgraphs, signatures, outside)
    return flatbuffer + outside.data


def _flatbuffer(
    subgraphs: Sequence[Subgraph], signatures: Sequence[Signature], outside: Outside | None
) -> bytes:
    builder = flatbuffers.Builder(1024)
    used = sorted({op.builtin for graph in subgraphs for op in graph.ops})
    buffers = [_table(builder, {})]
    graphs = [_subgraph(builder, graph, used, buffers, outside) for graph in subgraphs]
    codes = [_operator_code(builder, name) for name in used]
    keys = [_signature(builder, signature, subgraphs) for signature in signatures]
    fields = {
        0: (Uint32Flags, SCHEMA_VERSION),
        1: _places(builder, codes),
        2: _places(builder, graphs),
        3: Place(builder.CreateString("edgeward tests")),
        4: _places(builder, buffers),
    }
    if keys:
        fields[7] = _places(builder, keys)
    builder.Finish(_table(builder, fields).offset, file_identifier=b"TFL3")
    return bytes(builder.Output())


def _subgraph(
    builder: Any,
    graph: Subgraph,
    used: Sequence[str],
    buffers: list[Place],
    outside: Outside | None,
) -> Place:
    tensors = [_tensor(builder, tensor, buffers, outside) for tensor in graph.tensors]
    ops = [_operator(builder, op, graph, used) for op in graph.ops]
    return _table(
        builder,
        {
            0: _places(builder, tensors),
            1: _ints(builder, [graph.index(name) for name in graph.inputs]),
            2: _ints(builder, [graph.index(name) for name in graph.outputs]),
            3: _places(builder, ops),
            4: Place(builder.CreateString(graph.name)),
        },
    )


def _tensor(builder: Any, tensor: Tensor, buffers: list[Place], outside: Outside | None) -> Place:
    buffer_index = 0
    if tensor.data is not None:
        buffer_index = len(buffers)
        buffers.append(_buffer(builder, tensor.data, outside))
    fields = {
        0: _ints(builder, tensor.shape),
        1: (Int8Flags, TENSOR_TYPES[tensor.dtype]),
        2: (Uint32Flags, buffer_index),
        5: (BoolFlags, tensor.is_variable),
    }
    if tensor.label is not None:
        fields[3] = Place(builder.CreateString(tensor.label or tensor.name))
    if tensor.quantization is not None:
        fields[4] = _quantization(builder, tensor.quantization)
    if tensor.sparsity is not None:
        fields[6] = _sparsity(builder, tensor.sparsity)
    if tensor.shape_signature is not None:
        fields[7] = _ints(builder, tensor.shape_signature)
    return _table(builder, fields)


def _buffer(builder: Any, data: npt.NDArray[Any] | bytes, outside: Outside | None) -> Place:
    content = data if isinstance(data, bytes) else data.tobytes()
    if outside is not None:
        offset = outside.add(content)
        return _table(builder, {1: (Uint64Flags, offset), 2: (Uint64Flags, len(content))})
    builder.StartVector(1, len(content), BUFFER_ALIGNMENT_BYTES)
    builder.head -= len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
    return _table(builder, {0: Place(builder.EndVector())})


def _quantization(builder: Any, quantization: Quantization) -> Place:
    scales = Place(builder.CreateNumpyVector(np.array(quantization.scales, "<f4")))
    zero_points = Place(builder.CreateNumpyVector(np.array(quantization.zero_points, "<i8")))
    axis = (Int32Flags, quantization.axis)
    return _table(builder, {2: scales, 3: zero_points, 6: axis})


def _sparsity(builder: Any, sparsity: Sparsity) -> Place:
    int32_vector = (Uint8Flags, 1)
    levels = []
    for level in sparsity.levels:
        if isinstance(level, int):
            levels.append(_table(builder, {0: (Int8Flags, 0), 1: (Int32Flags, level)}))
            continue
        segments, indices = (_table(builder, {0: _ints(builder, list)}) for list in level)
        fields = {0: (Int8Flags, 1), 2: int32_vector, 3: segments, 4: int32_vector, 5: indices}
        levels.append(_table(builder, fields))
    return _table(
        builder,
        {
            0: _ints(builder, sparsity.traversal_order),
            1: _ints(builder, sparsity.block_map),
            2: _places(builder, levels),
        },
    )


def _operator_code(builder: Any, name: str) -> Place:
    builtin = BUILTINS.get(name, CUSTOM)
    # Slot 0 is the byte that old readers look at, slot 3 its successor; version 1 in slot 2.
    fields: dict[int, Any] = {
        0: (Int8Flags, min(builtin.code, 127)),
        2: (Int32Flags, 1),
        3: (Int32Flags, builtin.code),
    }
    if builtin is CUSTOM:
        fields[1] = Place(builder.CreateString(name))
    return _table(builder, fields)


def _operator(builder: Any, op: Op, graph: Subgraph, used: Sequence[str]) -> Place:
    builtin = BUILTINS.get(op.builtin, CUSTOM)
    fields: dict[int, Any] = {
        0: (Uint32Flags, used.index(op.builtin)),
        1: _ints(builder, [graph.index(name) for name in op.inputs]),
        2: _ints(builder, [graph.index(name) for name in op.outputs]),
    }
    if op.mutates:
        fields[7] = Place(builder.CreateNumpyVector(np.array(op.mutates, np.bool_)))
    if op.intermediates:
        fields[8] = _ints(builder, [graph.index(name) for name in op.intermediates])
    if builtin.options_type:
        slots = {name: (slot, flags) for slot, (name, flags) in enumerate(builtin.options)}
        values = {
            slots[name][0]: Place(builder.CreateString(value))
            if isinstance(value, str)
            else (slots[name][1], value)
            for name, value in op.options.items()
        }
        fields[3] = (Uint8Flags, builtin.options_type)
        fields[4] = _table(builder, values)
    if op.custom_options:
        fields[5] = Place(builder.CreateByteVector(op.custom_options))
    return _table(builder, fields)


def _signature(builder: Any, signature: Signature, subgraphs: Sequence[Subgraph]) -> Place:
    graph = subgraphs[signature.subgraph_index]

    def tensor_maps(names: Mapping[str, str]) -> Place:
        maps = [
            _table(
                builder,
                {
                    0: Place(builder.CreateString(name)),
                    1: (Uint32Flags, graph.index(tensor_name)),
                },
            )
            for name, tensor_name in names.items()
        ]
        return _places(builder, maps)

    return _table(
        builder,
        {
            0: tensor_maps(signature.inputs),
            1: tensor_maps(signature.outputs),
            2: Place(builder.CreateString(signature.key)),
            4: (Uint32Flags, signature.subgraph_index),
        },
    )


def _ints(builder: Any, values: Sequence[int]) -> Place:
    return Place(builder.CreateNumpyVector(np.array(values, "<i4")))


def _places(builder: Any, items: Sequence[Place]) -> Place:
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item.offset)
    return Place(builder.EndVector())


def _table(builder: Any, fields: Mapping[int, Any]) -> Place:
    """A table from slot to Place or (number type, value); everything it points at is written."""
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, value in fields.items():
        if isinstance(value, Place):
            builder.PrependUOffsetTRelativeSlot(slot, value.offset, 0)
        else:
            flags, number = value
            builder.PrependSlot(flags, slot, number, None)
    return Place(builder.EndObject())
