"""Which engine runs a model, and with how many threads."""

import operator
from typing import NamedTuple

from edgeward import _core
from edgeward.engines.installed import KINDS, Installed, installed, kind_of
from edgeward.engines.probe import ensure_usable
from edgeward.engines.processors import usable_cpus
from edgeward.errors import BadInput, EngineMissing

PARALLEL_FROM_BYTES = 1 << 20  # smaller models run in far less than a millisecond
MAX_DEFAULT_THREADS = 4
MAX_THREADS = 256
IDENTIFIER_BYTES = 8  # the part of a model file that tells its format
HEAD_BYTES = 4096  # the part of a file that tells its format, also a foreign one


class Ready(NamedTuple):
    """An engine that works here, and how many threads a run of one model may use."""

    name: str
    library: str
    version: str
    threads: int


def choose(model_format: str, requested: str | None) -> Installed:
    """The engine for a "tflite", "onnx" or "ort" model: as requested, else the first installed.

    Raises BadInput when the requested engine does not run the format; and as `installed` does.
    """
    if requested is not None:
        kind = kind_of(requested)
        if model_format not in kind.formats:
            runs = " or ".join(f".{name}" for name in kind.formats)
            raise BadInput(f'engine "{requested}": expected a {runs} model, got .{model_format}')
        return installed(requested)
    missing: EngineMissing | None = None
    for name, kind in KINDS.items():
        if model_format in kind.formats:
            try:
                return installed(name)
            except EngineMissing as error:
                missing = missing or error
    raise missing or BadInput(f"model format: expected tflite, onnx or ort, got {model_format}")


def require_arguments(engine: object, threads: object) -> None:
    """Raises BadInput for what no loader takes as its `engine` or `threads`."""
    if not isinstance(engine, str | None):
        raise BadInput(f"engine: expected {', '.join(KINDS)}, got {engine!r}")
    if threads is not None:
        _thread_count(threads)


def ready(head: bytes, size_bytes: int, requested: str | None, threads: int | None) -> Ready:
    """The engine for a model file of `size_bytes` that begins with `head`, probed.

    Raises BadInput, MalformedModel, EngineMissing, EngineMismatch.
    """
    chosen = choose(format_of(head), requested)
    ensure_usable(chosen)
    if threads is None:
        count = default_threads(usable_cpus(), size_bytes)
    else:
        count = _thread_count(threads)
    return Ready(chosen.name, str(chosen.library), chosen.version, count)


def format_of(head: bytes) -> str:
    """The format of a model file that begins with `head`: "tflite", "onnx" or "ort".

    Raises MalformedModel, or BadInput for a package, when it is a file of another kind.
    """
    model_format = _core.model_format(head)
    if model_format == "onnx":
        from edgeward.engines.foreign_file import require_model

        require_model(head)
    return model_format


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
