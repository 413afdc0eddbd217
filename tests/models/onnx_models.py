"""Small .onnx models, the same set as tflite_models where ONNX has the notion; `ALL` lists them.

Opset 21 and IR 10: onnxruntime 1.23 and later read them. DTYPES was checked on onnxruntime 1.32.0.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import network as nets

# Read when the library is loaded; tests take it from here, so that it is.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as onnxruntime

OPSET = 21
IR_VERSION = 10

ELEMENT_TYPES = {
    "float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8,
    "uint16": TensorProto.UINT16, "int16": TensorProto.INT16, "int32": TensorProto.INT32,
    "int64": TensorProto.INT64, "string": TensorProto.STRING, "bool": TensorProto.BOOL,
    "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE, "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64, "bfloat16": TensorProto.BFLOAT16,
    "float8_e4m3fn": TensorProto.FLOAT8E4M3FN, "float8_e4m3fnuz": TensorProto.FLOAT8E4M3FNUZ,
    "float8_e5m2": TensorProto.FLOAT8E5M2, "float8_e5m2fnuz": TensorProto.FLOAT8E5M2FNUZ,
    "float8_e8m0fnu": TensorProto.FLOAT8E8M0,
    "uint4": TensorProto.UINT4, "int4": TensorProto.INT4,
    "uint2": TensorProto.UINT2, "int2": TensorProto.INT2,
    "complex64": TensorProto.COMPLEX64, "complex128": TensorProto.COMPLEX128,
}  # fmt: skip

# ONNX Runtime refuses any file whose graph has one of these.
REFUSED_DTYPES = ("complex64", "complex128")
# Element types that a graph input and output can have in ONNX Runtime.
DTYPES = tuple(dtype for dtype in ELEMENT_TYPES if dtype not in {"string", *REFUSED_DTYPES})

ADD_150K_SHAPE = (1, 160, 240)
ADD_DTYPES = ("float32", "int32", "int64")

# An open dimension has a name or none; a shape may be open as a whole.
Dims = Sequence[int | str | None]


def _value(name: str, dtype: str, shape: Dims | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape)


def _constant(name: str, data: npt.NDArray[Any]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(data, order="C"), name)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
    versions: tuple[int, int] = (OPSET, IR_VERSION),
) -> bytes:
    graph = helper.make_graph(nodes, "main", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", versions[0])]
    model = helper.make_model(
        graph, producer_name="edgeward tests", opset_imports=opsets, ir_version=versions[1]
    )
    return bytes(model.SerializeToString(deterministic=True))


def add(shape: tuple[int, ...] = (16,), dtype: str = "float32") -> bytes:
    """y = x + [0, 1, 2, ...]."""
    addend = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return _model(
        [helper.make_node("Add", ["x", "addend"], ["y"])],
        [_value("x", dtype, shape)],
        [_value("y", dtype, shape)],
        [_constant("addend", addend)],
    )


def add_150k() -> bytes:
    """y = x + 0.5 over a float picture of 153,600 bytes."""
    return broadcast_chain(1, ADD_150K_SHAPE)


def broadcast_chain(op_count: int, shape: tuple[int, ...] = (4,)) -> bytes:
    """y = x + 0.5 * op_count, one addition of a scalar after the other."""
    names = ["x", *(f"step{index}" for index in range(1, op_count)), "y"]
    nodes = [
        helper.make_node("Add", [source, "half"], [target]) for source, target in pairwise(names)
    ]
    half = _constant("half", np.array([0.5], np.float32))
    return _model(nodes, [_value("x", "float32", shape)], [_value("y", "float32", shape)], [half])


def out_of_order() -> bytes:
    """y = -x + 1 for a positive sum of x, else -x - 1, with each node behind those that read it.

    Both branches read -x from the graph around them.
    """
    branches = {}
    for name, operator in (("then_branch", "Add"), ("else_branch", "Sub")):
        node = helper.make_node(operator, ["minus", "one_more"], ["z"])
        branches[name] = helper.make_graph([node], name, [], [_value("z", "float32", (4,))])
    nodes = [
        helper.make_node("Identity", ["chosen"], ["y"]),
        helper.make_node("If", ["is_positive"], ["chosen"], **branches),
        helper.make_node("Neg", ["x"], ["minus"]),
        helper.make_node("Greater", ["sum", "zero"], ["is_positive"]),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
    ]
    constants = [
        _constant("one_more", np.array([1], np.float32)),
        _constant("zero", np.array(0, np.float32)),
    ]
    return _model(nodes, [_value("x", "float32", (4,))], [_value("y", "float32", (4,))], constants)


def cycle() -> bytes:
    """A node whose branches read what it gives."""
    branches = {}
    for name in ("then_branch", "else_branch"):
        node = helper.make_node("Neg", ["after"], ["z"])
        branches[name] = helper.make_graph([node], name, [], [_value("z", "float32", (4,))])
    nodes = [
        helper.make_node("If", ["flag"], ["y"], **branches),
        helper.make_node("Add", ["y", "x"], ["after"]),
    ]
    flag = [_constant("flag", np.array(True))]
    return _model(nodes, [_value("x", "float32", (4,))], [_value("y", "float32", (4,))], flag)


def sum_product() -> bytes:
    """Inputs a, b; outputs s = a + b, p = a * b."""
    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Mul", ["a", "b"], ["p"])]
    inputs = [_value(name, "float32", (4,)) for name in "ab"]
    outputs = [_value(name, "float32", (4,)) for name in "sp"]
    return _model(nodes, inputs, outputs)


def detector(shape: Dims = (1, 16, 16, 3), boxes: Dims = (1, "boxes", 4)) -> bytes:
    """An image and a badge's number, and the boxes, scores and count that it should find there."""
    shapes = {"boxes": boxes, "scores": boxes[:-1], "count": (shape[0],)}
    nodes = [helper.make_node("Identity", [f"wanted_{name}"], [name]) for name in shapes]
    nodes += [
        helper.make_node("Shape", ["image"], ["size"]),
        helper.make_node("Identity", ["badge"], ["seen"]),
    ]
    inputs = [_value(f"wanted_{name}", "float32", shape) for name, shape in shapes.items()]
    inputs += [_value("image", "uint8", shape), _value("badge", "int64", (1,))]
    outputs = [_value(name, "float32", shape) for name, shape in shapes.items()]
    outputs += [_value("size", "int64", (len(shape),)), _value("seen", "int64", (1,))]
    return _model(nodes, inputs, outputs)


