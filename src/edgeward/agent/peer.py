"""Peer: the process at the other end of a connection, as the kernel knows it.

The gRPC server sees only the agent's own end of a relayed connection. That end is bound to a name
whose last part is the peer's label, and gRPC tells each call the name: `of_call` reads it.
"""

import socket
import struct
from contextlib import suppress
from typing import NamedTuple

CREDENTIALS = struct.Struct("iII")  # pid, uid, gid of SO_PEERCRED
SO_PEERGROUPS = 59  # which the socket module does not name
MOST_OPTION_BYTES = 1024  # of an option that the socket module reads: 256 groups


class Peer(NamedTuple):
    uid: int
    may_admin: bool  # came in by a socket that takes load and unload

    def label(self, number: int) -> str:
        """A part of a name that says who this is; `number` tells its connections apart."""
        return f"{self.uid}.{int(self.may_admin)}.{number}"


def of_socket(connection: socket.socket, may_admin: bool) -> Peer:
    """Who is connected. The kernel took the identity when the connection was made."""
    uid, _ = _user_and_group(connection)
    return Peer(uid, may_admin)


def groups_of(connection: socket.socket) -> frozenset[int]:
    """The groups of who is connected: the first, and the others.

    The first alone where the kernel does not tell the others, and of a user in more than 256.
    """
    _, gid = _user_and_group(connection)
    others = b""
    with suppress(OSError):
        others = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MOST_OPTION_BYTES)
    return frozenset((gid, *memoryview(others).cast("I")))


def _user_and_group(connection: socket.socket) -> tuple[int, int]:
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, gid = CREDENTIALS.unpack(content)
    return uid, gid


def of_call(address: str) -> Peer:
    """The peer whose label ends `address`, as gRPC has it. Raises ValueError for any other."""
    uid, may_admin, _ = address.rpartition("/")[2].split(".")
    return Peer(int(uid), bool(int(may_admin)))
