"""ReferenceStatistics: how a model's inputs and outputs are distributed over a calibration set.

What a device sees later is counted in the same bins, so that the two can be compared without a raw
sample. In a package they are reference.json; its fields are in docs/package-format.md, section 9.
Values are the stored ones: a quantised tensor's integers, not the reals that they stand for.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.captures.drift import PartThresholds, Thresholds
from edgeward.captures.findings import Names
from edgeward.errors import MalformedCapture, MalformedPackage
from edgeward.packages.thresholds import LEAST_BLOCKS, WANTED_SAMPLES, least_shifts

FORMAT_VERSION, FIRST_VERSION = 2, 1
MOST_BYTES = 16 << 20
MOST_COUNT = 1 << 63
MOST_SIZES = 64
MOST_REASON = 200  # characters
LEAST_FALSE_ALARMS = 1e-9
INPUT, OUTPUT = "input", "output"
FIELDS = {
    FIRST_VERSION: {"version", "sample_count", "tensors"},
    FORMAT_VERSION: {"version", "sample_count", "statistics", "thresholds"},
}
THRESHOLDS_FIELDS = {"sizes", "false_alarms", "block", "tensors"}
FIRST_COUNTS = ("finite_count", "nan_count", "infinite_count")
FIRST_NUMBERS = ("min", "max", "mean", "variance")
FIRST_TENSOR = {"side", "name", "dtype", "edges", "counts", "class_counts"}

Report = Mapping[str, Any]


class ReferenceStatistics:
    """Counts of a calibration set, and how far chance carries a window from them. Any thread.

    `report` is as Statistics.report() makes it; in a reference of version 1 a tensor has one part,
    which says nothing of neighbours. `thresholds` are None in version 1, and where the calibration
    set has too few samples for any. `names` are those of its package's columns and classes; they
    are not in its bytes.
    """

    def __init__(
        self,
        report: Report,
        thresholds: Thresholds | None,
        content: bytes,
        names: Names = Names(),  # noqa: B008
    ) -> None:
        self.report = report
        self.thresholds = thresholds
        self.names = names
        self._content = content

    @classmethod
    def of(
        cls, statistics: _core.Statistics, thresholds: Thresholds | None
    ) -> "ReferenceStatistics":
        report = statistics.report()
        document = {
            "version": FORMAT_VERSION,
            "sample_count": report["run_count"],
            "statistics": base64.b64encode(statistics.to_bytes()).decode(),
            "thresholds": thresholds and _thresholds_document(report, thresholds),
        }
        content = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        return cls(report, thresholds, content)

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        where: str,
        names: Names = Names(),  # noqa: B008
    ) -> "ReferenceStatistics":
        """What to_bytes gave. Raises MalformedPackage, beginning with `where`."""
        try:
            if len(data) > MOST_BYTES:
                raise ValueError(f"{len(data)} bytes")
            document = json.loads(data)
            version = document["version"]
            if type(version) is not int or set(document) != FIELDS.get(version):
                raise ValueError(f"version {version!r}, or other fields than its")
            count = _count(document["sample_count"])
            if version == FIRST_VERSION:
                tensors = [_first_tensor(tensor) for tensor in document["tensors"]]
                return cls({"run_count": count, "tensors": tensors}, None, data, names)
            content = base64.b64decode(document["statistics"], validate=True)
            report = _core.Statistics.from_bytes(content).report()
            if report["run_count"] != count:
                raise ValueError(f"{count} samples, of which {report['run_count']} were counted")
            limits = document["thresholds"]
            thresholds = None if limits is None else _thresholds(report, limits)
            return cls(report, thresholds, data, names)
        except (
            ArithmeticError, AttributeError, KeyError, MalformedCapture, RecursionError, TypeError,
            ValueError,
        ) as error:  # fmt: skip
            # It quotes what is in the document: a name of many lines, a version of megabytes.
            reason = " ".join(str(error).split())[:MOST_REASON]
            raise MalformedPackage(
                f"{where}: reference.json: expected statistics of version {FIRST_VERSION} or "
                f"{FORMAT_VERSION}, got something else ({reason})"
            ) from None

    def to_bytes(self) -> bytes:
        return self._content

    @property
    def sample_count(self) -> int:
        return int(self.report["run_count"])

    @property
    def shortcomings(self) -> list[str]:
        """Why it does not tell small drift from chance, in sentences; none when it does."""
        sentences = []
        if self.sample_count < WANTED_SAMPLES:
            sentences.append(
                f"expected a calibration set of at least {WANTED_SAMPLES:,} samples, got "
                f"{self.sample_count:,}: {self._least_shift()}"
            )
        block = 1 if self.thresholds is None else self.thresholds.block
        if 1 < block == self.sample_count // LEAST_BLOCKS:
            sentences.append(
                f"expected samples that resemble few of their neighbours, got some that resemble "
                f"{block:,} or more, as if there were hardly {LEAST_BLOCKS}: take them from a "
                "longer time, or shuffle them where their order is not that of time"
            )
        return sentences

    def _least_shift(self) -> str:
        if self.thresholds is None:
            return "too few for thresholds of drift"
        size, shift = self.thresholds.sizes[-1], least_shifts(self.thresholds)[-1]
        if math.isnan(shift):
            return "none of its values varies"
        return (
            f"even a window of {size:,} inferences shows no mean that has moved by less than "
            f"{shift:.2f} deviations"
        )

    @property
    def edges(self) -> dict[tuple[str, str], list[list[float]]]:
        """Of each part's bins, by side and name of the tensor: as StatisticsCounter takes them.

        A list for each part, or of a reference of version 1 one for the tensor; tensors in which
        nothing was counted are left out.
        """
        edges = {
            (tensor["side"], tensor["name"]): [list(part["edges"]) for part in tensor["parts"]]
            for tensor in self.report["tensors"]
        }
        return {tensor: parts for tensor, parts in edges.items() if any(parts)}


def _thresholds_document(report: Report, thresholds: Thresholds) -> dict[str, Any]:
    parts = iter(thresholds.parts)
    return {
        "sizes": list(thresholds.sizes),
        "false_alarms": thresholds.false_alarms,
        "block": thresholds.block,
        "tensors": [
            {
                "side": tensor["side"],
                "name": tensor["name"],
                "parts": [next(parts)._asdict() for _ in tensor["parts"]],
            }
            for tensor in report["tensors"]
        ],
    }


def _thresholds(report: Report, document: Mapping[str, Any]) -> Thresholds:
    """Raises ValueError, TypeError or KeyError for what _thresholds_document does not make."""
    if set(document) != THRESHOLDS_FIELDS:
        raise ValueError("other fields of thresholds")
    sizes = [_count(size) for size in document["sizes"]]
    if not 0 < len(sizes) <= MOST_SIZES or sizes[0] == 0 or sizes != sorted(set(sizes)):
        raise ValueError("sizes of windows that do not ascend")
    false_alarms, block = _number(document["false_alarms"]), _count(document["block"])
    if not LEAST_FALSE_ALARMS <= false_alarms < 1 or not 0 < block <= report["run_count"]:
        raise ValueError(f"{false_alarms} false alarms in blocks of {block}")
    parts = []
    for tensor, row in zip(document["tensors"], report["tensors"], strict=True):
        if set(tensor) != {"side", "name", "parts"} or any(
            tensor[field] != row[field] for field in ("side", "name")
        ):
            raise ValueError(f'thresholds of other tensors than "{row["name"]}"')
        for part, _ in zip(tensor["parts"], row["parts"], strict=True):
            parts.append(_part_thresholds(part, len(sizes)))
    return Thresholds(tuple(sizes), false_alarms, block, tuple(parts))


def _part_thresholds(document: Mapping[str, Any], size_count: int) -> PartThresholds:
    if set(document) != set(PartThresholds._fields):
        raise ValueError("thresholds of other metrics")
    limits = [
        tuple(_number(limit) for limit in document[metric]) for metric in PartThresholds._fields
    ]
    if any(len(values) != size_count or min(values) < 0 for values in limits):
        raise ValueError("thresholds below 0, or not one for each size")
    return PartThresholds(*limits)


def _first_tensor(document: Mapping[str, Any]) -> dict[str, Any]:
    """A tensor of version 1 as Statistics.report() has it: all of its values are one part.

    What version 1 does not say is no surprise in any window: as if all values were clipped and
    unchanged. Raises ValueError, TypeError or KeyError.
    """
    if set(document) != FIRST_TENSOR | {*FIRST_COUNTS, *FIRST_NUMBERS}:
        raise ValueError("other fields of a tensor")
    texts = {field: _text(document[field]) for field in ("side", "name", "dtype")}
    if texts["side"] not in (INPUT, OUTPUT):
        raise ValueError(f"a tensor on the side {texts['side']!r}")
    edges = [_number(edge) for edge in document["edges"]]
    counts = [_count(count) for count in document["counts"]]
    if len(counts) != len(edges) + 1 or edges != sorted(set(edges)):
        raise ValueError(f'bins of tensor "{texts["name"]}"')
    if document["variance"] < 0:
        raise ValueError(f"the variance {document['variance']!r}")
    bins = _float_bins(edges, counts)
    total = _count(document["finite_count"])
    class_counts = [_count(count) for count in document["class_counts"]]
    return texts | {
        "class_counts": np.array(class_counts, np.uint64),
        "parts": [
            {
                "kind": "values",
                "name": "",
                **{field: _count(document[field]) for field in FIRST_COUNTS},
                **{field: _number(document[field]) for field in FIRST_NUMBERS},
                "clipped_count": total,
                "unchanged_count": total,
                "pair_count": 0,
                "step_squares": 0.0,
                "edges": bins[0],
                "counts": bins[1],
                "is_adaptive": False,
            }
        ],
    }


def _float_bins(
    edges: Sequence[float], counts: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """The same bins between floats: what a device counts are floats.

    An edge becomes the least float that is not below it; bins without a float in them join the one
    below.
    """
    exact = np.array(edges, np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    least = np.where(nearest < exact, np.nextafter(nearest, np.float32(np.inf)), nearest)
    is_last = np.append(least[1:] != least[:-1], True)[: least.size] & np.isfinite(least)
    below = np.cumsum(np.array(counts, np.uint64))
    bounds = np.append(below[:-1][is_last], below[-1])
    return least[is_last].astype(np.float64), np.diff(bounds, prepend=np.uint64(0))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a name that is no text")
    value.encode()  # half a character is in no name of a model's tensor
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < MOST_COUNT:
        raise ValueError(f"the count {value!r}")
    return value


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"the number {value!r}")
    return float(value)  # type: ignore[arg-type]
