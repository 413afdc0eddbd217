"""Segments of shared memory in which clients leave tensors: System V and POSIX.

A segment is named by a number of 64 bits. Up to 2^31 - 1 it is the id of a System V segment, from
2^32 on that of the POSIX segment "/edgeward.NUMBER". The agent reads a segment of the calling user
alone, which nobody may write or execute at that moment: mode 0400 or 0404. The mode says nothing of
attachments that the client kept, so bytes are copied first and looked at afterwards.
"""

import ctypes
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.agent.refusal import Refusal, invalid

MOST_SHMID = (1 << 31) - 1
LEAST_POSIX_ID = 1 << 32
POSIX_DIRECTORY = "/dev/shm"
POSIX_PREFIX = "edgeward."
WRITE_OR_EXECUTE = 0o333
IPC_STAT, SHM_RDONLY = 2, 0o10000
MADV_POPULATE_READ = 22
NOT_ATTACHED = ctypes.c_void_p(-1).value

Bytes = NDArray[np.uint8]


class _Permissions(ctypes.Structure):
    """struct ipc_perm of glibc and musl, with the mode's lower half."""

    _fields_ = (
        ("key", ctypes.c_int),
        ("uid", ctypes.c_uint),
        ("gid", ctypes.c_uint),
        ("creator_uid", ctypes.c_uint),
        ("creator_gid", ctypes.c_uint),
        ("mode", ctypes.c_ushort),
        ("padding", ctypes.c_ushort),
        ("sequence", ctypes.c_int),
        ("unused", ctypes.c_long * 2),
    )


class _Description(ctypes.Structure):
    """The beginning of struct shmid_ds, and room for the rest of it."""

    _fields_ = (
        ("permissions", _Permissions),
        ("size_bytes", ctypes.c_size_t),
        ("rest", ctypes.c_byte * 256),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_libc.shmat.restype = ctypes.c_void_p
_libc.shmdt.argtypes = (ctypes.c_void_p,)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.shmctl.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Description))


class Part:
    """What a client's handle names: `size_bytes` (0: as many as are expected) from `offset` on."""

    def __init__(self, handle: Any, uid: int, noun: str) -> None:
        self.size_bytes: int = handle.size
        self.offset: int = handle.offset
        self.segment_id: int = handle.segment_id
        self.uid = uid  # of the caller
        self.noun = noun  # what is in it, for the message: tensor "image"

    def refusal(self, expected: str, got: str) -> Refusal:
        return invalid(f"{self.noun}: segment {self.segment_id}", expected, got)

    def within(self, segment_bytes: int, wanted_bytes: int | None) -> int:
        """How many bytes to copy out of a segment of that size. Raises Refusal."""
        if wanted_bytes is not None and self.size_bytes not in (0, wanted_bytes):
            raise self.refusal(f"{wanted_bytes} bytes", f"{self.size_bytes}")
        count = self.size_bytes if wanted_bytes is None else wanted_bytes
        if wanted_bytes is None and not count:
            count = max(segment_bytes - self.offset, 0)
        # Python's integers do not wrap.
        if self.offset + count > segment_bytes:
            expected = f"{count} bytes from offset {self.offset} on"
            raise self.refusal(expected, f"a segment of {segment_bytes}")
        return count

    def require_readable(self, uid: int, mode: int) -> None:
        if uid != self.uid:
            raise self.refusal(f"one of user {self.uid}", f"one of user {uid}")
        if mode & WRITE_OR_EXECUTE:
            raise self.refusal("one that nobody may write or execute", f"mode {mode & 0o777:04o}")


def copied(part: Part, size_bytes: int) -> Bytes:
    """A copy of a part that has this `size_of`, which nobody else can change. Raises Refusal."""
    room: Bytes = _core.empty((size_bytes,), "uint8")
    copy_to(part, room)
    return room


def size_of(part: Part, wanted_bytes: int | None, most_bytes: int) -> int:
    """How many bytes `copy_to` may copy of a client's segment, which is not attached for it.

    `wanted_bytes` is how many they must be; None takes what the part names. Any thread. Raises
    Refusal: INVALID_ARGUMENT for a segment that is none or breaks a rule, RESOURCE_EXHAUSTED above
    `most_bytes`.
    """
    if part.segment_id <= MOST_SHMID:
        count = _checked(part, wanted_bytes)
    elif part.segment_id >= LEAST_POSIX_ID:
        with _opened(part) as file:
            count = _checked_file(part, file, wanted_bytes)
    else:
        raise part.refusal(f"0 to {MOST_SHMID}, or {LEAST_POSIX_ID} and more", "neither")
    if count > most_bytes:
        text = f"{part.noun}: expected at most {most_bytes} bytes, got {count}"
        raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
    return count


def copy_to(part: Part, target: Bytes) -> None:
    """Fills `target` from a part whose `size_of` it has. Raises Refusal when that has changed."""
    if part.segment_id < LEAST_POSIX_ID:
        _copy_system_v(part, target)
    else:
        _copy_posix(part, target)


def _copy_system_v(part: Part, target: Bytes) -> None:
    address = _libc.shmat(part.segment_id, None, SHM_RDONLY)
    if address == NOT_ATTACHED:
        raise part.refusal("one to attach", os.strerror(ctypes.get_errno()))
    try:
        # What is attached cannot go away, so this time the checks are of the memory that is read.
        _checked(part, target.size)
        _populate(address, part.offset, target.size)
        ctypes.memmove(target.ctypes.data, address + part.offset, target.size)
    finally:
        _libc.shmdt(address)


def _populate(address: int, offset: int, size_bytes: int) -> None:
    """Maps the pages at once, where the kernel can (5.14), instead of by a fault for each."""
    start = offset // mmap.PAGESIZE * mmap.PAGESIZE
    _libc.madvise(address + start, offset - start + size_bytes, MADV_POPULATE_READ)


def _checked(part: Part, wanted_bytes: int | None) -> int:
    """How many bytes to copy out of a System V segment that keeps the rules."""
    description = _Description()
    if _libc.shmctl(part.segment_id, IPC_STAT, ctypes.byref(description)):
        raise part.refusal("a System V segment", os.strerror(ctypes.get_errno()))
    permissions = description.permissions
    part.require_readable(permissions.uid, permissions.mode)
    return part.within(description.size_bytes, wanted_bytes)


@contextmanager
def _opened(part: Part) -> Iterator[int]:
    path = f"{POSIX_DIRECTORY}/{POSIX_PREFIX}{part.segment_id}"
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise part.refusal(f'"{path}"', error.strerror or str(error)) from None
    try:
        yield file
    finally:
        os.close(file)


def _checked_file(part: Part, file: int, wanted_bytes: int | None) -> int:
    """How many bytes to copy out of a POSIX segment that keeps the rules."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise part.refusal("a POSIX segment", "another kind of file")
    part.require_readable(status.st_uid, status.st_mode)
    return part.within(status.st_size, wanted_bytes)


def _copy_posix(part: Part, target: Bytes) -> None:
    with _opened(part) as file:
        _checked_file(part, file, target.size)
        # Read, not mapped: a file that is cut short meanwhile gives fewer bytes and no signal.
        place_bytes = 0
        while place_bytes < target.size:
            step = os.preadv(file, [target[place_bytes:].data], part.offset + place_bytes)
            if step == 0:
                raise part.refusal(f"{target.size} bytes", f"{place_bytes}")
            place_bytes += step
