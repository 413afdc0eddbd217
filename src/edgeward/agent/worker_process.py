"""A worker as the agent's front sees it: a process with models, that is back when it has died.

The front holds no engine. A call that crashes the worker, or passes its deadline, costs that worker
the models of it alone; a new one is started at once with the same models, and where the system has
no room for one, when it has. One that has died three times within a minute stays down until it is
told to load something.
"""

import errno
import json
import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeward.agent.lane import (
    ANSWER,
    CALL,
    MOST_TENSORS,
    ForeignMessage,
    Lane,
    LaneClosed,
    Unread,
    error_of,
    make_memory,
)
from edgeward.agent.worker import MOST_ORDER_BYTES
from edgeward.agent.worker_program import WorkerProgram
from edgeward.errors import BY_CODE, EdgewardError

log = logging.getLogger(__name__)

MOST_DEATHS = 3
DEATHS_WITHIN_S = 60.0
LEAST_WAIT_S = 1e-3
UNLOAD_TIME_S = 30.0
FIRST_PAUSE_S = 0.1  # before another attempt to start one, where the system had no room
LONGEST_PAUSE_S = 30.0
NO_ROOM = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Result = TypeVar("Result")


class WorkerGone(Exception):  # noqa: N818 - named by what is wrong
    """Raised when the worker died during a call, is being started again, or stays down."""


class DeadlinePassed(Exception):  # noqa: N818 - named by what is wrong
    """Raised when a call had no answer in its time; the worker that was at it is ended."""


class TensorFacts(NamedTuple):
    """What the front knows of an input or output."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None  # -1: open; None: unknown before a run


class ModelFacts(NamedTuple):
    name: str | None
    version: str | None
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]


class Health(NamedTuple):
    why_down: str  # empty of one that serves
    since_s: float  # on the monotonic clock
    restarts: int = 0  # of the worker by itself, since the model was loaded


class Order(NamedTuple):
    """What a worker loads, and how it serves it."""

    path: str
    trust: str | None
    threads: int | None = None
    lanes: int = 2  # calls at once
    load_time_s: float = 300.0
    most_bytes: int = 1 << 30  # of the tensors of one call


class Lanes:
    """The lanes of one model in one process: each serves one call at a time. Any thread."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._changed = threading.Condition()
        self._free = list(lanes)
        self._is_open = True

    def borrow(self, until_s: float) -> Lane:
        """A free lane, the one last used first. Raises DeadlinePassed and WorkerGone."""
        with self._changed:
            while self._is_open and not self._free:
                if not self._changed.wait(until_s - time.monotonic()):
                    raise DeadlinePassed("all lanes of the model are in use")
            if not self._is_open:
                raise WorkerGone("the worker has ended")
            return self._free.pop()

    def give_back(self, lane: Lane) -> None:
        with self._changed:
            if self._is_open:
                self._free.append(lane)
                self._changed.notify()
            else:
                lane.close()

    def close(self) -> None:
        """Lanes that are in use are closed when they come back."""
        with self._changed:
            self._is_open = False
            for lane in self._free:
                lane.close()
            self._free = []
            self._changed.notify_all()


class Incarnation:
    """One run of the worker's program; `ended` is called with it and its status when it ends."""

    def __init__(self, program: WorkerProgram, ended: Callable[["Incarnation", int], None]) -> None:
        self.lanes: dict[str, Lanes] = {}
        self.process = program.process
        self._program = program
        self._control = program.control
        program.ended.put(lambda status: ended(self, status))

    def load(self, key: str, order: Order) -> ModelFacts:
        """Raises what opening the model raised there, and WorkerGone."""
        ours, theirs = [], []
        try:
            for _ in range(order.lanes):
                connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                memory = make_memory()
                ours.append(Lane(connection, memory, order.most_bytes))
                theirs += [other.detach(), os.dup(memory)]
            message = {"key": key, **order._asdict()}
            reply = self._exchange(message, theirs, order.load_time_s)
        except BaseException:
            for lane in ours:
                lane.close()
            raise
        finally:
            for number in theirs:
                os.close(number)
        self.lanes[key] = Lanes(ours)
        tensors = (
            tuple(
                TensorFacts(name, dtype, None if shape is None else tuple(shape))
                for name, dtype, shape in reply[side]
            )
            for side in ("inputs", "outputs")
        )
        return ModelFacts(reply["name"], reply["version"], *tensors)

    def unload(self, key: str) -> None:
        """Raises WorkerGone."""
        self.lanes.pop(key).close()
        self._exchange({"unload": key}, [], UNLOAD_TIME_S)

    def close(self) -> None:
        """Ends the process, whatever it is at."""
        self._program.close()
        for lanes in self.lanes.values():
            lanes.close()

    def _exchange(self, order: dict[str, Any], numbers: list[int], time_s: float) -> Any:
        self._control.settimeout(time_s)
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], numbers)
            message = self._control.recv(MOST_ORDER_BYTES)
        except TimeoutError:
            self.process.kill()
            raise DeadlinePassed(f"expected a worker's reply in {time_s:.0f} s") from None
        except (BrokenPipeError, ConnectionResetError):
            message = b""
        if not message:
            raise WorkerGone("the worker ended before it replied")
        reply = json.loads(message)
        if "error" in reply:
            raise raised_there(reply["error"])
        return reply


