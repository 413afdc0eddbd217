"""Samples: inputs for many runs of a model, from one file.

An .npz holds an array for each tensor, by its name; an .npy holds the only input's. Samples lie
along the first axis: one of their own, or the model's, where that is a batch of one or of any size.
An array in the model's own shape is one sample. Where the model tells no shape, samples always lie
along an axis of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeward.errors import BadInput
from edgeward.inputs.tensor_file import Tensor, read_arrays
from edgeward.packages.contents import Case
from edgeward.packages.input_plan import Spec


def read_cases(path: Path, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> list[Case]:
    """A Case for each sample, with the outputs that the file holds. Raises BadInput or OSError."""
    arrays = read_arrays(path)
    if list(arrays) == [""] and len(inputs) == 1:
        arrays = {inputs[0].name: arrays[""]}
    wanted = {spec.name: spec for spec in inputs}
    expected = {spec.name: spec for spec in outputs if spec.name in arrays}
    if not set(wanted) <= set(arrays) or not set(arrays) <= set(wanted) | set(expected):
        known = ", ".join(f'"{name}"' for name in [*wanted, *(spec.name for spec in outputs)])
        present = ", ".join(f'"{name}"' for name in arrays) or "none"
        raise BadInput(f"{path}: expected arrays of the model's tensors {known}, got {present}")
    parts = {
        name: samples_of(path, arrays[name], spec) for name, spec in (wanted | expected).items()
    }
    counts = {name: len(samples) for name, samples in parts.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise BadInput(f"{path}: expected as many samples of each tensor, and some, got {counts}")
    return [
        Case(_taken(parts, wanted, index), _taken(parts, expected, index))
        for index in range(next(iter(counts.values())))
    ]


def samples_of(path: Path, array: Tensor, spec: Spec) -> list[Tensor]:
    """The samples of one tensor in `array`, each in the shape that `spec` asks for."""
    if spec.shape is None:
        return list(array) if array.ndim else [array]
    is_batch = bool(spec.shape) and spec.shape[0] in (1, -1)
    if not is_batch and _fits(array.shape, spec.shape):
        return [array]
    if array.ndim == len(spec.shape) + 1 and _fits(array.shape[1:], spec.shape):
        return list(array)
    if is_batch and array.ndim == len(spec.shape) and _fits(array.shape[1:], spec.shape[1:]):
        return [array[index : index + 1] for index in range(len(array))]
    axes = ", ".join(map(str, spec.shape))
    batch = f", or {['N', *spec.shape[1:]]}" if is_batch else ""
    raise BadInput(
        f'{path}: tensor "{spec.name}": expected samples [N, {axes}]{batch}, '
        f"got {list(array.shape)}".replace("'", "")
    )


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        want in (size, -1) for size, want in zip(shape, wanted, strict=True)
    )


def _taken(
    parts: Mapping[str, list[Tensor]], names: Mapping[str, Spec], index: int
) -> dict[str, Tensor]:
    return {name: np.asarray(parts[name][index], order="C") for name in names}
