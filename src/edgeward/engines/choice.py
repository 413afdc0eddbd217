"""Which engine runs a model, and with how many threads."""

import operator
import os
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from edgeward import _core
from edgeward.engines.installed import AUTO, KINDS, Installed, installed, kind_of
from edgeward.engines.memory_budget import budget_bytes
from edgeward.engines.probe import ensure_usable
from edgeward.engines.processors import usable_cpus
from edgeward.errors import (
    BadInput,
    EngineFailed,
    EngineMismatch,
    EngineMissing,
    UnsupportedModel,
)

PARALLEL_FROM_BYTES = 1 << 20  # smaller models run in far less than a millisecond
MAX_DEFAULT_THREADS = 4
MAX_THREADS = 256
IDENTIFIER_BYTES = 8  # the part of a model file that tells its format
HEAD_BYTES = 4096  # the part of a file that tells its format, also a foreign one


def candidates(model_format: str, requested: str | None) -> Iterator[Installed]:
    """The engines for a "tflite", "onnx" or "ort" model: as requested, else those installed.

    They come in the order of KINDS, each looked for when the one before it will not do. Raises
    BadInput when the requested engine does not run the format, EngineMissing when there is none,
    and as `installed` does.
    """
    if requested is not None:
        kind = kind_of(requested)
        if model_format not in kind.formats:
            runs = " or ".join(f".{name}" for name in kind.formats)
            raise BadInput(f'engine "{requested}": expected a {runs} model, got .{model_format}')
        yield installed(requested)
        return
    missing: EngineMissing | None = None
    is_any = False
    for name, kind in KINDS.items():
        if model_format in kind.formats:
            try:
                engine = installed(name)
            except EngineMissing as error:
                missing = missing or error
                continue
            except EngineMismatch:
                if not is_any:
                    raise
                continue
            is_any = True
            yield engine
    if not is_any:
        raise missing or BadInput(f"model format: expected tflite, onnx or ort, got {model_format}")


class Wish(NamedTuple):
    """How a caller wants a model opened; None leaves it to Edgeward, and to the environment."""

    engine: str | None = None
    threads: int | None = None
    memory: int | str | None = None
    reports_first: bool = False  # who runs the model is asked before there is a session
    sharing: _core.Sharing | None = None
    path: str | None = None  # of the model's file, beside which a tuning may lie


def require_arguments(wish: Wish) -> None:
    """Raises BadInput for what no loader takes as its `engine`, `threads` or `memory`."""
    if not isinstance(wish.engine, str | None):
        raise BadInput(f"engine: expected {', '.join((*KINDS, AUTO))}, got {wish.engine!r}")
    if wish.threads is not None:
        _thread_count(wish.threads)
    budget_bytes(wish.memory)


def opened(
    open_model: Callable[[_core.Opening], _core.Model], head: bytes, size_bytes: int, wish: Wish
) -> _core.Model:
    """The model that `open_model` returns for the first engine that can run it.

    The file has `size_bytes` and begins with `head`. An engine is probed before it is asked. When
    none can run the model, the first package says why: by the last of its engines, because what the
    others leave to that one is no reason. Raises BadInput, MalformedModel, EngineMissing,
    EngineMismatch, and what `open_model` raises.
    """
    budget = budget_bytes(wish.memory)
    if wish.engine == AUTO:
        tuned = _tuned(wish, size_bytes)
        wish = wish._replace(engine=None)
        if tuned is not None:
            try:
                return opened(open_model, head, size_bytes, tuned)
            except (BadInput, UnsupportedModel, EngineFailed, EngineMismatch) as error:
                text = f'tuning of "{tuned.path}": expected an engine that runs it, passed over'
                warnings.warn(f"{text}: {error}", stacklevel=2)
    failure: UnsupportedModel | EngineFailed | None = None
    package = ""  # whose engine has failed first
    for engine in candidates(format_of(head), wish.engine):
        try:
            ensure_usable(engine)
            count = (
                _thread_count(wish.threads)
                if wish.threads is not None
                else default_threads(usable_cpus(), size_bytes)
            )
            return open_model(
                _core.make_opening(
                    engine.name,
                    str(engine.library),
                    engine.version,
                    count,
                    shows_log(),
                    budget,
                    wish.reports_first,
                    wish.sharing,
                )
            )
        except (UnsupportedModel, EngineFailed) as error:
            package = package or engine.package
            if engine.package == package:
                failure = error
        except EngineMismatch:
            if failure is None:
                raise
    assert failure is not None
    raise failure


def _tuned(wish: Wish, size_bytes: int) -> Wish | None:
    """With the engine and the threads that were fastest here; None where that is not known.

    Who asks for a number of threads gets the tuning for that number, or the default engine.
    """
    from edgeward.engines import tuning

    known = None if wish.path is None else tuning.read(wish.path, size_bytes)
    if known is None or wish.threads not in (None, known[1]):
        return None
    return wish._replace(engine=known[0], threads=known[1])


def format_of(head: bytes) -> str:
    """The format of a model file that begins with `head`: "tflite", "onnx" or "ort".

    Raises MalformedModel, or BadInput for a package, when it is a file of another kind.
    """
    model_format = _core.model_format(head)
    if model_format == "onnx":
        from edgeward.engines.foreign_file import require_model

        require_model(head)
    return model_format


def shows_log() -> bool:
    """Whether what the engines write goes to standard error: EDGEWARD_ENGINE_LOG=1."""
    return os.environ.get("EDGEWARD_ENGINE_LOG") == "1"


def _thread_count(threads: object) -> int:
    try:
        count = operator.index(threads)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if not 1 <= count <= MAX_THREADS:
        raise BadInput(f"threads: expected a whole number from 1 to {MAX_THREADS}, got {threads!r}")
    return count


def default_threads(cpus: int, model_size_bytes: int) -> int:
    """How many threads an engine gets when the caller does not say."""
    return 1 if model_size_bytes < PARALLEL_FROM_BYTES else min(cpus, MAX_DEFAULT_THREADS)
