"""A device with a trust directory and a package, and an agent that an old program talks to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sealed

from .clients import Client
from .running import Running, edge_manager_file


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `trust`, and `model/demo/1.0/compiled.ewp`, as applications look for it."""
    directory = tmp_path_factory.mktemp("device")
    sealed.trust_at(directory / "trust")
    folder = directory / "model" / "demo" / "1.0"
    folder.mkdir(parents=True)
    sealed.seal(folder / "compiled.ewp", encrypt_to=[sealed.DEVICE.public])
    (folder / "README").write_text("left alone")
    return directory


@pytest.fixture(scope="module")
def agent(device: Path) -> Iterator[Running]:
    """Started as those programs start it: a file, a socket, the folder it is in."""
    file = edge_manager_file(device)
    with Running(device, "-c", file.name, "-a", "agent.sock") as running:
        yield running


@pytest.fixture(scope="module")
def latest(agent: Running) -> Iterator[Client]:
    """A client of revision C, for tests that leave the loads as they are: `steady` is loaded."""
    client = Client(agent.socket, "C")
    client.LoadModel(url="model/demo/1.0", name="steady")
    yield client
    client.close()


@pytest.fixture(params="ABC")
def client(request: Any, agent: Running) -> Iterator[Client]:
    """A client of each revision; the model is loaded as `demo`."""
    client = Client(agent.socket, request.param)
    client.LoadModel(url="model/demo/1.0", name="demo")
    yield client
    for model in client.ListModels().models:
        if model.name != "steady":
            client.UnLoadModel(name=model.name)
    client.close()
