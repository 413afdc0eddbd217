"""The models of an earlier agent, loaded again: whatever their workers do, the start goes on."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
import sealed

from edgeward.agent.loaded_models import MOST_ATTEMPTS, STILL_LOADING, LoadedModels
from edgeward.agent.model_file import ModelOpener
from edgeward.agent.refusal import Refusal
from edgeward.trust.trust_directory import Trust

from .clients import Client
from .running import LIMIT_S
from .test_served_model import children, started, until
from .test_worker_process import stop


@pytest.fixture
def opener(tmp_path):
    sealed.trust_at(tmp_path / "trust")
    sealed.seal(tmp_path / "demo.ewp")
    return lambda: ModelOpener(Trust(tmp_path / "trust"), False, LIMIT_S)


@pytest.fixture
def table(tmp_path, opener):
    """A state directory whose table names the model "a"."""
    models = LoadedModels(str(tmp_path), opener())
    models.load("a", str(tmp_path / "demo.ewp"))
    models.close()
    return str(tmp_path)


def new_worker(pid, known=()):
    """The worker that `pid` starts next, before it can have answered.

    One that has not become the worker's program yet is still a part of who starts it, which waits
    for it with the interpreter's lock: to stop that one stops the starter.
    """

    def begun():
        return {number for number in set(children(pid)) - set(known) if is_worker(number)}

    return until(begun).pop()


def is_worker(pid):
    with suppress(OSError):  # it has ended meanwhile
        return b"edgeward.agent.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def aliases(models):
    return [loaded.load.alias for loaded in models.all()]


def restoring(models):
    thread = threading.Thread(target=models.restore, args=(None, lambda: False))
    thread.start()
    return thread


@pytest.mark.parametrize("deaths", range(1, MOST_ATTEMPTS + 1))
def test_a_worker_that_dies_while_it_loads_is_followed_by_another(table, opener, deaths):
    models = LoadedModels(table, opener())
    known = children(os.getpid())
    thread = restoring(models)
    for _ in range(deaths):
        worker = new_worker(os.getpid(), known)
        os.kill(worker, signal.SIGKILL)
        known.append(worker)
    thread.join()
    if deaths < MOST_ATTEMPTS:
        assert (aliases(models), models.failed) == (["a"], {})
    else:
        assert aliases(models) == []
        assert "the worker ended before it replied" in models.failed["a"][1]
    models.close()


def test_a_model_that_takes_too_long_is_named_and_comes_later(table, opener):
    models = LoadedModels(table, opener())
    known = children(os.getpid())
    models.restore(0.0, lambda: False)
    worker = new_worker(os.getpid(), known)
    stop(worker)
    assert models.failed["a"][1] == STILL_LOADING
    with pytest.raises(Refusal, match=STILL_LOADING):
        models.model("a")
    with pytest.raises(Refusal, match="a load under way"):
        models.load("a", "demo.ewp")
    os.kill(worker, signal.SIGKILL)
    until(lambda: aliases(models) == ["a"])
    assert models.failed == {}
    assert models.listing
    models.close()


def test_what_is_unloaded_while_it_loads_is_not_served(table, opener):
    models = LoadedModels(table, opener())
    known = children(os.getpid())
    models.restore(0.0, lambda: False)
    worker = new_worker(os.getpid(), known)
    stop(worker)
    models.unload("a")
    os.kill(worker, signal.SIGCONT)
    until(lambda: worker not in children(os.getpid()))
    assert (aliases(models), models.failed) == ([], {})
    models.close()


def test_the_end_waits_for_no_load(table, opener):
    models = LoadedModels(table, opener())
    known = children(os.getpid())
    models.restore(None, lambda: True)
    worker = new_worker(os.getpid(), known)
    stop(worker)
    closing = threading.Thread(target=models.close, daemon=True)
    closing.start()
    closing.join(LIMIT_S)  # a load may take five minutes
    assert not closing.is_alive()
    until(lambda: worker not in children(os.getpid()))
    assert Path(table, "models.json").read_text().count("demo.ewp") == 2


@pytest.mark.parametrize("moment", ["start", "load", "restart"])
def test_sigterm_ends_the_agent_while_a_load_hangs(tmp_path, opener, moment):
    with started(tmp_path) as running:
        load = threading.Thread(target=load_or_refusal, args=(running.socket,))
        load.start()
        if moment == "load":
            stop(new_worker(running.process.pid))
        else:
            load.join()
            if moment == "start":
                running.stop()
                running.launch()
                stop(new_worker(running.process.pid))
            else:
                (served,) = children(running.process.pid)
                os.kill(served, signal.SIGKILL)
                stop(new_worker(running.process.pid, [served]))
        assert running.stop() == 0
        load.join()


def load_or_refusal(socket):
    """LoadModel, which the end of the agent may refuse."""
    client = Client(socket)
    with suppress(grpc.RpcError):
        client.LoadModel(url="demo.ewp", name="a")
    client.close()
