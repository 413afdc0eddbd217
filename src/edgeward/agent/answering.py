"""How a call is answered: its request read in time, its caller known, a status for each error."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from edgeward.agent import peer
from edgeward.agent.calls import Calls
from edgeward.agent.peer import Peer
from edgeward.agent.refusal import Refusal, invalid

log = logging.getLogger(__name__)

MOST_TEXT_CHARACTERS = 1000  # of a status, which clients take as a header of 8 KiB at most

Method = Callable[[Any, Peer], bytes]
Watch = Callable[[Any, Callable[[], bool]], Iterator[bytes]]  # until nobody reads it


def handler(
    service: str,
    methods: Mapping[str, tuple[Method, Any]],
    calls: Calls,
    watches: Mapping[str, tuple[Watch, Any]] | None = None,
) -> grpc.GenericRpcHandler:
    """The calls of a service, by their names, with the types of their requests, for a grpc.Server.

    They have one request, and are handled as streams of one: a unary handler is only called when
    the request is there, and until then no one could tell whose call holds its thread. `watches`
    have any number of replies.
    """
    handlers = {
        name: grpc.stream_unary_rpc_method_handler(_answering(name, method, request, calls))
        for name, (method, request) in methods.items()
    }
    for name, (watch, request) in (watches or {}).items():
        watching = _watching(name, watch, request, calls)
        handlers[name] = grpc.stream_stream_rpc_method_handler(watching)
    return grpc.method_handlers_generic_handler(service, handlers)


def _answering(
    name: str, method: Method, request_type: Any, calls: Calls
) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
    """`method` as gRPC calls it: with its caller, and with a status in place of an exception."""

    def answer(contents: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with _refusing(name, context):
            caller = _caller(context.peer())
            entered = calls.enter(caller.uid, context.peer(), context)
            try:
                content = next(contents, None)
                calls.run(entered)
                return method(_parsed(request_type, content), caller)
            finally:
                calls.reply(entered)
        raise AssertionError("abort raises")

    return answer


def _watching(
    name: str, watch: Watch, request_type: Any, calls: Calls
) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]:
    """`watch` as gRPC calls it. It is one of its user's calls until its end."""

    def answer(contents: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with _refusing(name, context):
            entered = calls.enter(_caller(context.peer()).uid, context.peer(), context)
            content = next(contents, None)
            calls.run(entered)
            yield from watch(_parsed(request_type, content), context.is_active)

    return answer


@contextmanager
def _refusing(name: str, context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the call by a status in place of an exception."""
    try:
        yield
    except grpc.RpcError:  # the client has gone, or was sent away
        raise
    except Refusal as refusal:
        text = shortened(refusal.text)
        log.info("%s: %s: %s", name, refusal.status.name, text)
        context.abort(refusal.status, text)
    except Exception as error:
        log.exception("%s", name)
        context.abort(grpc.StatusCode.INTERNAL, f"a defect of the agent: {type(error).__name__}")


def _caller(address: str) -> Peer:
    try:
        return peer.of_call(address)
    except ValueError:  # gRPC forgets the address of a connection that has gone
        text = "connection: expected one that is open"
        raise Refusal(grpc.StatusCode.UNAVAILABLE, text) from None


def _parsed(request_type: Any, content: bytes | None) -> Any:
    if content is None:
        raise invalid("request", "one message", "none")
    try:
        return request_type.FromString(content)
    except DecodeError as error:
        raise invalid("request", request_type.DESCRIPTOR.name, f"other bytes: {error}") from None


def encoded(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content


def shortened(text: str) -> str:
    """The beginning and the end of a text that is too long: clients' names are of any length."""
    if len(text) <= MOST_TEXT_CHARACTERS:
        return text
    half = MOST_TEXT_CHARACTERS // 2
    return f"{text[:half]} ... {text[-half:]}"
