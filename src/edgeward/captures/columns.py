"""Columns: the tensors that the records of one table have, each of one dtype and shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.captured import Captured

SIDES = ("inputs", "outputs")


class Column(NamedTuple):
    """A tensor of every record. `dtype` is the model's, `array_dtype` that of the numpy array."""

    side: str
    name: str
    dtype: str
    array_dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def arrays(self, records: Sequence[Captured]) -> list[NDArray[Any] | None]:
        """The tensor of each record; None where a run that failed has none."""
        return [getattr(record, self.side).get(self.name) for record in records]

    def stacked(self, records: Sequence[Captured]) -> NDArray[Any]:
        """The tensors of all records, along a first axis; zeros where a record has none."""
        blank = np.zeros(self.shape, self.array_dtype)
        return np.stack([blank if array is None else array for array in self.arrays(records)])


Columns = Mapping[str, Column]


def columns_of(captured: Captured) -> dict[str, Column]:
    """By name: "inputs.image"."""
    return {
        f"{side}.{name}": Column(side, name, captured.dtypes[side, name], array.dtype, array.shape)
        for side in SIDES
        for name, array in getattr(captured, side).items()
    }


def tensors_of(captured: Captured) -> Iterator[NDArray[Any]]:
    for side in SIDES:
        yield from getattr(captured, side).values()