def fixed_answers(shape: Dims, answers: Mapping[str, Any]) -> bytes:
    """These float32 answers, whatever the float32 "image" of this shape is: for what reads them."""
    values = {name: np.asarray(value, np.float32) for name, value in answers.items()}
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
    ]
    nodes += [helper.make_node("Add", [f"fixed {name}", "nothing"], [name]) for name in values]
    constants = [_constant(f"fixed {name}", value) for name, value in values.items()]
    constants.append(_constant("zero", np.float32(0)))
    outputs = [_value(name, "float32", value.shape) for name, value in values.items()]
    return _model(nodes, [_value("image", "float32", shape)], outputs, constants)


def noises() -> bytes:
    """Scores of hum, whistle and hiss in log-mel levels [1, 96, 64] of 125 to 7,500 Hz."""
    loud = np.full((64, 3), -1 / 64, np.float32)
    loud[:6, 0] += 1 / 6
    loud[31:39, 1] += 1 / 8
    loud[:, 2] = 1 / 64
    return _model(
        [
            helper.make_node("ReduceMean", ["levels", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "loud"], ["sums"]),
            helper.make_node("Add", ["sums", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"]),
        ],
        [_value("levels", "float32", (1, 96, 64))],
        [_value("scores", "float32", (1, 3))],
        [
            _constant("axes", np.array([1], np.int64)),
            _constant("loud", loud),
            _constant("bias", np.array([0, 0, 2], np.float32)),
        ],
    )


def dynamic_batch() -> bytes:
    """y = x + [0, 1, 2, 3] over any number "N" of rows."""
    return _model(
        [helper.make_node("Add", ["x", "addend"], ["y"])],
        [_value("x", "float32", ("N", 4))],
        [_value("y", "float32", ("N", 4))],
        [_constant("addend", np.arange(4, dtype=np.float32))],
    )


def frames() -> bytes:
    """y = x [samples] in rows of four. It runs for 4, 8, 12 samples and so on, and not for 1."""
    return _model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [_value("x", "float32", ["samples"])],
        [_value("y", "float32", ["rows", 4])],
        [_constant("shape", np.array([-1, 4], np.int64))],
    )


def identity(dtype: str) -> bytes:
    """y = x, shape [2, 3]. Some types go through the one operator whose kernel takes them."""
    versions = (OPSET, IR_VERSION)
    if dtype in ("int2", "uint2", "int4", "uint4"):
        node = helper.make_node("Transpose", ["x"], ["y"], perm=[0, 1])
    elif dtype == "float8_e8m0fnu":
        node = helper.make_node("Cast", ["x"], ["y"], to=ELEMENT_TYPES[dtype])
    else:
        node = helper.make_node("Identity", ["x"], ["y"])
    if dtype in ("int2", "uint2", "float8_e8m0fnu"):
        versions = (25, 13)  # they are younger
    return _model(
        [node], [_value("x", dtype, (2, 3))], [_value("y", dtype, (2, 3))], versions=versions
    )


def strings() -> bytes:
    """y = x, four strings."""
    return _model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [_value("x", "string", (4,))],
        [_value("y", "string", (2, 2))],
        [_constant("shape", np.array([2, 2], np.int64))],
    )


