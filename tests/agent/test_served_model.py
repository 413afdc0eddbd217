"""Models in workers: what a model that crashes or hangs costs, and how it is back."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest
import sealed

from .clients import Client, array_of, refused
from .running import Running, edge_manager_file
from .test_worker_process import stop

X = np.arange(4, dtype=np.float32)
LIMIT_S = 60.0


@pytest.fixture
def device(tmp_path):
    sealed.trust_at(tmp_path / "trust")
    sealed.seal(tmp_path / "demo.ewp")
    return tmp_path


def started(device, **environment):
    arguments = ("-c", edge_manager_file(device), "-a", device / "agent.sock")
    return Running(device, *arguments, **environment)


def children(pid):
    """The processes that a process has started and that still run, by the kernel."""
    numbers = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            numbers += map(int, (task / "children").read_text().split())
    return numbers


def until(condition):
    end_s = time.monotonic() + LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < end_s
        time.sleep(0.01)
    return value


def has_engine(pid):
    return "LiteRt" in Path(f"/proc/{pid}/maps").read_text()


def predicted(client, alias="a"):
    output = client.Predict(name=alias, tensors=[client.tensor(X)]).tensors[0]
    assert array_of(output).tolist() == [0, 2, 4, 6]
    return True


def predicted_again(client, alias="a"):
    """Whether it runs; until it does, it is UNAVAILABLE and nothing else."""
    try:
        return predicted(client, alias)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            return False
        raise


@pytest.mark.parametrize("workers", [0, 1])
def test_where_the_engine_is(device, workers):
    with started(device, EDGEWARD_AGENT_WORKERS=str(workers)) as running:
        client = Client(running.socket)
        client.LoadModel(url="demo.ewp", name="a")
        client.LoadModel(url="demo.ewp", name="b")
        assert predicted(client, "a")
        assert predicted(client, "b")
        pids = children(running.process.pid)
        assert len(pids) == 2 * workers
        assert has_engine(running.process.pid) == (not workers)
        assert all(has_engine(pid) for pid in pids)
        client.UnLoadModel(name="a")
        until(lambda: len(children(running.process.pid)) == workers)
        assert predicted(client, "b")


def test_a_worker_that_dies_is_back_and_the_other_model_never_notices(device):
    with started(device) as running:
        client = Client(running.socket)
        client.LoadModel(url="demo.ewp", name="b")
        (other,) = children(running.process.pid)
        client.LoadModel(url="demo.ewp", name="a")
        (worker,) = set(children(running.process.pid)) - {other}
        os.kill(worker, signal.SIGKILL)
        assert predicted(client, "b")
        until(lambda: predicted_again(client))
        assert other in children(running.process.pid)


def test_a_worker_that_hangs_costs_its_call_the_time_limit(device):
    with started(device, EDGEWARD_AGENT_MOST_RUN_S="1") as running:
        client = Client(running.socket)
        client.LoadModel(url="demo.ewp", name="a")
        (worker,) = children(running.process.pid)
        stop(worker)
        code, text = refused(client.Predict, name="a", tensors=[client.tensor(X)])
        assert code == "DEADLINE_EXCEEDED"
        assert "model a" in text
        until(lambda: predicted_again(client))


def test_the_third_death_in_a_minute_is_the_last_until_it_is_loaded_again(device):
    with started(device) as running:
        client = Client(running.socket)
        client.LoadModel(url="demo.ewp", name="a")
        for _ in range(3):
            until(lambda: predicted_again(client))
            os.kill(*children(running.process.pid), signal.SIGKILL)
        text = until(lambda: quarantine(client))
        assert "model a: ended 3 times within 60 s, the last by SIGKILL" in text
        assert [model.name for model in client.ListModels().models] == ["a"]
        client.UnLoadModel(name="a")
        client.LoadModel(url="demo.ewp", name="a")
        assert predicted(client)


def quarantine(client):
    try:
        predicted(client)
    except grpc.RpcError as error:
        return error.details() if "3 times" in error.details() else None


def test_workers_end_with_an_agent_that_is_killed(device):
    with started(device) as running:
        Client(running.socket).LoadModel(url="demo.ewp", name="a")
        workers = children(running.process.pid)
        running.stop(signal.SIGKILL)
        until(lambda: not any(os.path.exists(f"/proc/{pid}/maps") and maps(pid) for pid in workers))
        assert workers


def maps(pid):
    """What a process maps; nothing of one that has ended and was not waited for."""
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
