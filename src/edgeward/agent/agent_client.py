"""The agent as the command line calls it."""

import errno
import os
from typing import Any

import grpc

from edgeward.agent import device_service, edge_service
from edgeward.agent.configuration import VARIABLE_PREFIX, Configuration
from edgeward.proto import device_agent_pb2, edge_manager_pb2

CALL_S = 30.0
LOAD_S = 600.0
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class AgentSaysNo(Exception):  # noqa: N818 - named by what it is
    """Raised when the agent ends a call with a status: `status`, and its text."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


def admin_socket(path: str | None) -> str:
    """The socket to call: `path`, else what the environment says, else the agent's default."""
    variable = os.environ.get(VARIABLE_PREFIX + "ADMIN_SOCKET")
    return path or variable or Configuration.admin_socket


def edge_manager_call(socket: str, method: str, **fields: Any) -> Any:
    """The answer of a call of the Edge Manager service. Raises AgentSaysNo, OSError."""
    request = getattr(edge_manager_pb2, f"{method}Request")(**fields)
    response = getattr(edge_manager_pb2, f"{method}Response")
    time_s = LOAD_S if method == "LoadModel" else CALL_S
    return _called(socket, f"/{edge_service.SERVICE}/{method}", request, response, time_s)


def status(socket: str) -> Any:
    """What the agent is doing. Raises AgentSaysNo, OSError."""
    request, response = device_agent_pb2.StatusRequest(), device_agent_pb2.StatusResponse
    return _called(socket, f"/{device_service.SERVICE}/Status", request, response, CALL_S)


def _called(socket: str, method: str, request: Any, response: Any, time_s: float) -> Any:
    options = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1))
    with grpc.insecure_channel(f"unix:{os.path.abspath(socket)}", options) as channel:
        call = channel.unary_unary(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        try:
            return call(request, timeout=time_s)
        except grpc.RpcError as error:
            if error.code() in GONE:
                got = error.details() if os.path.exists(socket) else "no such socket"
                text = f"expected an agent that lets this user in, got {got}"
                raise OSError(errno.ECONNREFUSED, text, socket) from None
            raise AgentSaysNo(error.code().name, error.details()) from None
