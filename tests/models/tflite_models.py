"""Small .tflite models, one for each thing a runtime must get right; `ALL` lists them.

Inputs are called "x" or what the model's docstring says. DTYPES was checked on LiteRT 2.3.0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import network as nets
from .tflite_writer import (
    NONE,
    RELU6,
    SAME,
    VALID,
    Op,
    Quantization,
    Signature,
    Sparsity,
    Subgraph,
    Tensor,
    constant,
    model,
    model_with_outer_buffers,
    parts_with_outer_buffers,
)

# Element types that a graph input and output can have in LiteRT's CompiledModel.
DTYPES = (
    "bool", "int2", "int4", "int8", "int16", "int32", "int64", "uint4", "uint8", "uint16", "uint32",
    "uint64", "float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64",
    "complex64",
)  # fmt: skip
# CompiledModel refuses a file that has one of these; its Interpreter runs it.
INTERPRETER_DTYPES = ("complex128",)

ADD_150K_SHAPE = (1, 160, 240)
ADD_DTYPES = ("float32", "int32", "int64")


def add(shape: tuple[int, ...] = (16,), dtype: str = "float32") -> bytes:
    """y = x + [0, 1, 2, ...]."""
    return add_constant(np.arange(np.prod(shape)).reshape(shape).astype(dtype))


def add_constant(addend: npt.NDArray[Any]) -> bytes:
    """y = x + addend, which lies in the file as it is."""
    dtype, shape = addend.dtype.name, addend.shape
    tensors = [Tensor("x", dtype, shape), constant("addend", addend), Tensor("y", dtype, shape)]
    op = Op("ADD", ["x", "addend"], ["y"], {"activation": NONE})
    return model([Subgraph(tensors, [op], ["x"], ["y"])])


def add_150k() -> bytes:
    """y = x + 0.5 over a float picture of 153,600 bytes."""
    return broadcast_chain(1, ADD_150K_SHAPE)


def broadcast_chain(op_count: int, shape: tuple[int, ...] = (4,)) -> bytes:
    """y = x + 0.5 * op_count, one addition of a scalar after the other."""
    names = ["x", *(f"step{index}" for index in range(1, op_count)), "y"]
    tensors = [Tensor(name, "float32", shape) for name in names]
    tensors.append(constant("half", np.array([0.5], np.float32)))
    ops = [
        Op("ADD", [source, "half"], [target], {"activation": NONE})
        for source, target in pairwise(names)
    ]
    return model([Subgraph(tensors, ops, ["x"], ["y"])])


def sum_product() -> bytes:
    """Inputs a, b; outputs s = a + b, p = a * b. The signature lists both in reverse order."""
    tensors = [Tensor(name, "float32", (4,)) for name in "absp"]
    ops = [
        Op("ADD", ["a", "b"], ["s"], {"activation": NONE}),
        Op("MUL", ["a", "b"], ["p"], {"activation": NONE}),
    ]
    graph = Subgraph(tensors, ops, ["a", "b"], ["s", "p"])
    signature = Signature("serving_default", {"b": "b", "a": "a"}, {"p": "p", "s": "s"})
    return model([graph], [signature])


def two_signatures() -> bytes:
    """Signature "double": y = x + x. Signature "negate": y = -x. A subgraph each."""
    tensors = [Tensor("x", "float32", (4,)), Tensor("y", "float32", (4,))]
    double = Op("ADD", ["x", "x"], ["y"], {"activation": NONE})
    negate = Op("NEG", ["x"], ["y"])
    graphs = [
        Subgraph(tensors, [double], ["x"], ["y"], name="double"),
        Subgraph(tensors, [negate], ["x"], ["y"], name="negate"),
    ]
    signatures = [
        Signature("double", {"x": "x"}, {"y": "y"}, subgraph_index=0),
        Signature("negate", {"x": "x"}, {"y": "y"}, subgraph_index=1),
    ]
    return model(graphs, signatures)


def renamed() -> bytes:
    """y = -x. The signature says x and y; the graph has the names of TensorFlow's exporter."""
    tensors = [
        Tensor("serving_default_x:0", "float32", (4,)),
        Tensor("StatefulPartitionedCall:0", "float32", (4,)),
    ]
    source, target = (tensor.name for tensor in tensors)
    graph = Subgraph(tensors, [Op("NEG", [source], [target])], [source], [target])
    return model([graph], [Signature("serving_default", {"x": source}, {"y": target})])


