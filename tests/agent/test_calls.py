"""What one client holds of the server is bounded, and does not keep others from it."""

from __future__ import annotations

import gzip
import os
import struct

import grpc
import numpy as np
import pytest

from edgeward.agent.calls import MOST_STALL_S, Calls
from edgeward.agent.refusal import Refusal

from .clients import array_of, refused
from .raw_http2 import DATA, PREFACE, Connection, frame

X = np.arange(4, dtype=np.float32)
CONNECTIONS, STREAMS = 20, 30  # more than the agent takes calls


@pytest.fixture
def predicting(latest):
    """Asks for a prediction, on a connection that was there before."""
    latest.Predict(name="steady", tensors=[latest.tensor(X)])

    def ask() -> None:
        output = latest.Predict(name="steady", tensors=[latest.tensor(X)]).tensors[0]
        assert array_of(output).any()

    return ask


@pytest.fixture
def hostile(agent):
    """Makes connections, which are closed in the end."""
    connections = []

    def connect(window: int | None = None) -> Connection:
        connections.append(Connection(agent.socket, window))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


def test_calls_without_a_request_leave_others_their_threads(hostile, predicting):
    for _ in range(CONNECTIONS):
        connection = hostile()
        for _ in range(STREAMS):
            connection.begin("Predict")
        predicting()


def test_calls_with_half_a_request(hostile, predicting):
    for _ in range(CONNECTIONS):
        connection = hostile()
        for _ in range(STREAMS):
            head = struct.pack(">BI", 0, 4 << 20) + b"x" * 1000
            connection.socket.sendall(frame(DATA, 0, connection.begin("CaptureData"), head))
        predicting()


def test_replies_that_nobody_reads(hostile, predicting):
    for _ in range(CONNECTIONS):
        connection = hostile(window=0)
        for _ in range(STREAMS):
            connection.message(connection.begin("ListModels"), b"")
        predicting()


def test_connections_that_say_nothing_or_something_else(hostile, agent, predicting):
    for content in (b"", PREFACE[:10], os.urandom(500), b"GET / HTTP/1.1\r\n\r\n"):
        for _ in range(4):
            connection = hostile()
            connection.socket.sendall(content)
        predicting()


def test_a_small_message_that_unpacks_to_a_large_one(agent):
    with grpc.insecure_channel(
        f"unix:{agent.socket}", compression=grpc.Compression.Gzip
    ) as channel:
        call = channel.unary_unary("/AWS.SageMaker.Edge.Agent/CaptureData")
        content = bytes(64 << 20)
        assert len(gzip.compress(content)) < 1 << 20
        assert refused(lambda: call(content, timeout=60))[0] == "RESOURCE_EXHAUSTED"


def test_a_user_has_so_many_calls_that_run():
    """Of four calls at once a user has three: ones that run are not ended for another."""
    calls = Calls(3)
    for _ in range(3):
        calls.run(calls.enter(7, "a", Ended()))
    with pytest.raises(Refusal, match="at most 3 of a user") as refusal:
        calls.enter(7, "b", Ended())
    assert refusal.value.status == grpc.StatusCode.RESOURCE_EXHAUSTED
    calls.enter(8, "b", Ended())


def test_the_connection_with_the_most_stalled_calls_loses_one():
    calls = Calls(4)
    contexts = [Ended() for _ in range(5)]
    for context, connection in zip(contexts, "abbba", strict=True):
        calls.enter(7, connection, context)
    assert [context.is_ended for context in contexts] == [False, True, False, False, False]


def test_a_call_that_left_makes_room():
    calls = Calls(1)
    first = Ended()
    calls.run(calls.enter(7, "a", first))
    first.callback()
    calls.run(calls.enter(7, "a", Ended()))


def test_a_call_that_stalled_too_long_is_ended_when_another_comes(monkeypatch):
    calls = Calls(10)
    old = Ended()
    calls.enter(7, "a", old)
    replied = Ended()
    calls.reply(calls.enter(7, "a", replied))
    monkeypatch.setattr("edgeward.agent.calls.MOST_STALL_S", -1.0)
    calls.enter(8, "b", Ended())
    assert MOST_STALL_S > 0
    assert old.is_ended
    assert replied.is_ended


class Ended:
    """What Calls asks of a call's context."""

    is_ended = False

    def cancel(self) -> None:
        self.is_ended = True

    def add_callback(self, callback) -> bool:
        self.callback = callback
        return True
