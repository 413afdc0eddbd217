"""Opens a Model from a package, a file or bytes, and judges what it has seen."""

import os
from functools import partial
from typing import TYPE_CHECKING

from edgeward import _core
from edgeward.engines.choice import HEAD_BYTES, Wish, opened, require_arguments
from edgeward.engines.memory_budget import budget_bytes
from edgeward.engines.sharing import sharing
from edgeward.errors import BadInput
from edgeward.regular_file import open_regular

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from edgeward.captures.capture import Capture
    from edgeward.captures.drift import Judgement
    from edgeward.packages.reference_statistics import ReferenceStatistics
    from edgeward.paths import PathLike
    from edgeward.trust.trust_directory import Trust


def load(
    path: "PathLike",
    *,
    trust: "PathLike | Trust | None" = None,
    key: "PathLike | _core.PrivateKey | None" = None,
    engine: str | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    capture: "Capture | None" = None,
    commit: bool = True,
) -> _core.Model:
    """Open the model in a package that this device trusts, decrypted in memory.

    `trust` is a trust directory; None takes $EDGEWARD_TRUST or /var/lib/edgeward/trust. `key` is
    this device's private key or its file, for encrypted packages; None looks in the service's
    credentials and in the trust directory. `engine`, `threads` and `memory` as in load_unsigned.
    What the model runs is captured by `capture`, with the package's labels, the names of its
    columns, and the statistics' bins from the package's reference.
    Nothing is written but the trust directory, which remembers the package's minimum version, and
    what `capture` writes. With `commit` False it is not remembered, so that an earlier release can
    come back, until `Package.open(path).commit()`. Any thread.

    Raises OSError when a file cannot be read, MalformedPackage for bytes that are not the signed
    ones, UntrustedPackage, RollbackRefused, WrongTarget, ExpiredPackage and WrongKey for a package
    that may not run here, ExpiredRoot, MalformedRoot and UntrustedRoot for the trust root,
    MalformedKey for a key, and as load_unsigned.
    """
    from edgeward.packages.package import Package

    require_arguments(Wish(engine, threads, memory))
    package = Package.open(path, trust=trust, key=key)
    return package.load(
        engine=engine, threads=threads, memory=memory, capture=capture, commit=commit
    )


def load_unsigned(
    source: "PathLike | Buffer",
    *,
    engine: str | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    capture: "Capture | None" = None,
    shared: "bool | PathLike" = False,
) -> _core.Model:
    """Open a .tflite, .onnx or .ort file, or its bytes, without verifying a signature.

    The files that an .onnx names for its tensors are read in the folder that it is in, by their
    names; bytes have no folder, and so must hold all tensors.

    `engine` is "litert", "litert-interpreter" or "tflite" for a .tflite, else "onnx"; None takes
    the first of them that is installed and runs the model; "auto" takes the engine and the threads
    that `edgeward bench --tune` found to be fastest here, as the file PATH.ewt beside it says, and
    what None takes where that is of another machine or version, or not there. `threads` is how many
    one run may use; None takes one for a model below 1 MiB, else the processors that this process
    may use, at most four. `memory` is the most that all models of this process may hold together,
    this one and its sessions included: bytes, or a text such as "256M", or "60%" of what the board
    and the cgroup offer; None takes $EDGEWARD_MEMORY, else anything. What the model runs is
    captured by `capture`. The bytes are read once, checked before the engine sees them, and not
    needed afterwards. Any thread.

    With `shared`, the processes of this user map one copy of the model and its packed weights, or
    of the .ort that is made of an .onnx, which later starts find too: True keeps it in memory, in a
    directory of this user's own, or where $EDGEWARD_WEIGHTS says; a path is a directory of mode
    0700, which is made if it is not there. `engine.is_shared` says whether the engine and the model
    allow it. The weights lie there in the clear, so only a file by its path is shared, never bytes.

    Raises OSError when the file cannot be read, MalformedModel and UnsupportedModel for what is in
    it, EngineMissing, EngineMismatch and EngineFailed for the engine, BadInput for an argument,
    OverBudget for a model that exceeds `memory`.
    """
    model = _opened_unsigned(source, Wish(engine, threads, memory, sharing=sharing(shared)))
    if capture is not None:
        name = (
            os.path.basename(os.fsdecode(source)) if isinstance(source, (str, os.PathLike)) else ""
        )
        capture.attach(model, name=name)
    return model


def load_reported(source: "PathLike", *, engine: str | None = None) -> _core.Model:
    """As load_unsigned, for a caller that wants the engine's report: it costs no compilation."""
    return _opened_unsigned(source, Wish(engine, reports_first=True))


def _opened_unsigned(source: "PathLike | Buffer", wish: Wish) -> _core.Model:
    require_arguments(wish)
    if isinstance(source, (str, os.PathLike)):
        source = os.fsdecode(source)
        head, size_bytes = head_of(source)
        wish = wish._replace(path=source)
        if head.startswith(_core.PACKAGE_MAGIC):
            from edgeward.engines.foreign_file import PACKAGE

            raise BadInput(f'model file "{source}": expected a bare model, got {PACKAGE}')
    elif wish.sharing is not None:
        raise BadInput("shared: expected the path of a model to share, got bytes")
    else:
        try:
            content = memoryview(source).cast("B")
        except TypeError:
            kind = type(source).__name__
            raise BadInput(f"model: expected a path or contiguous bytes, got {kind}") from None
        head, size_bytes = bytes(content[:HEAD_BYTES]), len(content)
    _core.require_memory(budget_bytes(wish.memory), size_bytes)  # before the file is read
    return opened(partial(_core.open_model, source), head, size_bytes, wish)


def head_of(path: str) -> tuple[bytes, int]:
    """What the model file at `path` begins with, and how many bytes it and its external data are.

    Raises OSError, BadInput for a pipe, socket or device.
    """
    try:
        with open_regular("model file", path) as file:
            head, size_bytes = file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
    except IsADirectoryError:
        from edgeward.engines.foreign_file import require_file

        require_file(path)
        raise
    return head, _size_with_data(path) if path.endswith(".onnx") else size_bytes


def _size_with_data(path: str) -> int:
    """Bytes of an .onnx and of the files that exporters put beside it, such as model.onnx.data."""
    folder, name = os.path.split(path)
    with os.scandir(folder or ".") as entries:
        files = [entry for entry in entries if entry.name.startswith(name) and entry.is_file()]
        return sum(entry.stat().st_size for entry in files)


def drift(model: _core.Model, reference: "ReferenceStatistics") -> "Judgement":
    """Whether what a Capture has counted of `model` so far has drifted from a package's reference.

    All of it is one window, which began when the Capture was attached; `edgeward captures stats`
    judges hour by hour. `findings` says in words what has drifted, with the names that the
    reference's package has for columns and classes; `verdicts` has the numbers (docs/drift.md).
    Raises BadInput when nothing was counted of a tensor that the reference has.
    """
    from edgeward.captures.capture import attached_at
    from edgeward.captures.drift import judge
    from edgeward.packages.expectation import expected

    base = expected(reference)
    tensors = {(row["side"], row["name"]) for row in base.report["tensors"]}
    for statistics in model.statistics.values():
        report = statistics.report()
        if any((row["side"], row["name"]) in tensors for row in report["tensors"]):
            return judge(base, [report], [attached_at(model)])
    raise BadInput("model: expected runs that a Capture has counted, of a tensor of the reference")
