"""Servers that fork and spawn workers: the record of each request is on the disk exactly once.

gunicorn, uvicorn and celery run from their packages, as processes of their own; all their workers
capture into one directory, and are ended as an operator ends them.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import edgeward as ew

pytestmark = pytest.mark.campaign

REQUESTS = 400
WORKERS = 4
LIMIT_S = 60.0
ARRIVAL_LIMIT_S = 15.0
CAMPAIGNS = Path(__file__).parent


class Server:
    """A server's main process, its socket and its log."""

    def __init__(self, directory: Path, command: list[str], **environment: str) -> None:
        self.log = directory / "server.log"
        self.socket = directory / "socket"
        paths = os.pathsep.join(map(str, (CAMPAIGNS, CAMPAIGNS.parent)))
        self._output = self.log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=directory,
            env=os.environ
            | {"PYTHONPATH": paths, "SERVED_DIRECTORY": str(directory)}
            | environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def ask(self, number: int) -> int:
        """One request; returns the worker that answered it."""
        connection = http.client.HTTPConnection("localhost", timeout=LIMIT_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(LIMIT_S)
        connection.sock.connect(str(self.socket))
        connection.request("GET", f"/{number}")
        response = connection.getresponse()
        words = response.read().split()
        connection.close()
        assert response.status == 200
        assert float(words[0]) == number
        return int(words[1])

    def stop(self) -> None:
        """As systemd and Docker do; the main process ends its workers."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(LIMIT_S) in (0, -signal.SIGTERM), self.log.read_text()

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._output.close()


@pytest.fixture
def start(tmp_path, monkeypatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    servers: list[Server] = []

    def started(*command: str, **environment: str) -> Server:
        servers.append(Server(tmp_path, list(command), **environment))
        return servers[-1]

    yield started
    for server in servers:
        server.close()


def wait_until(is_so: Callable[[], bool], limit_s: float) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True


def numbers_on_disk(directory: Path) -> Counter[int]:
    """How often the record of each request is there; 0 is each worker's first run."""
    if not directory.exists():
        return Counter()
    numbers = Counter(int(record.inputs["x"][0]) for record in ew.read_captures(directory))
    del numbers[0]
    return numbers


def require_each_once(directory: Path, answered: set[int]) -> None:
    """One record for each request that was answered, at most one for one that was cut off."""
    numbers = numbers_on_disk(directory)
    missing = sorted(answered - set(numbers))
    twice = sorted(number for number, count in numbers.items() if count > 1)
    assert (missing, twice) == ([], []), (
        f"of {len(answered)} requests {len(missing)} have no record, {len(twice)} more than one"
    )


def require_each_once_soon(directory: Path, answered: set[int]) -> None:
    """While the server lives."""
    wait_until(lambda: answered <= set(numbers_on_disk(directory)), ARRIVAL_LIMIT_S)
    require_each_once(directory, answered)


def require_no_crash(server: Server) -> None:
    log = server.log.read_text()
    crashes = [line for line in log.splitlines() if "SIGSEGV" in line or "signal 11" in line]
    assert crashes == []


def wait_until_ready(server: Server) -> int:
    """The first worker that answers."""
    workers = []

    def is_ready() -> bool:
        try:
            workers.append(server.ask(0))
        except OSError:
            assert server.process.poll() is None, server.log.read_text()
        return bool(workers)

    assert wait_until(is_ready, LIMIT_S), server.log.read_text()
    return workers[0]


def run_requests(server: Server) -> set[int]:
    """The requests that were answered: a worker that ends may cut some off."""
    wait_until_ready(server)

    def is_answered(number: int) -> bool:
        try:
            server.ask(number)
        except (ConnectionError, http.client.BadStatusLine):
            return False
        return True

    numbers = range(1, REQUESTS + 1)
    with ThreadPoolExecutor(2 * WORKERS) as pool:
        answers = list(pool.map(is_answered, numbers))
    answered = {number for number, answer in zip(numbers, answers, strict=True) if answer}
    assert len(answered) > REQUESTS // 2
    return answered


GUNICORN = ("gunicorn", "--no-control-socket", "--bind", "unix:socket", "--workers")
UVICORN = ("uvicorn", "--uds", "socket", "--workers")
PRELOADED = ("--preload",)
RECYCLED = ("--max-requests", "25")
WAYS = {
    "each worker loads": ((), {}),
    "the master imports": (PRELOADED, {}),
    "the master loads": (PRELOADED, {"SERVED_EARLY": "1"}),
    "each worker loads, max_requests": (RECYCLED, {}),
    "the master loads, max_requests": (PRELOADED + RECYCLED, {"SERVED_EARLY": "1"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_gunicorn(way, start, tmp_path):
    """On the disk while the server lives, whichever workers have ended, and all after its end."""
    options, environment = WAYS[way]
    server = start(*GUNICORN, str(WORKERS), *options, "served:wsgi", **environment)
    answered = run_requests(server)
    require_each_once_soon(tmp_path / "captures", answered)
    server.stop()
    require_no_crash(server)
    require_each_once(tmp_path / "captures", answered)


def test_gunicorn_ends_workers_that_served_nothing(start):
    server = start(*GUNICORN, str(WORKERS), "--preload", "served:wsgi", SERVED_EARLY="1")
    started = "Booting worker"
    assert wait_until(lambda: server.log.read_text().count(started) == WORKERS, LIMIT_S)
    server.stop()
    require_no_crash(server)


def test_the_worker_that_drained_ends_and_another_one_goes_on(start, tmp_path):
    """An operator adds a worker, then takes away the oldest, which is the one that drains."""
    server = start(*GUNICORN, "1", "served:wsgi")
    first = wait_until_ready(server)
    server.process.send_signal(signal.SIGTTIN)
    assert wait_until(lambda: server.ask(0) != first, LIMIT_S)
    server.process.send_signal(signal.SIGTTOU)
    assert wait_until(lambda: not Path(f"/proc/{first}").exists(), LIMIT_S)
    answered = run_requests(server)
    require_each_once_soon(tmp_path / "captures", answered)
    server.stop()
    require_no_crash(server)


@pytest.mark.parametrize("options", [(), ("--limit-max-requests", "25")], ids=["", "max_requests"])
def test_uvicorn(options, start, tmp_path):
    server = start(*UVICORN, str(WORKERS), *options, "served:asgi")
    answered = run_requests(server)
    require_each_once_soon(tmp_path / "captures", answered)
    server.stop()
    require_no_crash(server)
    require_each_once(tmp_path / "captures", answered)


POOLS = {
    "each worker loads": ((), {}),
    "the main process loads": ((), {"SERVED_EARLY": "1"}),
    "each worker loads, max_tasks_per_child": (("--max-tasks-per-child", "25"), {}),
}


@pytest.mark.parametrize("way", POOLS)
def test_celery(way, start, tmp_path, monkeypatch):
    options, environment = POOLS[way]
    monkeypatch.syspath_prepend(CAMPAIGNS)
    tasks = pytest.importorskip("served_tasks")
    server = start(
        "celery", "-A", "served_tasks", "worker", "--pool", "prefork", "--concurrency",
        str(WORKERS), "--without-gossip", "--without-mingle", "--without-heartbeat", *options,
        **environment,
    )  # fmt: skip
    client = tasks.celery_in(tmp_path)
    numbers = list(range(1, REQUESTS + 1))
    results = [client.send_task("answer", [number]) for number in numbers]
    assert [result.get(LIMIT_S, interval=0.01) for result in results] == numbers
    server.stop()
    require_no_crash(server)
    require_each_once(tmp_path / "captures", set(numbers))