class WorkerProcess:
    """A process with models, by key. Any thread; loads and unloads come one at a time."""

    def __init__(self, name: str, program: WorkerProgram | None = None) -> None:
        """`program`, when one has been started already, is what the first start takes."""
        self.name = name
        self._program = program
        self._lock = threading.Lock()  # of loads, unloads and starts
        self._orders: dict[str, Order] = {}
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)  # when it ended by itself
        self._why_down = "has not been started"
        self._restarts = 0
        self._since_s = time.monotonic()
        self._now: Incarnation | None = None
        self._begun: Incarnation | None = None  # the last, also while it still loads
        self._killed = threading.Event()

    @property
    def is_up(self) -> bool:
        return self._now is not None

    @property
    def health(self) -> Health:
        now = self._now
        serves = now is not None and now.lanes.keys() >= self._orders.keys()
        return Health("" if serves else self._why_down, self._since_s, self._restarts)

    @property
    def pid(self) -> int | None:
        now = self._now
        return None if now is None else now.process.pid

    def load(self, key: str, order: Order) -> ModelFacts:
        """Loads a model there, and starts the process if it is down.

        Raises what the opening raised, and WorkerGone when it ended the process.
        """
        with self._lock:
            if self._now is None:
                self._deaths.clear()
                self._start()
            assert self._now is not None
            try:
                facts = self._now.load(key, order)
            except Exception:
                if not self._orders:
                    self._end("holds no model")
                raise
            self._orders[key] = order
            return facts

    def unload(self, key: str) -> None:
        """Lets a model go; the process, too, when it was the last."""
        with self._lock:
            del self._orders[key]
            if self._now is not None and not self._orders:
                self._end("holds no model")
            elif self._now is not None and key in self._now.lanes:
                self._now.unload(key)

    def predict(
        self,
        key: str,
        arrays: Sequence[NDArray[Any] | Unread],
        time_s: float,
        use: Callable[[list[NDArray[Any]]], Result],
    ) -> Result:
        """Runs the model once on its inputs, in their order, and gives what `use` makes of them.

        `use` gets the outputs, in the model's order; they are valid until it returns. Raises what
        the run and an Unread's copying raised, DeadlinePassed after `time_s`, and WorkerGone.
        """
        until_s = time.monotonic() + time_s
        now = self._now
        lanes = None if now is None else now.lanes.get(key)
        if now is None or lanes is None:
            raise WorkerGone(f"{self.name}: {self._why_down}")
        lane = lanes.borrow(until_s)
        is_well = True
        try:
            if len(arrays) > MOST_TENSORS:
                raise MemoryError(f"tensors: expected at most {MOST_TENSORS}, got {len(arrays)}")
            rooms = lane.lay([(array.shape, array.dtype) for array in arrays])
            for room, array in zip(rooms, arrays, strict=True):
                if isinstance(array, np.ndarray):
                    np.copyto(room, array)
                else:
                    array.copy_to(room)
            is_well = False
            lane.send(CALL, rooms)
            lane.connection.settimeout(max(until_s - time.monotonic(), LEAST_WAIT_S))
            message = lane.receive()
            facts = error_of(message)
            outputs = [] if facts is not None else lane.take(message, ANSWER)
            is_well = True
            if facts is not None:
                raise raised_there(facts)
            return use(outputs)
        except TimeoutError:
            now.process.kill()
            raise DeadlinePassed(f"{self.name}: expected an answer in {time_s:.3g} s") from None
        except ForeignMessage as error:
            now.process.kill()
            raise WorkerGone(f"{self.name}: {error}") from None
        except LaneClosed:
            raise WorkerGone(f"{self.name}: ended during the call") from None
        finally:
            # A lane that may still get an answer never serves another call.
            lanes.give_back(lane) if is_well else lane.close()

    def kill(self) -> None:
        """Ends the process for good, and what it is at, a load too, with WorkerGone.

        Waits for nothing: `close` is still to come.
        """
        self._killed.set()  # before the look: _start looks here when it has begun one
        begun = self._begun
        if begun is not None:
            begun.process.kill()

    def close(self) -> None:
        """Ends the process and keeps it down. What it is at ends with WorkerGone."""
        self.kill()  # a load holds the lock
        with self._lock:
            self._orders = {}
            if self._now is not None:
                self._end("is closed")

    def _start(self) -> None:
        """Starts the program and has it load what it held. The lock is held.

        Raises an OSError of NO_ROOM, or MemoryError, when that may go better later.
        """
        program, self._program = self._program or WorkerProgram(), None
        now = self._begun = Incarnation(program, self._ended)
        if self._killed.is_set():
            now.process.kill()
        try:
            self._load_again(now)
        except BaseException:
            now.close()
            raise
        self._now = now
        self._since_s = time.monotonic()

    def _load_again(self, now: Incarnation) -> None:
        for key, order in self._orders.items():
            try:
                now.load(key, order)
            except (WorkerGone, DeadlinePassed):
                return  # _ended takes note
            except (OSError, EdgewardError, MemoryError) as error:
                if is_no_room(error):
                    raise
                self._why_down = f"could not load {order.path} again: {error}"
                log.error("worker %s: %s", self.name, self._why_down)

    def _start_again(self) -> None:
        """Starts the program when the system has room for it, unless it is to stay down."""
        pause_s = FIRST_PAUSE_S
        while True:
            with self._lock:
                if self._now is not None or not self._orders or self._killed.is_set():
                    return
                try:
                    return self._start()
                except (OSError, MemoryError) as error:
                    self._why_down = f"could not be started again yet: {error}"
                    if pause_s == FIRST_PAUSE_S:
                        log.error("worker %s: %s", self.name, self._why_down)
            if self._killed.wait(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _end(self, why: str) -> None:
        assert self._now is not None
        now, self._now = self._now, None
        self._since_s = time.monotonic()
        self._why_down = why
        now.close()

    def _ended(self, now: Incarnation, status: int) -> None:
        """Starts another process, unless the end of this one was wanted, or was one too many."""
        with self._lock:
            if self._now is not now or self._killed.is_set():
                return
            self._end(f"ended by {ending(status)}")
            is_third = len(self._deaths) == MOST_DEATHS - 1
            self._deaths.append(time.monotonic())
            if is_third and self._deaths[-1] - self._deaths[0] < DEATHS_WITHIN_S:
                self._why_down = (
                    f"ended {MOST_DEATHS} times within {DEATHS_WITHIN_S:.0f} s, the last by "
                    f"{ending(status)}: load its model again to start it"
                )
                log.error("worker %s: %s", self.name, self._why_down)
                return
            log.warning("worker %s: ended by %s; starting it again", self.name, ending(status))
            self._restarts += 1
        self._start_again()


def ending(status: int) -> str:
    """How a process ended, from its return code as subprocess has it."""
    return f"status {status}" if status >= 0 else signal.Signals(-status).name


def is_no_room(error: BaseException) -> bool:
    """Whether the system lacked memory, descriptors or processes, of which it may have more later.

    A model that is larger than a limit on memory is not told apart.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in NO_ROOM)


def raised_there(facts: Mapping[str, Any]) -> Exception:
    """The exception that the worker described."""
    text = str(facts.get("text"))
    if "errno" in facts:
        return OSError(facts["errno"], text, facts["file"])
    return BY_CODE.get(str(facts.get("code")), MemoryError)(text)
