"""Models in a process of their own: what crosses, and what its death costs."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sealed
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward.agent import worker_process
from edgeward.agent.lane import MOST_TENSORS
from edgeward.agent.worker_process import (
    MOST_DEATHS,
    DeadlinePassed,
    Order,
    TensorFacts,
    WorkerGone,
    WorkerProcess,
)

X = np.arange(4, dtype=np.float32)
LONG_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)  # between looks, not instead of one


def stop(pid: int) -> None:
    """Returns when the process runs no further instruction."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    until(
        lambda: all(
            (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
            for task in tasks.iterdir()
        )
    )


def copies(outputs: list[np.ndarray]) -> list[np.ndarray]:
    return [output.copy() for output in outputs]


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess("demo")
    yield process
    process.close()


@pytest.fixture
def add(tmp_path: Path) -> Order:
    """A bare model that adds 0, 1, 2 and 3 to four numbers."""
    path = tmp_path / "add.tflite"
    path.write_bytes(tflite_models.add((4,)))
    return Order(str(path), None)


def answers(worker: WorkerProcess, key: str = "add") -> bool:
    """Whether the model runs; it must then run rightly."""
    try:
        (y,) = worker.predict(key, [X], LONG_S, copies)
    except WorkerGone:
        return False
    assert y.tolist() == (X + X).tolist()
    return True


