"""Peer: the process at the other end of a connection, as the kernel knows it.

The gRPC server sees only the agent's own end of a relayed connection. That end is bound to a name
whose last part is the peer's label, and gRPC tells each call the name: `of_call` reads it.
"""

import socket
import struct
from typing import NamedTuple

CREDENTIALS = struct.Struct("iII")  # pid, uid, gid of SO_PEERCRED


class Peer(NamedTuple):
    uid: int
    gid: int
    may_admin: bool  # came in by a socket that takes load and unload

    def label(self, number: int) -> str:
        """A part of a name that says who this is; `number` tells its connections apart."""
        return f"{self.uid}.{self.gid}.{int(self.may_admin)}.{number}"


def of_socket(connection: socket.socket, may_admin: bool) -> Peer:
    """Who is connected. The kernel took the identity when the connection was made."""
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, gid = CREDENTIALS.unpack(content)
    return Peer(uid, gid, may_admin)


def of_call(address: str) -> Peer:
    """The peer whose label ends `address`, as gRPC has it. Raises ValueError for any other."""
    uid, gid, may_admin, _ = address.rpartition("/")[2].split(".")
    return Peer(int(uid), int(gid), bool(int(may_admin)))
