"""Metrics as a Prometheus server reads them."""

from __future__ import annotations

import http.client
import os
import socket

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from .clients import Client, refused
from .running import Running, edge_manager_file

X = np.arange(4, dtype=np.float32)


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def samples_of(connection):
    """Each sample by its name and labels, read by the client library's parser."""
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("Content-Type").startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("kind", ["port", "path"])
def test_predictions_and_errors_are_counted(device, tmp_path, free_port, kind):
    file = edge_manager_file(tmp_path, root_certs_path=str(device / "trust"))
    address = f"127.0.0.1:{free_port}" if kind == "port" else "./metrics.sock"
    with Running(tmp_path, "-c", file, "-a", "agent.sock", EDGEWARD_AGENT_METRICS=address) as agent:
        client = Client(agent.socket)
        client.LoadModel(url=str(device / "model" / "demo" / "1.0"), name="demo")
        for _ in range(3):
            client.Predict(name="demo", tensors=[client.tensor(X, "x")])
        assert refused(client.Predict, name="demo", tensors=[])[0] == "INVALID_ARGUMENT"
        client.close()
        if kind == "port":
            connection = http.client.HTTPConnection("127.0.0.1", free_port, timeout=60)
        else:
            connection = UnixConnection(str(tmp_path / "metrics.sock"))
        samples = samples_of(connection)
        connection.request("GET", "/")
        assert connection.getresponse().status == 404
        connection.close()
    model = ("model", "demo")
    assert samples["edgeward_model_up", model] == 1
    assert samples["edgeward_prediction_seconds_count", model] == 4
    assert samples["edgeward_prediction_seconds_bucket", ("le", "+Inf"), model] == 4
    error = ("edgeward_prediction_errors_total", model, ("status", "INVALID_ARGUMENT"))
    assert samples[error] == 1
    assert samples["edgeward_worker_restarts_total", model] == 0
    assert samples["edgeward_captures_stored_total",] == 0
    assert not os.path.exists(tmp_path / "metrics.sock")
