"""Calls under way, and how many of them one user may have.

A call holds a thread until its request is there and while it runs, and memory until its reply is
read. Who sends half a request, or reads no reply, holds both for nothing: such calls are ended when
they are old, or when their user has no room for another, on the connection with the most of them.
"""

import threading
import time
from collections import Counter, OrderedDict
from typing import Any

import grpc

from edgeward.agent.refusal import Refusal

MOST_STALL_S = 30.0  # until a request is there, and until a reply is read


class Call:
    """One call of user `uid` on a connection; its `context` can end it."""

    def __init__(self, uid: int, connection: str, context: Any) -> None:
        self.uid = uid
        self.connection = connection
        self.context = context
        self.is_open = True


class Calls:
    """The calls of a server. Any thread.

    No thread watches: calls that stall are looked for when another comes, for nobody else suffers.
    """

    def __init__(self, most_of_user: int) -> None:
        self._most_of_user = most_of_user
        self._lock = threading.Lock()
        self._open: Counter[int] = Counter()  # by user
        # Calls that wait for their client, since when: the longest first.
        self._stalled: OrderedDict[Call, float] = OrderedDict()

    def enter(self, uid: int, connection: str, context: Any) -> Call:
        """A call whose request is awaited. Raises Refusal RESOURCE_EXHAUSTED."""
        call = Call(uid, connection, context)
        with self._lock:
            ended = self._overdue()
            if self._open[uid] - sum(old.uid == uid for old in ended) >= self._most_of_user:
                ended += self._longest_stalled(uid)
            for old in ended:
                self._forget(old)
            self._open[uid] += 1
            self._stalled[call] = time.monotonic()
        for old in ended:
            old.context.cancel()
        if not context.add_callback(lambda: self.leave(call)):
            self.leave(call)  # the client has gone meanwhile
        return call

    def run(self, call: Call) -> None:
        """Notes that the request is there: from now on it is the agent that takes its time."""
        with self._lock:
            self._stalled.pop(call, None)

    def reply(self, call: Call) -> None:
        """Notes that the call has its reply, which the client may read."""
        with self._lock:
            if call.is_open:
                self._stalled[call] = time.monotonic()
                self._stalled.move_to_end(call)

    def leave(self, call: Call) -> None:
        """Notes that nothing is left of the call."""
        with self._lock:
            self._forget(call)

    def _overdue(self) -> list[Call]:
        end_s = time.monotonic() - MOST_STALL_S
        overdue = []
        for call, since_s in self._stalled.items():
            if since_s > end_s:
                break
            overdue.append(call)
        return overdue

    def _longest_stalled(self, uid: int) -> list[Call]:
        by_connection: dict[str, list[Call]] = {}
        for call in self._stalled:
            if call.uid == uid:
                by_connection.setdefault(call.connection, []).append(call)
        if by_connection:
            return max(by_connection.values(), key=len)[:1]
        text = f"calls: expected at most {self._most_of_user} of a user at once, got one more"
        raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    def _forget(self, call: Call) -> None:
        if not call.is_open:
            return
        call.is_open = False
        self._stalled.pop(call, None)
        self._open[call.uid] -= 1
        self._open += Counter()  # forgets users without any
