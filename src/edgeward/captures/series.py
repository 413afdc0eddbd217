"""Series: what windows counted of one part, in time order, beside what the reference counted. Pure.

Reports are those of Statistics.report(): `run_count`, and for each tensor its parts. A window that
lacks a part has zeros there; what it counted in other bins than the reference's stays apart. Where
a reference of version 1 has all values of a tensor, columns are added up.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.captures import metrics
from edgeward.captures.verdict import Array, Part

Report = Mapping[str, Any]

FIELDS = (
    "finite_count", "nan_count", "infinite_count", "mean", "variance", "clipped_count",
    "unchanged_count", "pair_count", "step_squares",
)  # fmt: skip
COUNTED = ("finite_count", "nan_count", "infinite_count", "clipped_count")
NEIGHBOURS = ("step_squares", "pair_count", "variance")


class OtherBins(NamedTuple):
    """What a window counted, bounded by its least and largest value."""

    window: int
    edges: Array
    counts: Array


class Series(NamedTuple):
    """Of one part. `values` has an array [windows] for each of FIELDS."""

    part: Part
    row_index: int  # of the part among those of all tensors
    base: Mapping[str, Any]  # the reference's row of the part
    edges: Array  # of the reference
    base_counts: Array
    values: Mapping[str, Array]
    counts: Array  # [windows, bins of the reference]
    others: Sequence[OtherBins]

    @property
    def totals(self) -> Array:
        """Observations in each window, finite or not."""
        return (
            self.values["finite_count"] + self.values["nan_count"] + self.values["infinite_count"]
        )

    @property
    def base_total(self) -> float:
        base = self.base
        return float(base["finite_count"] + base["nan_count"] + base["infinite_count"])

    @property
    def has_range(self) -> bool:
        """The outer bins are what lies out of the reference's range, as in version 2."""
        is_bounded = self.base_counts.any() and not self.base_counts[[0, -1]].any()
        return bool(is_bounded and not self.base["is_adaptive"])

    @property
    def effects(self) -> tuple[Array, float]:
        """Design effects of the windows and of the reference; 1 where neighbours do not tell."""
        windows = metrics.design_effect(*(self.values[name] for name in NEIGHBOURS))
        return windows, float(metrics.design_effect(*(self.base[name] for name in NEIGHBOURS)))

    @property
    def worth(self) -> Array:
        """What part of each window's inferences counts, as alike as neighbours are there."""
        windows, base = self.effects
        return np.minimum(1, base / windows)

    def gathered(self, ends: NDArray[np.intp]) -> "Series":
        """Windows added up, each into that of its index in `ends`; nothing is left of the others.

        Not for what was counted in other bins.
        """
        values = {field: _summed(self.values[field], ends) for field in FIELDS}
        counts = self.values["finite_count"]
        divisor = np.maximum(values["finite_count"], 1)
        mean = _summed(counts * self.values["mean"], ends) / divisor
        squares = self.values["variance"] + np.square(self.values["mean"] - mean[ends])
        variance = _summed(counts * squares, ends) / divisor
        bins = np.zeros_like(self.counts)
        np.add.at(bins, ends, self.counts)
        return self._replace(values=values | {"mean": mean, "variance": variance}, counts=bins)


class Tensor(NamedTuple):
    """What all series of a tensor share. Sizes are in inferences."""

    side: str
    name: str
    series: Sequence[Series]
    base_class_counts: Array
    class_counts: Array  # [windows, classes]; no classes where the reference has none

    @property
    def leader(self) -> Series:
        """The part whose neighbours are most alike, for what has no neighbours of its own."""
        return min(self.series, key=lambda part: float(part.worth.sum()))


def tensors(reference: Report, reports: Sequence[Report]) -> list[Tensor]:
    """All that the reference has, in its order, as `reports` counted it."""
    rows = [{(row["side"], row["name"]): row for row in report["tensors"]} for report in reports]
    counted, row_index = [], 0
    for base in reference["tensors"]:
        key = base["side"], base["name"]
        counted.append(_tensor(base, row_index, [row.get(key) for row in rows]))
        row_index += len(base["parts"])
    return counted


