"""Capture: what a model sees and answers, kept from inside its own calls.

    capture = ew.Capture("captures", sample=0.01, when=ew.rules.margin("scores", 0.1))
    model = ew.load("person-2.1.ewp", capture=capture)

Each session writes into a ring in memory, which outlives the process; a thread brings the rings'
records to segments in the directory. Bytes and crash rules: docs/capture-format.md.
"""

import json
import os
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeward import _core
from edgeward.captures import rings
from edgeward.captures.rules import Rule, every, fraction
from edgeward.captures.statistics_file import StatisticsFile
from edgeward.errors import BadInput, Busy
from edgeward.paths import PathLike

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from edgeward.packages.reference_statistics import ReferenceStatistics

MIB = 1 << 20
RING_BYTES = 16 * MIB
SEGMENT_BYTES = 64 * MIB
MOST_BYTES = 1024 * MIB
LEAST_FREE_BYTES = 128 * MIB
FLUSH_S = 30.0


class Capture:
    """Which inferences are kept, and where. Any thread; attach it to as many models as you like."""

    def __init__(
        self,
        directory: PathLike,
        *,
        sample: float | Rule | None = None,
        when: Rule | None = None,
        keep: str = "oldest",
        tensors: Iterable[str] | None = None,
        statistics: bool = True,
        pre_roll: int = 0,
        pre_roll_s: float = 0.0,
        ring_bytes: int = RING_BYTES,
        seed: int = 0,
        encrypt_to: _core.PublicKey | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        most_bytes: int = MOST_BYTES,
        least_free_bytes: int = LEAST_FREE_BYTES,
        most_age_s: float = 0.0,
        evict: str = "oldest",
    ) -> None:
        """Makes `directory` and starts to drain into it, unless another process does so already.

        Kept is what `sample` picks, a share from 0 to 1 or a Rule, and what `when` holds for;
        without either, everything. `tensors` are the names of those that a record holds; None
        takes all. Every inference is counted in `Model.statistics`, kept or not, unless
        statistics=False. `pre_roll` also keeps so many inferences before one that is kept, no
        older than `pre_roll_s` seconds if that is not 0.

        Each session has a ring of `ring_bytes`, a power of two from 64 KiB to 4 GiB. When one is
        full, keep="oldest" loses the new record and counts it; "newest" gives up the oldest ones,
        and its ring comes to the disk once the session or its process has ended: a black box.

        Records lie in segments of about `segment_bytes`. Beyond `most_bytes` altogether, below
        `least_free_bytes` free on that disk, or after `most_age_s` seconds if that is not 0, whole
        segments are removed: the oldest, or with evict="closest" the one nearest in time to its
        neighbours. With `encrypt_to`, an x25519 key, only its owner can read what was captured.

        The same `seed` and the same inferences give the same choice. Raises BadInput, OSError.
        """
        if keep not in _core.KEEPS:
            raise BadInput(f"keep: expected {' or '.join(_core.KEEPS)}, got {keep!r}")
        if evict not in _core.EVICTS:
            raise BadInput(f"evict: expected {' or '.join(_core.EVICTS)}, got {evict!r}")
        if encrypt_to is not None and encrypt_to.algorithm != "x25519":
            raise BadInput(f"encrypt_to: expected an x25519 key, got {encrypt_to.algorithm}")
        for name, number in (("pre_roll", pre_roll), ("pre_roll_s", pre_roll_s),
                             ("most_age_s", most_age_s), ("seed", seed)):  # fmt: skip
            if not 0 <= number < 1 << 32:
                raise BadInput(f"{name}: expected 0 or more, got {number}")
        self.directory = os.fsdecode(directory)
        self._ring_directory = rings.directory_of(directory)
        rings.make_directory(self._ring_directory)
        self._rule = _together(sample, when)
        self._plan = plan = _core.CapturePlan()
        plan.ring_directory = self._ring_directory
        plan.ring_bytes = ring_bytes
        plan.keep = keep
        plan.rule = None if self._rule is None else self._rule.core()
        plan.seed = seed
        plan.tensors = None if tensors is None else list(tensors)
        plan.pre_roll_count = pre_roll
        plan.pre_roll_ns = int(pre_roll_s * 1e9)
        plan.pre_roll_bytes = ring_bytes // 2
        plan.has_statistics = statistics
        self._budget = budget = _core.Budget()
        budget.segment_bytes = segment_bytes
        budget.most_bytes = most_bytes
        budget.least_free_bytes = least_free_bytes
        budget.most_age_ns = int(most_age_s * 1e9)
        budget.evict = evict
        self._recipient = encrypt_to
        self._parts = _Parts(self.directory)
        self._parts.drain = self._drain()
        self._finalizer = weakref.finalize(self, self._parts.close)

    def attach(
        self,
        model: _core.Model,
        *,
        name: str = "",
        version: str = "",
        package_id: str = "",
        reference: "ReferenceStatistics | None" = None,
    ) -> None:
        """Capture what `model` runs from now on, by predict and by sessions that are made later.

        `name`, `version` and `package_id` are noted in the records; with `reference`, a package's,
        its bins are those of the statistics. A model has one Capture: another one takes its place.
        Raises BadInput for a rule or a tensor that is not the model's, OSError for no room.
        """
        self._require_open()
        signatures = model.signatures
        known = {spec.name for one in signatures.values() for spec in (*one.inputs, *one.outputs)}
        unknown = [tensor for tensor in self._plan.tensors or () if tensor not in known]
        if unknown:
            raise BadInput(
                f"tensors: expected names of the model's, {_listed(sorted(known))}, got "
                f"{_listed(unknown)}"
            )
        identity = {"name": name, "version": version, "package_id": package_id}
        plan = self._plan.copy()
        plan.edges = {row.name: row.edges for row in reference.tensors} if reference else {}
        plan.descriptions = {
            signature.name: json.dumps(
                {
                    "model": identity,
                    "signature": signature.name,
                    "has_reservoir": bool(self._rule and self._rule.has_reservoir),
                    **_specs(signature),
                },
                ensure_ascii=False,
            )
            for signature in signatures.values()
        }
        core = _core.make_capture(plan)
        _core.attach(model, core)
        self._parts.attached.append(_Attached(weakref.ref(model), core, identity))

    def capture_next(self, user: "Buffer" = b"", correlation_id: int = 0) -> None:
        """Keep the next inference of each model, whatever the rules say, with `user` beside it.

        `user` is at most 64 KiB of the caller's own, `correlation_id` a number of 64 bits.
        """
        self._require_open()
        for one in self._parts.attached:
            one.core.capture_next(correlation_id, bytes(user))

    @property
    def counters(self) -> dict[str, int]:
        """Every inference is in the first four: sampled_out, committed, lost_full, lost_large.

        Of those committed, `overwritten` were given up for newer ones, and `drained` are on the
        disk. `evicted` records were removed there, `failures` is how often the disk refused.
        """
        total = dict.fromkeys(
            ("sampled_out", "committed", "lost_full", "lost_large", "overwritten"), 0
        )
        for one in self._parts.attached:
            for name, count in one.core.counters.items():
                total[name] += count
        drained = self._parts.drained
        names = {"drained": "records", "evicted": "evicted_records", "failures": "failures"}
        return total | {name: drained.get(source, 0) for name, source in names.items()}

    @property
    def complaint(self) -> str:
        """Why nothing comes to the disk, or why a session captures nothing; empty when all is well.

        Predictions go on either way.
        """
        failures = [one.core.failure for one in self._parts.attached]
        drain = self._parts.drain
        failures += [drain.complaint if drain else "", self._parts.complaint]
        return next(filter(None, failures), "")

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until all that was kept before is on the disk, and the statistics so far beside it.

        False when that took too long or the disk refuses: see `complaint`. True at once when
        another process drains.
        """
        self._require_open()
        parts = self._parts
        if parts.drain is None:
            parts.drain = self._drain()
        is_done = parts.drain is None or parts.drain.flush(int(timeout_s * 1000))
        return parts.save_statistics() and is_done

    def close(self) -> None:
        """Detach it from its models, bring everything to the disk, and end. Also by `with`.

        Sessions that the caller made go on writing into their rings, for the next one who drains.
        """
        self._finalizer()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _drain(self) -> "_core.Drain | None":
        try:
            return _core.make_drain(
                self._ring_directory, self.directory, self._budget, self._recipient
            )
        except Busy:
            return None  # another process has the directory, and takes our rings along

    def _require_open(self) -> None:
        if not self._finalizer.alive:
            raise BadInput("capture: expected one that is open, got one that was closed")


class _Attached:
    def __init__(
        self, model: "weakref.ref[_core.Model]", core: _core.Capture, identity: Mapping[str, str]
    ) -> None:
        self.model, self.core, self.identity = model, core, identity
        self.files: dict[str, StatisticsFile] = {}  # by signature


class _Parts:
    """What must be ended when the Capture is, or the program."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.process_id = os.getpid()
        self.attached: list[_Attached] = []
        self.drain: _core.Drain | None = None
        self.complaint = ""  # of the last try to write statistics

    @property
    def drained(self) -> dict[str, int]:
        return self.drain.counters if self.drain else {}

    def save_statistics(self) -> bool:
        """Whether the disk took them; what it had before stays if not."""
        try:
            for one in self.attached:
                for signature, statistics in one.core.statistics.items():
                    if signature not in one.files:
                        name = os.urandom(8).hex()
                        one.files[signature] = StatisticsFile.named(self.directory, name)
                    one.files[signature].write(one.identity, signature, statistics)
        except OSError as error:
            self.complaint = str(error)
            return False
        self.complaint = ""
        return True

    def close(self) -> None:
        if os.getpid() != self.process_id:
            return  # a forked child: all of it is its parent's
        for one in self.attached:
            model = one.model()
            if model is not None:
                with suppress(Exception):  # closed already
                    _core.detach(model, one.core)
        self.save_statistics()
        if self.drain is not None:
            self.drain.close()


def _together(sample: float | Rule | None, when: Rule | None) -> Rule | None:
    if sample is None and when is None:
        return every(1)
    if isinstance(sample, (int, float)):
        sample = None if sample == 0 else every(1) if sample == 1 else fraction(sample)
    if sample is None or when is None:
        return sample or when
    return sample | when


def _specs(signature: _core.Signature) -> dict[str, Any]:
    from edgeward.schema import spec_report

    return {
        "inputs": [spec_report(spec) for spec in signature.inputs],
        "outputs": [spec_report(spec) for spec in signature.outputs],
    }


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
