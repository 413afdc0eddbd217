"""The camera programs of examples/, in C++ and for Node, built and run as their own pages say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgeward

from .clients import Client
from .test_captures import records

EXAMPLES = Path(__file__).parents[2] / "examples"
PROTO = Path(edgeward.__file__).parent / "proto"
FRAMES = np.eye(4, dtype=np.float32) * 8
SHOWN = ["0 8", "1 9", "2 10", "3 11"]  # the model adds 0, 1, 2, 3
LIMIT_S = 120


def page_commands(source: Path, *starts: str) -> list[str]:
    """The lines of its first comment that begin so, as a user would copy them."""
    lines = [line.removeprefix("//").strip() for line in source.read_text().splitlines()]
    commands = [line for line in lines if line.startswith(starts)]
    assert len(commands) == len(starts)
    return commands


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in C++, built by the two commands at its top."""
    for tool in ("protoc", "grpc_cpp_plugin", "pkg-config", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    directory = tmp_path_factory.mktemp("camera")
    shutil.copy(EXAMPLES / "camera.cc", directory)
    commands = page_commands(EXAMPLES / "camera.cc", "protoc ", "g++ ")
    script = "\n".join(["set -e", f"proto={PROTO}", *commands])
    subprocess.run(["bash", "-c", script], cwd=directory, check=True)
    return directory / "camera"


def run_camera(camera: Path, socket: str, *arguments: str, frames: bytes) -> list[str]:
    result = subprocess.run(
        [camera, socket, *arguments], input=frames, stdout=subprocess.PIPE, timeout=LIMIT_S
    )
    assert result.returncode == 0
    return result.stdout.decode().splitlines()


@pytest.mark.parametrize("way", ["posix", "system-v", "inline"])
def test_a_camera_in_cpp_predicts_and_captures_each_way(camera, agent, device, way):
    before = set(records(device))
    segments = set(os.listdir("/dev/shm"))
    many = np.concatenate([FRAMES] * 3)  # the eleventh frame is captured, too
    half = many.tobytes() + b"half a frame"
    lines = run_camera(camera, agent.socket, "model/demo/1.0", way, frames=half)
    expected = [f"{n} {SHOWN[n % 4]}" for n in range(12)]
    assert lines == expected
    assert not {name for name in os.listdir("/dev/shm") if "edgeward." in name} - segments
    kept = [record for event, (_, record) in records(device).items() if event not in before]
    assert len(kept) == 2
    client = Client(agent.socket)
    assert "camera" in [model.name for model in client.ListModels().models]
    client.UnLoadModel(name="camera")


def test_a_camera_in_cpp_says_why_it_ends(camera, agent):
    command = [camera, agent.socket, "none.ewp"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("LoadModel: ")
    assert "none.ewp" in result.stderr


@pytest.fixture
def node() -> dict[str, str]:
    """The environment in which node finds gRPC; NODE_PATH may say where it is installed."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    environment = {**os.environ, "EDGE_MANAGER_PROTO": str(PROTO / "edge_manager.proto")}
    find = "require.resolve('@grpc/grpc-js'); require.resolve('@grpc/proto-loader')"
    resolved = subprocess.run(["node", "-e", find], env=environment, capture_output=True)
    if resolved.returncode:
        pytest.skip("node has no @grpc/grpc-js and @grpc/proto-loader: see NODE_PATH")
    return environment


def test_a_camera_for_node_calls_all_of_the_service(node, agent, device, tmp_path):
    before = set(records(device))
    files = [tmp_path / f"{number}.raw" for number in range(4)]
    for path, frame in zip(files, FRAMES, strict=True):
        path.write_bytes(frame.tobytes())
    command = ["node", EXAMPLES / "camera.js", agent.socket, "model/demo/1.0"]
    run = [*command, *files]
    result = subprocess.run(run, env=node, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
    assert result.returncode == 0
    *answers, last = result.stdout.splitlines()
    assert answers == [f"{path.name} {text}" for path, text in zip(files, SHOWN, strict=True)]
    assert last.startswith("loaded: ")
    assert "camera-js" in last
    kept = [record for event, (_, record) in records(device).items() if event not in before]
    names = sorted(record["deviceFleetAuxiliaryInputs"][0]["name"] for record in kept)
    assert names == [path.name for path in files]
    assert "camera-js" not in [model.name for model in Client(agent.socket).ListModels().models]
    refused = subprocess.run([*command[:-1], "none.ewp"], env=node, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("5 NOT_FOUND: ")
    assert "none.ewp" in refused.stderr
