"""The standard health service: the agent by its services' names, and each model by its alias.

A watch looks at the models' states several times a second; each holds a thread of the server, so
there are few of them.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

import grpc

from edgeward.agent import answering
from edgeward.agent.answering import encoded
from edgeward.agent.calls import Calls
from edgeward.agent.loaded_models import LoadedModels
from edgeward.agent.peer import Peer
from edgeward.agent.refusal import Refusal
from edgeward.proto import health_pb2 as messages

SERVICE = "grpc.health.v1.Health"
MOST_WATCHES = 16
LOOK_S = 0.2
Status = messages.HealthCheckResponse


class HealthService:
    """The calls, and the watches until `close`. Any thread, any number at once."""

    def __init__(self, models: LoadedModels, services: Collection[str]) -> None:
        self._models = models
        self._services = frozenset({"", *services})
        self._free_watches = threading.BoundedSemaphore(MOST_WATCHES)
        self._closing = threading.Event()

    def handler(self, calls: Calls) -> grpc.GenericRpcHandler:
        """The calls by their names, for a grpc.Server."""
        check = self.check, messages.HealthCheckRequest
        watch = self.watch, messages.HealthCheckRequest
        return answering.handler(SERVICE, {"Check": check}, calls, {"Watch": watch})

    def close(self) -> None:
        """Ends the watches."""
        self._closing.set()

    def status(self, service: str) -> int:
        """The status of a service, or of the model that has it as its alias."""
        if service in self._services:
            return int(Status.SERVING)
        for loaded in self._models.all():
            if loaded.load.alias == service:
                is_down = bool(loaded.model.health.why_down)
                return int(Status.NOT_SERVING if is_down else Status.SERVING)
        is_failed = service in self._models.failed
        return int(Status.NOT_SERVING if is_failed else Status.SERVICE_UNKNOWN)

    def check(self, request: Any, caller: Peer) -> bytes:
        status = self.status(request.service)
        if status == Status.SERVICE_UNKNOWN:
            expected = "an alias, the name of a service, or none"
            text = f'service: expected {expected}, got "{request.service}"'
            raise Refusal(grpc.StatusCode.NOT_FOUND, text)
        return encoded(Status(status=status))

    def watch(self, request: Any, is_wanted: Callable[[], bool]) -> Iterator[bytes]:
        if not self._free_watches.acquire(blocking=False):
            text = f"watches: expected at most {MOST_WATCHES} at once, got one more"
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        try:
            for status in self._changes(lambda: self.status(request.service), is_wanted):
                yield encoded(Status(status=status))
        finally:
            self._free_watches.release()

    def _changes(self, look: Callable[[], int], is_wanted: Callable[[], bool]) -> Iterator[int]:
        """What there is now, and again whenever it is another."""
        last = None
        while is_wanted() and not self._closing.is_set():
            status = look()
            if status != last:
                yield status
                last = status
            self._closing.wait(LOOK_S)
