"""Door: a public unix socket, and what passes through it to the gRPC server behind.

grpcio has no hook for the credentials of a peer, so the agent accepts connections itself, asks the
kernel who is there, and relays the bytes of those it lets in. The server listens in a directory
that the agent's own user alone can open; the name of the agent's own end of a connection is no
file, so that a disk without room keeps nobody out. One thread of the core carries the bytes of all
connections, without Python.
"""

import errno
import logging
import os
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from edgeward import _core
from edgeward.agent import peer
from edgeward.agent.peer import Peer

log = logging.getLogger(__name__)

PAUSE_S = 0.1  # after the system had no descriptor left
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Rules(NamedTuple):
    """Who may come in. A user is let in by either list; root and the agent's own user always."""

    uids: Collection[int]
    gids: Collection[int]
    most_connections: int  # of one user

    @property
    def socket_mode(self) -> int:
        """Of the socket's file: that of one which others may use lets them as far as the rules."""
        return 0o666 if self.uids or self.gids else 0o600

    def let_in(self, connection: socket.socket) -> bool:
        uid = peer.of_socket(connection, may_admin=False).uid
        if uid in (0, os.geteuid()) or uid in self.uids:
            return True
        return not peer.groups_of(connection).isdisjoint(self.gids)


class Door:
    """Lets connections of a listening socket through, until `close`.

    `inner` is the directory of the server's socket, and `server` its name there. `may_admin` is
    what all who come in by this door may do. `connections` is shared by the doors of an agent, so
    that its rule on connections holds over all of them.
    """

    def __init__(
        self,
        listener: socket.socket,
        rules: Rules,
        connections: "Connections",
        inner: str,
        server: str,
        may_admin: bool,
    ) -> None:
        self._listener = listener
        self._rules = rules
        self._connections = connections
        self._server = os.path.join(inner, server)
        self._names = f"\0edgeward/{secrets.token_hex(16)}"  # which nobody can take beforehand
        self._may_admin = may_admin
        self._lists = "admin_users or admin_groups" if may_admin else "users or groups"
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Lets nobody else in. Who is in stays until the server behind ends."""
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno in NO_DESCRIPTOR:
                    self._closing.wait(PAUSE_S)
                continue
            try:
                self._let_in(connection)
            except (OSError, MemoryError) as error:  # a peer left; no descriptor
                log.warning("connection: %s", error)
                connection.close()

    def _let_in(self, connection: socket.socket) -> None:
        visitor = peer.of_socket(connection, self._may_admin)
        if not self._rules.let_in(connection):
            self._connections.refuse(visitor, f"expected a user of {self._lists}")
        elif not (number := self._connections.enter(visitor.uid, self._rules.most_connections)):
            self._connections.refuse(
                visitor, f"expected {self._rules.most_connections} connections"
            )
        else:
            try:
                server = self._connected(visitor.label(number))
                self._connections.relay(connection, server, visitor.uid)
            except BaseException:
                self._connections.leave(visitor.uid)
                raise
            return
        connection.close()

    def _connected(self, label: str) -> socket.socket:
        """A connection to the server whose own end has the name `label`, as `peer` reads it."""
        server = socket.socket(socket.AF_UNIX)
        try:
            server.bind(f"{self._names}/{label}")
            server.connect(self._server)
        except BaseException:
            server.close()
            raise
        return server


class Connections:
    """The connections of an agent: relayed, counted by user; and who was told no. Any thread."""

    def __init__(self) -> None:
        self._relay = _core.Relay()
        self._lock = threading.Lock()
        self._open: Counter[int] = Counter()
        self._number = 0
        self._refused: set[tuple[int, str]] = set()

    def close(self) -> None:
        """Ends all. No door is open any more."""
        self._relay.close()

    def enter(self, uid: int, most: int) -> int:
        """The number of a further connection, from 1 on; 0 when the user has `most` of them."""
        with self._lock:
            for ended in self._relay.take_ended():
                self._leave(ended)
            if self._open[uid] >= most:
                return 0
            self._open[uid] += 1
            self._number += 1
            return self._number

    def relay(self, connection: socket.socket, server: socket.socket, uid: int) -> None:
        """Carries bytes between the two, which it takes, until both have ended; `uid` leaves then.

        Raises OSError.
        """
        self._relay.add(connection.detach(), server.detach(), uid)

    def leave(self, uid: int) -> None:
        """Notes that a connection that has entered was not relayed."""
        with self._lock:
            self._leave(uid)

    def refuse(self, visitor: Peer, expected: str) -> None:
        """Notes in the log, once for each user and reason, that a connection was closed."""
        with self._lock:
            is_news = (visitor.uid, expected) not in self._refused
            self._refused.add((visitor.uid, expected))
        if is_news:
            log.warning("connection: %s, got one of user %d", expected, visitor.uid)

    def _leave(self, uid: int) -> None:
        self._open[uid] -= 1
        self._open += Counter()  # forgets users without any
        self._refused = {item for item in self._refused if item[0] != uid}