def loop() -> bytes:
    """y = x, and `step` again and again until it is 10 at least: never, with a step of 0."""
    names = ("x", "step")
    state = [Tensor(name, "float32", (1,)) for name in names]
    results = [Tensor(name, "float32", (1,)) for name in ("y", "steps")]
    call = Op("WHILE", names, ("y", "steps"), {"condition": 1, "body": 2})
    ten = constant("ten", np.array([10], np.float32))
    less = Subgraph(
        [*state, ten, Tensor("less", "bool", (1,))],
        [Op("LESS", ("x", "ten"), ("less",))],
        names,
        ("less",),
    )
    more = Subgraph(
        [*state, Tensor("more", "float32", (1,))],
        [Op("ADD", names, ("more",), {"activation": NONE})],
        names,
        ("more", "step"),
    )
    return model([Subgraph([*state, *results], [call], names, ("y",)), less, more])


def outer_buffers() -> bytes:
    """y = x + [0, 1, 2, 3], with the constant behind the flatbuffer."""
    return model_with_outer_buffers([_outer_add()])


def write_far_buffers(path: Path, begin: int) -> None:
    """The same with the constant at `begin` of the file, which has a hole before it."""
    flatbuffer, constants = parts_with_outer_buffers([_outer_add()], (), begin)
    with path.open("wb") as file:
        file.write(flatbuffer)
        file.seek(begin)
        file.write(constants)


def _outer_add() -> Subgraph:
    addend = np.arange(4, dtype=np.float32)
    tensors = [
        Tensor("x", "float32", (4,)),
        constant("addend", addend),
        Tensor("y", "float32", (4,)),
    ]
    op = Op("ADD", ["x", "addend"], ["y"], {"activation": NONE})
    return Subgraph(tensors, [op], ["x"], ["y"])


def sparse_weights() -> bytes:
    """y = weights @ x; of the 4 x 4 weights, two blocks of 2 x 2 are stored, off the diagonal."""
    blocks = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
    sparsity = Sparsity([0, 1, 2, 3], [0, 1], [2, ([0, 1, 2], [1, 0]), 2, 2])
    tensors = [
        Tensor("x", "float32", (1, 4)),
        Tensor("packed", "float32", (4, 4), blocks, sparsity=sparsity),
        Tensor("weights", "float32", (4, 4)),
        Tensor("y", "float32", (1, 4)),
    ]
    ops = [
        Op("DENSIFY", ["packed"], ["weights"]),
        Op("FULLY_CONNECTED", ["x", "weights", ""], ["y"], {"activation": NONE}),
    ]
    return model([Subgraph(tensors, ops, ["x"], ["y"])])


def labelled(*labels: str | None) -> bytes:
    """Two inputs and one output, a - b, that the file calls `labels`."""
    tensors = [
        Tensor(name, "float32", (4,), label=label)
        for name, label in zip("aby", labels, strict=True)
    ]
    op = Op("SUB", ["a", "b"], ["y"], {"activation": NONE})
    return model([Subgraph(tensors, [op], ["a", "b"], ["y"])])


def shared_outputs() -> bytes:
    """y = a - b; outputs y, y again, and the input b."""
    tensors = [Tensor(name, "float32", (4,)) for name in "aby"]
    op = Op("SUB", ["a", "b"], ["y"], {"activation": NONE})
    signature = Signature("serve", {"a": "a", "b": "b"}, {"once": "y", "again": "y", "b": "b"})
    return model([Subgraph(tensors, [op], ["a", "b"], ["y", "y", "b"])], [signature])


def dynamic_batch() -> bytes:
    """y = x + [0, 1, 2, 3] over any number of rows; shape [-1, 4], [1, 4] until resized."""
    tensors = [
        Tensor("x", "float32", (1, 4), shape_signature=(-1, 4)),
        constant("addend", np.arange(4, dtype=np.float32)),
        Tensor("y", "float32", (1, 4), shape_signature=(-1, 4)),
    ]
    op = Op("ADD", ["x", "addend"], ["y"], {"activation": NONE})
    return model([Subgraph(tensors, [op], ["x"], ["y"])])


