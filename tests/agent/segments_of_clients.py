"""Segments as clients make them: System V by the C library's calls, POSIX by files of /dev/shm."""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

IPC_PRIVATE, IPC_CREAT, IPC_RMID, IPC_SET, IPC_STAT = 0, 0o1000, 0, 1, 2

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
libc.shmdt.argtypes = (ctypes.c_void_p,)
libc.shmget.argtypes = (ctypes.c_int, ctypes.c_size_t, ctypes.c_int)


def called(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def shmctl_mode(shmid: int, mode: int, uid: int | None = None) -> None:
    """IPC_SET. In struct shmid_ds uid is the second int and mode the sixth."""
    description = (ctypes.c_uint * 64)()
    called(libc.shmctl(shmid, IPC_STAT, description))
    description[5] = description[5] & 0xFFFF0000 | mode
    if uid is not None:
        description[1] = uid
    called(libc.shmctl(shmid, IPC_SET, description))


@contextmanager
def system_v(content: bytes, mode: int = 0o400, uid: int | None = None) -> Iterator[int]:
    """The id of a System V segment of these bytes, to which the writer stays attached."""
    shmid = called(libc.shmget(IPC_PRIVATE, len(content), IPC_CREAT | 0o600))
    address = libc.shmat(shmid, None, 0)
    try:
        ctypes.memmove(address, content, len(content))
        shmctl_mode(shmid, mode, uid)
        yield shmid
    finally:
        libc.shmdt(address)
        called(libc.shmctl(shmid, IPC_RMID, None))


@contextmanager
def posix(content: bytes, mode: int = 0o400, uid: int | None = None) -> Iterator[int]:
    """The id of a POSIX segment of these bytes."""
    segment_id = (1 << 32) + secrets.randbits(62)
    path = f"/dev/shm/edgeward.{segment_id}"
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(number, content)
        os.fchmod(number, mode)
        if uid is not None:
            os.fchown(number, uid, uid)
        yield segment_id
    finally:
        os.close(number)
        os.unlink(path)


KINDS = {"System V": system_v, "POSIX": posix}