def data_dependent(declared: Dims = ("count", 1)) -> bytes:
    """y = the places where x is true, shape [count, 1]: known only after the run."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["row"]),
        helper.make_node("Transpose", ["row"], ["y"], perm=[1, 0]),
    ]
    return _model(nodes, [_value("x", "bool", (8,))], [_value("y", "int64", declared)])


def turned(shape: Dims, declared: Dims | None) -> bytes:
    """y = x with its two axes turned; y is declared to have any shape."""
    node = helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    return _model([node], [_value("x", "float32", shape)], [_value("y", "float32", declared)])


def negated(shape: Dims | None, declared: Dims | None = None) -> bytes:
    """y = -x, each of any shape where it is None."""
    node = helper.make_node("Neg", ["x"], ["y"])
    return _model([node], [_value("x", "float32", shape)], [_value("y", "float32", declared)])


def same_strings(shape: Dims | None) -> bytes:
    """y = x, strings of any shape where it is None."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return _model([node], [_value("x", "string", shape)], [_value("y", "string", shape)])


def reshaped() -> bytes:
    """y = x in the shape `sizes`, so that not even its number of dimensions is declared."""
    node = helper.make_node("Reshape", ["x", "sizes"], ["y"])
    inputs = [_value("x", "float32", (40,)), _value("sizes", "int64", ("rank",))]
    return _model([node], inputs, [_value("y", "float32", None)])


def pair_of_rows(symbol: str) -> bytes:
    """c = 2 * a and d = 2 * b, rows of one symbol; e is both rows in one, of that symbol, too."""
    nodes = [
        helper.make_node("Add", ["a", "a"], ["c"]),
        helper.make_node("Add", ["b", "b"], ["d"]),
        helper.make_node("Concat", ["a", "b"], ["e"], axis=0),
    ]
    inputs = [_value(name, "float32", (symbol,)) for name in "ab"]
    return _model(nodes, inputs, [_value(name, "float32", (symbol,)) for name in "cde"])


def grown_cache(shape: Dims) -> bytes:
    """now = past with a row "step" behind it, old = past: what a decoder does with its cache."""
    nodes = [
        helper.make_node("Concat", ["past", "step"], ["now"], axis=0),
        helper.make_node("Identity", ["past"], ["old"]),
    ]
    rest = list(shape)[1:]
    inputs = [_value("past", "float32", shape), _value("step", "float32", [1, *rest])]
    return _model(
        nodes, inputs, [_value("now", "float32", ["total", *rest]), _value("old", "float32", shape)]
    )


def passed_through(outputs: Sequence[str]) -> bytes:
    """Of "y" = -x and "x", those that `outputs` name, in that order, also twice."""
    node = helper.make_node("Neg", ["x"], ["y"])
    x = _value("x", "float32", ("N", 3))
    return _model([node], [x], [_value(name, "float32", ("N", 3)) for name in outputs])


def unique_rows(shape: Dims) -> bytes:
    """y = the rows of x, each once: an operator whose kernel cannot do without elements."""
    node = helper.make_node("Unique", ["x"], ["y"], axis=0)
    return _model(
        [node], [_value("x", "float32", shape)], [_value("y", "float32", ("K", shape[1]))]
    )


def network(net: nets.Network) -> bytes:
    """A float32 file of `net`. Pictures come channels last and are turned once, at the start."""
    first = f"{net.input_name}/channels_first"
    nodes = [helper.make_node("Transpose", [net.input_name], [first], perm=[0, 3, 1, 2])]
    constants: list[onnx.TensorProto] = [
        _constant("lowest", np.array(0, np.float32)),
        _constant("highest", np.array(6, np.float32)),
    ]
    source, shape = first, tuple(net.input_shape)
    for index, layer in enumerate(net.layers):
        target = net.output_name if index == len(net.layers) - 1 else f"layer{index}"
        weights = [_constant(f"{target}/{role}", data) for role, data in _weights(layer, shape)]
        nodes += _layer_nodes(layer, source, [weight.name for weight in weights], target, shape)
        constants += weights
        source, shape = target, nets.output_shape(layer, shape)
    return _model(
        nodes,
        [_value(net.input_name, "float32", net.input_shape)],
        [_value(net.output_name, "float32", shape)],
        constants,
    )


