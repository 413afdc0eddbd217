"""Batch: captured inferences of one model and the same tensors, stacked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeward import _core
from edgeward.captures.boot_clocks import BootClocks
from edgeward.captures.description import Description
from edgeward.captures.quantization import Quantization
from edgeward.captures.segments import Choice, Contents, put_right
from edgeward.named_arrays import NamedArrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BYTES = 32 << 20  # of a batch
MOST_PENDING_BYTES = 48 << 20  # of all batches that are not full
RECORD_BYTES = 72  # of a record beside its tensors


@dataclass(frozen=True, slots=True, repr=False)
class Batch:
    """Records of one model on one device. The first axis of each array is the record.

    Arrays are read-only. `inputs` and `outputs` are by name; of runs that failed there are no
    outputs. `reasons` has a bit for each word of `REASONS`, in their order. The caller's bytes of
    record i are in `users[i]`. All else is as in Captured.
    """

    model: str
    version: str
    package_id: str
    signature: str
    device: str
    redact: tuple[dict[str, Any], ...]
    labels: tuple[str, ...]
    quantizations: Mapping[tuple[str, str], Quantization]
    ring_ids: "NDArray[Any]"  # uint64
    sequences: "NDArray[Any]"  # uint64
    time_ns: "NDArray[Any]"  # int64
    monotonic_ns: "NDArray[Any]"  # uint64
    latency_ns: "NDArray[Any]"  # uint64
    reasons: "NDArray[Any]"  # uint32
    correlation_ids: "NDArray[Any]"  # uint64
    lost_before: "NDArray[Any]"  # uint64
    user: bytes  # the caller's, of all records
    user_ends: "NDArray[Any]"  # int64: where those of each record end
    inputs: "dict[str, NDArray[Any]]"
    outputs: "dict[str, NDArray[Any]]"
    dtypes: dict[tuple[str, str], str]

    def __len__(self) -> int:
        return len(self.sequences)

    def __repr__(self) -> str:
        """One line, without elements."""
        arrays = f"{NamedArrays(self.inputs)} -> {NamedArrays(self.outputs)}"
        return f"<Batch of {len(self)} of {self.model} {self.version}: {arrays}>"

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all arrays of `inputs` and `outputs`."""
        return sum(array.nbytes for array in (*self.inputs.values(), *self.outputs.values()))

    @property
    def users(self) -> list[bytes]:
        """The caller's bytes of each record."""
        ends = self.user_ends.tolist()
        return [
            self.user[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=len(ends) > 0)
        ]


class _Pending:
    """A batch that is being filled."""

    def __init__(self, opened: Contents, device: str, most_count: int) -> None:
        segment = opened.segment
        self.device, self.boot_id = device, segment.boot_id
        self.description = opened.description(segment.ring_id)
        self.forms = segment.forms
        record_bytes = RECORD_BYTES + sum(form.size_bytes for form in self.forms)
        self.batch = segment.make_batch(max(1, min(most_count, MOST_BYTES // record_bytes)))
        self.size_bytes = record_bytes * self.batch.capacity

    def take(self, segment: _core.Segment, begin: int, end: int) -> int:
        """Copies the loaded records that there is room for. Returns where the next begins."""
        end = min(end, begin + self.batch.capacity - self.batch.count)
        segment.copy_into(self.batch, begin, end)
        return end

    @property
    def is_full(self) -> bool:
        return self.batch.count == self.batch.capacity

    def finished(self, clocks: BootClocks) -> Batch:
        batch = self.batch
        tensors: dict[str, dict[str, NDArray[Any]]] = {"inputs": {}, "outputs": {}}
        dtypes = {}
        for form, array in zip(self.forms, batch.tensors, strict=True):
            side, name = self.description.name(form.is_output, form.index)
            tensors[side][name] = array
            dtypes[side, name] = form.dtype
        return Batch(
            *_identity(self.description),
            self.device,
            self.description.redact,
            self.description.labels,
            self.description.quantizations,
            batch.ring_ids,
            batch.sequences,
            put_right(clocks, self.boot_id, batch.monotonic_ns, batch.wall_ns),
            batch.monotonic_ns,
            batch.latency_ns,
            batch.reasons,
            batch.correlation_ids,
            batch.lost_before,
            batch.user,
            batch.user_ends,
            tensors["inputs"],
            tensors["outputs"],
            dtypes,
        )


class Stacks:
    """Batches in the making, of each model and set of tensors."""

    def __init__(self, most_count: int, clocks: BootClocks) -> None:
        self._most_count, self._clocks = most_count, clocks
        self._pending: dict[tuple[str, bytes, bytes, bytes], _Pending] = {}

    def add(
        self, opened: Contents, device: str, choice: Choice, replaced: dict[int, set[int]]
    ) -> Iterator[Batch]:
        """Adds the loaded records that are wanted, and gives the batches that are full."""
        segment = opened.segment
        document = opened.description(segment.ring_id).document
        form = (device, segment.boot_id, document, segment.form_id)
        for begin, end in opened.runs(choice, self._clocks, replaced):
            at = begin
            while at < end:
                if form not in self._pending:
                    self._pending[form] = _Pending(opened, device, self._most_count)
                at = self._pending[form].take(segment, at, end)
                if self._pending[form].is_full:
                    yield self._pending.pop(form).finished(self._clocks)
        while sum(pending.size_bytes for pending in self._pending.values()) > MOST_PENDING_BYTES:
            yield self._pending.pop(next(iter(self._pending))).finished(self._clocks)

    def rest(self) -> Iterator[Batch]:
        for pending in self._pending.values():
            yield pending.finished(self._clocks)


def _identity(description: Description) -> tuple[str, str, str, str]:
    return (
        description.model,
        description.version,
        description.package_id,
        description.signature,
    )
