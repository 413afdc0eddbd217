"""Small .tflite models whose runs depend on earlier ones; `ALL` lists them by name.

Each has the input "x" and the output "y" (bidirectional layers also "z"), of float32 or int8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from .tflite_writer import (
    NONE,
    VALID,
    Op,
    Quantization,
    Signature,
    Subgraph,
    Tensor,
    constant,
    model,
    model_with_outer_buffers,
)

RELU, TANH = 1, 4  # ActivationFunctionType


class Sizes(NamedTuple):
    """Of a layer: steps of a sequence, elements of each, and cells."""

    time: int
    width: int
    cells: int


SMALL = Sizes(3, 4, 5)
TIME, WIDTH, CELLS = SMALL

_GATES = ("input", "forget", "cell", "output")


class _Weights:
    """Tensors of one layer, drawn from a seed: constants, variables, and what is absent."""

    def __init__(self, dtype: str, seed: int = 1) -> None:
        self.tensors: list[Tensor] = []
        self._dtype = dtype
        self._rng = np.random.default_rng(seed)

    def weight(self, name: str, *shape: int, dtype: str | None = None) -> str:
        dtype = dtype or self._dtype
        if dtype == "float32":
            values = self._rng.normal(0, 0.5, shape).astype(np.float32)
            self.tensors.append(constant(name, values))
        elif dtype == "int32":
            values = self._rng.integers(-200, 200, shape).astype(np.int32)
            self.tensors.append(constant(name, values, Quantization([0.0001], [0])))
        else:
            values = self._rng.integers(-127, 128, shape).astype(dtype)
            self.tensors.append(constant(name, values, Quantization([0.008], [0])))
        return name

    def tensor(self, name: str, dtype: str, *shape: int, scale: float = 0.05, zero: int = 0) -> str:
        quantization = None if dtype == "float32" else Quantization([scale], [zero])
        self.tensors.append(Tensor(name, dtype, shape, quantization=quantization))
        return name

    def state(self, name: str, dtype: str, *shape: int, scale: float = 0.05, zero: int = 0) -> str:
        quantization = None if dtype == "float32" else Quantization([scale], [zero])
        self.tensors.append(Tensor(name, dtype, shape, quantization=quantization, is_variable=True))
        return name


def _one(
    weights: _Weights,
    ops: Sequence[Op],
    outputs: Sequence[str] = ("y",),
    write: Callable[..., bytes] = model,
) -> bytes:
    return write([Subgraph(weights.tensors, ops, ["x"], outputs)])


def _cell(
    weights: _Weights, before: str, outputs: int, parts: frozenset[str], sizes: Sizes = SMALL
) -> list[str]:
    """The inputs of one direction of an LSTM, from the first weights to the projection's bias."""
    _, width, cells = sizes
    gates = ["" if gate == "input" and "cifg" in parts else gate for gate in _GATES]
    named = [f"{before}{gate}" if gate else "" for gate in gates]
    inputs = [gate and weights.weight(f"{gate}/w", cells, width) for gate in named]
    inputs += [gate and weights.weight(f"{gate}/r", cells, outputs) for gate in named]
    for gate in (named[0], named[1], named[3]):
        is_there = gate and "peephole" in parts
        inputs.append(weights.weight(f"{gate}/p", cells) if is_there else "")
    inputs += [gate and weights.weight(f"{gate}/b", cells, dtype="float32") for gate in named]
    if "projection" in parts:
        inputs += [
            weights.weight(f"{before}projection", outputs, cells),
            weights.weight(f"{before}projection/b", outputs, dtype="float32"),
        ]
    else:
        inputs += ["", ""]
    return inputs


def lstm(builtin: str, dtype: str, *parts: str, batch: int = 1, sizes: Sizes = SMALL) -> bytes:
    """`dtype` is that of the weights; parts: cifg, peephole, projection, norm, time_major."""
    weights, chosen = _Weights(dtype), frozenset(parts)
    time, width, cells = sizes
    outputs = 3 if "projection" in chosen else cells
    is_sequence = builtin != "LSTM"
    rows = (time, batch) if "time_major" in chosen else (batch, time)
    shape = rows if is_sequence else (batch,)
    x = weights.tensor("x", "float32", *shape, width)
    inputs = [x, *_cell(weights, "", outputs, chosen, sizes)]
    inputs.append(weights.state("activation", "float32", batch, outputs))
    inputs.append(weights.state("cells", "float32", batch, cells))
    if "norm" in chosen:
        inputs += [weights.weight(f"{gate}/n", cells, dtype="float32") for gate in _GATES]
    else:
        inputs += [""] * 4
    y = weights.tensor("y", "float32", *shape, outputs)
    options: dict[str, int | float | bool | str] = {"activation": TANH, "cell_clip": 10.0}
    if is_sequence:
        options["time_major"] = "time_major" in chosen
    return _one(weights, [Op(builtin, inputs, [y], options)])


