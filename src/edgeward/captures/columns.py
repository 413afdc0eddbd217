"""Columns: the tensors that the records of one table have, each of one dtype and shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.batch import Batch
from edgeward.captures.quantization import Quantization

SIDES = ("inputs", "outputs")


class Column(NamedTuple):
    """A tensor of every record. `dtype` is the model's, `array_dtype` that of the numpy array."""

    side: str
    name: str
    dtype: str
    array_dtype: np.dtype[Any]
    shape: tuple[int, ...]
    quantization: Quantization | None  # of the stored values

    @property
    def has_real(self) -> bool:
        """Whether it is known which real values the stored ones stand for, when they are others."""
        if self.dtype == "bfloat16" and self.quantization is None:
            return True
        # Whether a value is an element, not some bits of one.
        is_whole = self.dtype == self.array_dtype.name
        return is_whole and self.quantization is not None and self.quantization.fits(self.shape)

    @property
    def as_real(self) -> Column:
        """The column of real values; the same one when it has none."""
        if not self.has_real:
            return self
        return self._replace(dtype="float32", array_dtype=np.dtype(np.float32), quantization=None)

    def real(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The real values, of as_real, of stored ones [count, *shape]."""
        if not self.has_real:
            return rows
        if self.quantization is None:  # the upper half of a float32
            return (rows.astype(np.uint32) << 16).view(np.float32)
        return self.quantization.real(rows)

    @property
    def metadata(self) -> dict[str, str]:
        """What a file says of the tensor, by names of Edgeward's."""
        metadata = {"edgeward.dtype": self.dtype, "edgeward.shape": json.dumps(self.shape)}
        if self.quantization is not None:
            metadata["edgeward.scale"] = json.dumps(self.quantization.scales)
            metadata["edgeward.zero_point"] = json.dumps(self.quantization.zero_points)
            metadata["edgeward.axis"] = json.dumps(self.quantization.axis)
        return metadata


Columns = Mapping[str, Column]


def columns_of(batch: Batch) -> dict[str, Column]:
    """By name: "inputs.image"."""
    return {
        f"{side}.{name}": Column(
            side,
            name,
            batch.dtypes[side, name],
            array.dtype,
            array.shape[1:],
            batch.quantizations.get((side, name)),
        )
        for side in SIDES
        for name, array in getattr(batch, side).items()
    }
