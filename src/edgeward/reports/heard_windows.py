"""Heard windows: what a model answered to each window of a sound, as a document, lines and spans.

For people an answer is the best of a row of scores, or the first of other values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import Signature, TensorSpec
from edgeward.errors import BadInput
from edgeward.reports.inspection import (
    aligned,
    best_of,
    has_labels,
    number,
    real_values,
    shortened,
    values_report,
)
from edgeward.terminal.quoting import quoted
from edgeward.terminal.spectrogram import Span

BAR_COLUMNS = 20
FEW_COUNT = 4


class HeardWindow(NamedTuple):
    begin_s: float  # from the sound's beginning
    end_s: float
    outputs: Mapping[str, NDArray[Any]]


def report(
    windows: Sequence[HeardWindow], signature: Signature, labels: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "begin_s": window.begin_s,
            "end_s": window.end_s,
            "outputs": {
                spec.name: values_report(spec, window.outputs[spec.name], labels)
                for spec in signature.outputs
            },
        }
        for window in windows
    ]


def text(
    windows: Sequence[HeardWindow], signature: Signature, labels: Sequence[str], name: str, bar: str
) -> str:
    """A line for each window below each output's name; scores from 0 to 1 have a line of `bar`."""
    count = "1 window" if len(windows) == 1 else f"{len(windows)} windows"
    parts = [f"{name}, {count} of {windows[0].end_s - windows[0].begin_s:.3g} s"]
    step_s = windows[1].begin_s if len(windows) > 1 else 1.0
    decimals = max(2, -math.floor(math.log10(step_s)))
    for spec in signature.outputs:
        rows = [
            (
                f"{window.begin_s:.{decimals}f} s",
                *_cells(spec, window.outputs[spec.name], labels, bar),
            )
            for window in windows
        ]
        width = max(len(row[0]) for row in rows)
        cells = max(map(len, rows))
        rows = [(row[0].rjust(width), *row[1:], *[""] * (cells - len(row))) for row in rows]
        shape = list(windows[0].outputs[spec.name].shape)
        parts += ["", f"{quoted(spec.name)}  {spec.dtype} {shape}"]
        parts += [f"  {line}" for line in aligned(rows)]
    return "\n".join(parts)


def spans(
    windows: Sequence[HeardWindow], signature: Signature, labels: Sequence[str]
) -> list[Span]:
    """The best label of the first output that has labels, from when on it is the best."""
    for spec in signature.outputs:
        if has_labels(windows[0].outputs[spec.name], labels):
            best = [
                labels[
                    best_of(real_values(window.outputs[spec.name], spec.quantization).ravel())[0]
                ]
                for window in windows
            ]
            changes = [i for i in range(len(best)) if i == 0 or best[i] != best[i - 1]]
            ends = [*(windows[i].begin_s for i in changes[1:]), windows[-1].end_s]
            return [
                Span(shortened(best[i]), windows[i].begin_s, end_s)
                for i, end_s in zip(changes, ends, strict=True)
            ]
    return []


def _cells(
    spec: TensorSpec, tensor: NDArray[Any], labels: Sequence[str], bar: str
) -> tuple[str, ...]:
    is_number = tensor.dtype.kind in "fiu" and tensor.dtype.name == spec.dtype
    flat = (real_values(tensor, spec.quantization) if is_number else tensor).ravel()
    is_named = has_labels(tensor, labels)
    is_row = flat.dtype.kind == "f" and max(tensor.shape, default=1) == flat.size > 1
    if is_named or (is_row and ((flat >= 0) & (flat <= 1)).all()):
        best = best_of(flat)[0]
        name = shortened(labels[best]) if is_named else str(best)
        if flat.dtype.kind == "f" and 0 <= flat[best] <= 1:
            return name, f"{flat[best]:.4f}", bar * round(BAR_COLUMNS * float(flat[best]))
        return name, number(flat[best])
    shown = " ".join(number(value) for value in flat[:FEW_COUNT])
    return (shown + (" ..." if flat.size > FEW_COUNT else ""),)


def stacked(windows: Sequence[HeardWindow]) -> dict[str, NDArray[Any]]:
    """The outputs by name, with an axis of windows in front. Raises BadInput for many shapes."""
    outputs = {}
    for name in windows[0].outputs:
        arrays = [window.outputs[name] for window in windows]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            first, second = (list(shape) for shape in sorted(shapes)[:2])
            raise BadInput(
                f'output "{name}": expected one shape in all windows, got {first} and {second}'
            )
        outputs[name] = np.stack(arrays)
    return outputs