def negated(
    shape: tuple[int, ...], signature: tuple[int, ...] | None = None, *declared: int
) -> bytes:
    """y = -x; the file tells no shape of y, unless one is `declared`."""
    tensors = [
        Tensor("x", "float32", shape, shape_signature=signature),
        Tensor("y", "float32", declared),
    ]
    return model([Subgraph(tensors, [Op("NEG", ["x"], ["y"])], ["x"], ["y"])])


def reshaped() -> bytes:
    """y = x in the shape `sizes`; the file tells no shape of y."""
    tensors = [
        Tensor("x", "float32", (40,)),
        Tensor("sizes", "int32", (3,)),
        Tensor("y", "float32", ()),
    ]
    return model([Subgraph(tensors, [Op("RESHAPE", ["x", "sizes"], ["y"])], ["x", "sizes"], ["y"])])


def frames() -> bytes:
    """y = x [-1] in rows of four. Engines plan it for 4, 8, 12 and so on, and not for 1."""
    tensors = [
        Tensor("x", "float32", (1,), shape_signature=(-1,)),
        constant("shape", np.array([-1, 4], np.int32)),
        Tensor("y", "float32", (1, 4), shape_signature=(-1, 4)),
    ]
    return model([Subgraph(tensors, [Op("RESHAPE", ["x", "shape"], ["y"])], ["x"], ["y"])])


def identity(dtype: str) -> bytes:
    """y = x, shape [2, 3], through a RESHAPE to the same shape: it moves bytes of any type."""
    tensors = [
        Tensor("x", dtype, (2, 3)),
        constant("shape", np.array([2, 3], np.int32)),
        Tensor("y", dtype, (2, 3)),
    ]
    return model([Subgraph(tensors, [Op("RESHAPE", ["x", "shape"], ["y"])], ["x"], ["y"])])


def strings() -> bytes:
    """y = x, four strings. No runtime of ours accepts it: it is here to be refused by name."""
    tensors = [
        Tensor("x", "string", (4,)),
        constant("shape", np.array([2, 2], np.int32)),
        Tensor("y", "string", (2, 2)),
    ]
    return model([Subgraph(tensors, [Op("RESHAPE", ["x", "shape"], ["y"])], ["x"], ["y"])])


def quantized_add() -> bytes:
    """real(y) = real(x) + 1 in int8; x has scale 0.5, zero point 3; y scale 0.25, zero point -7."""
    tensors = [
        Tensor("x", "int8", (16,), quantization=Quantization([0.5], [3])),
        constant("one", np.array([2], np.int8), Quantization([0.5], [0])),
        Tensor("y", "int8", (16,), quantization=Quantization([0.25], [-7])),
    ]
    op = Op("ADD", ["x", "one"], ["y"], {"activation": NONE})
    return model([Subgraph(tensors, [op], ["x"], ["y"])])


def per_channel() -> bytes:
    """y = x, int8 [2, 3], with a scale for each of the three columns: 0.5, 0.25 and 0.125."""
    quantization = Quantization([0.5, 0.25, 0.125], [0, 0, 0], axis=1)
    tensors = [
        Tensor("x", "int8", (2, 3), quantization=quantization),
        constant("shape", np.array([2, 3], np.int32)),
        Tensor("y", "int8", (2, 3), quantization=quantization),
    ]
    return model([Subgraph(tensors, [Op("RESHAPE", ["x", "shape"], ["y"])], ["x"], ["y"])])


def counter() -> bytes:
    """y = the sum of every x since the start: a recurrent cell whose state outlives a run.

    LiteRT's CompiledModel refuses variable tensors; the Interpreters run it.
    """
    ones = np.ones((1, 1), np.float32)
    tensors = [
        Tensor("x", "float32", (1, 1, 1)),
        constant("weight", ones),
        constant("recurrent_weight", ones),
        constant("bias", np.zeros(1, np.float32)),
        Tensor("state", "float32", (1, 1), is_variable=True),
        Tensor("y", "float32", (1, 1, 1)),
    ]
    op = Op(
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        ["x", "weight", "recurrent_weight", "bias", "state"],
        ["y"],
        {"time_major": False, "activation": NONE},
    )
    return model([Subgraph(tensors, [op], ["x"], ["y"])])


