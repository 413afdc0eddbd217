"""Tensors cross a lane where they lie; a message that is not ours reaches no memory."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from edgeward.agent.lane import (
    ALIGNMENT,
    ANSWER,
    CALL,
    DTYPES,
    HEAD,
    LEAST_BYTES,
    MOST_TENSORS,
    SLACK_BYTES,
    ForeignMessage,
    Lane,
    LaneClosed,
    error_of,
    make_memory,
)

MOST_BYTES = 1 << 24


@pytest.fixture
def sides() -> Iterator[tuple[Lane, Lane]]:
    """A lane's two sides, in one process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = make_memory()
    front, worker = Lane(ours, memory, MOST_BYTES), Lane(theirs, os.dup(memory), MOST_BYTES)
    yield front, worker
    front.close()
    worker.close()


def call(front: Lane, *arrays: np.ndarray) -> None:
    rooms = front.lay([(array.shape, array.dtype) for array in arrays])
    for room, array in zip(rooms, arrays, strict=True):
        np.copyto(room, array)
    front.send(CALL, rooms)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_of_every_dtype_cross(sides: tuple[Lane, Lane], dtype: str) -> None:
    front, worker = sides
    arrays = [
        np.arange(24).reshape(2, 3, 4).astype(dtype),
        np.zeros((3, 0), dtype),
        np.ones((), dtype),
        np.ones((1,) * 8, dtype),
    ]
    for _ in range(2):
        call(front, *arrays)
        taken = worker.take(worker.receive(), CALL)
        assert [array.dtype for array in taken] == [array.dtype for array in arrays]
        assert all(map(np.array_equal, taken, arrays))
        assert all(array.ctypes.data % ALIGNMENT == 0 for array in taken if array.size)


def test_an_answer_lies_behind_the_call(sides: tuple[Lane, Lane]) -> None:
    front, worker = sides
    call(front, np.arange(100, dtype=np.float32))
    (x,) = worker.take(worker.receive(), CALL)
    (y,) = worker.lay([((100,), "float32")], worker.end)
    np.multiply(x, 2, out=y)
    worker.send(ANSWER, [y])
    (answer,) = front.take(front.receive(), ANSWER)
    assert answer.tolist() == (2 * np.arange(100)).tolist()
    assert x.tolist() == list(range(100))


def test_the_memory_grows_on_either_side_and_never_shrinks(sides: tuple[Lane, Lane]) -> None:
    front, worker = sides
    big = np.random.default_rng(1).random(LEAST_BYTES, np.float32)
    call(front, big)
    (x,) = worker.take(worker.receive(), CALL)
    assert np.array_equal(x, big)
    outputs = worker.lay([(big.shape, big.dtype)] * 3, worker.end)
    for number, output in enumerate(outputs):
        np.copyto(output, x * number)
    worker.send(ANSWER, outputs)
    answers = front.take(front.receive(), ANSWER)
    assert all(np.array_equal(answer, big * k) for k, answer in enumerate(answers))
    with pytest.raises(PermissionError):
        os.ftruncate(front._memory, LEAST_BYTES)


def test_a_call_past_the_limit_is_refused(sides: tuple[Lane, Lane]) -> None:
    front, _ = sides
    for size in (MOST_BYTES - SLACK_BYTES + 1, 1 << 50):
        with pytest.raises(MemoryError, match="expected at most 16,777,216 bytes a call"):
            front.lay([((size,), "uint8")])
    front.lay([((MOST_BYTES - SLACK_BYTES,), "uint8")])


def test_a_message_cut_anywhere_is_refused(sides: tuple[Lane, Lane]) -> None:
    front, worker = sides
    call(front, np.ones((2, 3), np.float32), np.ones(5, np.int8))
    message = worker.receive()
    for size in range(len(message)):
        with pytest.raises(ForeignMessage):
            worker.take(message[:size], CALL)
    for other in (message + b"\0", message + message[HEAD.size :], b"", b"\0" * 8 + b"\0"):
        with pytest.raises(ForeignMessage):
            worker.take(other, CALL)
    with pytest.raises(ForeignMessage):
        worker.take(message, ANSWER)


def test_changed_bits_never_reach_beyond_the_memory(sides: tuple[Lane, Lane]) -> None:
    front, worker = sides
    call(front, np.ones((2, 3), np.float32), np.ones((4, 1, 5), np.int8))
    message = worker.receive()
    refused = 0
    chance = random.Random(3)
    flips = [[bit] for bit in range(len(message) * 8)]
    flips += [[chance.randrange(len(message) * 8) for _ in range(3)] for _ in range(3000)]
    for bits in flips:
        changed = bytearray(message)
        for bit in bits:
            changed[bit // 8] ^= 1 << bit % 8
        try:
            arrays = worker.take(bytes(changed), CALL)
        except ForeignMessage:
            refused += 1
            continue
        base = worker._view.ctypes.data
        for array in arrays:
            end = array.ctypes.data + array.nbytes
            assert base <= array.ctypes.data
            assert end + SLACK_BYTES <= base + worker._size_bytes
            array.sum()
    assert refused > len(flips) // 2
    with pytest.raises(ForeignMessage):
        worker.take(HEAD.pack(CALL, MOST_TENSORS + 1), CALL)


def test_an_error_crosses_as_json(sides: tuple[Lane, Lane]) -> None:
    front, worker = sides
    worker.send_error({"code": "bad_input", "text": "x" * 100})
    assert error_of(front.receive()) == {"code": "bad_input", "text": "x" * 100}
    worker.send(ANSWER, [])
    assert error_of(front.receive()) is None
    error = HEAD.pack(2, 0)
    for text in (b"", b"{", b"[]", b"\xff", b"[" * 100_000):
        with pytest.raises(ForeignMessage):
            error_of(error + text)


def test_the_end_of_the_other_side_is_noticed(sides: tuple[Lane, Lane]) -> None:
    front, worker = sides
    call(front, np.ones(3))
    worker.connection.close()
    for use in (front.receive, lambda: call(front, np.ones(3))):
        with pytest.raises(LaneClosed):
            use()
