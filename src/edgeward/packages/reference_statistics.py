"""ReferenceStatistics: how a model's inputs and outputs are distributed over a calibration set.

What a device sees later is counted in the same bins, so that the two can be compared without a raw
sample. In a package they are reference.json; its fields are in docs/package-format.md, section 9.
Values are the stored ones: a quantised tensor's integers, not the reals that they stand for.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.answer import answer
from edgeward.errors import BadInput, MalformedPackage

FORMAT_VERSION = 1
BIN_COUNT = 32  # at most; fewer where values repeat
EDGE_SAMPLES = 1 << 20  # elements of a tensor, at most, that its bins are laid by
MOST_CLASSES = 4096
MOST_BYTES = 16 << 20
MOST_COUNT = 1 << 63
INPUT, OUTPUT = "input", "output"

Samples = Sequence[Mapping[str, NDArray[Any]]]


class TensorStatistics(NamedTuple):
    """One input or output over all samples.

    `edges` ascend; bin 0 is below edges[0], bin i from edges[i-1] up to but not with edges[i], the
    last from edges[-1] on, so there is one bin more than edges. NaN and infinities are counted
    apart and are in no bin, nor in `min` to `variance`, which are 0 when nothing finite came.
    `class_counts` is how often each index of an output that holds one row of scores was the
    largest; empty for other tensors.
    """

    side: str  # "input" or "output"
    name: str
    dtype: str
    finite_count: int
    nan_count: int
    infinite_count: int
    min: float
    max: float
    mean: float
    variance: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    class_counts: tuple[int, ...]


class ReferenceStatistics(NamedTuple):
    sample_count: int
    tensors: tuple[TensorStatistics, ...]

    @classmethod
    def measure(
        cls,
        model: _core.Model,
        samples: Samples,
        progress: Callable[[int, int], None] | None = None,
    ) -> "ReferenceStatistics":
        """Run `model` on each of `samples` twice: to lay the bins, and to count in them.

        `progress` is called with runs done and to do. Raises BadInput for no samples, for inputs
        that are not the model's, and when a tensor holds nothing that can be counted.
        """
        if not samples:
            raise BadInput("reference: expected at least one sample, got none")
        sides = ((INPUT, model.inputs), (OUTPUT, model.outputs))
        gathered = [
            _Gathered(side, spec.name, spec.dtype, EDGE_SAMPLES // len(samples) or 1)
            for side, specs in sides
            for spec in specs
            if spec.dtype not in UNCOUNTED
        ]
        total = 2 * len(samples)
        for see in (_Gathered.lay, _Gathered.count):
            for index, sample in enumerate(samples):
                outputs = answer(model, sample)
                for tensor in gathered:
                    see(tensor, (sample if tensor.side == INPUT else outputs)[tensor.name])
                if progress is not None:
                    progress(index + 1 + (len(samples) if see is _Gathered.count else 0), total)
        return cls(len(samples), tuple(tensor.statistics() for tensor in gathered))

    def to_bytes(self) -> bytes:
        document = {
            "version": FORMAT_VERSION,
            "sample_count": self.sample_count,
            "tensors": [tensor._asdict() for tensor in self.tensors],
        }
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> "ReferenceStatistics":
        """What to_bytes made. Raises MalformedPackage, beginning with `where`."""
        try:
            if len(data) > MOST_BYTES:
                raise ValueError(f"{len(data)} bytes")
            document = json.loads(data)
            if set(document) != {"version", "sample_count", "tensors"}:
                raise ValueError("other fields")
            if document["version"] != FORMAT_VERSION:
                raise ValueError(f"version {document['version']}")
            tensors = tuple(_tensor(tensor) for tensor in document["tensors"])
            return cls(_count(document["sample_count"]), tensors)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise MalformedPackage(
                f"{where}: reference.json: expected statistics of version {FORMAT_VERSION}, got "
                f"something else ({error})"
            ) from None


# Not numbers on a line, or numbers that numpy holds only as bits.
UNCOUNTED = {
    "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "int4", "uint4", "int2",
}  # fmt: skip


class _Gathered:
    """What is known of one tensor while the samples go by."""

    def __init__(self, side: str, name: str, dtype: str, edge_samples: int) -> None:
        self.side, self.name, self._dtype = side, name, dtype
        self._edge_samples = edge_samples  # of each sample
        self._parts: list[NDArray[np.float64]] = []
        self._edges = np.empty(0)
        self._counts = np.empty(0, np.int64)
        self._class_counts = np.empty(0, np.int64)
        self._count = self._nan_count = self._infinite_count = 0
        self._min, self._max, self._mean, self._squares = math.inf, -math.inf, 0.0, 0.0

    def lay(self, tensor: NDArray[Any]) -> None:
        values = _finite(tensor)
        stride = -(-values.size // self._edge_samples) or 1
        self._parts.append(values[::stride])

    def count(self, tensor: NDArray[Any]) -> None:
        if self._counts.size == 0:
            self._lay_edges()
        values = _finite(tensor)
        self._count_special(tensor)
        self._counts += np.bincount(
            np.searchsorted(self._edges, values, side="right"), minlength=self._counts.size
        )
        if values.size:
            self._min = min(self._min, float(values.min()))
            self._max = max(self._max, float(values.max()))
            # Chan, Golub and LeVeque: moments of two parts, merged.
            total = self._count + values.size
            mean = float(values.mean())
            step = mean - self._mean
            self._squares += float(np.square(values - mean).sum())
            self._squares += step * step * self._count * values.size / total
            self._mean += step * values.size / total
            self._count = total

    def statistics(self) -> TensorStatistics:
        is_empty = self._count == 0
        return TensorStatistics(
            self.side,
            self.name,
            self._dtype,
            self._count,
            self._nan_count,
            self._infinite_count,
            0.0 if is_empty else self._min,
            0.0 if is_empty else self._max,
            self._mean,
            0.0 if is_empty else self._squares / self._count,
            tuple(self._edges.tolist()),
            tuple(self._counts.tolist()),
            tuple(self._class_counts.tolist()),
        )

    def _lay_edges(self) -> None:
        """Bins that hold about as many values each; a value that repeats gets one of its own."""
        values = np.concatenate(self._parts)
        self._parts.clear()
        if values.size:
            shares = np.arange(1, BIN_COUNT) / BIN_COUNT
            self._edges = np.unique(np.quantile(values, shares, method="inverted_cdf"))
        self._counts = np.zeros(self._edges.size + 1, np.int64)

    def _count_special(self, tensor: NDArray[Any]) -> None:
        if tensor.dtype.kind == "f":
            self._nan_count += int(np.isnan(tensor).sum())
            self._infinite_count += int(np.isinf(tensor).sum())
        is_row = 1 < tensor.size == max(tensor.shape, default=1) <= MOST_CLASSES
        if self.side == OUTPUT and is_row:
            if self._class_counts.size == 0:
                self._class_counts = np.zeros(tensor.size, np.int64)
            if self._class_counts.size == tensor.size:
                self._class_counts[tensor.argmax()] += 1


def _finite(tensor: NDArray[Any]) -> NDArray[np.float64]:
    values = tensor.astype(np.float64, copy=False).ravel()
    return values[np.isfinite(values)]


def _tensor(document: Mapping[str, Any]) -> TensorStatistics:
    """Raises ValueError, TypeError or KeyError for what TensorStatistics does not allow."""
    if set(document) != set(TensorStatistics._fields):
        raise ValueError("other fields of a tensor")
    texts = [document[field] for field in ("side", "name", "dtype")]
    if not all(isinstance(text, str) for text in texts) or document["side"] not in (INPUT, OUTPUT):
        raise ValueError("a tensor without a name")
    edges = tuple(_number(edge) for edge in document["edges"])
    counts = tuple(_count(count) for count in document["counts"])
    if len(counts) != len(edges) + 1 or list(edges) != sorted(set(edges)):
        raise ValueError(f'bins of tensor "{document["name"]}"')
    return TensorStatistics(
        document["side"],
        document["name"],
        document["dtype"],
        _count(document["finite_count"]),
        _count(document["nan_count"]),
        _count(document["infinite_count"]),
        _number(document["min"]),
        _number(document["max"]),
        _number(document["mean"]),
        _number(document["variance"]),
        edges,
        counts,
        tuple(_count(count) for count in document["class_counts"]),
    )


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < MOST_COUNT:
        raise ValueError(f"the count {value!r}")
    return value


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"the number {value!r}")
    return float(value)  # type: ignore[arg-type]
