"""A worker that is begun before its model is known."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sealed
from models import tflite_models

from edgeward.agent.model_file import ModelOpener
from edgeward.agent.refusal import Refusal
from edgeward.agent.worker_process import Order, WorkerProcess
from edgeward.agent.worker_program import WorkerProgram

from .clients import Client
from .test_served_model import children, started, until
from .test_worker_process import LONG_S, X, copies


@pytest.fixture
def order(tmp_path: Path) -> Order:
    path = tmp_path / "add.tflite"
    path.write_bytes(tflite_models.add((4,)))
    return Order(str(path), None)


def test_it_is_begun_without_numpy_and_grpc() -> None:
    program = "import sys, edgeward.agent.command, edgeward.agent.worker_program\n"
    program += "from edgeward.agent import configuration, edge_manager_file, model_table, toml_file"
    program += "\nprint({'numpy', 'grpc', 'google.protobuf'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr


def test_the_first_start_takes_it(order: Order) -> None:
    program = WorkerProgram()
    worker = WorkerProcess("demo", program)
    worker.load("add", order)
    assert worker.pid == program.process.pid
    program.process.kill()
    until(lambda: worker.pid not in (program.process.pid, None))
    until(lambda: not worker.health.why_down)
    (y,) = worker.predict("add", [X], LONG_S, copies)
    assert y.tolist() == (X + X).tolist()
    worker.close()


@pytest.mark.parametrize("is_owned_before", [True, False])
def test_its_end_is_told_whenever_its_owner_comes(is_owned_before: bool) -> None:
    program = WorkerProgram()
    statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
    if is_owned_before:
        program.ended.put(statuses.put)
    program.close()
    program.process.wait()
    if not is_owned_before:
        program.ended.put(statuses.put)
    assert statuses.get(timeout=LONG_S) == -signal.SIGKILL


def test_those_that_no_model_takes_are_ended(order: Order) -> None:
    programs = [WorkerProgram() for _ in range(3)]
    opener = ModelOpener(None, True, LONG_S, programs)
    with pytest.raises(Refusal):
        opener.open("none", order.path + ".none")
    model = opener.open("add", order.path)
    opener.end_begun()
    until(lambda: sum(program.process.poll() is None for program in programs) == 1)
    model.close()


def test_a_start_has_a_worker_for_each_model_and_none_too_many(tmp_path: Path) -> None:
    """Also where the file of one is gone."""
    sealed.trust_at(tmp_path / "trust")
    for name in ("demo", "other"):
        sealed.seal(tmp_path / f"{name}.ewp")
    with started(tmp_path) as running:
        client = Client(running.socket)
        for alias, url in (("a", "demo.ewp"), ("b", "demo.ewp"), ("c", "other.ewp")):
            client.LoadModel(url=url, name=alias)
        client.close()
        running.stop()
        (tmp_path / "other.ewp").unlink()
        running.start()
        until(lambda: len(children(running.process.pid)) == 2)
        client = Client(running.socket)
        assert [model.name for model in client.ListModels().models] == ["a", "b"]
        client.close()
