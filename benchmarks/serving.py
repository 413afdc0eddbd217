"""What serving by the agent costs over having the model: python benchmarks/serving.py [--record]

Predictions of 150 kB in and out, inline and with the input in a System V segment; ListModels; all
in turns with the model itself in this process. Eight clients of a MobileNet beside eight threads
that have it to themselves; starts and memory of agents, with a worker and without. Ends with 1 when
a limit does not hold. An agent whose start is timed has loaded one small model in an earlier run.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np
from cases import tflite_models
from results import report

# isort: split
from agent.running import Running
from agent.segments_of_clients import system_v

from edgeward import load_unsigned
from edgeward.agent.edge_service import SERVICE
from edgeward.commands.bench import predictions_per_s
from edgeward.proto import edge_manager_pb2 as messages

ROUNDS = 60
BLOCK = 10  # calls of one way in a round; the first is not timed
STARTS = 7
CLIENTS = 8
SECONDS = 2.0  # of each way of the eight clients, in a round
THROUGHPUT_ROUNDS = 3
LIMIT_S = 120
MOST_OVER_MS = 0.5  # over the model, at the median
MOST_SEGMENT = 0.6  # of inline
MOST_LISTING_MS = 0.3
LEAST_THROUGHPUT = 0.9  # of threads that have the model
MOST_START_S = 1.0
MOST_RESIDENT_MB = {1: 110, 0: 65}  # by workers


@contextmanager
def agent_in(folder: Path, workers: int = 1) -> Iterator[Running]:
    """An agent that is ready, with its state in `folder`."""
    (folder / "agent.toml").write_text(f"unsigned = true\nworkers = {workers}\n")
    address = folder / "agent.sock"
    words = ("-c", "agent.toml", "-a", address)
    with Running(folder, *words, XDG_CACHE_HOME=str(folder)) as agent:
        yield agent


def resident_mb(agent: Running) -> float:
    """Of the agent and its workers."""
    pid = agent.process.pid
    children = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [pid, *(int(word) for file in children for word in file.read_text().split())]
    pages = sum(int(Path(f"/proc/{n}/statm").read_text().split()[1]) for n in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Client:
    """One connection; `call` sends a request that was made beforehand."""

    def __init__(self, agent: Running) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
        self.channel = grpc.insecure_channel(f"unix:{agent.socket}", options)

    def call(self, method: str, **fields: Any) -> Callable[[], Any]:
        request = getattr(messages, f"{method}Request")(**fields)
        call = self.channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=getattr(messages, f"{method}Response").FromString,
        )
        return lambda: call(request, timeout=LIMIT_S)


Finding = tuple[str, str, bool]


def calls(folder: Path) -> Iterator[Finding]:
    path = folder / "150k.tflite"
    path.write_bytes(tflite_models.add_150k())
    model = load_unsigned(str(path), threads=1)
    (spec,) = model.inputs
    x = np.zeros(spec.shape, spec.dtype)
    with agent_in(folder) as agent, system_v(x.tobytes()) as shmid:
        client = Client(agent)
        client.call("LoadModel", url=str(path), name="big")()
        handle = messages.SharedMemoryHandle(segment_id=shmid)
        segment = [messages.Tensor(shared_memory_handle=handle)]
        ways = {
            "model": lambda: model.predict(x),
            "inline": client.call(
                "Predict", name="big", tensors=[messages.Tensor(byte_data=x.tobytes())]
            ),
            "segment": client.call("Predict", name="big", tensors=segment),
            "listing": client.call("ListModels"),
        }
        rounds = [{name: block_ms(call) for name, call in ways.items()} for _ in range(ROUNDS)]
        client.channel.close()
    over = median(round_ms["segment"] - round_ms["model"] for round_ms in rounds)
    yield judged("150 kB in a segment, over the model itself", over, MOST_OVER_MS, "ms")
    over = median(round_ms["inline"] - round_ms["model"] for round_ms in rounds)
    yield "150 kB inline, over the model itself", f"{over:.2f} ms", True
    ratio = median(round_ms["segment"] / round_ms["inline"] for round_ms in rounds)
    yield judged("150 kB in a segment / inline", ratio, MOST_SEGMENT, "")
    listing = median(round_ms["listing"] for round_ms in rounds)
    yield judged("ListModels", listing, MOST_LISTING_MS, "ms")


def block_ms(call: Callable[[], Any]) -> float:
    """The median of the calls of a block."""
    call()
    times_ms = []
    for _ in range(BLOCK):
        start_s = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - start_s) * 1e3)
    return median(times_ms)


def throughput(folder: Path) -> Iterator[Finding]:
    path = folder / "mobilenet_25.tflite"
    path.write_bytes(tflite_models.mobilenet(0.25))
    with load_unsigned(str(path), threads=1) as model, agent_in(folder) as agent:
        (spec,) = model.inputs
        x = np.zeros(spec.shape, spec.dtype)
        Client(agent).call("LoadModel", url=str(path), name="net")()
        tensors = [messages.Tensor(byte_data=x.tobytes())]
        clients = [
            Client(agent).call("Predict", name="net", tensors=tensors) for _ in range(CLIENTS)
        ]
        ratios = [
            served_per_s(clients) / predictions_per_s(model, [x], CLIENTS, SECONDS)
            for _ in range(THROUGHPUT_ROUNDS)
        ]
    ratio = median(ratios)
    holds = ratio >= LEAST_THROUGHPUT
    text = f"{ratio:.2f}, limit {LEAST_THROUGHPUT} at least {'holds' if holds else 'does not hold'}"
    yield f"predictions of {CLIENTS} clients / of {CLIENTS} threads with the model", text, holds


def served_per_s(clients: list[Callable[[], Any]]) -> float:
    counts = [0] * len(clients)
    until_s = time.perf_counter() + SECONDS

    def predict(index: int) -> None:
        while time.perf_counter() < until_s:
            clients[index]()
            counts[index] += 1

    threads = [threading.Thread(target=predict, args=(n,)) for n in range(len(clients))]
    start_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start_s)


def starts(folder: Path, workers: int) -> Iterator[Finding]:
    """Starts of an agent that has one small model of an earlier run, and what it then holds."""
    path = folder / "one_op.tflite"
    path.write_bytes(tflite_models.add())
    with agent_in(folder, workers) as agent:
        Client(agent).call("LoadModel", url=str(path), name="small")()
    seconds, megabytes = [], []
    for _ in range(STARTS):
        start_s = time.perf_counter()
        with agent_in(folder, workers) as agent:
            seconds.append(time.perf_counter() - start_s)
            megabytes.append(resident_mb(agent))
    kind = "a worker" if workers else "no worker"
    if workers:
        yield judged(f"start to ready, one small model, {kind}", median(seconds), MOST_START_S, "s")
    limit = MOST_RESIDENT_MB[workers]
    yield judged(f"resident, one small model, {kind}", median(megabytes), limit, "MB")


def judged(what: str, number: float, limit: float, unit: str) -> Finding:
    holds = number <= limit
    unit = unit and f" {unit}"
    text = f"{number:.3g}{unit}, limit {limit:g}{unit} {'holds' if holds else 'does not hold'}"
    return what, text, holds


def findings() -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="ew") as directory:
        folders = [Path(directory) / name for name in ("calls", "throughput", "1", "0")]
        for folder in folders:
            folder.mkdir()
        yield from calls(folders[0])
        yield from throughput(folders[1])
        yield from starts(folders[2], 1)
        yield from starts(folders[3], 0)


def main() -> int:
    parser = argparse.ArgumentParser(description="What serving by the agent costs.")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    return report("serving.py", findings(), is_recorded=args.record)


if __name__ == "__main__":
    sys.exit(main())
