"""A lane: tensors between the agent's front and a worker, one call at a time.

The tensors lie in a memfd that both map, the message that says where in a pair of sockets. The
memfd can grow and, by its seals, never shrink, so that neither side is ended by the other's
truncation. The side that takes tensors trusts no number of the message: what does not fit the
memory as the kernel has it is ForeignMessage.

A message, little-endian: u32 kind, u32 count, then `count` tensors of 88 bytes: u8 dtype (an index
into DTYPES), u8 rank, 6 bytes of zeros, i64 sizes[8], u64 offset, u64 bytes. The offset is a
multiple of 64 and behind the bytes 64 more can be read, as engines want them. Of kind ERROR, the
rest is JSON.
"""

import fcntl
import json
import math
import mmap
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
NUMBERS = {np.dtype(name): number for number, name in enumerate(DTYPES)}
CALL, ANSWER, ERROR = range(3)
HEAD = struct.Struct("<II")
TENSOR = struct.Struct("<BB6x8qQQ")
MOST_TENSORS = 1024
MOST_RANK = 8
ALIGNMENT = 64
SLACK_BYTES = 64
LEAST_BYTES = 1 << 16
MOST_MESSAGE_BYTES = HEAD.size + MOST_TENSORS * TENSOR.size
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class ForeignMessage(Exception):  # noqa: N818 - named by what is wrong
    """Raised for a message that the other side, when it is well, does not send."""


class LaneClosed(Exception):  # noqa: N818 - named by what is wrong
    """Raised when the other side is gone."""


class Unread(Protocol):
    """A tensor whose bytes are still elsewhere."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def copy_to(self, room: NDArray[Any]) -> None:
        """Fills an array of this shape and dtype."""


def make_memory() -> int:
    """The descriptor of a new lane's memory."""
    number = os.memfd_create("edgeward-lane", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(number, LEAST_BYTES)
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, SEALS)
    return number


