"""From the url of LoadModel to a model that runs: a package, or on request a bare model file.

By default a model runs in a worker process of its own, so that one that crashes or hangs costs
nobody else anything; on a board with little memory, in the agent's process.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import grpc

from edgeward.agent.refusal import Refusal, of_opening
from edgeward.agent.served_model import OwnModel, ServedModel, WorkerModel
from edgeward.agent.worker_process import DeadlinePassed, Order, WorkerGone, WorkerProcess
from edgeward.agent.worker_program import WorkerProgram
from edgeward.engines.installed import AUTO
from edgeward.engines.processors import usable_cpus
from edgeward.errors import EdgewardError
from edgeward.model import load, load_unsigned
from edgeward.packages.package import is_package
from edgeward.trust.trust_directory import Trust

LEAST_LANES = 2  # runs of a model at once
PACKAGE_SUFFIX = ".ewp"
MODEL_SUFFIXES = (".tflite", ".onnx", ".ort")


class ModelOpener:
    """Opens models under a trust directory; bare model files where the device allows them.

    `trust` is None on a device that only runs bare files. `run_time_s` is how long one run in a
    worker may take; None has models run in this process. `begun` are workers for the first models.
    Any thread.
    """

    def __init__(
        self,
        trust: Trust | None,
        is_unsigned_allowed: bool,
        run_time_s: float | None,
        begun: Iterable[WorkerProgram] = (),
    ) -> None:
        self._trust = trust
        self._is_unsigned_allowed = is_unsigned_allowed
        self._run_time_s = run_time_s
        self._begun = list(begun)
        self._lock = threading.Lock()
        self._workers: set[WorkerProcess] = set()  # that are loading
        self._is_ended = False

    def open(self, alias: str, path: str) -> ServedModel:
        """The model of the file `path`, or of the one in the folder `path`, to serve as `alias`.

        Raises Refusal: NOT_FOUND, FAILED_PRECONDITION or RESOURCE_EXHAUSTED.
        """
        try:
            file = self._file_of(path)
            trust = self._trust_for(file)
            stem = os.path.splitext(os.path.basename(file))[0]
            if self._run_time_s is None:
                opened = load_unsigned if trust is None else partial(load, trust=trust)
                model = opened(file, engine=AUTO)
                return OwnModel(model, model.name or stem, model.version or "")
            directory = None if trust is None else str(trust.directory)
            order = Order(file, directory, lanes=max(usable_cpus(), LEAST_LANES))
            worker = WorkerProcess(f"model {alias}", self._next_begun())
            with self._loading(worker):
                return WorkerModel(worker, order, stem, self._run_time_s)
        except (WorkerGone, DeadlinePassed) as error:
            raise _failed(f'"{file}": {error}') from error
        except (OSError, EdgewardError, MemoryError) as error:
            raise of_opening(error) from error

    def end_begun(self) -> None:
        """Ends the workers that were begun for models and not taken."""
        while program := self._next_begun():
            program.close()

    def _next_begun(self) -> WorkerProgram | None:
        with self._lock:
            return self._begun.pop() if self._begun else None

    def end_loads(self) -> None:
        """Ends the loads in workers with a Refusal, those under way and those to come."""
        with self._lock:
            self._is_ended = True
            for worker in self._workers:
                worker.kill()

    @contextmanager
    def _loading(self, worker: WorkerProcess) -> Iterator[None]:
        with self._lock:
            if self._is_ended:
                raise _failed("the agent is ending")
            self._workers.add(worker)
        try:
            yield
        finally:
            with self._lock:
                self._workers.discard(worker)

    def _trust_for(self, file: str) -> Trust | None:
        """What a package is opened under; None for a bare file that may be loaded."""
        if not is_package(file):
            if self._is_unsigned_allowed:
                return None
            raise _failed(
                f'"{file}": expected a signed package, got another file: seal it, or set '
                "unsigned = true in the agent's configuration"
            )
        if self._trust is None:
            raise _failed(f'package "{file}": expected a trust directory on this device, got none')
        return self._trust

    def _file_of(self, path: str) -> str:
        if not os.path.isdir(path):
            os.stat(path)  # raises FileNotFoundError
            return path
        suffixes: tuple[str, ...] = (PACKAGE_SUFFIX,)
        files = _files_in(path, suffixes)
        if not files and self._is_unsigned_allowed:
            suffixes = MODEL_SUFFIXES
            files = _files_in(path, suffixes)
        if not files:
            text = f'folder "{path}": expected one {PACKAGE_SUFFIX} file, got none'
            raise Refusal(grpc.StatusCode.NOT_FOUND, text)
        if len(files) > 1:
            names = ", ".join(os.path.basename(file) for file in files)
            raise _failed(
                f'folder "{path}": expected one {" or ".join(suffixes)} file, got {names}'
            )
        return files[0]


def _files_in(folder: str, suffixes: tuple[str, ...]) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if entry.name.endswith(suffixes))


def _failed(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, text)
