"""Stack: records of one table, an array for each of their facts and tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.captures.captured import Captured
from edgeward.captures.columns import Columns

NUMBERS = {
    "ring_id": np.uint64, "sequence": np.uint64, "time_ns": np.int64, "monotonic_ns": np.uint64,
    "latency_ns": np.uint64, "correlation_id": np.uint64, "lost_before": np.uint64,
}  # fmt: skip
REASON_BITS = {reason: 1 << bit for bit, reason in enumerate(_core.REASONS)}


class Identity(NamedTuple):
    """What all records of a table have in common."""

    model: str
    version: str
    package_id: str
    signature: str
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.model or "unnamed", self.version)))


class Stack(NamedTuple):
    """`record_count` records, along the first axis of every array.

    `numbers` are by the names of NUMBERS. Bit n of `reasons` is the nth of _core.REASONS. The
    caller's bytes of record n are users[user_ends[n - 1] : user_ends[n]]. `present` says which
    records have a tensor, of those that some lack; the rows of the others mean nothing.
    """

    record_count: int
    devices: Sequence[str]
    numbers: Mapping[str, NDArray[Any]]
    reasons: NDArray[np.uint32]
    users: bytes
    user_ends: NDArray[np.int64]
    tensors: Mapping[str, NDArray[Any]]
    present: Mapping[str, NDArray[np.bool_]]


def stack_of(records: Sequence[Captured], columns: Columns) -> Stack:
    """Of records with no other tensors than `columns`, one record at least."""
    tensors, present = {}, {}
    for name, column in columns.items():
        arrays = [getattr(record, column.side).get(column.name) for record in records]
        blank = np.zeros(column.shape, column.array_dtype)
        tensors[name] = np.stack([blank if array is None else array for array in arrays])
        if any(array is None for array in arrays):
            present[name] = np.array([array is not None for array in arrays])
    numbers = {
        name: np.array([getattr(record, name) for record in records], dtype)
        for name, dtype in NUMBERS.items()
    }
    reasons = [sum(map(REASON_BITS.__getitem__, record.reasons)) for record in records]
    return Stack(
        len(records),
        [record.device for record in records],
        numbers,
        np.array(reasons, np.uint32),
        b"".join(record.user for record in records),
        np.cumsum([len(record.user) for record in records], dtype=np.int64),
        tensors,
        present,
    )
