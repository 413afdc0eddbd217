"""From a file or bytes to a Model: which engine, found where, with how many threads."""

import operator
import os
from typing import TYPE_CHECKING

from edgeward import _core
from edgeward import engine as engines
from edgeward.errors import BadInput

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEAD_BYTES = 8  # where a model file says its format
MOST_THREADS = 256


def load_unsigned(
    source: "str | os.PathLike[str] | Buffer",
    *,
    engine: str | None = None,
    threads: int | None = None,
) -> _core.Model:
    """Open a .tflite, .onnx or .ort file, or its bytes, without asking who made it.

    `engine` is "litert" (the default for .tflite), "tflite" or "onnx". `threads` is how many one
    run may use; None takes one for a model below 1 MiB, else the processors that this process may
    use, at most four. The bytes are read once, checked before the engine sees them, and not needed
    afterwards. Any thread.

    Raises OSError when the file cannot be read, MalformedModel and UnsupportedModel for what is in
    it, EngineMissing, EngineMismatch and EngineFailed for the engine, BadInput for an argument.
    """
    if threads is not None:
        threads = _thread_count(threads)
    if not isinstance(engine, str | None):
        raise BadInput(f"engine: expected {', '.join(engines.KINDS)}, got {engine!r}")
    if isinstance(source, (str, os.PathLike)):
        source = os.fsdecode(source)
        if os.path.exists(source) and not (os.path.isfile(source) or os.path.isdir(source)):
            raise BadInput(f'model file "{source}": expected a regular file, got a device or pipe')
        with open(source, "rb") as file:
            head, size_bytes = file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
    else:
        try:
            content = memoryview(source).cast("B")
        except TypeError:
            kind = type(source).__name__
            raise BadInput(f"model: expected a path or contiguous bytes, got {kind}") from None
        head, size_bytes = bytes(content[:HEAD_BYTES]), len(content)
    chosen = engines.choose(_core.model_format(head), engine)
    engines.ensure_usable(chosen)
    if threads is None:
        threads = engines.default_threads(engines.usable_cpus(), size_bytes)
    return _core.open_model(source, chosen.name, str(chosen.library), chosen.version, threads)


def _thread_count(given: object) -> int:
    try:
        count = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if not 1 <= count <= MOST_THREADS:
        raise BadInput(f"threads: expected a whole number from 1 to {MOST_THREADS}, got {given!r}")
    return count