def data_dependent() -> bytes:
    """y = the places where x is true, shape [count, 1]: known only after the run."""
    tensors = [
        Tensor("x", "bool", (8,)),
        Tensor("y", "int64", (1, 1), shape_signature=(-1, 1)),
    ]
    return model([Subgraph(tensors, [Op("WHERE", ["x"], ["y"])], ["x"], ["y"])])


def network(net: nets.Network) -> bytes:
    """A float32 file of `net`."""
    tensors = [Tensor(net.input_name, "float32", net.input_shape)]
    ops = []
    source, shape = net.input_name, tuple(net.input_shape)
    for index, layer in enumerate(net.layers):
        target = _output_name(net, index)
        constants = [constant(f"{target}/{role}", data) for role, data in _constants(layer)]
        shape = nets.output_shape(layer, shape)
        tensors += [*constants, Tensor(target, "float32", shape)]
        ops.append(_layer_op(layer, [source, *(tensor.name for tensor in constants)], target))
        source = target
    return model([Subgraph(tensors, ops, [net.input_name], [net.output_name])])


def network_int8(net: nets.Network) -> bytes:
    """An int8 file of `net`: weights by channel, inputs in -1..1. The last layer is a Softmax."""
    quantization = Quantization([1 / 128], [0])
    tensors = [Tensor(net.input_name, "int8", net.input_shape, quantization=quantization)]
    ops = []
    source, shape = net.input_name, tuple(net.input_shape)
    for index, layer in enumerate(net.layers):
        target = _output_name(net, index)
        constants = _int8_constants(layer, target, quantization.scales[0])
        shape = nets.output_shape(layer, shape)
        quantization = _output_quantization(layer, quantization)
        tensors += [*constants, Tensor(target, "int8", shape, quantization=quantization)]
        ops.append(_layer_op(layer, [source, *(tensor.name for tensor in constants)], target))
        source = target
    return model([Subgraph(tensors, ops, [net.input_name], [net.output_name])])


def _output_name(net: nets.Network, index: int) -> str:
    return net.output_name if index == len(net.layers) - 1 else f"layer{index}"


def _constants(layer: nets.Layer) -> list[tuple[str, npt.NDArray[Any]]]:
    """The layer's constant inputs by role, in the order and layout that its operator takes."""
    match layer:
        case nets.Conv(weight, bias):
            return [("weight", weight.transpose(3, 0, 1, 2)), ("bias", bias)]
        case nets.DepthwiseConv(weight, bias):
            return [("weight", weight[np.newaxis]), ("bias", bias)]
        case nets.Dense(weight, bias):
            return [("weight", weight.T), ("bias", bias)]
        case nets.GlobalMean():
            return [("axes", np.array([1, 2], np.int32))]
        case _:
            return []


def _int8_constants(layer: nets.Layer, target: str, input_scale: float) -> list[Tensor]:
    roles = dict(_constants(layer))
    if "weight" not in roles:
        return [constant(f"{target}/{role}", data) for role, data in roles.items()]
    weight = roles["weight"]
    axis = 3 if isinstance(layer, nets.DepthwiseConv) else 0
    # Dense weights have one scale for all: older kernels know no other.
    kept = () if isinstance(layer, nets.Dense) else (axis,)
    reduced = tuple(other for other in range(weight.ndim) if other not in kept)
    scales = np.abs(weight).max(axis=reduced, keepdims=True) / 127
    stored = np.round(weight / scales).astype(np.int8)
    weight_scales = scales.reshape(-1)
    bias_scales = weight_scales * input_scale
    bias = np.round(roles["bias"] / bias_scales).astype(np.int32)
    zeros = [0] * scales.size
    return [
        constant(f"{target}/weight", stored, Quantization(weight_scales.tolist(), zeros, axis)),
        constant(f"{target}/bias", bias, Quantization(bias_scales.tolist(), zeros)),
    ]


