"""Small image networks as plain values: layers with their weights, and their answer in numpy.

tflite_models and onnx_models write the same network for two engines; `answer` is what both say.
Pictures are [batch, height, width, channels]; padding is SAME, as TensorFlow defines it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Conv:
    """Weight [height, width, in, out]; the result is clipped to 0..6 (ReLU6)."""

    weight: Floats
    bias: Floats
    stride: int = 1


@dataclass(frozen=True)
class DepthwiseConv:
    """Weight [height, width, channels], one filter per channel; clipped to 0..6."""

    weight: Floats
    bias: Floats
    stride: int = 1


@dataclass(frozen=True)
class MaxPool:
    """The largest of each 2x2 square; height and width must be even."""


@dataclass(frozen=True)
class GlobalMean:
    """The mean over height and width of each channel."""


@dataclass(frozen=True)
class Dense:
    """Weight [in, out] over the flattened picture, rows first, channels last."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Softmax:
    """Scores that sum to one."""


Layer: TypeAlias = Conv | DepthwiseConv | MaxPool | GlobalMean | Dense | Softmax


@dataclass(frozen=True)
class Network:
    input_name: str
    input_shape: tuple[int, int, int, int]
    layers: tuple[Layer, ...]
    output_name: str


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Rows to add before and after so that ceil(size / stride) windows fit; the odd one after."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def output_shape(layer: Layer, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape after `layer`."""
    batch = shape[0]
    match layer:
        case Conv(weight=weight, stride=stride):
            return batch, -(-shape[1] // stride), -(-shape[2] // stride), weight.shape[3]
        case DepthwiseConv(stride=stride):
            return batch, -(-shape[1] // stride), -(-shape[2] // stride), shape[3]
        case MaxPool():
            return batch, shape[1] // 2, shape[2] // 2, shape[3]
        case GlobalMean():
            return batch, shape[3]
        case Dense(weight=weight):
            return batch, weight.shape[1]
        case Softmax():
            return tuple(shape)


def answer(network: Network, x: Floats) -> Floats:
    """The network's output for `x`."""
    for layer in network.layers:
        x = _apply(layer, x)
    return x


def windows(x: npt.NDArray[Any], height: int, width: int, stride: int) -> npt.NDArray[Any]:
    """Each window that a convolution looks at: [batch, rows, columns, channels, height, width]."""
    rows = same_padding(x.shape[1], height, stride)
    columns = same_padding(x.shape[2], width, stride)
    padded = np.pad(x, ((0, 0), rows, columns, (0, 0)))
    every = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    strided: npt.NDArray[Any] = every[:, ::stride, ::stride]
    return strided


def _apply(layer: Layer, x: Floats) -> Floats:
    y: npt.NDArray[Any]
    match layer:
        case Conv(weight, bias, stride):
            seen = windows(x, weight.shape[0], weight.shape[1], stride)
            y = np.clip(np.einsum("nrcihw,hwio->nrco", seen, weight) + bias, 0, 6)
        case DepthwiseConv(weight, bias, stride):
            seen = windows(x, weight.shape[0], weight.shape[1], stride)
            y = np.clip(np.einsum("nrcihw,hwi->nrci", seen, weight) + bias, 0, 6)
        case MaxPool():
            batch, rows, columns, channels = x.shape
            y = x.reshape(batch, rows // 2, 2, columns // 2, 2, channels).max(axis=(2, 4))
        case GlobalMean():
            y = x.mean(axis=(1, 2))
        case Dense(weight, bias):
            y = x.reshape(len(x), -1) @ weight + bias
        case Softmax():
            exps = np.exp(x - x.max(axis=1, keepdims=True))
            y = exps / exps.sum(axis=1, keepdims=True)
    return y.astype(np.float32)


class _Weights:
    """Seeded weights whose sizes keep activations near one through any depth."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))

    def _normal(self, shape: tuple[int, ...], fan_in: int) -> Floats:
        spread = np.float32(np.sqrt(2.0 / fan_in))
        weight: Floats = self._random.standard_normal(shape, np.float32) * spread
        return weight

    def _bias(self, channels: int) -> Floats:
        return self._random.uniform(-0.1, 0.1, channels).astype(np.float32)

    def conv(self, window: int, inputs: int, outputs: int, stride: int = 1) -> Conv:
        weight = self._normal((window, window, inputs, outputs), window * window * inputs)
        return Conv(weight, self._bias(outputs), stride)

    def depthwise(self, channels: int, stride: int) -> DepthwiseConv:
        return DepthwiseConv(self._normal((3, 3, channels), 9), self._bias(channels), stride)

    def dense(self, inputs: int, outputs: int, gain: float = 1.0) -> Dense:
        weight = self._normal((inputs, outputs), inputs) * np.float32(gain)
        return Dense(weight, self._bias(outputs))


def small_conv() -> Network:
    """One of each layer kind an image model needs, on an 8x8 picture."""
    weights = _Weights(seed=3)
    layers = (weights.conv(3, 2, 4), MaxPool(), weights.dense(4 * 4 * 4, 5), Softmax())
    return Network("image", (1, 8, 8, 2), layers, "scores")


def mobilenet(width: float = 1.0) -> Network:
    """MobileNetV1's shape: 224x224 colours to 1,000 scores. The weights are random, not trained."""
    weights = _Weights(seed=1704)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    blocks += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    channels = round(32 * width)
    layers: list[Layer] = [weights.conv(3, 3, channels, stride=2)]
    for block_channels, stride in blocks:
        layers.append(weights.depthwise(channels, stride))
        layers.append(weights.conv(1, channels, round(block_channels * width)))
        channels = round(block_channels * width)
    # The gain spreads the scores: without it a thousand of them lie at 0.001.
    layers += [GlobalMean(), weights.dense(channels, 1000, gain=8.0), Softmax()]
    return Network("image", (1, 224, 224, 3), tuple(layers), "scores")