def lstm_int8(builtin: str, sizes: Sizes = SMALL) -> bytes:
    """Weights and activations of int8, a cell state of int16; five intermediates, as written."""
    weights = _Weights("int8")
    time, width, cells = sizes
    shape = (1, width) if builtin == "LSTM" else (1, time, width)
    inputs = [weights.tensor("x", "int8", *shape, scale=0.03, zero=3)]
    inputs += [weights.weight(f"{gate}/w", cells, width) for gate in _GATES]
    inputs += [weights.weight(f"{gate}/r", cells, cells) for gate in _GATES]
    inputs += [""] * 3
    inputs += [weights.weight(f"{gate}/b", cells, dtype="int32") for gate in _GATES]
    inputs += [""] * 2
    inputs.append(weights.state("activation", "int8", 1, cells, scale=0.008, zero=-5))
    inputs.append(weights.state("cells", "int16", 1, cells, scale=2.0**-12))
    inputs += [""] * 4
    y = weights.tensor("y", "int8", *shape[:-1], cells, scale=0.008, zero=-5)
    between = [weights.tensor(f"between{i}", "int8", 1, scale=0.004, zero=2) for i in range(5)]
    options = {"activation": TANH, "cell_clip": 10.0}
    mutates = [index in (18, 19) for index in range(24)]
    return _one(
        weights, [Op(builtin, inputs, [y], options, intermediates=between, mutates=mutates)]
    )


def basic_lstm() -> bytes:
    """The LSTM of old converters: one matrix of weights, and outputs for its scratch memory."""
    weights = _Weights("float32")
    inputs = [
        weights.tensor("x", "float32", 1, WIDTH),
        weights.state("activation", "float32", 1, CELLS),
        weights.weight("weights", 4 * CELLS, WIDTH + CELLS),
        weights.weight("bias", 4 * CELLS),
        weights.state("cells", "float32", 1, CELLS),
    ]
    outputs = [
        weights.tensor("y", "float32", 1, CELLS),
        weights.tensor("cells out", "float32", 1, CELLS),
        weights.tensor("joined", "float32", 1, WIDTH + CELLS),
        weights.tensor("gates", "float32", 1, 4 * CELLS),
    ]
    options = {"activation": TANH, "kernel_type": 1}
    return _one(weights, [Op("LSTM", inputs, outputs, options)])


