"""Quantization: what a ring's description says of a tensor's scale, and real values by it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeward.captures.quantization import Quantization


def document(**changes):
    return {"scales": [0.5], "zero_points": [3], "axis": 0, **changes}


def test_a_description_is_parsed():
    parsed = Quantization.parsed(document(scales=[0.5, 2], zero_points=[3, -1], axis=1))
    assert parsed == Quantization((0.5, 2.0), (3, -1), 1)
    assert Quantization.parsed(parsed.report()) == parsed


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "scale",
        {},
        document(scales=[]),
        document(scales=0.5),
        document(scales=["0.5"]),
        document(scales=[float("nan")]),
        document(scales=[float("inf")]),
        document(scales=[1 << 1100]),
        document(zero_points=[0.5]),
        document(zero_points=[1, 2]),
        document(zero_points=None),
        document(axis=None),
    ],
    ids=str,
)
def test_anything_else_is_none(odd):
    assert Quantization.parsed(odd) is None


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_real_values(dtype):
    rows = np.array([[3, 5], [7, 1]], dtype)
    real = Quantization((0.5,), (3,), 0).real(rows)
    assert real.dtype == np.float32
    np.testing.assert_array_equal(real, [[0, 1], [2, -1]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_real_values_along_an_axis(axis):
    shape = (2, 3, 4)
    count = shape[axis]
    rows = np.arange(48, dtype=np.int16).reshape(2, *shape)
    quantization = Quantization(tuple(2.0**n for n in range(count)), tuple(range(count)), axis)
    assert quantization.fits(shape)
    real = quantization.real(rows)
    for n in range(count):
        stored = rows.take(n, axis + 1).astype(np.float32)
        np.testing.assert_array_equal(real.take(n, axis + 1), (stored - n) * 2.0**n)


def test_a_scale_for_another_shape_does_not_fit():
    quantization = Quantization((1.0, 2.0), (0, 0), 1)
    assert [quantization.fits(shape) for shape in [(2,), (2, 2), (2, 3), ()]] == [
        False, True, False, False,
    ]  # fmt: skip
    assert not quantization._replace(axis=-1).fits((2, 2))
