"""`edgeward models` and `edgeward status`, against an agent in a process of its own."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
import sealed

from .clients import Client, refused
from .running import Running, edge_manager_file
from .test_served_model import children, until

X = np.arange(4, dtype=np.float32)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    directory = tmp_path_factory.mktemp("device")
    sealed.trust_at(directory / "trust")
    sealed.seal(directory / "demo.ewp")
    file = edge_manager_file(directory)
    with Running(directory, "-c", file, "-a", directory / "agent.sock") as running:
        yield running


@pytest.fixture
def run(agent, typed):
    """A command line on this agent: its status, its document, its text."""

    def run_command(line):
        line = f"{line} -a {agent.socket}"
        status, out, _ = typed(line + " --json")
        return status, json.loads(out)

    return run_command


def test_the_models_of_an_agent(agent, run, typed, monkeypatch):
    monkeypatch.chdir(agent.directory.parent)  # not where the agent is
    package = os.path.relpath(agent.directory / "demo.ewp")
    assert run("models ls") == (0, {"models": []})
    status, report = run(f"models load person-2 {package}")
    assert (status, report["url"]) == (0, str(agent.directory / "demo.ewp"))
    tensor = {"dtype": "float32", "shape": [4]}
    assert report["inputs"] == [{"name": "x", **tensor}]
    assert report["outputs"] == [{"name": "y", **tensor}]
    assert run("models describe person-2") == (0, report)
    assert run("models ls") == (0, {"models": [report]})
    _, out, _ = typed(f"models ls -a {agent.socket}")
    assert out.split() == ["person-2", report["url"]]
    _, out, _ = typed(f"models describe person-2 -a {agent.socket}")
    assert out.splitlines()[1].split() == ["input", "x", "float32", "[4]"]
    status, refusal = run(f"models load person-2 {package}")
    assert (status, refusal["status"]) == (1, "ALREADY_EXISTS")
    assert run("models unload person-2") == (0, {"alias": "person-2"})
    status, refusal = run("models unload person-2")
    assert (status, refusal["status"]) == (1, "NOT_FOUND")


@pytest.mark.parametrize("words", ["ls a", "load a", "load", "unload", "unload a b", "describe"])
def test_wrong_use_is_named(run, words):
    status, report = run(f"models {words}")
    assert (status, report["error"]["code"]) == (2, "bad_input")
    assert f"models {words.split()[0]}: expected" in report["error"]["message"]


@pytest.mark.parametrize("line", ["models ls", "status"])
def test_no_agent_is_the_systems_failure(typed, tmp_path, line):
    status, out, _ = typed(f"{line} -a {tmp_path}/none.sock --json")
    assert (status, json.loads(out)["error"]["code"]) == (5, "system")
    assert "none.sock" in json.loads(out)["error"]["message"]


def test_the_environment_names_the_socket(agent, typed, monkeypatch):
    monkeypatch.setenv("EDGEWARD_AGENT_ADMIN_SOCKET", agent.socket)
    assert typed("models ls")[0] == 0


def test_the_status_counts_and_tells_why(agent, run, typed):
    client = Client(agent.socket)
    client.LoadModel(url="demo.ewp", name="s")
    client.Predict(name="s", tensors=[client.tensor(X)])
    refused(client.Predict, name="s", tensors=[])
    client.CaptureData(model_name="s", capture_id="status-1")
    until(lambda: client.GetCaptureDataStatus(capture_id="status-1").status == 1)
    status, report = run("status")
    assert status == 0
    (model,) = report["models"]
    assert (model["state"], model["reason"]) == ("serving", None)
    assert (model["name"], model["version"]) == ("demo", "1.0")
    assert (model["predictions"], model["failures"]) == (2, 1)
    assert 0 <= model["age_s"] <= report["age_s"]
    assert (report["captures"]["stored"], report["captures"]["waiting"]) == (1, 0)
    assert report["captures"]["directory"] == str(agent.directory / "captures")
    _, out, _ = typed(f"status -a {agent.socket}")
    assert "2 predictions, 1 failed" in out
    client.UnLoadModel(name="s")


def test_the_status_names_what_does_not_serve(tmp_path, typed):
    sealed.trust_at(tmp_path / "trust")
    for name in ("down", "failed"):
        sealed.seal(tmp_path / f"{name}.ewp")
    file = edge_manager_file(tmp_path)
    with Running(tmp_path, "-c", file, "-a", tmp_path / "agent.sock") as running:
        client = Client(running.socket)
        for name in ("down", "failed"):
            client.LoadModel(url=f"{name}.ewp", name=name)
        running.stop(signal.SIGKILL)
        (tmp_path / "failed.ewp").unlink()
        running.start()

        def report():
            status, out, _ = typed(f"status -a {running.socket} --json")
            assert status == 1
            return {model["alias"]: model for model in json.loads(out)["models"]}

        assert report()["failed"]["state"] == "failed"
        assert "failed.ewp" in report()["failed"]["reason"]
        for _ in range(3):
            until(lambda: report()["down"]["state"] == "serving")
            (pid,) = until(lambda: children(running.process.pid))
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: pid not in children(running.process.pid))
        reason = until(lambda: report()["down"]["reason"])
        assert until(lambda: "3 times" in (report()["down"]["reason"] or "")), reason