def two_layers(signature: bool) -> bytes:
    """An LSTM behind an SVDF, with a signature that calls the input "sound" or with none."""
    weights = _Weights("float32")
    filters = 8
    ops = [
        Op(
            "SVDF",
            [
                weights.tensor("x", "float32", 1, WIDTH),
                weights.weight("features", filters, WIDTH),
                weights.weight("times", filters, 6),
                "",
                weights.state("memory", "float32", 1, filters * 6),
            ],
            [weights.tensor("middle", "float32", 1, WIDTH)],
            {"rank": filters // WIDTH, "activation": RELU},
        )
    ]
    inputs = ["middle", *_cell(weights, "", CELLS, frozenset())]
    inputs.append(weights.state("activation", "float32", 1, CELLS))
    inputs.append(weights.state("cells", "float32", 1, CELLS))
    inputs += [""] * 4
    weights.tensor("y", "float32", 1, CELLS)
    ops.append(Op("LSTM", inputs, ["y"], {"activation": TANH}))
    graph = Subgraph(weights.tensors, ops, ["x"], ["y"])
    signatures = [Signature("serving_default", {"sound": "x"}, {"y": "y"})] if signature else []
    return model([graph], signatures)


def svdf(dtype: str, rank: int = 1, batch: int = 1, write: Callable[..., bytes] = model) -> bytes:
    """`dtype` is that of the weights; int16 weights over time mean integers throughout."""
    is_integer = dtype == "integer"
    weights = _Weights("int8" if is_integer else dtype)
    filters, memory = 6, 7
    inputs = [
        weights.tensor("x", "int8" if is_integer else "float32", batch, WIDTH, zero=4),
        weights.weight("features", filters, WIDTH),
        weights.weight("times", filters, memory, dtype="int16" if is_integer else None),
        weights.weight("bias", filters // rank, dtype="int32" if is_integer else "float32"),
        weights.state(
            "memory", "int16" if is_integer else "float32", batch, filters * memory, scale=0.002
        ),
    ]
    y = weights.tensor("y", "int8" if is_integer else "float32", batch, filters // rank, zero=-3)
    ops = [Op("SVDF", inputs, [y], {"rank": rank, "activation": RELU})]
    return _one(weights, ops, write=write)


def rnn(builtin: str, dtype: str, time_major: bool = False) -> bytes:
    weights = _Weights(dtype)
    shape = (2, WIDTH) if builtin == "RNN" else (2, TIME, WIDTH)
    batch = TIME if time_major else 2
    inputs = [weights.tensor("x", "float32", *shape)]
    inputs += [weights.weight("w", CELLS, WIDTH), weights.weight("r", CELLS, CELLS)]
    inputs += [weights.weight("b", CELLS, dtype="float32")]
    inputs += [weights.state("state", "float32", batch, CELLS)]
    y = weights.tensor("y", "float32", *shape[:-1], CELLS)
    options: dict[str, int | float | bool | str] = {"activation": TANH}
    if builtin != "RNN":
        options["time_major"] = time_major
    return _one(weights, [Op(builtin, inputs, [y], options)])


def bidirectional_rnn(merged: bool) -> bytes:
    weights = _Weights("float32")
    inputs = [weights.tensor("x", "float32", 2, TIME, WIDTH)]
    for way in ("f", "b"):
        inputs += [
            weights.weight(f"{way}/w", CELLS, WIDTH),
            weights.weight(f"{way}/r", CELLS, CELLS),
        ]
        inputs += [
            weights.weight(f"{way}/b", CELLS),
            weights.state(f"{way}/s", "float32", 2, CELLS),
        ]
    inputs += [""] * 3
    return _both_ways(weights, "BIDIRECTIONAL_SEQUENCE_RNN", inputs, (2, TIME), merged, False)


def bidirectional_lstm(dtype: str, merged: bool, time_major: bool = True) -> bytes:
    weights = _Weights(dtype)
    inputs = [weights.tensor("x", "float32", TIME, 1, WIDTH)]
    batch = 1 if time_major else TIME
    for way in ("f/", "b/"):
        inputs += _cell(weights, way, CELLS, frozenset())
    for way in ("f/", "b/"):
        inputs.append(weights.state(f"{way}activation", "float32", batch, CELLS))
        inputs.append(weights.state(f"{way}cells", "float32", batch, CELLS))
    inputs += [""] * 9
    name = "BIDIRECTIONAL_SEQUENCE_LSTM"
    return _both_ways(weights, name, inputs, (TIME, 1), merged, time_major)


def _both_ways(
    weights: _Weights,
    builtin: str,
    inputs: list[str],
    rows: tuple[int, int],
    merged: bool,
    time_major: bool,
) -> bytes:
    options = {"activation": TANH, "merge_outputs": merged, "time_major": time_major}
    outputs = [weights.tensor("y", "float32", *rows, CELLS * (2 if merged else 1))]
    if not merged:
        outputs.append(weights.tensor("z", "float32", *rows, CELLS))
    return _one(weights, [Op(builtin, inputs, outputs, options)], outputs)


def _handle(name: str) -> Tensor:
    return Tensor(name, "resource", ())


def _initializer(first: Sequence[np.ndarray]) -> Subgraph:
    """Assigns first values to the variables "v0", "v1" and so on."""
    tensors, ops = [], []
    for index, values in enumerate(first):
        tensors += [_handle(f"h{index}"), constant(f"first{index}", values)]
        ops += [
            Op("VAR_HANDLE", [], [f"h{index}"], {"container": "", "name": f"v{index}"}),
            Op("ASSIGN_VARIABLE", [f"h{index}", f"first{index}"], []),
        ]
    return Subgraph(tensors, ops, [], [], name="NoOp")


_SERVING = Signature("serving_default", {"x": "x"}, {"y": "y"})


def _reading(count: int, shape: Sequence[int], dtype: str) -> tuple[list[Tensor], list[Op]]:
    """Tensors and operators that read the variables "v0" and so on into "old0" and so on."""
    tensors, ops = [], []
    for index in range(count):
        tensors += [_handle(f"h{index}"), Tensor(f"old{index}", dtype, shape)]
        ops += [
            Op("VAR_HANDLE", [], [f"h{index}"], {"container": "", "name": f"v{index}"}),
            Op("READ_VARIABLE", [f"h{index}"], [f"old{index}"]),
        ]
    return tensors, ops


def accumulator(first: float = 0.5, signature: bool = True, length: int = 4) -> bytes:
    """y = the sum of every x since the start and of `first`, kept by name."""
    shape = (length,)
    tensors, ops = _reading(1, shape, "float32")
    tensors += [Tensor("x", "float32", shape), Tensor("y", "float32", shape)]
    ops.insert(0, Op("CALL_ONCE", [], [], {"subgraph": 1}))
    ops.append(Op("ADD", ["old0", "x"], ["y"], {"activation": NONE}))
    ops.append(Op("ASSIGN_VARIABLE", ["h0", "y"], []))
    graphs = [
        Subgraph(tensors, ops, ["x"], ["y"]),
        _initializer([np.full(shape, first, np.float32)]),
    ]
    return model(graphs, [_SERVING] if signature else [])


def window(count: int = 1) -> bytes:
    """y = the last two x and those `count` steps before, shifted through variables by name."""
    shape = (1, WIDTH)
    tensors, ops = _reading(count, shape, "float32")
    tensors += [Tensor("x", "float32", shape), Tensor("y", "float32", (1, (count + 1) * WIDTH))]
    ops.insert(0, Op("CALL_ONCE", [], [], {"subgraph": 1}))
    olds = [f"old{index}" for index in range(count)]
    ops.append(Op("CONCATENATION", [*olds, "x"], ["y"], {"axis": 1, "activation": NONE}))
    for index, source in enumerate([*olds[1:], "x"]):
        ops.append(Op("ASSIGN_VARIABLE", [f"h{index}", source], []))
    first = [np.full(shape, index, np.float32) for index in range(count)]
    return model([Subgraph(tensors, ops, ["x"], ["y"]), _initializer(first)], [_SERVING])


def filtered_window(
    count: int, width: int, channels: int, write: Callable[..., bytes] = model
) -> bytes:
    """As `window`, with a filter of `channels` over the steps that are kept."""
    shape = (1, 1, 1, width)
    tensors, ops = _reading(count, shape, "float32")
    weights = np.random.default_rng(4).normal(0, 0.1, (channels, 1, count + 1, width))
    tensors += [
        Tensor("x", "float32", shape),
        Tensor("steps", "float32", (1, 1, count + 1, width)),
        constant("filter", weights.astype(np.float32)),
        constant("bias", np.zeros(channels, np.float32)),
        Tensor("y", "float32", (1, 1, 1, channels)),
    ]
    ops.insert(0, Op("CALL_ONCE", [], [], {"subgraph": 1}))
    olds = [f"old{index}" for index in range(count)]
    ops.append(Op("CONCATENATION", [*olds, "x"], ["steps"], {"axis": 2, "activation": NONE}))
    ops.append(
        Op(
            "CONV_2D",
            ["steps", "filter", "bias"],
            ["y"],
            {"padding": VALID, "stride_w": 1, "stride_h": 1, "activation": RELU},
        )
    )
    for index, source in enumerate([*olds[1:], "x"]):
        ops.append(Op("ASSIGN_VARIABLE", [f"h{index}", source], []))
    first = [np.zeros(shape, np.float32) for _ in range(count)]
    return write([Subgraph(tensors, ops, ["x"], ["y"]), _initializer(first)], [_SERVING])


def delay() -> bytes:
    """y = twice the x of the step before: nothing else reads what is assigned."""
    shape = (4,)
    tensors, ops = _reading(1, shape, "float32")
    tensors += [Tensor("x", "float32", shape), Tensor("y", "float32", shape)]
    ops.insert(0, Op("CALL_ONCE", [], [], {"subgraph": 1}))
    ops.append(Op("ADD", ["old0", "old0"], ["y"], {"activation": NONE}))
    ops.append(Op("ASSIGN_VARIABLE", ["h0", "x"], []))
    graphs = [Subgraph(tensors, ops, ["x"], ["y"]), _initializer([np.zeros(shape, np.float32)])]
    return model(graphs, [_SERVING])


def called_late() -> bytes:
    """As `accumulator`, but another variable is assigned before the first values are."""
    shape = (4,)
    tensors, ops = _reading(1, shape, "float32")
    tensors += [
        Tensor("x", "float32", shape),
        Tensor("y", "float32", shape),
        _handle("other"),
    ]
    ops = [
        Op("VAR_HANDLE", [], ["other"], {"container": "", "name": "other"}),
        Op("ASSIGN_VARIABLE", ["other", "x"], []),
        Op("CALL_ONCE", [], [], {"subgraph": 1}),
        *ops,
        Op("ADD", ["old0", "x"], ["y"], {"activation": NONE}),
        Op("ASSIGN_VARIABLE", ["h0", "y"], []),
    ]
    graphs = [Subgraph(tensors, ops, ["x"], ["y"]), _initializer([np.zeros(shape, np.float32)])]
    return model(graphs, [_SERVING])


def weights_by_name() -> bytes:
    """y = x + a constant that is kept by name: not a stateful model."""
    shape = (4,)
    tensors, ops = _reading(1, shape, "float32")
    tensors += [Tensor("x", "float32", shape), Tensor("y", "float32", shape)]
    ops.insert(0, Op("CALL_ONCE", [], [], {"subgraph": 1}))
    ops.append(Op("ADD", ["old0", "x"], ["y"], {"activation": NONE}))
    graphs = [Subgraph(tensors, ops, ["x"], ["y"]), _initializer([np.ones(shape, np.float32)])]
    return model(graphs, [_SERVING])


_SEQUENCE = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_SEQUENCE_RNN = "UNIDIRECTIONAL_SEQUENCE_RNN"

ALL: dict[str, Callable[[], bytes]] = {
    "lstm": partial(lstm, "LSTM", "float32"),
    "lstm_cifg": partial(lstm, "LSTM", "float32", "cifg"),
    "lstm_peephole": partial(lstm, "LSTM", "float32", "peephole"),
    "lstm_projection": partial(lstm, "LSTM", "float32", "projection"),
    "lstm_norm": partial(lstm, "LSTM", "float32", "norm"),
    "lstm_batch": partial(lstm, "LSTM", "float32", "peephole", "projection", batch=3),
    "lstm_hybrid": partial(lstm, "LSTM", "int8"),
    "lstm_int8": partial(lstm_int8, "LSTM"),
    "basic_lstm": basic_lstm,
    "sequence_lstm": partial(lstm, _SEQUENCE, "float32"),
    "sequence_lstm_cifg": partial(lstm, _SEQUENCE, "float32", "cifg", "projection"),
    "sequence_lstm_time": partial(lstm, _SEQUENCE, "float32", "time_major", batch=2),
    "sequence_lstm_hybrid": partial(lstm, _SEQUENCE, "int8", "projection"),
    "sequence_lstm_int8": partial(lstm_int8, _SEQUENCE),
    "two_layers": partial(two_layers, False),
    "two_layers_signature": partial(two_layers, True),
    "svdf": partial(svdf, "float32"),
    "svdf_rank_2": partial(svdf, "float32", 2, 3),
    "svdf_outer_buffers": partial(svdf, "float32", write=model_with_outer_buffers),
    "svdf_hybrid": partial(svdf, "int8"),
    "svdf_int8": partial(svdf, "integer", 2),
    "rnn": partial(rnn, "RNN", "float32"),
    "rnn_hybrid": partial(rnn, "RNN", "int8"),
    "sequence_rnn": partial(rnn, _SEQUENCE_RNN, "float32"),
    "sequence_rnn_time": partial(rnn, _SEQUENCE_RNN, "float32", True),
    "bidirectional_rnn": partial(bidirectional_rnn, False),
    "bidirectional_rnn_merged": partial(bidirectional_rnn, True),
    "bidirectional_lstm": partial(bidirectional_lstm, "float32", False),
    "bidirectional_lstm_merged": partial(bidirectional_lstm, "float32", True),
    "bidirectional_lstm_hybrid": partial(bidirectional_lstm, "int8", False),
    "bidirectional_lstm_batch": partial(bidirectional_lstm, "float32", False, False),
    "accumulator": accumulator,
    "accumulator_no_signature": partial(accumulator, 0.25, False),
    "window": window,
    "window_of_three": partial(window, 3),
    "filtered_window": partial(filtered_window, 2, 3, 4),
    "filtered_window_outer_buffers": partial(filtered_window, 2, 3, 4, model_with_outer_buffers),
    "called_late": called_late,
}
