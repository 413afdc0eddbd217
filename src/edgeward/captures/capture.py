"""Capture: what a model sees and answers, kept from inside its own calls.

    capture = ew.Capture("captures", sample=0.01, when=ew.rules.margin("scores", 0.1))
    model = ew.load("person-2.1.ewp", capture=capture)

Each session writes into a ring in memory, which outlives the process; a thread drains the rings
into segments in the directory. Bytes and crash rules: docs/capture-format.md.
"""

import json
import os
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from edgeward import _core
from edgeward.captures import rings
from edgeward.captures.column_names import ColumnNames, described, require_columns
from edgeward.captures.limits import default_least_free_bytes, require_number, require_ring_bytes
from edgeward.captures.redact import Redaction
from edgeward.captures.rules import Rule, every, fraction
from edgeward.captures.statistics_ledger import StatisticsLedger
from edgeward.captures.ticker import Ticker
from edgeward.captures.window import Counted
from edgeward.errors import BadInput
from edgeward.paths import PathLike

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

MIB = 1 << 20
SEGMENT_BYTES = 64 * MIB
MAX_BYTES = 1024 * MIB
LABELS_BYTES = 32 << 10  # of the 60 KiB that a ring's description may have
FLUSH_S = 30.0
CLOSE_S = 5.0
STATISTICS_S = 60.0
MIN_STATISTICS_S = 0.01
WINDOW_S = 3600.0
MIN_WINDOW_S = 1.0
TIMEOUT_LIMIT_S = 2_147_483  # in milliseconds, it fits 32 bits


# A Capture lives as long as the models that it is attached to, whoever else holds it.
_KEPT: "weakref.WeakKeyDictionary[_core.Model, Capture]" = weakref.WeakKeyDictionary()


def attached_at(model: _core.Model) -> str:
    """When the Capture of `model` was attached, in UTC; in words where the clock was not set."""
    import datetime

    capture = _KEPT.get(model)
    began_s = 0.0 if capture is None else capture._parts.began_s(model)
    if began_s * 1e9 < _core.LEAST_WALL_NS:
        return "the capture began"
    return f"{datetime.datetime.fromtimestamp(began_s, datetime.timezone.utc):%Y-%m-%d %H:%MZ}"


class Reference(Protocol):
    """What a Capture reads of a package's reference statistics."""

    @property
    def edges(self) -> Mapping[tuple[str, str], Sequence[Sequence[float]]]:
        """Of each part of a tensor, by its side and name."""


