"""The standard health service, asked over the agent's socket."""

from __future__ import annotations

import grpc
import pytest

from edgeward.agent.health_service import MOST_WATCHES, SERVICE
from edgeward.proto import health_pb2

from .running import Running, edge_manager_file

Status = health_pb2.HealthCheckResponse


class Health:
    """A client of its own connection."""

    def __init__(self, socket):
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"unix:{socket}", options)
        forms = {
            "request_serializer": health_pb2.HealthCheckRequest.SerializeToString,
            "response_deserializer": Status.FromString,
        }
        self._check = self.channel.unary_unary(f"/{SERVICE}/Check", **forms)
        self._watch = self.channel.unary_stream(f"/{SERVICE}/Watch", **forms)

    def check(self, service):
        return self._check(health_pb2.HealthCheckRequest(service=service), timeout=60).status

    def watch(self, service):
        return self._watch(health_pb2.HealthCheckRequest(service=service), timeout=60)


@pytest.fixture
def health(agent, latest):
    health = Health(agent.socket)
    yield health
    health.channel.close()


@pytest.mark.parametrize(
    "service", ["", "steady", "AWS.SageMaker.Edge.Agent", "inference.GRPCInferenceService"]
)
def test_what_serves_says_so(health, service):
    assert health.check(service) == Status.SERVING


def test_another_name_is_told(health):
    with pytest.raises(grpc.RpcError) as error:
        health.check("nobody")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert 'got "nobody"' in error.value.details()


def test_a_watch_tells_each_change(health, latest):
    watch = health.watch("coming")
    assert next(watch).status == Status.SERVICE_UNKNOWN
    latest.LoadModel(url="model/demo/1.0", name="coming")
    assert next(watch).status == Status.SERVING
    latest.UnLoadModel(name="coming")
    assert next(watch).status == Status.SERVICE_UNKNOWN
    watch.cancel()


def test_there_are_so_many_watches(health):
    watches = [served_watch(health) for _ in range(MOST_WATCHES)]
    with pytest.raises(grpc.RpcError) as error:
        next(health.watch("steady"))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    for watch in watches:
        watch.cancel()


def served_watch(health):
    """A watch that has told its first status, when those of other tests have ended."""
    for _ in range(10_000):
        watch = health.watch("steady")
        try:
            assert next(watch).status == Status.SERVING
            return watch
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
    raise AssertionError("expected a watch to be served, got none")


def test_a_watch_does_not_hold_up_the_end(device, tmp_path):
    file = edge_manager_file(tmp_path, root_certs_path=str(device / "trust"))
    with Running(tmp_path, "-c", file, "-a", "agent.sock") as agent:
        watch = Health(agent.socket).watch("")
        assert next(watch).status == Status.SERVING
        assert agent.stop() == 0
        assert list(watch) == []