def _output_quantization(layer: nets.Layer, source: Quantization) -> Quantization:
    match layer:
        case nets.Conv() | nets.DepthwiseConv():
            return Quantization([6 / 255], [-128])
        case nets.Dense():
            return Quantization([32 / 255], [0])
        case nets.Softmax():
            return Quantization([1 / 256], [-128])
        case _:
            return source


def _layer_op(layer: nets.Layer, inputs: list[str], target: str) -> Op:
    match layer:
        case nets.Conv(stride=stride):
            options = {"padding": SAME, "stride_w": stride, "stride_h": stride, "activation": RELU6}
            return Op("CONV_2D", inputs, [target], options)
        case nets.DepthwiseConv(stride=stride):
            options = {"padding": SAME, "stride_w": stride, "stride_h": stride, "activation": RELU6}
            options["depth_multiplier"] = 1
            return Op("DEPTHWISE_CONV_2D", inputs, [target], options)
        case nets.MaxPool():
            options = {"padding": VALID, "stride_w": 2, "stride_h": 2, "activation": NONE}
            options |= {"filter_w": 2, "filter_h": 2}
            return Op("MAX_POOL_2D", inputs, [target], options)
        case nets.GlobalMean():
            return Op("MEAN", inputs, [target], {"keep_dims": False})
        case nets.Dense():
            return Op("FULLY_CONNECTED", inputs, [target], {"activation": NONE})
        case nets.Softmax():
            return Op("SOFTMAX", inputs, [target], {"beta": 1.0})


def dense(width: int, count: int = 1) -> bytes:
    """`count` layers of `width` by `width` random weights each: as large as is wanted."""
    rng = np.random.default_rng(1)
    tensors = [Tensor("x", "float32", (1, width))]
    ops = []
    for i in range(count):
        weights = rng.standard_normal((width, width), np.float32) / np.float32(width)
        inputs = [tensors[-1].name, f"w{i}", ""]
        tensors += [constant(f"w{i}", weights), Tensor(f"y{i}", "float32", (1, width))]
        ops.append(Op("FULLY_CONNECTED", inputs, [f"y{i}"], {"activation": NONE}))
    return model([Subgraph(tensors, ops, ["x"], [f"y{count - 1}"])])


def conv() -> bytes:
    """Input "image" [1, 8, 8, 2], output "scores" [1, 5]: convolution, pooling, dense, softmax."""
    return network(nets.small_conv())


def conv_int8() -> bytes:
    """`conv` in int8: image scale 1/128, zero point 0; scores scale 1/256, zero point -128."""
    return network_int8(nets.small_conv())


def mobilenet(width: float = 1.0) -> bytes:
    """MobileNetV1 with random weights; about 17 MB at full width."""
    return network(nets.mobilenet(width))


def mobilenet_int8(width: float = 1.0) -> bytes:
    """`mobilenet` in int8; a quarter of the size."""
    return network_int8(nets.mobilenet(width))


ALL: dict[str, Callable[[], bytes]] = {
    **{f"add_{dtype}": partial(add, dtype=dtype) for dtype in ADD_DTYPES},
    "add_scalar": partial(add, ()),
    "add_150k": add_150k,
    "sum_product": sum_product,
    "two_signatures": two_signatures,
    "renamed": renamed,
    "outer_buffers": outer_buffers,
    "sparse_weights": sparse_weights,
    "dynamic_batch": dynamic_batch,
    **{f"identity_{dtype}": partial(identity, dtype) for dtype in DTYPES + INTERPRETER_DTYPES},
    "quantized_add": quantized_add,
    "per_channel": per_channel,
    "conv": conv,
    "conv_int8": conv_int8,
    "counter": counter,
    "strings": strings,
    "data_dependent": data_dependent,
    "broadcast_chain": partial(broadcast_chain, 8),
}

# Tensors cannot be told apart by their names in the file.
ALIKE: dict[str, Callable[[], bytes]] = {
    "nameless": partial(labelled, None, None, None),
    "equal_names": partial(labelled, "x", "x", "x"),
    "shared_outputs": shared_outputs,
}
