"""Captured: one inference that was kept, as it is read back from the segments of a directory."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from edgeward import _core
from edgeward.captures.boot_clocks import BootClocks
from edgeward.captures.cursor import Cursor
from edgeward.captures.folders import device_of
from edgeward.captures.quantization import Quantization
from edgeward.captures.segments import (
    ALL,
    Choice,
    Contents,
    contents,
    replaced_records,
    segment_paths,
)
from edgeward.errors import BadInput
from edgeward.named_arrays import NamedArrays
from edgeward.paths import PathLike

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeward.captures.batch import Batch


class Captured(NamedTuple):
    """One inference. Arrays are read-only views of one block of memory.

    `inputs` and `outputs` are by name; a run that failed has no outputs. A dtype that numpy lacks,
    such as bfloat16, is held as unsigned integers of its bits; `dtypes` are the model's, by (side,
    name). `sequence` numbers the records of one ring from 1, lost ones included. `time_ns` is the
    Unix time at which the run began, corrected when its device learned the time later in the same
    boot; `monotonic_ns` is the same on the monotonic clock. `device` is the folder below the
    directory that was read, "" for that directory itself. `redact` lists the rules by which values
    were left out, as dicts. `labels` are the names of the package's classes; `quantizations`, by
    (side, name), are of the tensors that have one.
    """

    model: str
    version: str
    package_id: str
    signature: str
    ring_id: int
    sequence: int
    time_ns: int
    monotonic_ns: int
    latency_ns: int
    reasons: tuple[str, ...]
    correlation_id: int
    user: bytes
    lost_before: int
    inputs: "dict[str, NDArray[Any]]"
    outputs: "dict[str, NDArray[Any]]"
    dtypes: dict[tuple[str, str], str]
    device: str = ""
    redact: tuple[dict[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    quantizations: Mapping[tuple[str, str], Quantization] = {}

    def __repr__(self) -> str:
        """One line, without elements."""
        arrays = f"{NamedArrays(self.inputs)} -> {NamedArrays(self.outputs)}"
        return f"<Captured {self.sequence} of {self.model} {self.version}: {arrays}>"


@overload
def read_captures(
    directory: PathLike,
    *,
    key: _core.PrivateKey | None = None,
    batch: None = None,
    model: str | None = None,
    reason: str | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> Iterator[Captured]: ...


@overload
def read_captures(
    directory: PathLike,
    *,
    key: _core.PrivateKey | None = None,
    batch: int,
    model: str | None = None,
    reason: str | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> "Iterator[Batch]": ...


def read_captures(
    directory: PathLike,
    *,
    key: _core.PrivateKey | None = None,
    batch: int | None = None,
    model: str | None = None,
    reason: str | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> "Iterator[Captured] | Iterator[Batch]":
    """The captured inferences below `directory`, in the order in which they were written.

    Segments in folders below it are read too: one folder for each device whose captures were
    gathered there. With `batch`, gives Batch objects of at most so many records of one model and
    the same tensors, the records of each in order; the last ones of each kind come at the end.
    `model`, `reason` (one of REASONS), `since_ns` and `until_ns` (Unix time, from the first up to
    but not with the second) choose records; what cannot hold one of them is not read.

    Records that a reservoir replaced are left out. `key` is the private key that belongs to the
    capture's encrypt_to. A segment that was cut short by a crash gives its whole records. What is
    damaged, or has a shape that no array can have, is passed over with the warning PassedOver.
    Raises OSError, WrongKey, BadInput, MalformedCapture for a file that is no segment.
    """
    choice = Choice(model, reason, since_ns, until_ns)
    if reason is not None and reason not in _core.REASONS:
        raise BadInput(f"reason: expected one of {', '.join(_core.REASONS)}, got {reason!r}")
    if batch is None:
        return _read(segment_paths(directory), directory, key, choice)
    if batch < 1:
        raise BadInput(f"batch: expected a number of records from 1, got {batch}")
    return read_batches(segment_paths(directory), directory, batch, key, choice)


def _read(
    paths: Sequence[str], directory: PathLike, key: _core.PrivateKey | None, choice: Choice
) -> Iterator[Captured]:
    replaced = replaced_records(paths, key)
    clocks = BootClocks(paths, key)
    for opened in contents(paths, key):
        device = device_of(opened.path, directory)
        for frame in opened.blocks(choice):
            if opened.load(frame):
                for begin, end in opened.runs(choice, clocks, replaced):
                    yield from _captured(opened, device, clocks, range(begin, end))


def read_batches(
    paths: Sequence[str],
    directory: PathLike,
    most_count: int,
    key: _core.PrivateKey | None = None,
    choice: Choice = ALL,
    cursor: Cursor | None = None,
) -> "Iterator[Batch]":
    """The records of these segments below `directory` in batches, as read_captures.

    Those that the cursor has are left out; it then has all that the choice wants. A segment that a
    running program has sealed or deleted meanwhile is read, or passed over.
    """
    from edgeward.captures.batch import Stacks

    replaced = replaced_records(paths, key)
    clocks = BootClocks(paths, key)
    stacks = Stacks(most_count, clocks)
    for opened in contents(paths, key):
        device = device_of(opened.path, directory)
        for frame in opened.blocks(choice):
            ring_id, last = (int(opened.rows[frame][name]) for name in ("ring_id", "last_sequence"))
            # A frame is written and cut as a whole: the cursor has all of its records, or none.
            if cursor is not None and last <= cursor.last(opened.path, ring_id):
                continue
            if opened.load(frame):
                yield from stacks.add(opened, device, choice, replaced)
            if cursor is not None:
                cursor.add(opened.path, ring_id, last)
    yield from stacks.rest()


def read_last(
    directory: PathLike,
    count: int,
    key: _core.PrivateKey | None = None,
    choice: Choice = ALL,
) -> list[Captured]:
    """The last `count` records that are wanted, in order; reads from the end."""
    paths = segment_paths(directory)
    clocks = BootClocks(paths, key)
    last: deque[Captured] = deque()
    replaced: dict[int, set[int]] = {}
    for path in reversed(paths):
        for opened in contents([path], key):
            device = device_of(path, directory)
            wanted = set(opened.blocks(choice))
            # What replaces a record comes behind it: every block of a reservoir is looked into.
            replacing = (opened.rows["flags"] & _core.REPLACING_FLAG).nonzero()[0].tolist()
            for frame in sorted(wanted.union(replacing), reverse=True):
                if not opened.load(frame):
                    continue
                opened.note_replaced(replaced)
                runs = opened.runs(choice, clocks, replaced) if frame in wanted else []
                for begin, end in reversed(runs):
                    first = max(begin, end - (count - len(last)))
                    rows = range(end - 1, first - 1, -1)
                    last.extendleft(_captured(opened, device, clocks, rows))
                if len(last) == count:
                    return list(last)
    return list(last)


def _captured(
    opened: Contents, device: str, clocks: BootClocks, records: Iterable[int]
) -> Iterator[Captured]:
    """Of the loaded records those with these indices."""
    segment = opened.segment
    description = opened.description(segment.ring_id)
    names = [description.name(form.is_output, form.index) for form in segment.forms]
    for index in records:
        record = segment.record(index)
        sides: dict[str, dict[str, NDArray[Any]]] = {"inputs": {}, "outputs": {}}
        dtypes = {}
        for (side, name), tensor in zip(names, record.tensors, strict=True):
            sides[side][name] = tensor.array
            dtypes[side, name] = tensor.dtype
        yield Captured(
            description.model,
            description.version,
            description.package_id,
            description.signature,
            record.ring_id,
            record.sequence,
            clocks.time_ns(segment.boot_id, record.monotonic_ns, record.wall_ns),
            record.monotonic_ns,
            record.latency_ns,
            record.reasons,
            record.correlation_id,
            record.user,
            record.lost_before,
            sides["inputs"],
            sides["outputs"],
            dtypes,
            device,
            description.redact,
            description.labels,
            description.quantizations,
        )