def _tensor(
    base: Mapping[str, Any], row_index: int, rows: Sequence[Mapping[str, Any] | None]
) -> Tensor:
    has_values = any(part["kind"] == "values" for part in base["parts"])
    parts = [{} if row is None else _by_name(row["parts"], has_values) for row in rows]
    series = [
        _series(
            Part(base["side"], base["name"], part["kind"], part["name"]),
            index,
            part,
            [row.get((part["kind"], part["name"])) for row in parts],
        )
        for index, part in enumerate(base["parts"], row_index)
    ]
    classes = np.asarray(base["class_counts"], np.float64)
    counts = np.zeros((len(rows), classes.size))
    for window, row in enumerate(rows):
        if row is not None and len(row["class_counts"]) == classes.size:
            counts[window] = row["class_counts"]
    return Tensor(base["side"], base["name"], series, classes, counts)


def _by_name(
    rows: Sequence[Mapping[str, Any]], has_values: bool
) -> dict[tuple[str, str], Mapping[str, Any]]:
    parts = {(row["kind"], row["name"]): row for row in rows}
    columns = [row for row in rows if row["kind"] == "column"]
    if has_values and columns:
        parts[("values", "")] = _together(columns)
    return parts


def _together(columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All values of these columns, in the bins that all of them have. Neighbours say nothing."""
    totals = {field: sum(row[field] for row in columns) for field in COUNTED}
    sizes = np.array([row["finite_count"] for row in columns], np.float64)
    means, variances = (np.array([row[name] for row in columns]) for name in ("mean", "variance"))
    finite = max(float(sizes.sum()), 1.0)
    mean = float(sizes @ means) / finite
    bins = [
        metrics.bounded(*_bins(row), row["min"], row["max"])
        for row in columns
        if row["finite_count"]
    ]
    edges, counts = bins[0] if bins else (np.zeros(0), np.zeros(1))
    for other in bins[1:]:
        edges, first, second = metrics.common_bins(edges, counts, *other)
        counts = first + second
    return totals | {
        "mean": mean,
        "variance": float(sizes @ (variances + np.square(means - mean))) / finite,
        "min": min(row["min"] for row in columns),
        "max": max(row["max"] for row in columns),
        "unchanged_count": 0, "pair_count": 0, "step_squares": 0.0,
        "edges": edges, "counts": counts,
    }  # fmt: skip


def _series(
    part: Part, index: int, base: Mapping[str, Any], rows: Sequence[Mapping[str, Any] | None]
) -> Series:
    edges, base_counts = _bins(base)
    signature = edges.tobytes()
    counts = np.zeros((len(rows), base_counts.size))
    others = []
    for window, row in enumerate(rows):
        if row is None:
            continue
        its_edges, its_counts = _bins(row)
        if its_edges.tobytes() == signature and not base["is_adaptive"]:
            counts[window] = its_counts
        elif its_counts.any():
            its_bins = metrics.bounded(its_edges, its_counts, row["min"], row["max"])
            others.append(OtherBins(window, *its_bins))
    values: dict[str, NDArray[np.float64]] = {
        field: np.array([0.0 if row is None else row[field] for row in rows], np.float64)
        for field in FIELDS
    }
    return Series(part, index, base, edges, base_counts, values, counts, others)


def _bins(row: Mapping[str, Any]) -> tuple[Array, Array]:
    """Edges and counts; adaptive bins that have counted nothing have neither."""
    edges, counts = (np.asarray(row[field], np.float64) for field in ("edges", "counts"))
    return edges, counts if counts.size else np.zeros(edges.size + 1)


def groups(leader: Series, runs: float, least: float) -> NDArray[np.intp]:
    """For each window the last of its group: so many in a row that most are worth `least` runs.

    Each is alone where that is so already, or where all together are worth less. `runs` are those
    of the reference.
    """
    windows = np.arange(leader.totals.size)
    length = 1
    while length < 2 * windows.size:
        ends = np.minimum((windows // length + 1) * length, windows.size) - 1
        group = leader.gathered(ends)
        sizes = group.totals * (runs / max(group.base_total, 1)) * group.worth
        if 2 * np.count_nonzero(sizes >= least) >= np.count_nonzero(group.totals):
            return ends
        length *= 2
    return windows


def _summed(values: Array, ends: NDArray[np.intp]) -> Array:
    return np.bincount(ends, values, minlength=values.size).astype(np.float64)