def _weights(
    layer: nets.Layer, shape: tuple[int, ...]
) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """The layer's weights by role, in the order and layout that its operator takes."""
    match layer:
        case nets.Conv(weight, bias):
            return [("weight", weight.transpose(3, 2, 0, 1)), ("bias", bias)]
        case nets.DepthwiseConv(weight, bias):
            return [("weight", weight.transpose(2, 0, 1)[:, np.newaxis]), ("bias", bias)]
        case nets.Dense(weight, bias) if len(shape) == 4:
            # The flattened picture has its channels first here, and last in `net`.
            turned = weight.reshape(*shape[1:], -1).transpose(2, 0, 1, 3)
            return [("weight", turned.reshape(weight.shape)), ("bias", bias)]
        case nets.Dense(weight, bias):
            return [("weight", weight), ("bias", bias)]
        case _:
            return []


def _layer_nodes(
    layer: nets.Layer, source: str, weights: list[str], target: str, shape: tuple[int, ...]
) -> list[onnx.NodeProto]:
    match layer:
        case nets.Conv(weight, stride=stride) | nets.DepthwiseConv(weight, stride=stride):
            groups = shape[3] if isinstance(layer, nets.DepthwiseConv) else 1
            rows = nets.same_padding(shape[1], weight.shape[0], stride)
            columns = nets.same_padding(shape[2], weight.shape[1], stride)
            whole = f"{target}/unclipped"
            conv = helper.make_node(
                "Conv",
                [source, *weights],
                [whole],
                group=groups,
                strides=[stride, stride],
                pads=[rows[0], columns[0], rows[1], columns[1]],
            )
            return [conv, helper.make_node("Clip", [whole, "lowest", "highest"], [target])]
        case nets.MaxPool():
            size = [2, 2]
            pool = helper.make_node("MaxPool", [source], [target], kernel_shape=size, strides=size)
            return [pool]
        case nets.GlobalMean():
            pooled = f"{target}/pooled"
            mean = helper.make_node("GlobalAveragePool", [source], [pooled])
            return [mean, helper.make_node("Flatten", [pooled], [target])]
        case nets.Dense():
            flat = f"{target}/flat"
            flatten = helper.make_node("Flatten", [source], [flat])
            return [flatten, helper.make_node("Gemm", [flat, *weights], [target])]
        case nets.Softmax():
            return [helper.make_node("Softmax", [source], [target], axis=1)]


def dense(width: int, count: int = 1) -> onnx.ModelProto:
    """`count` layers of `width` by `width` random weights each: as large as is wanted."""
    rng = np.random.default_rng(1)
    nodes, weights = [], []
    for i in range(count):
        weight = rng.standard_normal((width, width), np.float32) / np.float32(width)
        weights.append(_constant(f"w{i}", weight))
        nodes.append(helper.make_node("MatMul", [f"y{i - 1}" if i else "x", f"w{i}"], [f"z{i}"]))
        nodes.append(helper.make_node("Relu", [f"z{i}"], [f"y{i}"]))
    graph = helper.make_graph(
        nodes,
        "dense",
        [_value("x", "float32", (1, width))],
        [_value(f"y{count - 1}", "float32", (1, width))],
        weights,
    )
    return helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )


def tables(counts: Sequence[int], location: str) -> bytes:
    """Rows of tables of four columns, looked up by `i0`, `i1`, ...

    The tables of `counts` rows follow each other in the file `location`.
    """
    nodes, weights = [], []
    offset = 0
    for i, count in enumerate(counts):
        table = TensorProto(name=f"t{i}", data_type=TensorProto.FLOAT, dims=[count, 4])
        table.data_location = TensorProto.EXTERNAL
        places = {"location": location, "offset": str(offset), "length": str(16 * count)}
        for key, value in places.items():
            table.external_data.add(key=key, value=value)
        offset += 16 * count
        weights.append(table)
        nodes.append(helper.make_node("Gather", [f"t{i}", f"i{i}"], [f"y{i}"]))
    names = range(len(counts))
    graph = helper.make_graph(
        nodes,
        "tables",
        [_value(f"i{i}", "int64", (1,)) for i in names],
        [_value(f"y{i}", "float32", (1, 4)) for i in names],
        weights,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=[opset]
    ).SerializeToString()


def conv() -> bytes:
    """Input "image" [1, 8, 8, 2], output "scores" [1, 5]: convolution, pooling, dense, softmax."""
    return network(nets.small_conv())


