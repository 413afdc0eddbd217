"""Models of one operator each, for every builtin operator that LiteRT's Interpreter runs; `ALL`.

A name is the operator and its variant: "ADD/int8/broadcast". Operators with a state or a subgraph
have models of their own elsewhere. Whether a kernel has a dtype is for the Interpreter to say: a
model that it refuses is no model to run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .tflite_writer import (
    BUILTINS,
    RELU,
    RELU6,
    SAME,
    VALID,
    Op,
    Quantization,
    Subgraph,
    Tensor,
    constant,
    model,
)
from .tflite_writer import TENSOR_TYPES as TYPES

Array = npt.NDArray[Any]
Shape = Sequence[int]
# An input of the graph, its dtype and shape; or a constant.
Input = tuple[str, Shape] | Array

FLOAT, INTS, QUANTIZED = ("float32",), ("int32", "int64"), ("int8", "uint8", "int16")
ALL: dict[str, Callable[[], bytes]] = {}


def scale_of(dtype: str, scale: float = 0.05) -> Quantization | None:
    """What a quantized tensor of `dtype` has: a zero point off the middle where one may be."""
    if dtype not in QUANTIZED:
        return None
    zero_point = {"int8": -3, "uint8": 125, "int16": 0}[dtype]
    return Quantization([scale if dtype != "int16" else scale / 256], [zero_point])


def build(
    operator: str,
    inputs: Sequence[Input],
    outputs: Sequence[tuple[str, Shape]],
    options: Mapping[str, Any],
    scales: Mapping[str, Quantization],
) -> bytes:
    """The model. `scales` has other quantizations, by tensor: "input1", "output0"."""
    tensors, names = [], []
    for position, item in enumerate(inputs):
        name = f"input{position}"
        names.append(name)
        if isinstance(item, np.ndarray):
            tensors.append(constant(name, item, scales.get(name, scale_of(item.dtype.name))))
        else:
            quantization = scales.get(name, scale_of(item[0]))
            tensors.append(Tensor(name, item[0], item[1], quantization=quantization))
    fed = [n for n, item in zip(names, inputs, strict=True) if not isinstance(item, np.ndarray)]
    results = [f"output{position}" for position in range(len(outputs))]
    tensors += [
        Tensor(name, dtype, shape, quantization=scales.get(name, scale_of(dtype)))
        for name, (dtype, shape) in zip(results, outputs, strict=True)
    ]
    return model([Subgraph(tensors, [Op(operator, names, results, options)], fed, results)])


def add(
    name: str,
    inputs: Sequence[Input],
    outputs: Sequence[tuple[str, Shape]],
    options: Mapping[str, Any] | None = None,
    scales: Mapping[str, Quantization] | None = None,
) -> None:
    """Lists a model under "OPERATOR/variant"."""
    assert name not in ALL, name
    operator = name.split("/")[0]
    ALL[name] = partial(build, operator, inputs, outputs, options or {}, scales or {})


def ints(*values: int) -> Array:
    return np.array(values, np.int32)


def numbers(dtype: str, shape: Shape) -> Array:
    """Small numbers that are no pattern of the shape."""
    count = int(np.prod(shape))
    return ((np.arange(count) * 7 % 11) - 5).reshape(shape).astype(dtype)


def elementwise() -> None:
    """One input, and the same shape out."""
    quantized = {
        "ABS": (*FLOAT, "int8", "int16", "int32"),
        "CEIL": FLOAT, "COS": FLOAT, "FLOOR": FLOAT, "ROUND": FLOAT, "SIN": FLOAT,
        "ELU": (*FLOAT, "int8"), "EXP": (*FLOAT, "int8", "int16"),
        "GELU": (*FLOAT, "int8", "uint8"), "L2_NORMALIZATION": (*FLOAT, "int8", "uint8"),
        "HARD_SWISH": (*FLOAT, "int8", "uint8"), "LOG": (*FLOAT, "int8", "int16"),
        "LOGICAL_NOT": ("bool",), "NEG": (*FLOAT, *INTS), "RELU": (*FLOAT, *QUANTIZED),
        "RELU6": (*FLOAT, *QUANTIZED), "RELU_0_TO_1": (*FLOAT, "int8"),
        "RELU_N1_TO_1": (*FLOAT, "int8", "uint8"), "RSQRT": (*FLOAT, "int8", "int16"),
        "SIGN": (*FLOAT, "float64", "int32"), "SQRT": (*FLOAT, "int8"),
        "SQUARE": FLOAT, "ZEROS_LIKE": (*FLOAT, *INTS),
    }  # fmt: skip
    for operator, dtypes in quantized.items():
        for dtype in dtypes:
            for shape in ((2, 3, 4), (5,)):
                own = {}
                if operator in ("SQRT", "RSQRT") and dtype == "int8":
                    own = {"input0": Quantization([0.05], [-128])}
                if operator == "L2_NORMALIZATION" and dtype in QUANTIZED:
                    own = {"output0": Quantization([1 / 128], [128 if dtype == "uint8" else 0])}
                name = f"{operator}/{dtype}/{len(shape)}d"
                add(name, [(dtype, shape)], [(dtype, shape)], {}, own)
    for operator, scale in (("LOGISTIC", 1 / 256), ("TANH", 1 / 128)):
        for dtype in (*FLOAT, *QUANTIZED):
            lowest = {"int8": -128, "uint8": 0, "int16": 0}.get(dtype, 0)
            zero_point = lowest if operator == "LOGISTIC" else {"uint8": 128}.get(dtype, 0)
            fixed = 1 / 32768 if dtype == "int16" else scale
            own = {"output0": Quantization([fixed], [zero_point])} if dtype in QUANTIZED else {}
            add(f"{operator}/{dtype}", [(dtype, (2, 5))], [(dtype, (2, 5))], {}, own)
    add("GELU/float32/approximate", [("float32", (9,))], [("float32", (9,))], {"approximate": True})
    for dtype in (*FLOAT, *QUANTIZED):
        add(f"LEAKY_RELU/{dtype}", [(dtype, (2, 5))], [(dtype, (2, 5))], {"alpha": 0.25})
    for bits, narrow in ((8, 0), (4, 0), (16, 0)):
        options = {"min": -1.0, "max": 1.5, "num_bits": bits}
        add(f"FAKE_QUANT/{bits}/{narrow}", [("float32", (2, 3))], [("float32", (2, 3))], options)


def binary() -> None:
    """Two inputs of one type: of one shape, one broadcast, one constant, one scalar."""
    kinds = {
        "ADD": (*FLOAT, *QUANTIZED, *INTS), "SUB": (*FLOAT, *QUANTIZED, *INTS),
        "MUL": (*FLOAT, *QUANTIZED, *INTS), "DIV": (*FLOAT, "int32", "uint8"),
        "MAXIMUM": (*FLOAT, *QUANTIZED, *INTS), "MINIMUM": (*FLOAT, *QUANTIZED, *INTS),
        "POW": (*FLOAT, "int32"), "FLOOR_DIV": (*FLOAT, "int32", "int8"),
        "FLOOR_MOD": (*FLOAT, "int32", "int64"), "ATAN2": (*FLOAT, "float64"),
        "SQUARED_DIFFERENCE": (*FLOAT, "int8", "int32"), "BITWISE_XOR": ("int8", "int32", "uint32"),
        "RIGHT_SHIFT": ("int8", "int32", "uint32"), "LOGICAL_AND": ("bool",),
        "LOGICAL_OR": ("bool",), "STABLEHLO_ADD": (*FLOAT, "int32"),
        "STABLEHLO_MULTIPLY": (*FLOAT, "int32"), "STABLEHLO_MAXIMUM": (*FLOAT, "int32"),
        "STABLEHLO_MINIMUM": (*FLOAT, "int32"), "STABLEHLO_AND": ("bool", "int32"),
        "STABLEHLO_SHIFT_LEFT": ("int32",),
    }  # fmt: skip
    kinds |= dict.fromkeys(
        ("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"), (*FLOAT, "int8", "uint8", "int32")
    )
    kinds |= dict.fromkeys(("EQUAL", "NOT_EQUAL"), (*FLOAT, "int8", "int64", "bool"))
    predicates = ("LESS", "GREATER", "EQUAL", "NOT_EQUAL", "LOGICAL")
    for operator, dtypes in kinds.items():
        for dtype in dtypes:
            out = "bool" if operator.startswith(predicates) else dtype
            shape = (2, 3, 4)
            divisor = numbers(dtype, (4,)) if out != "bool" else numbers("int8", (4,)).astype(dtype)
            # No kernel may divide by zero, or shift by less than nothing.
            divisor = np.abs(divisor) + (dtype != "bool")
            if not operator.startswith("STABLEHLO") and operator != "ATAN2":
                pair = [(dtype, shape), divisor.astype(dtype)]
                add(f"{operator}/{dtype}/constant", pair, [(out, shape)])
            if operator in ("FLOOR_DIV", "FLOOR_MOD", "DIV") and dtype != "float32":
                continue
            add(f"{operator}/{dtype}/same", [(dtype, shape), (dtype, shape)], [(out, shape)])
            if not operator.startswith("STABLEHLO") and operator != "ATAN2":
                add(
                    f"{operator}/{dtype}/broadcast",
                    [(dtype, (2, 1, 4)), (dtype, (3, 1))],
                    [(out, shape)],
                )
    for operator in ("ADD", "SUB", "MUL", "DIV"):
        for activation, name in ((RELU, "relu"), (RELU6, "relu6")):
            add(
                f"{operator}/float32/{name}", [("float32", (7,)), ("float32", (7,))],
                [("float32", (7,))], {"activation": activation},
            )  # fmt: skip
    for operator in ("ADD", "SUB", "MUL"):
        wide = {"output0": Quantization([0.4], [7]), "input1": Quantization([0.01], [-9])}
        add(f"{operator}/int8/scales", [("int8", (7,)), ("int8", (7,))], [("int8", (7,))], {}, wide)
    for dtype in (*FLOAT, "int8", "uint8"):
        add(f"PRELU/{dtype}", [(dtype, (2, 3, 4)), numbers(dtype, (1, 1, 4))], [(dtype, (2, 3, 4))])
    for dtype in (*FLOAT, "int32"):
        add(f"ADD_N/{dtype}", [(dtype, (2, 3))] * 3, [(dtype, (2, 3))])


def output_types() -> None:
    """Kernels that set the type of what they give, whatever the file declares."""
    for dtype in ("int8", "uint8"):
        for operator in ("ADD", "SUB", "MUL"):
            add(
                f"{operator}/{dtype}/declared_float32", [(dtype, (2, 3)), (dtype, (2, 3))],
                [("float32", (2, 3))], {}, {"output0": scale_of(dtype) or Quantization([1], [0])},
            )  # fmt: skip
    softmax = {"output0": Quantization([1 / 65536], [-32768])}
    add("SOFTMAX/int8_to_int16", [("int8", (2, 5))], [("int16", (2, 5))], {"beta": 1.0}, softmax)
    for operator, options in (
        ("ADD", {}), ("MUL", {}), ("SUB", {}), ("DIV", {}), ("MAXIMUM", {}), ("POW", {}),
        ("FLOOR_MOD", {}), ("SQUARED_DIFFERENCE", {}),
    ):  # fmt: skip
        pair = [("float32", (3,)), np.array([1, 2, 3], np.float32)]
        add(f"{operator}/float32/declared_int32", pair, [("int32", (3,))], options)
    for operator, options in (
        ("RELU", {}), ("ABS", {}), ("SOFTMAX", {"beta": 1.0}), ("NEG", {}), ("TANH", {}),
    ):  # fmt: skip
        add(f"{operator}/float32/declared_int8", [("float32", (1, 3))], [("int8", (1, 3))], options)
    for name, inputs in {
        "RESHAPE": [("float32", (2, 3)), ints(3, 2)],
        "TRANSPOSE": [("float32", (2, 3)), ints(1, 0)],
        "TILE": [("float32", (3, 1)), ints(1, 2)],
        "SLICE": [("float32", (5, 4)), ints(1, 1), ints(3, 2)],
        "MEAN": [("float32", (3, 2, 4)), ints(2)],
        "GATHER": [("float32", (5, 2)), ints(1, 1, 4)],
    }.items():
        add(f"{name}/float32/declared_int32", inputs, [("int32", (3, 2))])
        add(f"{name}/float32/declared_shape", inputs, [("float32", (6,))])


def along_axes() -> None:
    """Reductions, extremes, normalizations, sums and sorts along an axis."""
    for operator in ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN"):
        for dtype in (*FLOAT, "int8", "uint8", "int16", "int32"):
            add(f"{operator}/{dtype}/last", [(dtype, (2, 3, 4)), ints(-1)], [(dtype, (2, 3))])
            kept = {"keep_dims": True}
            add(
                f"{operator}/{dtype}/kept",
                [(dtype, (2, 3, 4)), ints(0, 2)],
                [(dtype, (1, 3, 1))],
                kept,
            )
    for operator in ("REDUCE_ANY", "REDUCE_ALL"):
        add(f"{operator}/bool", [("bool", (2, 3)), ints(1)], [("bool", (2,))])
    for dtype in (*FLOAT, "int8"):
        area = [(dtype, (1, 4, 4, 3)), ints(1, 2)]
        add(f"MEAN/{dtype}/image", area, [(dtype, (1, 1, 1, 3))], {"keep_dims": True})
    for operator in ("ARG_MAX", "ARG_MIN"):
        for dtype in (*FLOAT, "int8", "uint8", "int32"):
            for wanted in INTS:
                options = {"output_type": TYPES[wanted]}
                add(
                    f"{operator}/{dtype}/{wanted}",
                    [(dtype, (2, 5)), ints(1)],
                    [(wanted, (2,))],
                    options,
                )
    softmax = {"int8": -128, "uint8": 0, "int16": 0}
    for dtype in (*FLOAT, *softmax):
        scale = 1 / 32768 if dtype == "int16" else 1 / 256
        own = {"output0": Quantization([scale], [softmax[dtype]])} if dtype in softmax else {}
        for shape in ((2, 7), (1, 2, 3, 4)):
            name = f"SOFTMAX/{dtype}/{len(shape)}d"
            add(name, [(dtype, shape)], [(dtype, shape)], {"beta": 1.0}, own)
    for dtype, zero_point in (("float32", 0), ("int8", 127), ("uint8", 255)):
        own = {"output0": Quantization([16 / 256], [zero_point])} if dtype in QUANTIZED else {}
        add(f"LOG_SOFTMAX/{dtype}", [(dtype, (2, 7))], [(dtype, (2, 7))], {}, own)
    for dtype in (*FLOAT, *INTS):
        for exclusive in (False, True):
            options = {"exclusive": exclusive, "reverse": exclusive}
            add(
                f"CUMSUM/{dtype}/{exclusive}",
                [(dtype, (2, 4)), ints(1)],
                [(dtype, (2, 4))],
                options,
            )
    add(
        "LOCAL_RESPONSE_NORMALIZATION/float32", [("float32", (1, 2, 3, 8))],
        [("float32", (1, 2, 3, 8))], {"radius": 2, "bias": 1.0, "alpha": 0.5, "beta": 0.75},
    )  # fmt: skip
    for dtype in (*FLOAT, "int8", "int32"):
        add(f"TOPK_V2/{dtype}", [(dtype, (2, 6)), ints(3)], [(dtype, (2, 3)), ("int32", (2, 3))])


def layers() -> None:
    """Convolutions, pools, dense layers and products of matrices, in their usual types."""
    for dtype in (*FLOAT, *QUANTIZED):
        for padding in (SAME, VALID):
            side = 6 if padding == SAME else 5
            options = {
                "padding": padding,
                "stride_w": 1,
                "stride_h": 1,
                "filter_w": 2,
                "filter_h": 2,
            }
            for operator in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
                if operator != "L2_POOL_2D" or dtype == "float32":
                    name = f"{operator}/{dtype}/{padding}"
                    add(name, [(dtype, (1, 6, 6, 3))], [(dtype, (1, side, side, 3))], options)
    window = {"padding": SAME, "stride_w": 2, "stride_h": 2, "dilation_w": 1, "dilation_h": 1}
    wide = {**window, "padding": VALID, "stride_w": 1, "stride_h": 1}
    wide |= {"dilation_w": 2, "dilation_h": 2}
    turned = {name: window[name] for name in ("padding", "stride_w", "stride_h")}
    for dtype, weights, bias in (
        ("float32", "float32", "float32"), ("int8", "int8", "int32"), ("uint8", "uint8", "int32"),
        ("int16", "int8", "int64"), ("float32", "int8", "float32"),
    ):  # fmt: skip
        own = {}
        if weights != "float32":
            own["input1"] = Quantization([0.02], [128 if weights == "uint8" else 0])
        if dtype != "float32":
            step = (0.05 / 256 if dtype == "int16" else 0.05) * 0.02
            own["input2"] = Quantization([step], [0])
            own["output0"] = Quantization(
                [0.2 if dtype != "int16" else 0.001], [0 if dtype != "uint8" else 120]
            )
        suffix = dtype if dtype == weights else f"{dtype}_by_{weights}"
        image: Input = (dtype, (1, 6, 6, 4))
        add(
            f"CONV_2D/{suffix}",
            [image, numbers(weights, (5, 3, 3, 4)), numbers(bias, (5,))],
            [(dtype, (1, 3, 3, 5))], {**window, "activation": RELU}, own,
        )  # fmt: skip
        add(
            f"CONV_2D/{suffix}/grouped",
            [image, numbers(weights, (6, 3, 3, 2)), numbers(bias, (6,))],
            [(dtype, (1, 3, 3, 6))], window, own,
        )  # fmt: skip
        add(
            f"CONV_2D/{suffix}/dilated",
            [image, numbers(weights, (5, 3, 3, 4)), numbers(bias, (5,))],
            [(dtype, (1, 2, 2, 5))],
            wide, own,
        )  # fmt: skip
        add(
            f"DEPTHWISE_CONV_2D/{suffix}",
            [image, numbers(weights, (1, 3, 3, 8)), numbers(bias, (8,))],
            [(dtype, (1, 3, 3, 8))], {**window, "depth_multiplier": 2}, own,
        )  # fmt: skip
        if suffix == "float32_by_int8":
            steps = Quantization([0.02 * (1 + i) for i in range(8)], [0] * 8, 3)
            add(
                f"DEPTHWISE_CONV_2D/{suffix}/by_channel",
                [image, numbers(weights, (1, 3, 3, 8)), numbers(bias, (8,))],
                [(dtype, (1, 3, 3, 8))], {**window, "depth_multiplier": 2}, {"input1": steps},
            )  # fmt: skip
        add(
            f"FULLY_CONNECTED/{suffix}",
            [(dtype, (2, 4)), numbers(weights, (3, 4)), numbers(bias, (3,))],
            [(dtype, (2, 3))], {}, own,
        )  # fmt: skip
        add(
            f"FULLY_CONNECTED/{suffix}/kept",
            [(dtype, (2, 3, 4)), numbers(weights, (3, 4)), numbers(bias, (3,))],
            [(dtype, (2, 3, 3))], {"keep_num_dims": True, "activation": RELU}, own,
        )  # fmt: skip
        add(
            f"TRANSPOSE_CONV/{suffix}",
            [ints(1, 12, 12, 5), numbers(weights, (5, 3, 3, 4)), image],
            [(dtype, (1, 12, 12, 5))], turned, {k: v for k, v in own.items() if k != "input2"},
        )  # fmt: skip


def products() -> None:
    """Products of matrices, images that are resized, and convolutions of volumes."""
    for dtype in (*FLOAT, "int8", "int16"):
        add(f"BATCH_MATMUL/{dtype}", [(dtype, (2, 3, 4)), (dtype, (2, 4, 5))], [(dtype, (2, 3, 5))])
        add(
            f"BATCH_MATMUL/{dtype}/turned", [(dtype, (1, 4, 3)), (dtype, (2, 5, 4))],
            [(dtype, (2, 3, 5))], {"adj_x": True, "adj_y": True},
        )  # fmt: skip
    for operator in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        for dtype in (*FLOAT, *QUANTIZED):
            for mode in ("plain", "align_corners", "half_pixel_centers"):
                options = {} if mode == "plain" else {mode: True}
                image = (dtype, (1, 3, 4, 2))
                name = f"{operator}/{dtype}/{mode}"
                add(name, [image, ints(5, 7)], [(dtype, (1, 5, 7, 2))], options)
    volume = {"padding": VALID, "stride_d": 1, "stride_w": 1, "stride_h": 1}
    volume |= {"dilation_d": 1, "dilation_w": 1, "dilation_h": 1}
    add(
        "CONV_3D/float32", [("float32", (1, 3, 4, 4, 2)), numbers("float32", (2, 2, 2, 2, 3))],
        [("float32", (1, 2, 3, 3, 3))], volume,
    )  # fmt: skip
    add(
        "CONV_3D_TRANSPOSE/float32",
        [ints(1, 3, 4, 4, 3), numbers("float32", (2, 2, 2, 3, 2)), ("float32", (1, 2, 3, 3, 2))],
        [("float32", (1, 3, 4, 4, 3))], volume,
    )  # fmt: skip


def moving() -> None:
    """Operators that move, repeat, pick or join elements."""
    wide = (*FLOAT, *QUANTIZED, *INTS, "bool")
    for dtype in wide:
        add(f"RESHAPE/{dtype}", [(dtype, (2, 6)), ints(3, -1)], [(dtype, (3, 4))])
        add(f"SQUEEZE/{dtype}", [(dtype, (1, 3, 1))], [(dtype, (3, 1))], {"squeeze_dims": [0]})
        add(f"EXPAND_DIMS/{dtype}", [(dtype, (2, 3)), ints(-1)], [(dtype, (2, 3, 1))])
        add(f"TRANSPOSE/{dtype}", [(dtype, (2, 3, 4)), ints(2, 0, 1)], [(dtype, (4, 2, 3))])
        add(f"SLICE/{dtype}", [(dtype, (4, 5)), ints(1, 2), ints(2, -1)], [(dtype, (2, 3))])
        add(f"TILE/{dtype}", [(dtype, (2, 3)), ints(2, 1)], [(dtype, (4, 3))])
        options = {"begin": 1, "shrink_axis": 2}
        bounds = [ints(0, -1), ints(4, 0), ints(2, 1)]
        add(f"STRIDED_SLICE/{dtype}", [(dtype, (4, 5)), *bounds], [(dtype, (2,))], options)
        bounds = [ints(3, 4), ints(-5, -6), ints(-1, -2)]
        add(f"STRIDED_SLICE/{dtype}/back", [(dtype, (4, 5)), *bounds], [(dtype, (4, 3))])
        add(f"GATHER/{dtype}", [(dtype, (4, 5)), ints(3, 0)], [(dtype, (2, 5))], {"axis": 0})
        add(f"GATHER/{dtype}/last", [(dtype, (4, 5)), ints(3, 0)], [(dtype, (4, 2))], {"axis": -1})
        add(
            f"GATHER_ND/{dtype}", [(dtype, (4, 5)), ints(3, 0, 1, 1).reshape(2, 2)], [(dtype, (2,))]
        )
        add(
            f"PACK/{dtype}",
            [(dtype, (2, 3))] * 2,
            [(dtype, (2, 2, 3))],
            {"count": 2, "axis": 1},
        )
        parts = [(dtype, (2,))] * 3
        add(f"UNPACK/{dtype}", [(dtype, (2, 3))], parts, {"num": 3, "axis": 1})
        add(f"SPLIT/{dtype}", [ints(1), (dtype, (2, 6))], [(dtype, (2, 3))] * 2, {"num_splits": 2})
        add(
            f"SPLIT_V/{dtype}", [(dtype, (6, 2)), ints(1, -1), ints(0)],
            [(dtype, (1, 2)), (dtype, (5, 2))], {"num_splits": 2},
        )  # fmt: skip
        pair = [(dtype, (2, 3)), (dtype, (2, 1))]
        add(f"CONCATENATION/{dtype}", pair, [(dtype, (2, 4))], {"axis": -1})
        add(f"PAD/{dtype}", [(dtype, (2, 3)), ints(1, 0, 0, 2).reshape(2, 2)], [(dtype, (3, 5))])
        add(
            f"MIRROR_PAD/{dtype}",
            [(dtype, (3, 4)), ints(1, 1, 2, 0).reshape(2, 2)],
            [(dtype, (5, 6))],
            {"mode": 0},
        )
        add(f"REVERSE_V2/{dtype}", [(dtype, (2, 3)), ints(1)], [(dtype, (2, 3))])
        add(f"BROADCAST_TO/{dtype}", [(dtype, (3, 1)), ints(2, 3, 4)], [(dtype, (2, 3, 4))])
        add(
            f"SELECT_V2/{dtype}",
            [("bool", (2, 1)), (dtype, (2, 3)), (dtype, (3,))],
            [(dtype, (2, 3))],
        )
        add(
            f"SELECT/{dtype}",
            [("bool", (2, 3)), (dtype, (2, 3)), (dtype, (2, 3))],
            [(dtype, (2, 3))],
        )
        add(f"FILL/{dtype}", [ints(2, 3), (dtype, ())], [(dtype, (2, 3))])
        add(
            f"DYNAMIC_UPDATE_SLICE/{dtype}", [(dtype, (4, 5)), (dtype, (2, 2)), ints(1, 2)],
            [(dtype, (4, 5))],
        )  # fmt: skip


def blocks() -> None:
    """The same in blocks, sequences, diagonals and rows."""
    for dtype in (*FLOAT, "int8", "uint8", "int32"):
        add(
            f"PADV2/{dtype}",
            [(dtype, (2, 3)), ints(1, 0, 0, 2).reshape(2, 2), numbers(dtype, ())],
            [(dtype, (3, 5))],
        )
        add(
            f"DEPTH_TO_SPACE/{dtype}",
            [(dtype, (1, 2, 3, 8))],
            [(dtype, (1, 4, 6, 2))],
            {"block_size": 2},
        )
        add(
            f"SPACE_TO_DEPTH/{dtype}",
            [(dtype, (1, 4, 6, 2))],
            [(dtype, (1, 2, 3, 8))],
            {"block_size": 2},
        )
        crops = ints(0, 0, 0, 0).reshape(2, 2)
        add(
            f"BATCH_TO_SPACE_ND/{dtype}",
            [(dtype, (4, 2, 2, 1)), ints(2, 2), crops],
            [(dtype, (1, 4, 4, 1))],
        )
        add(
            f"SPACE_TO_BATCH_ND/{dtype}",
            [(dtype, (1, 4, 4, 1)), ints(2, 2), crops],
            [(dtype, (4, 2, 2, 1))],
        )
        add(
            f"REVERSE_SEQUENCE/{dtype}", [(dtype, (4, 2, 3)), ints(2, 4)], [(dtype, (4, 2, 3))],
            {"seq_dim": 0, "batch_dim": 1},
        )  # fmt: skip
        add(
            f"SCATTER_ND/{dtype}",
            [ints(3, 0).reshape(2, 1), (dtype, (2, 3)), ints(5, 3)],
            [(dtype, (5, 3))],
        )
        add(f"MATRIX_DIAG/{dtype}", [(dtype, (2, 3))], [(dtype, (2, 3, 3))])
        add(f"MATRIX_SET_DIAG/{dtype}", [(dtype, (2, 3, 3)), (dtype, (2, 3))], [(dtype, (2, 3, 3))])
        add(f"DILATE/{dtype}", [(dtype, (2, 3)), ints(2, 1), numbers(dtype, ())], [(dtype, (3, 3))])
        add(f"EMBEDDING_LOOKUP/{dtype}", [ints(2, 0), numbers(dtype, (4, 3))], [(dtype, (2, 3))])


def counting() -> None:
    """Operators that make indices, types, shapes and numbers."""
    for source in ("float32", "int8", "uint8", "int16", "int32", "int64", "bool"):
        for target in ("float32", "int8", "int32", "int64", "bool", "float16"):
            options = {"from": TYPES[source], "to": TYPES[target]}
            add(f"CAST/{source}/{target}", [(source, (2, 3))], [(target, (2, 3))], options)
    for dtype in (*QUANTIZED, "float16"):
        add(f"DEQUANTIZE/{dtype}", [(dtype, (2, 3))], [("float32", (2, 3))])
    for dtype in QUANTIZED:
        add(f"QUANTIZE/{dtype}", [("float32", (2, 3))], [(dtype, (2, 3))])
        add(f"QUANTIZE/{dtype}/again", [("int8", (2, 3))], [(dtype, (2, 3))])
    for wanted in INTS:
        add(f"SHAPE/{wanted}", [("float32", (2, 3))], [(wanted, (2,))], {"type": TYPES[wanted]})
    add("RANK/float32", [("float32", (2, 3))], [("int32", ())])
    for dtype in (*FLOAT, "int32", "int8", "bool"):
        on, off = numbers(dtype, (1,)).reshape(()), np.zeros((), dtype)
        add(
            f"ONE_HOT/{dtype}",
            [("int32", (3,)), ints(4).reshape(()), on, off],
            [(dtype, (3, 4))],
            {"axis": -1},
        )


def segments() -> None:
    """Operators that sort elements into bins, and that draw or search."""
    for dtype in (*FLOAT, "int32", "int64"):
        add(
            f"BUCKETIZE/{dtype}",
            [(dtype, (2, 3))],
            [("int32", (2, 3))],
            {"boundaries": [-1.0, 0.0, 2.5]},
        )
        start, limit, delta = (np.array(value, dtype) for value in (1, 7, 2))
        add(f"RANGE/{dtype}", [start, limit, delta], [(dtype, (3,))])
        add(f"SEGMENT_SUM/{dtype}", [(dtype, (4, 2)), ints(0, 0, 1, 2)], [(dtype, (3, 2))])
        for how in ("SUM", "PROD", "MAX", "MIN"):
            rows = [(dtype, (4, 2)), ints(2, 0, 2, 0), ints(3).reshape(())]
            add(f"UNSORTED_SEGMENT_{how}/{dtype}", rows, [(dtype, (3, 2))])
        sparse = [ints(0, 1, 2, 0).reshape(2, 2), ints(3, 2), (dtype, (2,)), np.zeros((), dtype)]
        add(f"SPARSE_TO_DENSE/{dtype}", sparse, [(dtype, (3, 2))])
        add(
            f"UNIQUE/{dtype}",
            [(dtype, (6,))],
            [(dtype, (6,)), ("int32", (6,))],
            {"index_type": 2},
        )
        add(f"WHERE/{dtype}", [(dtype, (2, 3))], [("int64", (6, 2))])
    add("BROADCAST_ARGS/int32", [ints(2, 1), ints(3)], [("int32", (2,))])
    add("RFFT2D/float32", [("float32", (2, 4, 8)), ints(4, 8)], [("complex64", (2, 4, 5))])
    for operator, target in (("REAL", "float32"), ("IMAG", "float32"), ("COMPLEX_ABS", "float32")):
        add(f"{operator}/complex64", [("complex64", (2, 3))], [(target, (2, 3))])
    seeds = {"seed": 3, "seed2": 5}
    for operator in ("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"):
        add(f"{operator}/float32", [ints(2, 3)], [("float32", (2, 3))], seeds)
    for wanted in INTS:
        draws = [("float32", (2, 3)), ints(4).reshape(())]
        add(f"MULTINOMIAL/{wanted}", draws, [(wanted, (2, 4))], seeds)
    for source, target, shape in (("float32", "int32", (2, 3)), ("int8", "int32", (2,))):
        wide = (2, 3) if source == "float32" else (2, 4)
        add(f"BITCAST/{source}", [(source, wide)], [(target, shape)])
    boxes, scores = ("float32", (6, 4)), ("float32", (6,))
    limits = [ints(3).reshape(()), np.array(0.5, np.float32), np.array(0.0, np.float32)]
    chosen = [("int32", (3,)), ("int32", ())]
    add("NON_MAX_SUPPRESSION_V4/float32", [boxes, scores, *limits], chosen)
    soft = [*limits, np.array(0.5, np.float32)]
    add(
        "NON_MAX_SUPPRESSION_V5/float32",
        [boxes, scores, *soft],
        [chosen[0], ("float32", (3,)), chosen[1]],
    )
    hashes = [numbers("float32", (2, 3)), ("int32", (4, 2))]
    for kind, count in ((1, 2), (2, 6)):
        add(f"LSH_PROJECTION/{kind}", hashes, [("int32", (count,))], {"type": kind})
    table = [("int32", (3,)), ints(0, 1, 3), numbers("float32", (3, 2))]
    add("HASHTABLE_LOOKUP/float32", table, [("float32", (3, 2)), ("uint8", (3,))])


FAMILIES = (
    elementwise, binary, output_types, along_axes, layers, products, moving, blocks, counting,
    segments,
)  # fmt: skip
for family in FAMILIES:
    family()
assert {name.split("/")[0] for name in ALL} <= set(BUILTINS)
