"""Trains the digit model that Edgeward ships: in tests/, python -m models.train_digits.

The pictures are the 1,797 that scikit-learn carries of the UCI optical digits. The first two thirds
in file order train, the last third is shipped as test pictures and never looked at in training.
Training runs in float64 and the weights are rounded to a coarse grid at the end, so that the last
bits in which one processor's arithmetic differs from another's do not reach the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from . import network as nets
from . import onnx_models, tflite_models

FOLDER = Path(__file__).parents[2] / "src" / "edgeward" / "digits"

SEED = 1797
EPOCH_COUNT = 60
PICTURES_PER_BATCH = 64
PEAK_RATE = 3e-3
SMOOTHING = 0.05  # share of each label spread over all ten digits
MAX_TURN_DEGREES = 12.0
MAX_SHIFT_PIXELS = 1.0
MAX_ZOOM = 0.12
WEIGHT_GRID = 2.0**-12

Doubles: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.uint8]


def split() -> tuple[Doubles, Labels, npt.NDArray[np.uint8], Labels]:
    """Training pictures in 0..1 and labels; test pictures in 0..16 and labels."""
    digits = load_digits()
    pictures, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    cut = len(pictures) * 2 // 3
    ink: Doubles = pictures[:cut] / 16
    return ink, labels[:cut], pictures[cut:], labels[cut:]


def moved(pictures: Doubles, random: np.random.Generator) -> Doubles:
    """Each picture turned, shifted and zoomed a little, sampled between its pixels."""
    count, size, _ = pictures.shape
    turn = np.radians(random.uniform(-MAX_TURN_DEGREES, MAX_TURN_DEGREES, (count, 1, 1)))
    zoom = 1 + random.uniform(-MAX_ZOOM, MAX_ZOOM, (count, 1, 1))
    shift = random.uniform(-MAX_SHIFT_PIXELS, MAX_SHIFT_PIXELS, (2, count, 1, 1))
    middle = (size - 1) / 2
    row, column = np.mgrid[:size, :size] - middle
    source_row = (np.cos(turn) * row - np.sin(turn) * column) * zoom + middle + shift[0]
    source_column = (np.sin(turn) * row + np.cos(turn) * column) * zoom + middle + shift[1]

    margin = 4  # past the largest step out of the picture, so that every sample has four pixels
    padded = np.pad(pictures, ((0, 0), (margin, margin), (margin, margin)))
    top, left = np.floor(source_row).astype(int), np.floor(source_column).astype(int)
    down, right = source_row - top, source_column - left
    which = np.arange(count)[:, np.newaxis, np.newaxis]

    def pixel(rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> Doubles:
        ink: Doubles = padded[which, rows + margin, columns + margin]
        return ink

    upper = pixel(top, left) * (1 - right) + pixel(top, left + 1) * right
    lower = pixel(top + 1, left) * (1 - right) + pixel(top + 1, left + 1) * right
    between: Doubles = upper * (1 - down) + lower * down
    return between


class Convolution:
    """A 3x3 convolution with its ReLU6, and what its gradient needs from the last forward pass."""

    def __init__(self, inputs: int, outputs: int, random: np.random.Generator) -> None:
        self.weight = random.normal(0, np.sqrt(2 / (9 * inputs)), (inputs * 9, outputs))
        self.bias = np.zeros(outputs)

    def forward(self, x: Doubles) -> Doubles:
        self._seen = nets.windows(x, 3, 3, 1).reshape(-1, len(self.weight))
        whole = (self._seen @ self.weight + self.bias).reshape(*x.shape[:3], -1)
        self._passes = (whole > 0) & (whole < 6)
        clipped: Doubles = np.clip(whole, 0, 6)
        return clipped

    def backward(self, gradient: Doubles) -> Doubles:
        batch, rows, columns, outputs = gradient.shape
        flat = (gradient * self._passes).reshape(-1, outputs)
        self.gradients = [self._seen.T @ flat, flat.sum(axis=0)]
        spread = (flat @ self.weight.T).reshape(batch, rows, columns, -1, 3, 3)
        padded: Doubles = np.zeros((batch, rows + 2, columns + 2, spread.shape[3]))
        for row in range(3):
            for column in range(3):
                padded[:, row : row + rows, column : column + columns] += spread[..., row, column]
        inner: Doubles = padded[:, 1:-1, 1:-1]
        return inner

    def layer(self) -> nets.Layer:
        kernel = rounded(self.weight).reshape(-1, 3, 3, len(self.bias)).transpose(1, 2, 0, 3)
        return nets.Conv(kernel, rounded(self.bias))


class Pooling:
    """The largest of each 2x2 square; of equal ones the first takes the gradient."""

    def forward(self, x: Doubles) -> Doubles:
        batch, rows, columns, channels = x.shape
        squares = x.reshape(batch, rows // 2, 2, columns // 2, 2, channels)
        self._squares = squares.transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4)
        self._shape = x.shape
        largest: Doubles = self._squares.max(axis=1)
        return largest.reshape(batch, rows // 2, columns // 2, channels)

    def backward(self, gradient: Doubles) -> Doubles:
        batch, rows, columns, channels = self._shape
        spread = np.zeros_like(self._squares)
        spread[np.arange(len(spread)), self._squares.argmax(axis=1)] = gradient.reshape(-1)
        squares = spread.reshape(batch, rows // 2, columns // 2, channels, 2, 2)
        picture: Doubles = squares.transpose(0, 1, 4, 2, 5, 3).reshape(self._shape)
        return picture

    def layer(self) -> nets.Layer:
        return nets.MaxPool()


class Flat:
    """A dense layer over the flattened picture."""

    def __init__(self, inputs: int, outputs: int, random: np.random.Generator) -> None:
        self.weight = random.normal(0, np.sqrt(1 / inputs), (inputs, outputs))
        self.bias = np.zeros(outputs)

    def forward(self, x: Doubles) -> Doubles:
        self._shape = x.shape
        self._seen = x.reshape(len(x), -1)
        output: Doubles = self._seen @ self.weight + self.bias
        return output

    def backward(self, gradient: Doubles) -> Doubles:
        self.gradients = [self._seen.T @ gradient, gradient.sum(axis=0)]
        spread: Doubles = gradient @ self.weight.T
        return spread.reshape(self._shape)

    def layer(self) -> nets.Layer:
        return nets.Dense(rounded(self.weight), rounded(self.bias))


class Adam:
    """Steps each weight by its mean gradient over the root of its mean squared gradient."""

    def __init__(self, weights: list[Doubles]) -> None:
        self._weights = weights
        self._means = [np.zeros_like(weight) for weight in weights]
        self._squares = [np.zeros_like(weight) for weight in weights]
        self._step_count = 0

    def step(self, gradients: list[Doubles], rate: float) -> None:
        self._step_count += 1
        mean_share = 1 - 0.9**self._step_count
        square_share = 1 - 0.999**self._step_count
        states = zip(self._weights, self._means, self._squares, gradients, strict=True)
        for weight, mean, square, gradient in states:
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            weight -= rate * (mean / mean_share) / (np.sqrt(square / square_share) + 1e-8)


def rounded(weight: Doubles) -> nets.Floats:
    """The nearest values on the grid; float32 holds each of them exactly."""
    return (np.round(weight / WEIGHT_GRID) * WEIGHT_GRID).astype(np.float32)


def batches(count: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.intp]]:
    """Every index once, in random order, PICTURES_PER_BATCH at a time."""
    order = random.permutation(count)
    for start in range(0, count, PICTURES_PER_BATCH):
        yield order[start : start + PICTURES_PER_BATCH]


def train(pictures: Doubles, labels: Labels) -> nets.Network:
    random = np.random.Generator(np.random.PCG64(SEED))
    layers = (
        Convolution(1, 16, random),
        Convolution(16, 32, random),
        Pooling(),
        Convolution(32, 32, random),
        Flat(4 * 4 * 32, 10, random),
    )
    weighted = [layer for layer in layers if not isinstance(layer, Pooling)]
    adam = Adam([values for layer in weighted for values in (layer.weight, layer.bias)])
    wanted = np.eye(10)[labels] * (1 - SMOOTHING) + SMOOTHING / 10
    step_total = EPOCH_COUNT * -(-len(pictures) // PICTURES_PER_BATCH)
    step = 0
    for epoch in range(EPOCH_COUNT):
        for chosen in batches(len(pictures), random):
            x = moved(pictures[chosen], random)[..., np.newaxis]
            for layer in layers:
                x = layer.forward(x)
            scores = np.exp(x - x.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
            gradient = (scores - wanted[chosen]) / len(chosen)
            for layer in reversed(layers):
                gradient = layer.backward(gradient)
            rate = PEAK_RATE * (1 + np.cos(np.pi * step / step_total)) / 2
            adam.step([values for layer in weighted for values in layer.gradients], rate)
            step += 1
        loss = -(wanted[chosen] * np.log(scores)).sum(axis=1).mean()
        print(f"epoch {epoch + 1}/{EPOCH_COUNT}: loss {loss:.3f}", end="\r", flush=True)
    print()
    output = (*(layer.layer() for layer in layers), nets.Softmax())
    return nets.Network("image", (1, 8, 8, 1), output, "scores")


def main() -> None:
    pictures, labels, test_pictures, test_labels = split()
    network = train(pictures, labels)
    FOLDER.joinpath("digits.tflite").write_bytes(tflite_models.network(network))
    FOLDER.joinpath("digits.onnx").write_bytes(onnx_models.network(network))
    np.savez_compressed(FOLDER / "digits.npz", pictures=test_pictures, labels=test_labels)
    scores = nets.answer(network, (test_pictures / np.float32(16))[..., np.newaxis])
    right = scores.argmax(axis=1) == test_labels
    print(f"{right.sum()} of the {len(right)} test pictures are read right: {right.mean():.2%}")


if __name__ == "__main__":
    main()
