"""Calibration: a model is run over its calibration set, which lays its bins and counts in them.

The core counts, as it does on a device. Every part of a tensor has bins that hold about as many
values each, between the least and the greatest: what lies beyond the first and the last edge is out
of the calibration set's range.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.answer import answer
from edgeward.errors import BadInput
from edgeward.packages.reference_statistics import INPUT, OUTPUT, ReferenceStatistics
from edgeward.packages.thresholds import Part, thresholds

BIN_COUNT = 32  # at most, and one on each side for what is out of range
EDGE_SAMPLES = 1 << 20  # elements of a tensor, at most, that its bins are laid by

Samples = Sequence[Mapping[str, NDArray[Any]]]

# What numpy holds only as bits.
BITS = {
    "bfloat16", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "int4", "uint4", "int2", "uint2",
}  # fmt: skip


def calibrated(
    model: _core.Model, samples: Samples, progress: Callable[[int, int], None] | None = None
) -> ReferenceStatistics:
    """Run `model` on each of `samples` twice: to lay the bins, and to count in them.

    `progress` is called with runs done and to do. Raises BadInput for no samples and for inputs
    that are not the model's.
    """
    if not samples:
        raise BadInput("reference: expected at least one sample, got none")
    signature = next(iter(model.signatures.values()))
    tensors = [
        _Tensor(side, spec, len(samples))
        for side, specs in ((INPUT, signature.inputs), (OUTPUT, signature.outputs))
        for spec in specs
    ]

    def run(see: Callable[[int, dict[str, Any]], None], first: int) -> None:
        for index, sample in enumerate(samples):
            see(index, {INPUT: sample, OUTPUT: answer(model, sample)})
            if progress is not None:
                progress(first + index + 1, 2 * len(samples))

    adaptive = _core.make_statistics_counter(signature)

    def gather(_: int, sides: dict[str, Any]) -> None:
        adaptive.add(sides[INPUT], sides[OUTPUT])
        for tensor in tensors:
            tensor.gather(sides[tensor.side][tensor.name])

    run(gather, 0)
    for tensor, row in zip(tensors, adaptive.take().report()["tensors"], strict=True):
        tensor.lay(row["parts"])
    edges = {(tensor.side, tensor.name): tensor.edges for tensor in tensors}
    every, each = (_core.make_statistics_counter(signature, edges) for _ in range(2))

    def count(index: int, sides: dict[str, Any]) -> None:
        for counter in (every, each):
            counter.add(sides[INPUT], sides[OUTPUT])
        for tensor, row in zip(tensors, each.take().report()["tensors"], strict=True):
            tensor.count(index, row["parts"])

    run(count, len(samples))
    statistics = every.take()
    parts = [
        Part(counts, part["edges"], part["variance"] ** 0.5)
        for tensor, row in zip(tensors, statistics.report()["tensors"], strict=True)
        for counts, part in zip(tensor.counts, row["parts"], strict=True)
    ]
    return ReferenceStatistics.of(statistics, thresholds(parts))


class _Tensor:
    """What is known of a tensor while the samples go by."""

    def __init__(self, side: str, spec: _core.TensorSpec, sample_count: int) -> None:
        self.side, self.name = side, spec.name
        self.edges: list[list[float]] = []
        self.counts: list[NDArray[Any]] = []  # of each part: [samples, bins]
        self._sample_count = sample_count
        self._is_bits = spec.dtype in BITS
        kinds = [kind for kind, _ in _core.part_names(spec, side == OUTPUT)]
        self._width = kinds.count("column") or 1
        self._values: list[NDArray[np.float32]] = []  # [rows, width]

    def gather(self, tensor: NDArray[Any]) -> None:
        if self._is_bits:
            return
        rows = tensor.reshape(-1, self._width)
        stride = -(-rows.size // max(1, EDGE_SAMPLES // self._sample_count)) or 1
        with np.errstate(over="ignore"):  # beyond a float's range it counts as infinite
            self._values.append(rows[::stride].astype(np.float32))

    def lay(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Edges of each part, as it was counted in bins that adapt."""
        values = np.concatenate(self._values) if self._values else np.empty((0, self._width))
        self._values.clear()
        for index, part in enumerate(parts):
            column = values[:, index] if index < self._width else values[:0, 0]
            column = column[np.isfinite(column)]
            if column.size:
                distinct, counts = np.unique(column, return_counts=True)
            else:
                distinct, counts = np.append(part["min"], part["edges"]), part["counts"]
            self.edges.append(_edges(distinct[counts > 0], counts[counts > 0], part))
        bins = [len(edges) + 1 for edges in self.edges]
        self.counts = [np.zeros((self._sample_count, count), np.uint8) for count in bins]

    def count(self, index: int, parts: Sequence[Mapping[str, Any]]) -> None:
        for at, part in enumerate(parts):
            if part["finite_count"] > np.iinfo(self.counts[at].dtype).max:
                self.counts[at] = self.counts[at].astype(np.uint32)
            self.counts[at][index] = part["counts"]


def _edges(distinct: NDArray[Any], counts: NDArray[Any], part: Mapping[str, Any]) -> list[float]:
    """From the least of the part's values to what lies above the greatest.

    A bin for each of a few values that repeat, else bins of about as many values each.
    """
    if not distinct.size:
        return []
    if distinct.size > BIN_COUNT:
        shares = np.arange(1, BIN_COUNT) / BIN_COUNT
        running = np.cumsum(counts, dtype=np.float64)
        distinct = distinct[np.searchsorted(running, shares * running[-1])]
    least, greatest = np.float32(part["min"]), np.float32(part["max"])
    with np.errstate(over="ignore"):  # above the greatest float there is none
        end = np.nextafter(greatest, np.float32(np.inf))
    inner = distinct[(distinct > least) & (distinct <= greatest)].astype(np.float32)
    edges = np.unique(np.concatenate([[least], inner, [end]]))
    return [float(edge) for edge in edges[np.isfinite(edges)]]
