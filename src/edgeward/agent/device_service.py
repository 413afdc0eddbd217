"""The agent's own gRPC service: what it is doing now."""

import time
from typing import Any

import grpc

from edgeward import __version__
from edgeward.agent import answering
from edgeward.agent.answering import encoded
from edgeward.agent.calls import Calls
from edgeward.agent.capture_intake import CaptureIntake
from edgeward.agent.loaded_models import LoadedModels
from edgeward.agent.ring_drains import RingDrains
from edgeward.proto import device_agent_pb2 as messages

SERVICE = "edgeward.v1.DeviceAgent"


class DeviceService:
    """The calls. Any thread, any number at once."""

    def __init__(
        self, models: LoadedModels, intake: CaptureIntake | None, drains: RingDrains | None
    ) -> None:
        self._models = models
        self._intake = intake
        self._drains = drains
        self._start_s = time.monotonic()

    def handler(self, calls: Calls) -> grpc.GenericRpcHandler:
        """The calls by their names, for a grpc.Server."""
        status = lambda request, caller: encoded(self.status()), messages.StatusRequest
        return answering.handler(SERVICE, {"Status": status}, calls)

    def status(self) -> Any:
        now_s = time.monotonic()
        response = messages.StatusResponse(agent_version=__version__, age_s=now_s - self._start_s)
        for loaded in self._models.all():
            health = loaded.model.health
            counts = loaded.counts.now()
            response.models.add(
                alias=loaded.load.alias,
                url=loaded.load.url,
                name=loaded.model.name,
                version=loaded.model.version,
                state=messages.DOWN if health.why_down else messages.SERVING,
                reason=health.why_down,
                age_s=now_s - health.since_s,
                predictions=counts.predictions,
                failures=sum(counts.failures.values()),
                median_s=counts.percentile_s(50),
                p99_s=counts.percentile_s(99),
                restarts=health.restarts,
            )
        for alias, (load, reason) in sorted(self._models.failed.items()):
            response.models.add(
                alias=alias,
                url=load.url,
                state=messages.FAILED,
                reason=reason,
                age_s=now_s - self._start_s,
            )
        if self._intake is not None:
            response.captures.CopyFrom(messages.CaptureStatus(**self._intake.report()))
        if self._drains is not None:
            response.rings.extend(messages.RingStatus(**facts) for facts in self._drains.report())
        return response
