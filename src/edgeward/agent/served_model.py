"""A model as the agent's calls use it: in a worker process, or in the agent's own process."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.agent.lane import Unread
from edgeward.agent.worker_process import Health, Order, TensorFacts, WorkerProcess

Arrays = Mapping[str, NDArray[Any] | Unread]
Use = Callable[[Sequence[NDArray[Any]]], bytes]


class ServedModel(Protocol):
    """A model that runs. Any thread, any number of runs at once."""

    name: str  # the package's, or a bare file's without its suffix
    version: str  # empty of a bare file
    inputs: Sequence[TensorFacts]
    outputs: Sequence[TensorFacts]

    @property
    def health(self) -> Health:
        """Whether it serves, and since when."""

    def run(self, arrays: Arrays, use: Use) -> bytes:
        """What `use` makes of the outputs, which are in the model's order and gone afterwards.

        Raises EdgewardError, MemoryError; WorkerGone and DeadlinePassed of a worker.
        """

    def end_runs(self) -> None:
        """Ends the runs in a worker, with WorkerGone, and takes no other."""

    def close(self) -> None:
        """Frees it when the runs under way have ended."""


class OwnModel:
    """A model of the agent's own process; it goes with its last use."""

    def __init__(self, model: _core.Model, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.inputs: Sequence[TensorFacts] = [facts_of(spec) for spec in model.inputs]
        self.outputs: Sequence[TensorFacts] = [facts_of(spec) for spec in model.outputs]
        self._model = model
        self.health = Health("", time.monotonic())

    def run(self, arrays: Arrays, use: Use) -> bytes:
        result = self._model.predict({name: whole(array) for name, array in arrays.items()})
        if isinstance(result, dict):
            return use([result[facts.name] for facts in self.outputs])
        return use([result])

    def end_runs(self) -> None:
        pass  # nothing ends a run in this process

    def close(self) -> None:
        pass  # a run holds a reference


class WorkerModel:
    """A model of a worker process that has it alone. `stem` names it where no package does."""

    KEY = "model"

    def __init__(self, worker: WorkerProcess, order: Order, stem: str, run_time_s: float) -> None:
        self._worker = worker
        facts = self._worker.load(self.KEY, order)
        self.name = facts.name or stem
        self.version = facts.version or ""
        self.inputs: Sequence[TensorFacts] = facts.inputs
        self.outputs: Sequence[TensorFacts] = facts.outputs
        self._run_time_s = run_time_s
        self._changed = threading.Condition()
        self._running = 0

    def run(self, arrays: Arrays, use: Use) -> bytes:
        inputs = [arrays[facts.name] for facts in self.inputs]
        with self._changed:
            self._running += 1
        try:
            return self._worker.predict(self.KEY, inputs, self._run_time_s, use)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @property
    def health(self) -> Health:
        return self._worker.health

    def end_runs(self) -> None:
        self._worker.kill()

    def close(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._running, self._run_time_s)
        self._worker.close()

    @property
    def pid(self) -> int | None:
        """The worker's, None while it is down."""
        return self._worker.pid


def whole(array: NDArray[Any] | Unread) -> NDArray[Any]:
    """The array itself, or what an Unread has, in memory that an engine takes as it is."""
    if isinstance(array, np.ndarray):
        return array
    room: NDArray[Any] = _core.empty(array.shape, array.dtype)
    array.copy_to(room)
    return room


def facts_of(spec: _core.TensorSpec) -> TensorFacts:
    return TensorFacts(spec.name, spec.dtype, spec.shape)