class Capture:
    """Which inferences are kept, and where. Any thread; attach it to any number of models.

    An inference is kept when `sample` picks it, a share from 0 to 1 or a Rule, or when the Rule
    `when` holds; without either, every inference is. A record holds `tensors`, by name; None means
    all. Every inference is counted in `Model.statistics`, kept or not, unless statistics=False;
    the counts are saved beside the segments every `statistics_s` seconds, and at the end; those of
    each `window_s` seconds of monotonic time are a Window, apart from those of others.
    `pre_roll` also keeps that many inferences before each one that is kept, none older than
    `pre_roll_s` seconds if that is not 0; `post_roll` that many after each, none that begins more
    than `post_roll_s` seconds later if that is not 0. Both are counted in each session by itself.
    The same `seed` and the same inferences give the same choice. `redact` lists what records leave
    out of tensors, such as redact.blank("image", faces).

    Each session has a ring of `ring_bytes`, a power of two from 64 KiB to 4 GiB; by default up to
    16 MiB, so that the memory has room for about 30. When the ring is full, keep="oldest" loses the
    new record and counts it; keep="newest" overwrites the oldest records, and those that are left
    reach the disk when the session or the process ends, or with save(): a black box, which also
    keeps at most `ring_records`, and none `ring_s` seconds older than the last, if these are not 0.

    Records are stored in segments of about `segment_bytes`. Above `most_bytes` in total, below
    `least_free_bytes` free on the disk, or `most_age_s` seconds after the first of their records if
    that is not 0, whole segments are deleted: the oldest first, or with evict="closest" the one
    nearest in time to its neighbours; the one written last stays until the next is begun. Where the
    disk has less than `least_free_bytes` free all the same, by default 128 MiB or a tenth of it,
    records stay in their rings: see `complaint`. With `encrypt_to`, an x25519 key, only the owner
    of that key can read the records.
    """

    def __init__(
        self,
        directory: PathLike,
        *,
        sample: float | Rule | None = None,
        when: Rule | None = None,
        keep: str = "oldest",
        tensors: Iterable[str] | None = None,
        redact: Iterable[Redaction] = (),
        statistics: bool = True,
        statistics_s: float = STATISTICS_S,
        window_s: float = WINDOW_S,
        pre_roll: int = 0,
        pre_roll_s: float = 0.0,
        post_roll: int = 0,
        post_roll_s: float = 0.0,
        ring_bytes: int | None = None,
        ring_records: int = 0,
        ring_s: float = 0.0,
        seed: int = 0,
        encrypt_to: _core.PublicKey | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        most_bytes: int = MAX_BYTES,
        least_free_bytes: int | None = None,
        most_age_s: float = 0.0,
        evict: str = "oldest",
    ) -> None:
        """Create `directory` and drain into it, as soon as no other process drains its rings.

        Raises BadInput, OSError.
        """
        _require_recipient(encrypt_to)
        require_number("statistics_s", statistics_s, MIN_STATISTICS_S, 1 << 32)
        _require_numbers(
            1 << 32, pre_roll=pre_roll, pre_roll_s=pre_roll_s, post_roll=post_roll,
            post_roll_s=post_roll_s, ring_records=ring_records, ring_s=ring_s,
            most_age_s=most_age_s, seed=seed,
        )  # fmt: skip
        _require_ring(keep, ring_bytes, is_limited=bool(ring_records or ring_s))
        self.directory = os.path.abspath(os.fsdecode(directory))
        free_bytes = _free_bytes(self.directory, least_free_bytes)
        self._budget = _budget(segment_bytes, most_bytes, free_bytes, most_age_s, evict)
        ledger = _ledger(self.directory, encrypt_to, most_bytes, window_s)
        self._rule, self._redactions = _together(sample, when), list(redact)
        self._plan = _core.CapturePlan()
        self._plan.recipient, self._plan.ring_directory = encrypt_to, rings.directory_of(directory)
        rings.make_directory(self._plan.ring_directory)
        ring_bytes = ring_bytes or rings.default_bytes(self._plan.ring_directory)
        self._plan.ring_bytes, self._plan.pre_roll_bytes = ring_bytes, ring_bytes // 2
        self._plan.newest_count, self._plan.newest_ns = ring_records, int(ring_s * 1e9)
        self._plan.rule = None if self._rule is None else self._rule.core()
        self._plan.seed, self._plan.keep, self._plan.has_statistics = seed, keep, statistics
        self._plan.tensors = None if tensors is None else list(tensors)
        self._plan.pre_roll_count, self._plan.pre_roll_ns = pre_roll, int(pre_roll_s * 1e9)
        self._plan.post_roll_count, self._plan.post_roll_ns = post_roll, int(post_roll_s * 1e9)
        drain = _core.make_drain(self._plan.ring_directory, self.directory, self._budget)
        self._parts = _Parts(ledger, drain)
        if statistics:
            self._parts.ticker = Ticker(self._parts.save_statistics, min(statistics_s, window_s))
        self._finalizer = weakref.finalize(self, self._parts.close)

    def __repr__(self) -> str:
        return f'<Capture "{self.directory}">'

    def attach(
        self,
        model: _core.Model,
        *,
        name: str = "",
        version: str = "",
        package_id: str = "",
        reference: Reference | None = None,
        labels: Sequence[str] = (),
        columns: ColumnNames = MappingProxyType({}),
    ) -> None:
        """Capture what `model` runs from here on, by predict and by sessions opened later.

        Records carry `name`, `version` and `package_id`, and `labels`, the names of the classes,
        unless those take more than LABELS_BYTES. Statistics are counted in the bins of
        `reference`, a package's reference statistics, and carry `columns`, the names along the last
        dimension of tensors, by the tensor's name, unless these take more than half a mebibyte. A
        model has one Capture at a time; attaching another replaces it. It lives as long as the
        model. Raises BadInput for a rule
        or a tensor that the model does not have and for a redaction or columns that do not fit it.
        A session for which there is no room for a ring counts its inferences, loses its records,
        and tries again each second: see `complaint`.
        """
        self._require_open()
        signatures = model.signatures.values()
        _require_names("tensors", self._plan.tensors or (), signatures)
        _require_numbers_in("tensors", self._plan.tensors or (), signatures)
        _require_names("redact", [rule.tensor for rule in self._redactions], signatures)
        require_columns(columns, signatures)
        identity = {"name": name, "version": version, "package_id": package_id}
        plan = self._plan.copy()
        plan.redactions = [rule.core() for rule in self._redactions]
        if reference is not None:
            plan.edges = reference.edges
        plan.descriptions = {
            signature.name: self._description(
                _core.recorded_signature(plan.redactions, signature), identity, labels
            )
            for signature in signatures
        }
        core = _core.make_capture(plan)
        _core.attach(model, core)
        _KEPT[model] = self
        self._parts.add(_Attached(weakref.ref(model), core, identity, described(columns)))

    def capture_next(self, user: "Buffer" = b"", correlation_id: int = 0) -> None:
        """Keep the next inference of each model, whatever the rules say, with `user` beside it.

        `user` is the caller's, at most 64 KiB; `correlation_id` is an unsigned 64-bit number.
        """
        self._require_open()
        require_number("correlation_id", correlation_id, 0, 1 << 64)
        for attached in self._parts.attached:
            attached.core.capture_next(correlation_id, bytes(user))

    @property
    def counters(self) -> dict[str, int]:
        """Each inference counts as one of sampled_out, committed, lost_full and lost_large.

        Of the committed records, `overwritten` gave way to newer ones in memory, and `drained` were
        brought to the disk; one that was saved before may be both. `evicted` records, also those of
        other programs, were deleted there by this one; `failures` counts its failed writes.
        """
        drain = self._parts.drain.counters
        return self._parts.counters() | {
            "evicted": drain["evicted_records"],
            "failures": drain["failures"],
        }

    @property
    def complaint(self) -> str:
        """Why nothing reaches the disk, or why a session captures nothing; else empty.

        Predictions continue either way. After close() it says what went wrong then.
        """
        return self._parts.why()

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until everything kept before is on the disk, with the statistics beside it.

        False after `timeout_s`, which a disk that is full or fails takes up: see `complaint`. Of
        keep="newest", what the rings of open sessions hold stays there: see save().
        """
        return self._bring(timeout_s, saves=False)

    def save(self, timeout_s: float = FLUSH_S) -> bool:
        """Like flush(), and with what the rings of open sessions hold; these go on."""
        return self._bring(timeout_s, saves=True)

    def _bring(self, timeout_s: float, *, saves: bool) -> bool:
        self._require_open()
        timeout_s = max(timeout_s, 0)
        require_number("timeout_s", timeout_s, 0, TIMEOUT_LIMIT_S)
        is_done = self._parts.bring(timeout_s, saves=saves)
        return self._parts.save_statistics() and is_done

    def close(self) -> None:
        """Detach from all models, write everything to the disk, and end. `with` calls it too.

        What sessions that are still open run later is not captured. Waits up to CLOSE_S seconds for
        another process that drains; what that leaves in memory, the next one finds.
        """
        self._finalizer()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _description(
        self, signature: _core.Signature, identity: Mapping[str, str], labels: Sequence[str]
    ) -> str:
        """What the rings of `signature` say of their records: docs/capture-format.md, section 1."""
        from edgeward.schema import spec_report

        description = {
            "model": identity,
            "signature": signature.name,
            "redact": [rule.report() for rule in self._redactions],
            "has_reservoir": self._rule is not None and self._rule.has_reservoir,
            "inputs": [spec_report(spec) for spec in signature.inputs],
            "outputs": [spec_report(spec) for spec in signature.outputs],
            "labels": list(labels) if _size_bytes(labels) <= LABELS_BYTES else [],
        }
        return json.dumps(description, ensure_ascii=False)

    def _require_open(self) -> None:
        if not self._finalizer.alive:
            raise BadInput("capture: expected one that is open, got one that was closed")


class _Attached:
    def __init__(
        self,
        model: "weakref.ref[_core.Model]",
        core: _core.Capture,
        identity: Mapping[str, str],
        columns: ColumnNames,
    ) -> None:
        self.model, self.core, self._identity, self._columns = model, core, identity, columns
        self.began_s = time.time()

    @property
    def is_over(self) -> bool:
        """Whether its counts do not change any more."""
        return self.model() is None and self.core.is_settled

    @property
    def counters(self) -> dict[str, int]:
        return self.core.counters | {"drained": self.core.drained_count}

    def counted(self, signature: str, statistics: _core.Statistics) -> Counted:
        name, version, package_id = self._identity.values()
        return Counted(name, version, package_id, signature, statistics, self._columns)


class _Parts:
    """What ends with the Capture, or with the program."""

    def __init__(self, ledger: StatisticsLedger, drain: _core.Drain) -> None:
        from threading import Lock

        self.ledger = ledger
        self.ledger_lock = Lock()
        self.ticker: Ticker | None = None
        self.process_id = os.getpid()
        # With what those counted that are over: both are replaced in one step.
        self._all: tuple[list[_Attached], Counter[str]] = ([], Counter())
        self.drain = drain
        self.complaint = ""  # about the last attempt to write statistics
        self.last = ""  # what close() leaves undone, or sessions that had no ring until then

    @property
    def attached(self) -> list[_Attached]:
        return self._all[0]

    def add(self, attached: _Attached) -> None:
        """Also keeps no more than the counts of those that are over: a server may load for ever."""
        if os.getpid() != self.process_id:
            # In a forked child the others are the parent's, and so may the lock be.
            self._all = ([*self.attached, attached], self._all[1])
            return
        with self.ledger_lock:
            live, ended = [], Counter(self._all[1])
            for other in self.attached:
                if other.is_over:
                    self._take_statistics(other)
                    ended.update(other.counters)
                else:
                    live.append(other)
            self._all = ([*live, attached], ended)

    def began_s(self, model: _core.Model) -> float:
        """Unix time at which it was attached, the last time; 0 when it never was."""
        times = [attached.began_s for attached in self.attached if attached.model() is model]
        return times[-1] if times else 0.0

    def counters(self) -> dict[str, int]:
        attached, ended = self._all
        total = Counter(dict.fromkeys((*_core.RING_COUNTERS, "drained"), 0))
        for counters in (ended, *(other.counters for other in attached)):
            total.update(counters)
        return dict(total)

    def save_statistics(self) -> bool:
        """Whether all that was counted before is on the disk; if not, the next call tries again."""
        try:
            with self.ledger_lock:
                for attached in self.attached:
                    self._take_statistics(attached)
                self.ledger.save()
        except OSError as error:
            self.complaint = str(error)
            return False
        except Exception as error:  # a defect, which whoever called hears of
            self.complaint = f"statistics: {type(error).__name__}: {error}"
            raise
        self.complaint = ""
        return True

    def _take_statistics(self, attached: _Attached) -> None:
        for signature, statistics in attached.core.take_statistics().items():
            self.ledger.add(attached.counted(signature, statistics))

    def why(self) -> str:
        """Of what reaches the disk no more, or of a session that captures nothing; else empty."""
        for attached in self.attached:
            if attached.core.failure:
                return attached.core.failure
        if self.drain.complaint or self.complaint:
            return self.drain.complaint or self.complaint
        late = next(filter(None, (attached.core.complaint for attached in self.attached)), "")
        return f"{late} ({self.drain.holder})" if late and self.drain.holder else late or self.last

    def close(self) -> None:
        if os.getpid() != self.process_id:
            return  # in a forked child, everything belongs to the parent
        failures = [attached.core.failure for attached in self.attached]
        self.last = next(filter(None, failures), "")
        for attached in self.attached:
            model = attached.model()
            if model is not None:
                with suppress(Exception):  # the model may be closed
                    _core.detach(model, attached.core)
            attached.core.end()
        if self.ticker is not None:
            self.ticker.close()  # saves once more
        holder = self.drain.holder
        if holder and not self.bring(CLOSE_S, saves=False):
            self.last = (
                self.last or f"{holder}: what it has not read in {CLOSE_S:g} s stays in memory"
            )
        self.drain.close()

    def bring(self, timeout_s: float, *, saves: bool) -> bool:
        """Whether what was committed before the call is on the disk when the time is over."""
        deadline_s = time.monotonic() + timeout_s
        is_done = self.drain.flush(int(timeout_s * 1000))
        for attached in self.attached:
            left_ms = int(max(deadline_s - time.monotonic(), 0) * 1000)
            is_done &= attached.core.wait_drained(left_ms, saves)
        return is_done


def _free_bytes(directory: PathLike, least_free_bytes: int | None) -> int:
    return default_least_free_bytes(directory) if least_free_bytes is None else least_free_bytes


def _budget(
    segment_bytes: int, most_bytes: int, least_free_bytes: int, most_age_s: float, evict: str
) -> _core.Budget:
    _require_word("evict", evict, _core.EVICTS)
    _require_numbers(
        1 << 64,
        segment_bytes=segment_bytes, most_bytes=most_bytes, least_free_bytes=least_free_bytes,
    )  # fmt: skip
    budget = _core.Budget()
    budget.segment_bytes = segment_bytes
    budget.most_bytes, budget.least_free_bytes = most_bytes, least_free_bytes
    budget.most_age_ns, budget.evict = int(most_age_s * 1e9), evict
    return budget


def _ledger(
    directory: str, recipient: _core.PublicKey | None, most_bytes: int, window_s: float
) -> StatisticsLedger:
    require_number("window_s", window_s, MIN_WINDOW_S, 1 << 32)
    window_ns = int(window_s * 1e9)
    return StatisticsLedger(
        directory, recipient=recipient, most_bytes=most_bytes, window_ns=window_ns
    )


def _together(sample: float | Rule | None, when: Rule | None) -> Rule | None:
    for option, value in (("sample", sample), ("when", when)):
        if value is None or isinstance(value, Rule) or (option == "sample" and _is_number(value)):
            continue
        share = "a share or " if option == "sample" else ""
        raise BadInput(
            f'{option}: expected {share}a rule, such as rules.below("scores", 0.5), '
            f"got {type(value).__name__}"
        )
    if sample is None and when is None:
        return every(1)
    if isinstance(sample, (int, float)):
        sample = None if sample == 0 else every(1) if sample == 1 else fraction(sample)
    if sample is None or when is None:
        return sample or when
    return sample | when


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _require_names(
    option: str, names: Iterable[str], signatures: Iterable[_core.Signature]
) -> None:
    known = {
        spec.name for signature in signatures for spec in (*signature.inputs, *signature.outputs)
    }
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadInput(
            f"{option}: expected names of the model's, {_listed(sorted(known))}, got "
            f"{_listed(unknown)}"
        )


def _require_numbers_in(
    option: str, names: Iterable[str], signatures: Iterable[_core.Signature]
) -> None:
    for signature in signatures:
        for spec in (*signature.inputs, *signature.outputs):
            if spec.dtype == "string" and spec.name in names:
                raise BadInput(
                    f'{option}: "{spec.name}": expected a tensor of numbers, got one of strings, '
                    "which records leave out"
                )


def _require_recipient(key: _core.PublicKey | None) -> None:
    if key is not None and key.algorithm != "x25519":
        raise BadInput(f"encrypt_to: expected an x25519 key, got {key.algorithm}")


def _require_numbers(limit: int, **numbers: float) -> None:
    for name, number in numbers.items():
        require_number(name, number, 0, limit)


def _require_ring(keep: str, ring_bytes: int | None, *, is_limited: bool) -> None:
    _require_word("keep", keep, _core.KEEPS)
    if ring_bytes is not None:
        require_ring_bytes(ring_bytes)
    if keep == "oldest" and is_limited:
        raise BadInput('ring_records, ring_s: expected keep="newest" with them, got "oldest"')


def _require_word(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise BadInput(f"{name}: expected {' or '.join(known)}, got {word!r}")


def _size_bytes(labels: Sequence[str]) -> int:
    """Of their JSON."""
    return len(json.dumps(list(labels), ensure_ascii=False).encode(errors="replace"))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
