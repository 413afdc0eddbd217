"""Stack: records of several batches in one table, each with its own device, bytes and tensors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edgeward import Batch
from edgeward.captures.columns import columns_of
from edgeward.captures.stack import NUMBERS, parts_of, stack_of


def batch_of(users, device="gate", first=1, *, has_outputs=True):
    """A batch of a record for each of `users`, whose numbers all begin at `first`."""
    count = len(users)
    numbers = {
        source: np.arange(first, first + count, dtype=np.uint64) for source in NUMBERS.values()
    }
    x = np.arange(first, first + count, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    outputs = {"y": x + 1} if has_outputs else {}
    return Batch(
        model="m", version="1", package_id="", signature="s", device=device, redact=(), labels=(),
        quantizations={}, reasons=np.full(count, 5, np.uint32), user=b"".join(users),
        user_ends=np.cumsum([len(user) for user in users]), inputs={"x": x}, outputs=outputs,
        dtypes={("inputs", "x"): "float32", ("outputs", "y"): "float32"}, **numbers,
    )  # fmt: skip


def users_of(stack):
    ends = [0, *stack.user_ends.tolist()]
    return [stack.users[begin:end] for begin, end in pairwise(ends)]


def test_batches_follow_each_other():
    first, second = batch_of([b"a", b"", b"bcd"]), batch_of([b"", b"ef"], "yard", 4)
    stack = stack_of([first, second], columns_of(first))
    assert stack.record_count == 5
    assert users_of(stack) == [b"a", b"", b"bcd", b"", b"ef"]
    assert stack.devices == [("gate", 3), ("yard", 2)]
    assert {name: rows.tolist() for name, rows in stack.numbers.items()} == {
        name: [1, 2, 3, 4, 5] for name in NUMBERS
    }
    assert stack.reasons.tolist() == [5] * 5
    assert stack.tensors["inputs.x"][:, 0].tolist() == [1, 2, 3, 4, 5]
    assert stack.present == {}


def test_what_some_lack_is_named():
    whole, failed = batch_of([b"", b""]), batch_of([b""], first=3, has_outputs=False)
    stack = stack_of([whole, failed, whole], columns_of(whole))
    assert {name: rows.tolist() for name, rows in stack.present.items()} == {
        "outputs.y": [True, True, False, True, True]
    }
    assert stack.tensors["outputs.y"].shape == (5, 3)


def test_one_batch_is_not_copied():
    batch = batch_of([b"a", b"b"])
    stack = stack_of([batch], columns_of(batch))
    assert np.shares_memory(stack.tensors["inputs.x"], batch.inputs["x"])


@pytest.mark.parametrize(
    ("most_count", "most_bytes", "sizes"),
    [
        (5, 1000, [5]),
        (4, 1000, [4, 1]),
        (2, 1000, [2, 2, 1]),
        (5, 48, [2, 2, 1]),
        (5, 24, [1] * 5),
        (5, 1, [1] * 5),
    ],
)
def test_parts_are_the_batch(most_count, most_bytes, sizes):
    users = [b"a", b"", b"bcd", b"e", b""]
    batch = batch_of(users)
    parts = list(parts_of(batch, most_count, most_bytes))
    assert [len(part) for part in parts] == sizes
    assert [user for part in parts for user in part.users] == users
    stack = stack_of(parts, columns_of(batch))
    assert users_of(stack) == users
    for name in NUMBERS:
        assert stack.numbers[name].tolist() == [1, 2, 3, 4, 5]
    assert all(np.shares_memory(part.inputs["x"], batch.inputs["x"]) for part in parts)
