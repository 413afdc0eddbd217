"""Which models the agent serves, by alias; the same again after a restart.

The table is a file in the state directory, replaced in one step before a load or an unload is
answered. A model that cannot be opened again stays in the file, and is named by `failed`, until it
is loaded or unloaded by its alias.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import grpc

from edgeward.agent import model_table
from edgeward.agent.call_counts import CallCounts
from edgeward.agent.model_file import ModelOpener
from edgeward.agent.model_table import MOST_OPENING, Load
from edgeward.agent.refusal import Refusal, of_opening
from edgeward.agent.served_model import ServedModel
from edgeward.agent.wire_tensor import metadata
from edgeward.agent.worker_process import DeadlinePassed, WorkerGone
from edgeward.proto import edge_manager_pb2 as messages

log = logging.getLogger(__name__)

BROKEN_SUFFIX = ".broken"
MOST_ATTEMPTS = 3  # to load one again, at the start
STILL_LOADING = "it is still being loaded"
LOOK_S = 0.1  # between looks at whether the agent shall end


@dataclass(frozen=True)
class LoadedModel:
    load: Load
    model: ServedModel
    message: Any  # as ListModels and DescribeModel show it
    counts: CallCounts


class LoadedModels:
    """The models by alias. Any thread; a model in use outlives its unload by that use."""

    def __init__(self, directory: str, opener: ModelOpener) -> None:
        self._path = os.path.join(directory, model_table.NAME)
        self._opener = opener
        self._lock = threading.Lock()
        self._models: dict[str, LoadedModel] = {}
        self._opening: set[str] = set()
        self._pool = ThreadPoolExecutor(MOST_OPENING, "load")
        self.failed: dict[str, tuple[Load, str]] = {}  # by alias, with the reason
        self.listing = b""  # ListModelsResponse, serialised: it is asked for before each prediction

    def restore(self, most_wait_s: float | None, is_ended: Callable[[], bool]) -> None:
        """Opens what the table of an earlier agent names, several at once.

        Returns when each is open or failed, after `most_wait_s`, or when `is_ended`. What is still
        being loaded then is named by `failed` until it is open.
        """
        loads = self._read()
        self.failed = {load.alias: (load, STILL_LOADING) for load in loads}
        self._opening.update(self.failed)
        pending = {self._pool.submit(self._restore, load) for load in loads}
        end_s = None if most_wait_s is None else time.monotonic() + most_wait_s
        while pending and not is_ended() and (end_s is None or time.monotonic() < end_s):
            _, pending = wait(pending, LOOK_S, FIRST_COMPLETED)
        if pending:
            log.error("models: loaded later: %s", ", ".join(sorted(self.failed)))
        self._opener.end_begun()

    def end_runs(self) -> None:
        """Ends predictions and loads that are still under way, and takes no other."""
        self._opener.end_loads()
        for loaded in self.all():
            loaded.model.end_runs()

    def close(self) -> None:
        """Frees the models; the table stays."""
        self.end_runs()
        self._pool.shutdown(cancel_futures=True)
        for loaded in self.all():
            loaded.model.close()

    def _restore(self, load: Load) -> None:
        loaded, reason = None, ""
        try:
            loaded = self._opened_again(load)
        except Refusal as refusal:
            reason = refusal.text
            log.error("model %s: not loaded again: %s", load.alias, reason)
        except Exception:
            reason = "a defect of the agent, which its log shows"
            log.exception("model %s: not loaded again", load.alias)
        with self._lock:
            self._opening.discard(load.alias)
            is_wanted = load.alias in self.failed  # not unloaded meanwhile
            if is_wanted and loaded is None:
                self.failed = {**self.failed, load.alias: (load, reason)}
            elif is_wanted and loaded is not None:
                self._models = {**self._models, load.alias: loaded}
                self.failed = {key: it for key, it in self.failed.items() if key != load.alias}
                self._relist()
        if loaded is not None and not is_wanted:
            loaded.model.close()

    def _opened_again(self, load: Load) -> LoadedModel:
        """A worker that ends or hangs while it loads may do so by chance: another one tries."""
        for _ in range(MOST_ATTEMPTS - 1):
            try:
                return self._opened(load)
            except Refusal as refusal:
                if not isinstance(refusal.__cause__, (WorkerGone, DeadlinePassed)):
                    raise
                log.warning("model %s: trying again: %s", load.alias, refusal.text)
        return self._opened(load)

    def load(self, alias: str, url: str) -> LoadedModel:
        """Opens `url` under `alias`. Raises Refusal; the table is then as it was."""
        load = _load(alias, url)
        with self._lock:
            if alias in self._models or alias in self._opening:
                got = self._models[alias].load.url if alias in self._models else "a load under way"
                text = f'alias "{alias}": expected one that is free, got one in use by {got}'
                raise Refusal(grpc.StatusCode.ALREADY_EXISTS, text)
            self._opening.add(alias)
        try:
            loaded = self._opened(load)
            try:
                with self._lock:
                    before = self._models, self.failed
                    self._models = {**self._models, alias: loaded}
                    self.failed = {key: item for key, item in self.failed.items() if key != alias}
                    self._store_or_keep(*before)
            except Refusal:
                loaded.model.close()
                raise
        finally:
            with self._lock:
                self._opening.discard(alias)
        log.info("model %s: loaded %s %s", alias, loaded.model.name, loaded.model.version)
        return loaded

    def unload(self, alias: str) -> None:
        """Forgets `alias`. Raises Refusal NOT_FOUND."""
        with self._lock:
            if alias not in self._models and alias not in self.failed:
                raise self._missing(alias)
            before = self._models, self.failed
            self._models = {key: item for key, item in self._models.items() if key != alias}
            self.failed = {key: item for key, item in self.failed.items() if key != alias}
            self._store_or_keep(*before)
        if alias in before[0]:
            before[0][alias].model.close()
        log.info("model %s: unloaded", alias)

    def model(self, alias: str) -> LoadedModel:
        """Raises Refusal NOT_FOUND."""
        loaded = self._models.get(alias)
        if loaded is None:
            raise self._missing(alias)
        return loaded

    def all(self) -> list[LoadedModel]:
        """What is served now, by alias."""
        return [loaded for _, loaded in sorted(self._models.items())]

    def _missing(self, alias: str) -> Refusal:
        text = f'alias "{alias}": expected a loaded model, got none'
        if alias in self.failed:
            text += f" (it could not be loaded again: {self.failed[alias][1]})"
        return Refusal(grpc.StatusCode.NOT_FOUND, text)

    def _opened(self, load: Load) -> LoadedModel:
        model = self._opener.open(load.alias, load.path)
        try:
            return LoadedModel(load, model, _described(load, model), CallCounts())
        except Refusal:  # a tensor that the service has no type for
            model.close()
            raise

    def _relist(self) -> None:
        shown = [loaded.message for loaded in self.all()]
        self.listing = messages.ListModelsResponse(models=shown).SerializeToString()

    def _store_or_keep(
        self, models: dict[str, LoadedModel], failed: dict[str, tuple[Load, str]]
    ) -> None:
        """Makes the table durable, or takes back what was to go into it. Raises Refusal."""
        loads = [loaded.load for loaded in self._models.values()]
        loads += [load for load, _ in self.failed.values()]
        try:
            model_table.write(self._path, loads)
        except OSError as error:
            self._models, self.failed = models, failed
            raise of_opening(error) from error
        self._relist()

    def _read(self) -> list[Load]:
        try:
            return model_table.read(self._path)
        except ValueError as error:
            aside = self._path + BROKEN_SUFFIX
            os.replace(self._path, aside)
            log.error('table of models: moved aside to "%s": %s', aside, error)
            return []


def _load(alias: str, url: str) -> Load:
    try:
        path = os.path.abspath(url)
        os.fsencode(path)
    except (OSError, ValueError) as error:  # no working directory, or a name that no file has here
        text = f'url "{url}": expected the path of a file on this device, got {error}'
        raise Refusal(grpc.StatusCode.NOT_FOUND, text) from error
    return Load(alias, url, path)


def _described(load: Load, model: ServedModel) -> Any:
    """The model as the service's replies show it."""
    return messages.Model(
        url=load.url,
        name=load.alias,
        handle=load.alias,
        input_tensor_metadatas=[metadata(facts) for facts in model.inputs],
        output_tensor_metadatas=[metadata(facts) for facts in model.outputs],
    )
