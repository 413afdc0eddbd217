"""Stack: records of one table, an array for each of their facts and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.captures.batch import Batch
from edgeward.captures.columns import Columns
from edgeward.captures.description import title_of

# The numbers of a record, with what a Batch calls those of all.
NUMBERS = {
    "ring_id": "ring_ids", "sequence": "sequences", "time_ns": "time_ns",
    "monotonic_ns": "monotonic_ns", "latency_ns": "latency_ns",
    "correlation_id": "correlation_ids", "lost_before": "lost_before",
}  # fmt: skip


class Identity(NamedTuple):
    """What all records of a table have in common."""

    model: str
    version: str
    package_id: str
    signature: str
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        return title_of(self.model, self.version)


class Stack(NamedTuple):
    """`record_count` records, along the first axis of every array.

    `devices` are names, each with how many records in a row are of it. `numbers` are by the names
    of NUMBERS. Bit n of `reasons` is the nth of REASONS. The caller's bytes of record n are
    users[user_ends[n - 1] : user_ends[n]]. `present` says which records have a tensor, of those
    that some lack; the rows of the others mean nothing.
    """

    record_count: int
    devices: Sequence[tuple[str, int]]
    numbers: Mapping[str, NDArray[Any]]
    reasons: NDArray[np.uint32]
    users: bytes
    user_ends: NDArray[np.int64]
    tensors: Mapping[str, NDArray[Any]]
    present: Mapping[str, NDArray[np.bool_]]


def stack_of(batches: Sequence[Batch], columns: Columns) -> Stack:
    """Of one batch at least, with no other tensors than `columns`. One alone is not copied."""
    counts = [len(batch) for batch in batches]
    tensors, present = {}, {}
    for name, column in columns.items():
        arrays = [getattr(batch, column.side).get(column.name) for batch in batches]
        if any(array is None for array in arrays):
            is_there = [array is not None for array in arrays]
            present[name] = np.repeat(np.array(is_there, np.bool_), counts)
        tensors[name] = _joined(
            np.zeros((count, *column.shape), column.array_dtype) if array is None else array
            for array, count in zip(arrays, counts, strict=True)
        )
    user_begins = np.cumsum([0, *(len(batch.user) for batch in batches)])
    return Stack(
        sum(counts),
        [(batch.device, len(batch)) for batch in batches],
        {
            name: _joined(getattr(batch, source) for batch in batches)
            for name, source in NUMBERS.items()
        },
        _joined(batch.reasons for batch in batches),
        b"".join(batch.user for batch in batches),
        _joined(
            batch.user_ends + begin for batch, begin in zip(batches, user_begins[:-1], strict=True)
        ),
        tensors,
        present,
    )


def parts_of(batch: Batch, most_count: int, most_bytes: int) -> Iterator[Batch]:
    """Batches of at most so many of its records and bytes of tensors, in order: views of it."""
    record_bytes = max(1, -(-batch.tensor_bytes // len(batch)))
    count = max(1, min(most_count, most_bytes // record_bytes))
    for begin in range(0, len(batch), count):
        yield batch if count >= len(batch) else _part(batch, begin, min(begin + count, len(batch)))


def _part(batch: Batch, begin: int, end: int) -> Batch:
    """Its records from `begin` to `end`: views of its arrays."""
    rows = slice(begin, end)
    first = int(batch.user_ends[begin - 1]) if begin > 0 else 0
    last = int(batch.user_ends[end - 1])
    arrays = {source: getattr(batch, source)[rows] for source in NUMBERS.values()}
    return replace(
        batch,
        **arrays,
        reasons=batch.reasons[rows],
        user=batch.user[first:last],
        user_ends=batch.user_ends[rows] - first,
        inputs={name: array[rows] for name, array in batch.inputs.items()},
        outputs={name: array[rows] for name, array in batch.outputs.items()},
    )


def _joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
    joined = list(arrays)
    return joined[0] if len(joined) == 1 else np.concatenate(joined)
