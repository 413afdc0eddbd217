"""Agents and their workers, killed at any moment while they serve and capture.

`python tests/campaigns/agent_kills.py COUNT [SEED [SECONDS]]`

COUNT kills, by turns of the agent and of a worker, or as many as SECONDS allow. A client predicts
and captures all the time, and sends a capture again that it does not know to be stored. In the end
each capture must be there once, with the bytes that were sent, each load restored, and nothing left
over. Prints a line every fifty, and how long the agent took to be ready again.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np
import sealed
from agent.clients import Client, array_of
from agent.running import Running, edge_manager_file
from agent.test_served_model import children

MOST_LIFE_S = 0.4  # of an agent after it was ready
ALIASES = ("a", "b")
LIMIT_S = 60.0
EXPECTED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Sender:
    """A program that predicts and captures through whatever happens to its agent."""

    def __init__(self, socket: str) -> None:
        self.sent: dict[str, bytes] = {}
        self.answered = 0
        self._socket = socket
        self._open: set[str] = set()  # not known to be stored
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Returns when each capture is known to be stored."""
        self._stops.set()
        self._thread.join()

    def _run(self) -> None:
        end_s = None
        while not self._stops.is_set() or self._open:
            if self._stops.is_set():
                end_s = end_s or time.monotonic() + LIMIT_S
                assert time.monotonic() < end_s, self._open
            client = Client(self._socket)
            try:
                while not self._stops.is_set() or self._open:
                    self._turn(client)
            except grpc.RpcError as error:
                if error.code() not in EXPECTED:
                    raise
                self._stops.wait(0.01)
            client.close()

    def _turn(self, client: Client) -> None:
        for capture_id in sorted(self._open):
            self._settle(client, capture_id)
        if self._stops.is_set():
            return
        number = len(self.sent)
        x = np.full(4, number, np.float32)
        output = client.Predict(name=ALIASES[number % 2], tensors=[client.tensor(x)]).tensors[0]
        assert np.array_equal(array_of(output), x + np.arange(4))
        self.answered += 1
        capture_id = f"capture-{number}"
        self.sent[capture_id] = x.tobytes()
        self._open.add(capture_id)
        self._capture(client, capture_id)

    def _settle(self, client: Client, capture_id: str) -> None:
        try:
            status = client.GetCaptureDataStatus(capture_id=capture_id).status
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            self._capture(client, capture_id)
            return
        if status == 1:
            self._open.discard(capture_id)

    def _capture(self, client: Client, capture_id: str) -> None:
        x = np.frombuffer(self.sent[capture_id], np.float32)
        try:
            client.CaptureData(
                model_name=ALIASES[0], capture_id=capture_id, input_tensors=[client.tensor(x)]
            )
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise


def run(directory: Path, count: int, seed: int, limit_s: float) -> None:
    chance = random.Random(seed)
    sealed.trust_at(directory / "trust")
    sealed.seal(directory / "demo.ewp")
    file = edge_manager_file(directory, capture_data_base64_embed_limit=8)
    ready_s: list[float] = []
    agent_kills = worker_kills = 0
    end_s = time.monotonic() + limit_s
    with Running(directory, "-c", file, "-a", directory / "agent.sock") as running:
        for alias in ALIASES:
            Client(running.socket).LoadModel(url="demo.ewp", name=alias)
        sender = Sender(running.socket)
        for number in range(count):
            if time.monotonic() > end_s:
                break
            time.sleep(chance.uniform(0, MOST_LIFE_S))
            if number % 2:
                worker_kills += kill_worker(running, chance)
            else:
                agent_kills += 1
                running.stop(signal.SIGKILL)
                start_s = time.monotonic()
                running.start()
                ready_s.append(time.monotonic() - start_s)
                client = Client(running.socket)
                aliases = [model.name for model in client.ListModels().models]
                assert aliases == list(ALIASES), (number, aliases)
                client.close()
            if number % 50 == 49:
                print(f"{number + 1} kills, {len(sender.sent)} captures", flush=True)
        sender.stop()
    check(directory, sender.sent)
    ready_s.sort()
    print(
        f"seed {seed}: {agent_kills} kills of the agent, {worker_kills} of workers; "
        f"{sender.answered} predictions, {len(sender.sent)} captures"
    )
    shown = ", ".join(f"{share:.0%} {ready_s[int(share * (len(ready_s) - 1))]:.2f} s"
                      for share in (0.5, 0.9, 0.99, 1))  # fmt: skip
    print(f"ready again: {shown}")


def kill_worker(running: Running, chance: random.Random) -> bool:
    """Whether there was one to kill."""
    workers = children(running.process.pid)
    if workers:
        os.kill(chance.choice(workers), signal.SIGKILL)
    return bool(workers)


def check(directory: Path, sent: dict[str, bytes]) -> None:
    """Each capture is there once, with its bytes; each raw file has its record."""
    root = directory / "captures"
    kept: dict[str, bytes] = {}
    raw: set[str] = set()
    for path in root.rglob("*.jsonl"):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            capture_id = record["eventMetadata"]["eventId"]
            assert capture_id not in kept, f"{capture_id}: expected once, got twice"
            (payload,) = record["deviceFleetInputs"]
            if "data" in payload:
                kept[capture_id] = base64.b64decode(payload["data"])
            else:
                raw.add(payload["data-ref"])
                kept[capture_id] = (root / payload["data-ref"]).read_bytes()
    assert kept == sent, sent.keys() ^ kept.keys()
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    left_over = {name for name in files - raw if not name.endswith(".jsonl")}
    assert not left_over, left_over


def main() -> None:
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    limit_s = float(sys.argv[3]) if len(sys.argv) > 3 else float("inf")
    with tempfile.TemporaryDirectory(prefix="agent-kills") as folder:
        run(Path(folder), count, seed, limit_s)


if __name__ == "__main__":
    main()
