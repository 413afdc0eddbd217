"""Tuning: the engine and the threads that ran a model fastest on this machine, in a file beside it.

`edgeward bench MODEL --tune` writes MODEL.ewt, and engine="auto" takes what it says where the
processors, the engine's version and the size of the model are those it was measured with. Nothing
else is taken from it: whoever writes it chooses among the installed engines, and no more.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edgeward.durable import replace_file
from edgeward.engines.installed import KINDS, installed
from edgeward.engines.processors import processor, usable_cpus
from edgeward.errors import BadInput, EngineMismatch, EngineMissing
from edgeward.regular_file import open_regular

SUFFIX = ".ewt"
MOST_FILE_BYTES = 1 << 16


class Tuning(NamedTuple):
    """What was chosen, and what it holds for."""

    engine: str
    engine_version: str
    threads: int
    model_bytes: int
    processor: str
    usable_cpus: int


def tuning_path(model_path: str) -> str:
    return model_path + SUFFIX


def measured_here(engine: str, threads: int, model_bytes: int) -> Tuning:
    """The tuning of a model of so many bytes on this machine. Raises as `installed`."""
    version = installed(engine).version
    return Tuning(engine, version, threads, model_bytes, processor(), usable_cpus())


def write(model_path: str, tuning: Tuning, races: Sequence[Mapping[str, Any]]) -> None:
    """Writes the file beside a model, with the `races` for whoever reads it. Raises OSError."""
    content = json.dumps({**tuning._asdict(), "races": races}, indent=1) + "\n"
    replace_file(tuning_path(model_path), content.encode())


def read(model_path: str, model_bytes: int) -> tuple[str, int] | None:
    """The engine and the threads for a model of so many bytes; None where no tuning holds.

    A file that is no tuning file is passed over with a warning: it must stop no model.
    """
    path = tuning_path(model_path)
    try:
        with open_regular("tuning file", path) as file:
            tuning = _parsed(file.read(MOST_FILE_BYTES + 1))
    except FileNotFoundError:
        return None
    except (OSError, BadInput, ValueError, RecursionError) as error:
        warnings.warn(f'"{path}": expected a tuning file, passed over: {error}', stacklevel=2)
        return None
    try:
        holds = tuning == measured_here(tuning.engine, tuning.threads, model_bytes)
    except (EngineMissing, EngineMismatch):
        return None
    return (tuning.engine, tuning.threads) if holds else None


def _parsed(content: bytes) -> Tuning:
    """Raises ValueError."""
    if len(content) > MOST_FILE_BYTES:
        raise ValueError(f"expected at most {MOST_FILE_BYTES} bytes, got more")
    document = json.loads(content)
    fields = document if isinstance(document, dict) else {}
    for name, kind in Tuning.__annotations__.items():
        if type(fields.get(name)) is not kind:
            raise ValueError(f"{name}: expected {kind.__name__}, got {fields.get(name)!r:.40}")
    tuning = Tuning(*(fields[name] for name in Tuning._fields))
    if tuning.engine not in KINDS:
        raise ValueError(f'engine: expected {", ".join(KINDS)}, got "{tuning.engine:.40}"')
    if tuning.threads < 1 or tuning.threads > max(tuning.usable_cpus, 1):
        raise ValueError(f"threads: expected 1 to {tuning.usable_cpus}, got {tuning.threads}")
    return tuning
