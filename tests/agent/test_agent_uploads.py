"""An agent whose captures go to a real S3-compatible server, which is away for a while."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("obstore")

from . import s3_server
from .clients import Client
from .running import LIMIT_S, Running, edge_manager_file

KEYS = {
    "AWS_ACCESS_KEY_ID": s3_server.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": s3_server.SECRET_KEY,
}
IN_PROGRESS, SUCCESS = 2, 1


@pytest.fixture
def away(tmp_path: Path) -> Iterator[tuple[s3_server.Relay, Path]]:
    """A relay that answers 503, and the bucket's folder behind it."""
    if s3_server.rclone() is None:
        pytest.skip("needs rclone")
    with s3_server.serving(tmp_path / "s3") as port:
        relay = s3_server.Relay(port)
        relay.fault = "unavailable"
        yield relay, tmp_path / "s3" / s3_server.BUCKET
        relay.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def records(folder: Path) -> dict[str, dict[str, object]]:
    """Every record by its capture id; each is there once."""
    lines = [
        json.loads(line)
        for path in folder.rglob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    by_id = {line["eventMetadata"]["eventId"]: line for line in lines}
    assert len(by_id) == len(lines)
    return by_id


def agent_with(device: Path, relay: s3_server.Relay, **settings: object) -> Running:
    file = edge_manager_file(device, **settings)
    document = json.loads(file.read_text())
    document["sagemaker_edge_provider_s3_bucket_name"] = s3_server.BUCKET
    file.write_text(json.dumps(document))
    url = f"http://127.0.0.1:{relay.port}"
    return Running(device, "-c", file.name, "-a", "agent.sock", AWS_ENDPOINT_URL_S3=url, **KEYS)


def capture(client: Client, capture_id: str, count: int) -> None:
    tensor = client.tensor(np.zeros(count, np.float32))
    client.CaptureData(model_name="demo", capture_id=capture_id, output_tensors=[tensor])


def test_a_capture_is_success_when_the_cloud_has_it(
    device: Path, away: tuple[s3_server.Relay, Path]
) -> None:
    relay, bucket = away
    with agent_with(device, relay, capture_data_destination="Cloud") as agent:
        client = Client(agent.socket, "C")
        client.LoadModel(url="model/demo/1.0", name="demo")
        for number in range(5):
            capture(client, f"before-{number}", 2000 * number)
        until(lambda: relay.broken > 0)
        status = client.GetCaptureDataStatus(capture_id="before-0").status
        assert status == IN_PROGRESS
        outbox = device / "state" / "outbox"
        until(lambda: len(records(outbox)) == 5)
        client.close()
        agent.stop(signal.SIGKILL)
        agent.start()
        client = Client(agent.socket, "C")
        assert client.GetCaptureDataStatus(capture_id="before-4").status == IN_PROGRESS
        capture(client, "after", 1)
        relay.fault = "lost"
        seen = relay.broken
        until(lambda: relay.broken > seen)
        relay.fault = "pass"
        ids = [*(f"before-{number}" for number in range(5)), "after"]
        for capture_id in ids:
            until(
                lambda capture_id=capture_id: (  # type: ignore[misc]
                    client.GetCaptureDataStatus(capture_id=capture_id).status == SUCCESS
                )
            )
        client.close()
    assert sorted(records(bucket)) == sorted(ids)
    for record in records(bucket).values():
        for payload in record["deviceFleetOutputs"]:  # type: ignore[attr-defined]
            if "data-ref" in payload:
                assert (bucket / payload["data-ref"]).stat().st_size % 8000 == 0
    assert records(outbox) == {}


def test_captures_on_the_disk_go_on_to_the_cloud(
    device: Path, away: tuple[s3_server.Relay, Path]
) -> None:
    relay, bucket = away
    settings = {
        "capture_data_periodic_upload": "true",
        "capture_data_periodic_upload_period_seconds": "1",
    }
    with agent_with(device, relay, **settings) as agent:
        client = Client(agent.socket, "C")
        if not client.ListModels().models:
            client.LoadModel(url="model/demo/1.0", name="demo")
        capture(client, "disk", 3)
        until(lambda: client.GetCaptureDataStatus(capture_id="disk").status == SUCCESS)
        assert records(bucket) == {}
        assert "disk" in records(device / "captures")
        relay.fault = "pass"
        until(lambda: "disk" in records(bucket) and not records(device / "captures"))
        client.close()