def test_a_model_runs_there_and_no_engine_is_here(tmp_path: Path, add: Order) -> None:
    program = f"""
import sys
import numpy as np
from edgeward.agent.lane import MOST_TENSORS
from edgeward.agent.worker_process import Order, WorkerProcess
worker = WorkerProcess("demo")
worker.load("add", Order({add.path!r}, None))
print(worker.predict("add", [np.arange(4, dtype=np.float32)], 60, lambda it: it[0].tolist()))
maps = open("/proc/self/maps").read(), open(f"/proc/{{worker.pid}}/maps").read()
print(*("libLiteRt" in text for text in maps))
worker.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[0.0, 2.0, 4.0, 6.0]", "False True"], done.stderr


def test_a_package_says_what_it_is(tmp_path: Path, worker: WorkerProcess) -> None:
    sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "a.ewp", encrypt_to=[sealed.DEVICE.public])
    facts = worker.load("demo", Order(str(path), str(tmp_path / "trust")))
    assert (facts.name, facts.version) == ("demo", "1.0")
    assert facts.inputs == (TensorFacts("x", "float32", (4,)),)
    assert answers(worker, "demo")


@pytest.mark.parametrize("case", ["none", "damaged", "untrusted"])
def test_what_cannot_be_opened_raises_here_what_it_raised_there(
    tmp_path: Path, worker: WorkerProcess, case: str
) -> None:
    path = tmp_path / "a.ewp"
    trust = None
    kind: type[Exception] = FileNotFoundError
    if case == "damaged":
        path.write_bytes(tflite_models.add((4,))[:-100])
        kind = ew.MalformedModel
    elif case == "untrusted":
        sealed.trust_at(tmp_path / "trust")
        trust = str(tmp_path / "trust")
        sealed.seal(path, keys=[sealed.key("nobody")])
        kind = ew.UntrustedPackage
    with pytest.raises(kind) as caught:
        worker.load("a", Order(str(path), trust))
    assert not worker.is_up
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)
    else:
        assert "\n" not in str(caught.value)


def test_wrong_inputs_cost_nothing(worker: WorkerProcess, add: Order) -> None:
    worker.load("add", add)
    for array in (np.zeros(5, np.float32), np.zeros(4), np.zeros((2, 2), np.float32)):
        with pytest.raises(ew.BadInput, match='input "x": expected float32'):
            worker.predict("add", [array], LONG_S, copies)
    for arrays in ([], [X, X], [X] * MOST_TENSORS):
        with pytest.raises(ew.BadInput, match=f"expected 1 inputs, got {len(arrays)}"):
            worker.predict("add", arrays, LONG_S, copies)
    with pytest.raises(MemoryError, match="expected at most 1024, got 1025"):
        worker.predict("add", [X] * (MOST_TENSORS + 1), LONG_S, copies)
    worker.load("small", add._replace(most_bytes=1 << 16))
    with pytest.raises(MemoryError, match="expected at most 65,536 bytes a call"):
        worker.predict("small", [np.zeros(1 << 16, np.float32)], LONG_S, copies)
    assert answers(worker, "small")
    assert answers(worker)


def test_outputs_of_open_sizes_cross(tmp_path: Path, worker: WorkerProcess) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "open.onnx"
    path.write_bytes(onnx_models.negated(None))
    worker.load("open", Order(str(path), None))
    for shape in ((3,), (1000, 100), (2, 0), ()):
        x = np.random.default_rng(1).random(shape, np.float32)
        (y,) = worker.predict("open", [x], LONG_S, copies)
        assert y.shape == shape
        assert np.array_equal(y, -x)


def test_eight_threads_share_the_lanes(worker: WorkerProcess, add: Order) -> None:
    worker.load("add", add._replace(lanes=3))
    failures: list[BaseException] = []

    def run(seed: int) -> None:
        numbers = np.random.default_rng(seed)
        try:
            for _ in range(200):
                x = numbers.random(4, np.float32)
                (y,) = worker.predict("add", [x], LONG_S, copies)
                assert np.array_equal(y, x + X)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_killed_worker_is_back_with_its_models(
    tmp_path: Path, worker: WorkerProcess, add: Order
) -> None:
    worker.load("add", add)
    worker.load("other", add)
    before = worker.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: worker.pid not in (before, None))
    until(lambda: answers(worker) and answers(worker, "other"))


def test_one_that_cannot_open_its_model_again_does_not_serve(
    worker: WorkerProcess, add: Order
) -> None:
    worker.load("add", add)
    assert not worker.health.why_down
    pid = worker.pid
    assert pid is not None
    Path(add.path).unlink()
    os.kill(pid, signal.SIGKILL)
    until(lambda: worker.pid not in (pid, None))
    assert worker.health.why_down.startswith(f"could not load {add.path} again: ")
    with pytest.raises(WorkerGone, match="could not load"):
        worker.predict("add", [X], LONG_S, copies)


def test_one_that_the_system_has_no_room_for_is_back_when_it_has(
    worker: WorkerProcess, add: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "LONGEST_PAUSE_S", 0.2)
    worker.load("add", add)
    pid = worker.pid
    assert pid is not None
    most, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit))  # all of them are in use
    try:
        os.kill(pid, signal.SIGKILL)
        until(lambda: "Too many open files" in worker.health.why_down)
        assert not worker.is_up
        assert not answers(worker)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, limit))
    until(lambda: answers(worker))
    assert worker.health.why_down == ""


def test_one_that_has_no_room_is_not_tried_again_once_it_is_closed(
    add: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    worker = WorkerProcess("demo")
    worker.load("add", add)
    pid = worker.pid
    assert pid is not None
    monkeypatch.setattr(sys, "executable", "/nowhere")  # as while it is replaced
    os.kill(pid, signal.SIGKILL)
    until(lambda: "/nowhere" in worker.health.why_down)
    (thread,) = set(threading.enumerate()) - before  # which waits to try again
    worker.close()
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_a_worker_whose_front_has_ended_before_obeys_nothing() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(b'{"no": "order"}')
    ours.close()
    command = [sys.executable, "-m", "edgeward.agent.worker", str(theirs.fileno())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, env=environment, pass_fds=[theirs.fileno()], capture_output=True, text=True
    )
    theirs.close()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_call_without_an_answer_ends_the_worker_and_nothing_else(
    worker: WorkerProcess, add: Order
) -> None:
    worker.load("add", add)
    before = worker.pid
    assert before is not None
    stop(before)
    with pytest.raises(DeadlinePassed, match=r"demo: expected an answer in 0\.2 s"):
        worker.predict("add", [X], 0.2, copies)
    until(lambda: worker.pid not in (before, None))
    until(lambda: answers(worker))


def test_calls_under_way_end_when_the_worker_does(worker: WorkerProcess, add: Order) -> None:
    worker.load("add", add._replace(lanes=1))
    before = worker.pid
    assert before is not None
    stop(before)
    ended: list[str] = []

    def run() -> None:
        try:
            worker.predict("add", [X], LONG_S, copies)
        except WorkerGone as error:
            ended.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(4)]  # one in the lane, three wait
    for thread in threads:
        thread.start()
    lanes = worker._now.lanes["add"]  # type: ignore[union-attr]
    until(lambda: len(lanes._changed._waiters) == 3)  # type: ignore[attr-defined]
    os.kill(before, signal.SIGKILL)
    for thread in threads:
        thread.join(LONG_S)
    assert len(ended) == 4


def test_one_that_dies_again_and_again_stays_down_until_it_is_loaded(
    worker: WorkerProcess, add: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "DEATHS_WITHIN_S", 3600.0)  # however slow the machine
    worker.load("add", add)
    for _ in range(MOST_DEATHS):
        until(lambda: answers(worker))
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: worker.pid != pid)  # type: ignore[misc]
    until(lambda: not worker.is_up)
    with pytest.raises(WorkerGone, match=r"ended 3 times within 3600 s, the last by SIGKILL"):
        worker.predict("add", [X], LONG_S, copies)
    worker.load("more", add)
    assert answers(worker, "more")
    assert answers(worker)


def test_the_last_unload_ends_the_process(worker: WorkerProcess, add: Order) -> None:
    worker.load("add", add)
    worker.load("other", add)
    pid = worker.pid
    worker.unload("other")
    assert answers(worker)
    assert worker.pid == pid
    worker.unload("add")
    assert not worker.is_up
    until(lambda: not Path(f"/proc/{pid}").exists())
    with pytest.raises(WorkerGone, match="holds no model"):
        worker.predict("add", [X], LONG_S, copies)


def test_a_worker_ends_with_its_front(add: Order) -> None:
    program = f"""
from edgeward.agent.lane import MOST_TENSORS
from edgeward.agent.worker_process import Order, WorkerProcess
worker = WorkerProcess("demo")
worker.load("add", Order({add.path!r}, None))
print(worker.pid, flush=True)
input()
"""
    front = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert front.stdout is not None
    pid = int(front.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    front.kill()
    front.wait()
    front.stdout.close()
    assert front.stdin is not None
    front.stdin.close()

    def is_gone() -> bool:
        try:
            return " Z " in Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    until(is_gone)
