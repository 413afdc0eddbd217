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
    Int64Flags,
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
    version: int = 1


_ACTIVATION = ("activation", Int8Flags)
_WINDOW = (("padding", Int8Flags), ("stride_w", Int32Flags), ("stride_h", Int32Flags))
_FILTER = (("filter_w", Int32Flags), ("filter_h", Int32Flags))
_CLIPS = (("cell_clip", Float32Flags), ("proj_clip", Float32Flags))
_SLICE_MASKS = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")

# Of an option that is a vector in the file.
INTS, FLOATS = "ints", "floats"


def _number(name: str) -> tuple[tuple[str, Any], ...]:
    return ((name, Int32Flags),)


_POOL = (*_WINDOW, *_FILTER, _ACTIVATION)
_DILATION = (("dilation_w", Int32Flags), ("dilation_h", Int32Flags))
_REDUCER = (("keep_dims", BoolFlags),)
_RESIZE = (("align_corners", BoolFlags), ("half_pixel_centers", BoolFlags))
_VOLUME = (
    ("padding", Int8Flags), ("stride_d", Int32Flags), ("stride_w", Int32Flags),
    ("stride_h", Int32Flags), _ACTIVATION, ("dilation_d", Int32Flags), *_DILATION,
)  # fmt: skip
_SEEDS = (("seed", Int64Flags), ("seed2", Int64Flags))

# Operators without options, by code.
_PLAIN = {
    "DEQUANTIZE": 6, "EMBEDDING_LOOKUP": 7, "FLOOR": 8, "HASHTABLE_LOOKUP": 10, "LOGISTIC": 14,
    "RELU": 19, "RELU_N1_TO_1": 20, "RELU6": 21, "TANH": 28, "PAD": 34, "BATCH_TO_SPACE_ND": 37,
    "SPACE_TO_BATCH_ND": 38, "TRANSPOSE": 39, "EXP": 47, "TOPK_V2": 48, "LOG_SOFTMAX": 50,
    "PRELU": 54, "MAXIMUM": 55, "MINIMUM": 57, "LESS": 58, "PADV2": 60, "GREATER": 61,
    "GREATER_EQUAL": 62, "LESS_EQUAL": 63, "SELECT": 64, "SLICE": 65, "SIN": 66, "TILE": 69,
    "EXPAND_DIMS": 70, "EQUAL": 71, "NOT_EQUAL": 72, "LOG": 73, "SQRT": 75, "RSQRT": 76, "POW": 78,
    "LOGICAL_OR": 84, "LOGICAL_AND": 86, "LOGICAL_NOT": 87, "FLOOR_DIV": 90, "SQUARE": 92,
    "ZEROS_LIKE": 93, "FILL": 94, "FLOOR_MOD": 95, "RANGE": 96, "SQUARED_DIFFERENCE": 99,
    "ABS": 101, "CEIL": 104, "REVERSE_V2": 105, "ADD_N": 106, "GATHER_ND": 107, "COS": 108,
    "RANK": 110, "ELU": 111, "MATRIX_DIAG": 113, "QUANTIZE": 114, "MATRIX_SET_DIAG": 115,
    "ROUND": 116, "HARD_SWISH": 117, "NON_MAX_SUPPRESSION_V4": 120, "NON_MAX_SUPPRESSION_V5": 121,
    "SCATTER_ND": 122, "SELECT_V2": 123, "SEGMENT_SUM": 125, "RFFT2D": 131,
    "IMAG": 133, "REAL": 134, "COMPLEX_ABS": 135, "BROADCAST_ARGS": 145,
    "DYNAMIC_UPDATE_SLICE": 151, "RELU_0_TO_1": 152, "UNSORTED_SEGMENT_PROD": 153,
    "UNSORTED_SEGMENT_MAX": 154, "UNSORTED_SEGMENT_SUM": 155, "ATAN2": 156,
    "UNSORTED_SEGMENT_MIN": 157, "SIGN": 158, "BITCAST": 159, "BITWISE_XOR": 160,
    "RIGHT_SHIFT": 161, "STABLEHLO_ADD": 163, "STABLEHLO_MULTIPLY": 165, "STABLEHLO_MAXIMUM": 166,
    "STABLEHLO_AND": 176, "STABLEHLO_MINIMUM": 181, "DILATE": 203, "STABLEHLO_SHIFT_LEFT": 207,
}  # fmt: skip