def mobilenet(width: float = 1.0) -> bytes:
    """MobileNetV1 with random weights; about 17 MB at full width."""
    return network(nets.mobilenet(width))


def to_ort(onnx_bytes: bytes) -> bytes:
    """The same model in ONNX Runtime's own format, with optimizations that any machine can use.

    ONNX Runtime may order its bytes differently each time.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return _saved_as_ort(onnx_bytes, options)


def _saved_as_ort(onnx_bytes: bytes, options: onnxruntime.SessionOptions) -> bytes:
    options.add_session_config_entry("session.save_model_format", "ORT")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.ort")
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()


def quantized() -> bytes:
    """Operators between QuantizeLinear and DequantizeLinear, which engines turn into int8 ones.

    Convolution, addition, pooling, reshape, a product of matrices and their joint with themselves.
    """
    generator = np.random.default_rng(9)
    constants = [
        _constant("scale", np.array(0.05, np.float32)),
        _constant("zero", np.array(3, np.uint8)),
        _constant("zero8", np.array(0, np.int8)),
        _constant("shape", np.array([1, 12], np.int64)),
        _constant("w", generator.integers(-99, 99, (3, 2, 1, 1)).astype(np.int8)),
        _constant("m", generator.integers(0, 7, (12, 5)).astype(np.uint8)),
    ]
    nodes: list[onnx.NodeProto] = []

    def between(name: str, source: str, *weights: str, operator: str, **attributes: Any) -> None:
        """`operator` over real numbers, from `source` and to `name`, both quantized."""
        nodes.append(
            helper.make_node("DequantizeLinear", [source, "scale", "zero"], [f"{name}/from"])
        )
        inputs = [f"{name}/from", *weights]
        nodes.append(helper.make_node(operator, inputs, [f"{name}/real"], **attributes))
        real = [f"{name}/real", "scale", "zero"]
        nodes.append(helper.make_node("QuantizeLinear", real, [name]))

    nodes.append(helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["a"]))
    nodes.append(helper.make_node("DequantizeLinear", ["w", "scale", "zero8"], ["w/real"]))
    nodes.append(helper.make_node("DequantizeLinear", ["m", "scale", "zero"], ["m/real"]))
    between("b", "a", "w/real", operator="Conv")
    nodes.append(helper.make_node("DequantizeLinear", ["b", "scale", "zero"], ["b/again"]))
    between("c", "b", "b/again", operator="Add")
    between("d", "c", operator="MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    between("e", "d", "shape", operator="Reshape")
    between("f", "e", "m/real", operator="MatMul")
    nodes.append(helper.make_node("DequantizeLinear", ["f", "scale", "zero"], ["f/again"]))
    between("g", "f", "f/again", operator="Concat", axis=1)
    nodes.append(helper.make_node("DequantizeLinear", ["g", "scale", "zero"], ["y"]))
    return _model(
        nodes,
        [_value("x", "float32", (1, 2, 4, 4))],
        [_value("y", "float32", (1, 10))],
        constants,
    )


def to_ort_optimized_later(onnx_bytes: bytes) -> bytes:
    """The same model as an .ort that has the further optimizations as records, for later."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # it warns of what only this processor runs
    options.add_session_config_entry("optimization.minimal_build_optimizations", "save")
    return _saved_as_ort(onnx_bytes, options)


ALL: dict[str, Callable[[], bytes]] = {
    **{f"add_{dtype}": partial(add, dtype=dtype) for dtype in ADD_DTYPES},
    "add_scalar": partial(add, ()),
    "add_150k": add_150k,
    "sum_product": sum_product,
    "dynamic_batch": dynamic_batch,
    **{f"identity_{dtype}": partial(identity, dtype) for dtype in DTYPES},
    "conv": conv,
    "strings": strings,
    "data_dependent": data_dependent,
    "broadcast_chain": partial(broadcast_chain, 8),
}

# Sizes of zero and open ones, symbols with two sizes, shapes that are declared wrong.
SIZES: dict[str, Callable[[], bytes]] = {
    "empty_cache": partial(grown_cache, (0, 4)),
    "open_cache": partial(grown_cache, ("A", "B")),
    "turned": partial(turned, ("A", "B"), (2, 3)),
    "pair_of_rows": partial(pair_of_rows, "N"),
    "passed_through": partial(passed_through, "xyx"),
    "unique_rows": partial(unique_rows, ("N", 2)),
}

# What to_ort_optimized_later leaves records in.
OPTIMIZED_LATER: dict[str, Callable[[], bytes]] = {"quantized": quantized, "conv": conv}
