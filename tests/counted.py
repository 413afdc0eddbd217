"""What Statistics.report() says of arrays, by numpy alone: for simulations of many windows.

A tensor is an array [inferences, ...]: with one dimension more it is a row of columns, with three
a picture [inferences, height, width, channels].
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.drift import PartThresholds, Thresholds

FIGURES = {
    "mean": lambda rows: rows.mean(axis=1),
    "deviation": lambda rows: rows.std(axis=1),
    "least": lambda rows: rows.min(axis=1),
    "largest": lambda rows: rows.max(axis=1),
}
Arrays = Mapping[tuple[str, str], NDArray[Any]]  # by side and name


def parts_of(values: NDArray[Any]) -> dict[tuple[str, str], NDArray[Any]]:
    """Observations of each part, by kind and name, in the order of a report."""
    rows = values.reshape(len(values), -1)
    if values.ndim == 2:
        parts = {("column", str(index)): column for index, column in enumerate(rows.T)}
    else:
        parts = {("values", ""): rows}
    parts |= {("figure", name): figure(rows) for name, figure in FIGURES.items()}
    if values.ndim == 4:
        channels = values.mean(axis=(1, 2)).T
        parts |= {("figure", f"channel {index}"): row for index, row in enumerate(channels)}
    return parts


def edges_of(values: NDArray[Any]) -> NDArray[np.float64]:
    """As a reference of version 2 lays them: its least, quantiles, and just above its largest."""
    finite = np.sort(values[np.isfinite(values)].astype(np.float32), axis=None)
    inner = np.quantile(finite, np.arange(1, 32) / 32, method="inverted_cdf")
    top = np.nextafter(finite[-1], np.float32(np.inf))
    return np.unique([finite[0], *inner, top]).astype(np.float64)


def counts_of(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """[bins]; values that are not finite are in none."""
    finite = values[np.isfinite(values)].astype(np.float32)
    bins = np.searchsorted(edges.astype(np.float32), finite, side="right")
    return np.bincount(bins, minlength=edges.size + 1)


def sample_counts(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """[inferences, bins] of finite values [inferences, ...]."""
    rows = values.reshape(len(values), -1).astype(np.float32)
    bins = np.searchsorted(edges.astype(np.float32), rows, side="right")
    width = edges.size + 1
    flat = (np.arange(len(rows))[:, None] * width + bins).ravel()
    return np.bincount(flat, minlength=len(rows) * width).reshape(-1, width)


def report(arrays: Arrays, reference: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Of one window, in the bins of `reference`; without, the reference itself."""
    tensors = []
    for number, ((side, name), values) in enumerate(arrays.items()):
        with np.errstate(invalid="ignore"):  # the mean of infinities
            seen_parts = parts_of(values)
        bases = reference["tensors"][number]["parts"] if reference else None
        parts = [
            _row(kind, part, seen, bases[index] if bases else None)
            for index, ((kind, part), seen) in enumerate(seen_parts.items())
        ]
        classes = np.zeros(0, np.int64)
        if side == "output" and values.ndim == 2:
            classes = np.bincount(values.argmax(axis=1), minlength=values.shape[1])
        tensors.append({"side": side, "name": name, "parts": parts, "class_counts": classes})
    return {"run_count": len(values), "tensors": tensors}


def _row(
    kind: str, name: str, values: NDArray[Any], base: Mapping[str, Any] | None
) -> dict[str, Any]:
    edges = edges_of(values) if base is None else base["edges"]
    flat = values.ravel()
    finite = flat[np.isfinite(flat)].astype(np.float64)
    ends = (finite.min(), finite.max()) if base is None else (base["min"], base["max"])
    steps = np.empty(0) if kind == "values" else np.diff(finite)
    same = values[1:] == values[:-1]
    return {
        "kind": kind,
        "name": name,
        "finite_count": finite.size,
        "nan_count": int(np.isnan(flat).sum()),
        "infinite_count": int(np.isinf(flat).sum()),
        "min": finite.min(initial=np.inf),
        "max": finite.max(initial=-np.inf),
        "mean": finite.mean() if finite.size else 0.0,
        "variance": finite.var() if finite.size else 0.0,
        "clipped_count": int(np.isin(finite, ends).sum()),
        "unchanged_count": int((same.all(axis=1) if kind == "values" else same).sum()),
        "pair_count": steps.size,
        "step_squares": float(np.square(steps).sum()),
        "edges": edges,
        "counts": counts_of(flat, edges),
        "is_adaptive": False,
    }


def thresholds_of(reference: Mapping[str, Any]) -> Thresholds:
    """What independent inferences reach by chance, about once in 100,000 times."""
    sizes = (100, 1000, 10_000)
    factors = [1 / reference["run_count"] + 1 / size for size in sizes]
    part = PartThresholds(
        [80 * factor for factor in factors],
        [2.4 * factor**0.5 for factor in factors],
        [5 * factor**0.5 for factor in factors],
    )
    count = sum(len(tensor["parts"]) for tensor in reference["tensors"])
    return Thresholds(sizes, 0.001, 1, [part] * count)
