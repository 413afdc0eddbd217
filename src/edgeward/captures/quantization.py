"""Quantization: how the stored numbers of a recorded tensor stand for real ones."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Quantization(NamedTuple):
    """A real value is (stored - zero point) * scale.

    Both are one number for all of a tensor, or one for each index of `axis`.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int

    @classmethod
    def parsed(cls, document: object) -> "Quantization | None":
        """As a ring's description has it; None for anything else."""
        if not isinstance(document, dict):
            return None
        scales, zero_points = document.get("scales"), document.get("zero_points")
        axis = document.get("axis")
        if not isinstance(scales, list) or not all(map(_is_number, scales)):
            return None
        if not isinstance(zero_points, list) or not all(isinstance(z, int) for z in zero_points):
            return None
        if not scales or len(scales) != len(zero_points) or not isinstance(axis, int):
            return None
        return cls(tuple(map(float, scales)), tuple(zero_points), axis)

    def report(self) -> dict[str, Any]:
        return {
            "scales": list(self.scales),
            "zero_points": list(self.zero_points),
            "axis": self.axis,
        }

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape has a scale for each index of the axis."""
        if len(self.scales) == 1:
            return True
        return 0 <= self.axis < len(shape) and shape[self.axis] == len(self.scales)

    def real(self, rows: "NDArray[Any]") -> "NDArray[Any]":
        """The real values of tensors of a shape that fits, [count, *shape], as float32."""
        import numpy as np

        scale, zero_point = (np.array(values, np.float64) for values in self[:2])
        if len(self.scales) > 1:
            shape = [1] * rows.ndim
            shape[self.axis + 1] = len(self.scales)
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        return ((rows.astype(np.float64) - zero_point) * scale).astype(np.float32)


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 1 << 63
