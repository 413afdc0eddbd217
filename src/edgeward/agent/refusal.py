"""Refusal: why a call is not answered, as a gRPC status and a text that says what to do."""

# ruff: noqa: N818 - named by what it is

import errno

import grpc

from edgeward.agent.worker_process import DeadlinePassed, WorkerGone
from edgeward.errors import BadInput, EdgewardError, OutOfMemory, OverBudget

Status = grpc.StatusCode
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)


class Refusal(Exception):
    """Raised by a call that ends with `status`; its text names what, which, expected and got."""

    def __init__(self, status: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def invalid(noun: str, expected: str, got: str) -> Refusal:
    """What a caller is told of an argument that is wrong."""
    return Refusal(Status.INVALID_ARGUMENT, f"{noun}: expected {expected}, got {got}")


def of_opening(error: Exception) -> Refusal:
    """What a caller is told when a model could not be opened."""
    if isinstance(error, OverBudget | OutOfMemory | MemoryError):
        return Refusal(Status.RESOURCE_EXHAUSTED, str(error) or "the system has no more memory")
    if isinstance(error, OSError):
        text = _os_text(error)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return Refusal(Status.NOT_FOUND, text)
        if error.errno in NO_ROOM:
            return Refusal(Status.RESOURCE_EXHAUSTED, text)
        return Refusal(Status.FAILED_PRECONDITION, text)
    if isinstance(error, EdgewardError):
        return Refusal(Status.FAILED_PRECONDITION, str(error))
    raise error


def of_running(error: Exception) -> Refusal:
    """What a caller is told when a model did not run."""
    if isinstance(error, BadInput):
        return Refusal(Status.INVALID_ARGUMENT, str(error))
    if isinstance(error, OverBudget | OutOfMemory | MemoryError):
        return Refusal(Status.RESOURCE_EXHAUSTED, str(error) or "the system has no more memory")
    if isinstance(error, WorkerGone):
        return Refusal(Status.UNAVAILABLE, str(error))
    if isinstance(error, DeadlinePassed):
        return Refusal(Status.DEADLINE_EXCEEDED, str(error))
    if isinstance(error, EdgewardError):
        return Refusal(Status.INTERNAL, str(error))
    raise error


def _os_text(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f'"{error.filename}": {reason}' if error.filename else reason
