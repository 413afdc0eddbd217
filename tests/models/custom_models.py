"""Models of one custom operator each, for which the engines bring kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from flatbuffers import flexbuffers

from .tflite_writer import Op, Subgraph, Tensor, constant, model

SAMPLES, CHANNELS = 64, 2
WINDOW, STRIDE, FREQUENCIES = 16, 8, 9
FRAMES = 1 + (SAMPLES - WINDOW) // STRIDE
COEFFICIENTS = 5


def _model(
    name: str, inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, object]
) -> bytes:
    names = [tensor.name for tensor in inputs]
    op = Op(name, names, [output.name], custom_options=bytes(flexbuffers.Dumps(dict(options))))
    variable = [tensor.name for tensor in inputs if tensor.data is None]
    return model([Subgraph([*inputs, output], [op], variable, [output.name])])


def spectrogram() -> bytes:
    return _model(
        "AudioSpectrogram",
        [Tensor("x", "float32", (SAMPLES, CHANNELS))],
        Tensor("y", "float32", (CHANNELS, FRAMES, FREQUENCIES)),
        {"window_size": WINDOW, "stride": STRIDE, "magnitude_squared": True},
    )


def mel_coefficients() -> bytes:
    return _model(
        "Mfcc",
        [
            Tensor("x", "float32", (1, FRAMES, FREQUENCIES)),
            constant("rate", np.array([16000], np.int32)),
        ],
        Tensor("y", "float32", (1, FRAMES, COEFFICIENTS)),
        {
            "upper_frequency_limit": 4000,
            "lower_frequency_limit": 20,
            "filterbank_channel_count": 8,
            "dct_coefficient_count": COEFFICIENTS,
        },
    )


def rotation(size: int = 4) -> bytes:
    return _model(
        "aeq.hadamard_rotation",
        [Tensor("x", "float32", (3, 8))],
        Tensor("y", "float32", (3, 8)),
        {"hadamard_size": size, "random_binary_vector": [1, -1, 1, 1]},
    )


def attention() -> bytes:
    """Of 5 steps and 4 heads of 8."""
    shape = (1, 5, 4, 8)
    return _model(
        "odml.scaled_dot_product_attention",
        [*(Tensor(name, "float32", shape) for name in "xkv"), Tensor("m", "float32", (1, 1, 5, 5))],
        Tensor("y", "float32", shape),
        {"scale": 0.25},
    )


ALL: Mapping[str, Callable[[], bytes]] = {
    "spectrogram": spectrogram,
    "mel_coefficients": mel_coefficients,
    "rotation": rotation,
    "attention": attention,
}