class Lane:
    """One side of a lane. Owns the socket and the memory's descriptor. One thread at a time.

    Arrays that `lay` and `take` give lie in the lane's memory, and hold what they hold until
    the next call.
    """

    def __init__(self, connection: socket.socket, memory: int, most_bytes: int) -> None:
        self.connection = connection
        self._memory = memory
        self._most_bytes = most_bytes
        self._size_bytes = 0
        self._view: NDArray[np.uint8]
        self._map()
        self.end = 0  # behind the last tensor that was placed or taken, in bytes

    def close(self) -> None:
        """The other side notices. Arrays that are still held stay valid."""
        self.connection.close()
        os.close(self._memory)

    def lay(self, forms: Sequence[tuple[Sequence[int], Any]], start: int = 0) -> list[NDArray[Any]]:
        """Room for tensors of these (shape, dtype), from byte `start` on.

        Raises MemoryError past the lane's limit.
        """
        offsets, end = [], start
        for shape, dtype in forms:
            offsets.append(-(-end // ALIGNMENT) * ALIGNMENT)
            end = offsets[-1] + math.prod(shape) * np.dtype(dtype).itemsize
        self._require(end + SLACK_BYTES)
        self.end = end
        return [
            self._array(dtype, shape, offset)
            for (shape, dtype), offset in zip(forms, offsets, strict=True)
        ]

    def send(self, kind: int, arrays: Sequence[NDArray[Any]]) -> None:
        """Says where `arrays` lie, all of one call of `lay`. Raises LaneClosed."""
        parts = [HEAD.pack(kind, len(arrays))]
        base = self._view.ctypes.data
        for array in arrays:
            sizes = (*array.shape, *(0,) * (MOST_RANK - array.ndim))
            offset = array.ctypes.data - base
            number = NUMBERS[array.dtype]
            parts.append(TENSOR.pack(number, array.ndim, *sizes, offset, array.nbytes))
        self._send(b"".join(parts))

    def send_error(self, facts: Mapping[str, Any]) -> None:
        """Says why there is no answer. Raises LaneClosed."""
        text = json.dumps(facts).encode()
        self._send(HEAD.pack(ERROR, 0) + text[: MOST_MESSAGE_BYTES - HEAD.size])

    def _send(self, message: bytes) -> None:
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise LaneClosed from None

    def receive(self) -> bytes:
        """The next message. Raises LaneClosed, and TimeoutError as the socket's limit says."""
        try:
            message = self.connection.recv(MOST_MESSAGE_BYTES + 1)
        except ConnectionResetError:
            raise LaneClosed from None
        if not message:
            raise LaneClosed
        return message

    def take(self, message: bytes, kind: int) -> list[NDArray[Any]]:
        """The tensors of a message of `kind`. Raises ForeignMessage."""
        if len(message) < HEAD.size or HEAD.unpack_from(message)[0] != kind:
            raise ForeignMessage(f"expected a message of kind {kind}, got {message[:8]!r}")
        count = HEAD.unpack_from(message)[1]
        if len(message) != HEAD.size + count * TENSOR.size or count > MOST_TENSORS:
            raise ForeignMessage(f"expected {count} tensors, got {len(message)} bytes")
        self.end = 0
        return [self._tensor(fields) for fields in TENSOR.iter_unpack(message[HEAD.size :])]

    def _tensor(self, fields: tuple[int, ...]) -> NDArray[Any]:
        number, rank, *sizes, offset, size_bytes = fields
        shape = sizes[:rank]
        if (
            number >= len(DTYPES)
            or rank > MOST_RANK
            or any(size < 0 for size in shape)
            or offset % ALIGNMENT
            or math.prod(shape) * np.dtype(DTYPES[number]).itemsize != size_bytes
        ):
            raise ForeignMessage(f"expected a tensor, got {fields}")
        end = offset + size_bytes + SLACK_BYTES
        if end > self._size_bytes:
            self._map()
        if end > self._size_bytes:
            raise ForeignMessage(f"expected a tensor of {self._size_bytes} bytes, got {fields}")
        self.end = max(self.end, offset + size_bytes)
        return self._array(DTYPES[number], shape, offset)

    def _array(self, dtype: Any, shape: Sequence[int], offset: int) -> NDArray[Any]:
        array: NDArray[Any] = np.ndarray(shape, dtype, self._view, offset)
        return array

    def _require(self, size_bytes: int) -> None:
        """Grows the memory to hold so much."""
        if size_bytes <= self._size_bytes:
            return
        if size_bytes > self._most_bytes:
            raise MemoryError(
                f"tensors: expected at most {self._most_bytes:,} bytes a call, got {size_bytes:,}"
            )
        if size_bytes > os.fstat(self._memory).st_size:
            try:
                os.ftruncate(self._memory, -(-size_bytes // LEAST_BYTES) * LEAST_BYTES)
            except OSError as error:
                raise MemoryError(f"tensors: {error.strerror}") from None
        self._map()

    def _map(self) -> None:
        """Maps all that there is now; arrays over the mapping before stay valid."""
        size_bytes = min(os.fstat(self._memory).st_size, self._most_bytes + LEAST_BYTES)
        if size_bytes > self._size_bytes:
            mapping = mmap.mmap(self._memory, size_bytes)
            self._view = np.frombuffer(mapping, np.uint8)
            self._size_bytes = size_bytes


def error_of(message: bytes) -> dict[str, Any] | None:
    """The facts of a message of kind ERROR, else None. Raises ForeignMessage."""
    if len(message) < HEAD.size or HEAD.unpack_from(message) != (ERROR, 0):
        return None
    try:
        facts = json.loads(message[HEAD.size :])
    except (ValueError, RecursionError):
        raise ForeignMessage(f"expected JSON, got {message[:80]!r}") from None
    if not isinstance(facts, dict):
        raise ForeignMessage(f"expected an object, got {message[:80]!r}")
    return facts