BUILTINS = {
    **{name: Builtin(code) for name, code in _PLAIN.items()},
    **{
        name: Builtin(code, 27, _REDUCER)
        for name, code in {
            "MEAN": 40,
            "SUM": 74,
            "REDUCE_PROD": 81,
            "REDUCE_MAX": 82,
            "REDUCE_MIN": 89,
            "REDUCE_ANY": 91,
            "REDUCE_ALL": 140,
        }.items()
    },
    "ADD": Builtin(0, 11, (_ACTIVATION,)),
    "AVERAGE_POOL_2D": Builtin(1, 5, _POOL),
    "CONCATENATION": Builtin(2, 10, (("axis", Int32Flags), _ACTIVATION)),
    "CONV_2D": Builtin(3, 1, (*_WINDOW, _ACTIVATION, *_DILATION)),
    "DEPTHWISE_CONV_2D": Builtin(
        4, 2, (*_WINDOW, ("depth_multiplier", Int32Flags), _ACTIVATION, *_DILATION)
    ),
    "DEPTH_TO_SPACE": Builtin(5, 94, _number("block_size")),
    "FULLY_CONNECTED": Builtin(
        9, 8, (_ACTIVATION, ("weights_format", Int8Flags), ("keep_num_dims", BoolFlags))
    ),
    "L2_NORMALIZATION": Builtin(11, 12, (_ACTIVATION,)),
    "L2_POOL_2D": Builtin(12, 5, _POOL),
    "LOCAL_RESPONSE_NORMALIZATION": Builtin(
        13,
        13,
        (
            ("radius", Int32Flags),
            ("bias", Float32Flags),
            ("alpha", Float32Flags),
            ("beta", Float32Flags),
        ),
    ),
    "LSH_PROJECTION": Builtin(15, 4, (("type", Int8Flags),)),
    "LSTM": Builtin(16, 14, (_ACTIVATION, *_CLIPS, ("kernel_type", Int8Flags))),
    "MAX_POOL_2D": Builtin(17, 5, _POOL),
    "MUL": Builtin(18, 21, (_ACTIVATION,)),
    "RESHAPE": Builtin(22, 17, (("new_shape", INTS),)),
    "RESIZE_BILINEAR": Builtin(
        23, 15, (("new_height", Int32Flags), ("new_width", Int32Flags), *_RESIZE)
    ),
    "SOFTMAX": Builtin(25, 9, (("beta", Float32Flags),)),
    "RNN": Builtin(24, 7, (_ACTIVATION,)),
    "SVDF": Builtin(27, 6, (("rank", Int32Flags), _ACTIVATION)),
    "SPACE_TO_DEPTH": Builtin(26, 19, _number("block_size")),
    "UNIDIRECTIONAL_SEQUENCE_RNN": Builtin(35, 31, (("time_major", BoolFlags), _ACTIVATION)),
    "GATHER": Builtin(36, 23, (("axis", Int32Flags), ("batch_dims", Int32Flags))),
    "SUB": Builtin(41, 28, (_ACTIVATION,)),
    "DIV": Builtin(42, 29, (_ACTIVATION,)),
    "SQUEEZE": Builtin(43, 30, (("squeeze_dims", INTS),)),
    "STRIDED_SLICE": Builtin(45, 32, tuple((name, Int32Flags) for name in _SLICE_MASKS)),
    "SPLIT": Builtin(49, 35, _number("num_splits")),
    "CAST": Builtin(53, 37, (("from", Int8Flags), ("to", Int8Flags))),
    "ARG_MAX": Builtin(56, 40, (("output_type", Int8Flags),)),
    "NEG": Builtin(59, 42),
    "TRANSPOSE_CONV": Builtin(67, 49, (*_WINDOW, _ACTIVATION)),
    "SPARSE_TO_DENSE": Builtin(68, 50, (("validate_indices", BoolFlags),)),
    "SHAPE": Builtin(77, 55, (("type", Int8Flags),)),
    "ARG_MIN": Builtin(79, 57, (("output_type", Int8Flags),)),
    "FAKE_QUANT": Builtin(
        80, 58, (("min", Float32Flags), ("max", Float32Flags), ("num_bits", Int32Flags))
    ),
    "PACK": Builtin(83, 59, (("count", Int32Flags), ("axis", Int32Flags))),
    "ONE_HOT": Builtin(85, 61, _number("axis")),
    "UNPACK": Builtin(88, 64, (("num", Int32Flags), ("axis", Int32Flags))),
    "RESIZE_NEAREST_NEIGHBOR": Builtin(97, 74, _RESIZE),
    "LEAKY_RELU": Builtin(98, 75, (("alpha", Float32Flags),)),
    "MIRROR_PAD": Builtin(100, 77, (("mode", Int8Flags),)),
    "SPLIT_V": Builtin(102, 79, _number("num_splits")),
    "UNIQUE": Builtin(103, 80, (("index_type", Int8Flags),)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Builtin(
        44, 71, (_ACTIVATION, *_CLIPS, ("time_major", BoolFlags))
    ),
    "BIDIRECTIONAL_SEQUENCE_RNN": Builtin(
        46, 70, (("time_major", BoolFlags), _ACTIVATION, ("merge_outputs", BoolFlags))
    ),
    "BIDIRECTIONAL_SEQUENCE_LSTM": Builtin(
        52, 69, (_ACTIVATION, *_CLIPS, ("merge_outputs", BoolFlags), ("time_major", BoolFlags))
    ),
    "WHILE": Builtin(119, 93, (("condition", Int32Flags), ("body", Int32Flags))),
    "CALL_ONCE": Builtin(129, 103, (("subgraph", Int32Flags),)),
    "VAR_HANDLE": Builtin(142, 111, (("container", str), ("name", str))),
    "READ_VARIABLE": Builtin(143, 112),
    "ASSIGN_VARIABLE": Builtin(144, 113),
    "WHERE": Builtin(109, 85),
    "REVERSE_SEQUENCE": Builtin(112, 87, (("seq_dim", Int32Flags), ("batch_dim", Int32Flags))),
    "IF": Builtin(118, 92, (("then", Int32Flags), ("otherwise", Int32Flags))),
    "DENSIFY": Builtin(124, 99),
    "BATCH_MATMUL": Builtin(126, 101, (("adj_x", BoolFlags), ("adj_y", BoolFlags))),
    "BROADCAST_TO": Builtin(130, version=2),
    "CUMSUM": Builtin(128, 102, (("exclusive", BoolFlags), ("reverse", BoolFlags))),
    "CONV_3D": Builtin(132, 106, _VOLUME),
    "CONV_3D_TRANSPOSE": Builtin(141, 106, _VOLUME),
    "RANDOM_STANDARD_NORMAL": Builtin(146, 114, _SEEDS),
    "BUCKETIZE": Builtin(147, 115, (("boundaries", FLOATS),)),
    "RANDOM_UNIFORM": Builtin(148, 114, _SEEDS),
    "MULTINOMIAL": Builtin(149, 114, _SEEDS),
    "GELU": Builtin(150, 116, (("approximate", BoolFlags),)),
}

CUSTOM = Builtin(32)


@dataclass(frozen=True)
class Quantization:
    """real = scale * (stored - zero_point), one pair for the tensor or one per index of `axis`."""

    scales: Sequence[float]
    zero_points: Sequence[int]
    axis: int = 0


@dataclass(frozen=True)
class Blockwise:
    """Scales, in a tensor of their own, for each `block_size` elements of the last dimension."""

    scales_index: int
    block_size: int


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
    quantization: Quantization | Blockwise | None = None
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
    options: Mapping[str, int | float | bool | str | Sequence[float]] = field(default_factory=dict)
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
    """Buffers from `end` of the file on, behind the flatbuffer, each at a multiple of 16."""

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
    end = len(_flatbuffer(subgraphs, signatures, Outside()))
    return b"".join(parts_with_outer_buffers(subgraphs, signatures, end))


def parts_with_outer_buffers(
    subgraphs: Sequence[Subgraph], signatures: Sequence[Signature], begin: int
) -> tuple[bytes, bytes]:
    """The flatbuffer, and its constants, which lie from `begin` on in the file."""
    outside = Outside(end=begin)
    return _flatbuffer(subgraphs, signatures, outside), outside.data


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


def _quantization(builder: Any, quantization: Quantization | Blockwise) -> Place:
    if isinstance(quantization, Blockwise):
        index, size = quantization.scales_index, quantization.block_size
        fields = {0: (Int32Flags, index), 1: (Int32Flags, -1), 2: (Int32Flags, size)}
        return _table(builder, {4: (Uint8Flags, 2), 5: _table(builder, fields)})
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
    # Slot 0 is the byte that old readers look at, slot 3 its successor.
    fields: dict[int, Any] = {
        0: (Int8Flags, min(builtin.code, 127)),
        2: (Int32Flags, builtin.version),
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
            slots[name][0]: _option(builder, slots[name][1], value)
            for name, value in op.options.items()
        }
        fields[3] = (Uint8Flags, builtin.options_type)
        fields[4] = _table(builder, values)
    if op.custom_options:
        fields[5] = Place(builder.CreateByteVector(op.custom_options))
    return _table(builder, fields)


def _option(builder: Any, flags: Any, value: Any) -> Any:
    if flags is str:
        return Place(builder.CreateString(value))
    if flags in (INTS, FLOATS):
        return Place(builder.CreateNumpyVector(np.array(value, "<i4" if flags == INTS else "<f4")))
    return (flags, value)


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
