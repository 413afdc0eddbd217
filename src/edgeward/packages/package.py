"""Package: a model with what belongs to it in one signed file, encrypted on request.

Besides the model a package holds members of fixed names: golden.npz (inputs with the
outputs they must give), reference.json (statistics of the calibration set), columns.json, card.md,
labels.txt.
The bytes and every check are the core's; the format is docs/package-format.md.
"""

import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from edgeward import _core
from edgeward.durable import replace_file
from edgeward.engines.choice import HEAD_BYTES, IDENTIFIER_BYTES, Wish, opened, require_arguments
from edgeward.engines.memory_budget import budget_bytes
from edgeward.engines.processors import usable_cpus
from edgeward.errors import BadInput, WrongKey
from edgeward.packages import carried, key_wraps
from edgeward.packages.contents import CARD, COLUMNS, GOLDEN, LABELS, RECIPE, REFERENCE, Contents
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular
from edgeward.trust.device_key import find_device_key, places
from edgeward.trust.release import Release
from edgeward.trust.trust_directory import Trust

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from edgeward.captures.capture import Capture
    from edgeward.packages.golden import Difference, Golden
    from edgeward.packages.recipe import Recipe
    from edgeward.packages.reference_statistics import ReferenceStatistics


def machine() -> str:
    """What this machine is as a package's target, such as "linux-aarch64"."""
    system = os.uname()
    return f"{system.sysname.lower()}-{system.machine.lower()}"


def is_package(path: PathLike) -> bool:
    """Whether the file at `path` begins as packages do. False for one that cannot be read."""
    try:
        with open_regular("file", path) as file:
            return file.read(len(_core.PACKAGE_MAGIC)) == _core.PACKAGE_MAGIC
    except (OSError, BadInput):
        return False


class Package:
    """A package on the disk, as `open`, `authentic` or `unverified` gives it. Any thread.

    A member is read, verified and decrypted when it is asked for; `load` does so with all of them
    together, and leaves them to the model.
    """

    def __init__(
        self,
        core: _core.Package,
        trust: Trust | None,
        key: _core.PrivateKey | None,
        is_allowed: bool = False,
    ):
        self.core = core
        self._trust = trust
        self._key = key
        self._is_allowed = is_allowed  # to run here
        self._has_right_digests = False  # as far as was looked

    def __repr__(self) -> str:
        kind = "encrypted" if self.is_encrypted else "signed"
        return f"<Package {self.name} {self.version}, {kind}, {self.package_id[:8]}>"

    @classmethod
    def open(
        cls,
        path: PathLike,
        *,
        trust: PathLike | Trust | None = None,
        key: "PathLike | _core.PrivateKey | None" = None,
    ) -> "Package":
        """The package at `path`, if its signatures satisfy the trust root and it may run here.

        `trust` is a trust directory; None takes $EDGEWARD_TRUST or /var/lib/edgeward/trust. `key`
        is the device's private key or its file; None looks in the service's credentials and in the
        trust directory. Raises OSError, MalformedPackage, UntrustedPackage, RollbackRefused,
        WrongTarget, ExpiredPackage, ExpiredRoot, and what Trust raises.
        """
        _require_package(path)
        trust, key = _believed(trust, key)
        core = _core.Package.verified(os.fsdecode(path), trust.root, _policy(trust, key))
        trust.require_current(core.package_id.hex())
        return cls(core, trust, key, is_allowed=True)

    @classmethod
    def authentic(
        cls,
        path: PathLike,
        *,
        trust: PathLike | Trust | None = None,
        key: "PathLike | _core.PrivateKey | None" = None,
    ) -> "Package":
        """The package at `path`, if its signatures satisfy the trust root: to read, not to run.

        What holds for a package that runs is not asked of it: that no later release has run here,
        its target and its expiry. `trust` and `key` as in `open`. Raises OSError, MalformedPackage,
        UntrustedPackage, and what Trust raises.
        """
        _require_package(path)
        trust, key = _believed(trust, key)
        return cls(_core.Package.authentic(os.fsdecode(path), trust.root), trust, key)

    @classmethod
    def unverified(cls, path: PathLike) -> "Package":
        """The package at `path` without a check of its signatures: to inspect, not to run.

        Raises OSError, MalformedPackage, BadInput for a pipe or device.
        """
        _require_package(path)
        return cls(_core.Package.unverified(os.fsdecode(path)), None, None)

    @staticmethod
    def seal(
        model: "PathLike | Buffer",
        output: PathLike,
        release: Release,
        keys: Sequence[_core.PrivateKey | _core.Signer],
        contents: Contents = Contents(),  # noqa: B008 - immutable
        *,
        encrypt_to: Sequence[_core.PublicKey] = (),
        cipher: str = "aes-256-gcm",
        converts: bool = True,
        engine: str | None = None,
        progress: "Callable[[str, int, int], None] | None" = None,
    ) -> str:
        """Write `model` and `contents` as a package at `output`, signed by each of `keys`.

        `model` is a path or the bytes of a .tflite, .onnx or .ort file. An .onnx becomes an .ort,
        which opens in place, unless `converts` is False: then it and the files that hold its
        external data are members as they are. The model is opened once, on `engine`, as a device
        will have it; that gives its schema, the golden outputs and the reference statistics.

        With `encrypt_to` the payload is encrypted under a fresh key, by `cipher` ("aes-256-gcm" or
        "chacha20-poly1305"), and that key wrapped for each of these devices in a .ewk file beside
        the package. `progress` is called with what is counted, done and to do. Returns the id.

        Warns of a calibration set that cannot tell small drift from chance.

        Raises BadInput for a name, counter, key, label or golden case that does not fit, OSError,
        SignerFailed for one of `keys` that gives no signature of its own, and as load_unsigned. The
        output is there whole, or as it was before.
        """
        from edgeward.packages import sealing

        sealing.require_sealable(release, keys, encrypt_to)
        source = sealing.package_source(model, release, contents, converts, engine, progress)
        if encrypt_to:
            source.cipher = cipher
        return sealing.write(source, output, keys, encrypt_to, progress)

    # --- What the signed head says --------------------------------------------------------------

    @property
    def name(self) -> str:
        """What devices know the model by."""
        return self.core.name

    @property
    def version(self) -> str:
        """What people know this release by."""
        return self.core.version

    @property
    def package_id(self) -> str:
        """SHA-256 of what is signed, as 64 hex digits: the package's identity."""
        return self.core.package_id.hex()

    @property
    def target(self) -> str:
        """ "any", or the one kind of machine it is for, such as "linux-aarch64"."""
        return self.core.target

    @property
    def is_encrypted(self) -> bool:
        """Whether only devices that it was encrypted for can read its members."""
        return self.core.cipher is not None

    @property
    def has_key(self) -> bool:
        """Whether this device's key was found. It need not be one that opens the package."""
        return self._key is not None

    @property
    def members(self) -> tuple[_core.Member, ...]:
        """What it holds: name, type, size_bytes, digest of each."""
        return self.core.members

    @property
    def entry(self) -> _core.Member:
        """The member that is the model."""
        return next(member for member in self.members if member.is_entry)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the publisher recorded, such as "schema" and "source": informative only."""
        import json

        try:
            metadata = json.loads(self.core.metadata)
        except (ValueError, RecursionError):
            return {}
        return metadata if isinstance(metadata, dict) else {}

    @property
    def schema(self) -> dict[str, Any]:
        """The model's inputs and outputs by signature; empty when the publisher gave none."""
        schema = self.metadata.get("schema")
        return schema if isinstance(schema, dict) else {}

    # --- Members --------------------------------------------------------------------------------

    def read(self, member: str) -> bytes:
        """The bytes of a member. Raises BadInput when there is none of this name, and as `load`."""
        if "_payload" in self.__dict__:
            return self._payload.read(member).tobytes()
        return self.core.read_member(member, self._content_key())

    @property
    def card(self) -> str | None:
        """The model card, in Markdown; None when it carries none."""
        return self._text(CARD)

    @property
    def labels(self) -> list[str] | None:
        """The names of the classes, in order; None when it carries none."""
        text = self._text(LABELS)
        return None if text is None else text.splitlines()

    @property
    def columns(self) -> dict[str, tuple[str, ...]] | None:
        """The names along the last dimension of tensors, by the tensor's name; None without.

        Raises MalformedPackage.
        """
        from edgeward.packages import columns_file

        if not self._has(COLUMNS):
            return None
        return columns_file.from_bytes(self.read(COLUMNS), self._where)

    @property
    def recipe(self) -> "Recipe | None":
        """How pictures and sounds become its inputs, and which outputs are boxes; None without.

        Raises MalformedPackage, for a later version too.
        """
        from edgeward.packages.recipe import from_bytes

        return from_bytes(self.read(RECIPE), self._where) if self._has(RECIPE) else None

    @property
    def golden(self) -> "Golden | None":
        """Inputs and what they must give; None when it carries none. Raises MalformedPackage."""
        from edgeward.packages.golden import Golden

        return Golden.from_bytes(self.read(GOLDEN), self._where) if self._has(GOLDEN) else None

    @property
    def reference(self) -> "ReferenceStatistics | None":
        """Statistics of the calibration set; None without. Raises MalformedPackage."""
        from edgeward.captures.findings import Names
        from edgeward.packages.reference_statistics import ReferenceStatistics

        if not self._has(REFERENCE):
            return None
        names = Names(self.columns or {}, self.labels or ())
        return ReferenceStatistics.from_bytes(self.read(REFERENCE), self._where, names)

    def _has(self, name: str) -> bool:
        return any(member.name == name for member in self.members)

    def _text(self, name: str) -> str | None:
        return carried.text_of(self.read(name)) if self._has(name) else None

    @property
    def _where(self) -> str:
        return f'package "{self.core.path}"'

    @cached_property
    def _payload(self) -> _core.Payload:
        with_digests = self._trust is not None and not self._has_known_digests(self._trust)
        return self.core.open_payload(self._content_key(), usable_cpus(), with_digests)

    def _content_key(self) -> _core.ContentKey | None:
        if not self.is_encrypted:
            return None
        if self._trust is None:
            raise BadInput(f"{self._where}: expected one that was verified, got one that was not")
        self.core.check_table()  # package-format 7: step 7 comes before step 8
        if self._key is None:
            raise WrongKey(
                f"{self._where}: expected this device's key, got none: looked for "
                f"{places(self._trust.directory)}"
            )
        wraps = key_wraps.read(self.core)
        try:
            return _core.unwrap(wraps, self.core.package_id, self._key, self._now_s(self._trust))
        except WrongKey as error:
            wraps_path, device = key_wraps.current_path(self.core), self._key.public.id.hex()
            raise WrongKey(
                f'"{wraps_path}": {error}; this device is {device}: add it with edgeward wrap'
            ) from None

    def _now_s(self, trust: Trust) -> int:
        """The time to judge this package's wrapped keys by."""
        return max(trust.now_s(), trust.publisher_times_s().get(self.core.publisher, 0))

    # --- Running --------------------------------------------------------------------------------

    def load(
        self,
        *,
        engine: str | None = None,
        threads: int | None = None,
        memory: int | str | None = None,
        capture: "Capture | None" = None,
        commit: bool = True,
    ) -> _core.Model:
        """The model, able to run; this device then remembers the package's floor.

        `engine`, `threads` and `memory` as in load_unsigned. What the model runs is captured by
        `capture`, with the package's labels, the names of its columns, and the statistics' bins
        from its reference. With `commit` False nothing is remembered, and an earlier release can
        come back, until `commit()` is called. What may have changed since it was opened is asked
        again: who may sign, the floors, the time. Raises as `open` does, MalformedPackage for
        bytes that are not the signed ones, WrongKey when this device has no key to them, BadInput
        for a `capture` that does not fit the model, and as load_unsigned.
        """
        model = self._model(Wish(engine, threads, memory, path=self.core.path))
        assert self._trust is not None
        if commit:
            self._trust.accept(self.core)
        if capture is not None:
            capture.attach(
                model,
                name=self.name,
                version=self.version,
                package_id=self.package_id,
                reference=self.reference,
                labels=self.labels or (),
                columns=self.columns or {},
            )
        # The model gives back what it does not need, unless somebody else may read it.
        self.__dict__.pop("_payload", None)
        return model

    def commit(self) -> None:
        """Remember that this package runs here: its floor, below which no release comes back.

        Raises as `open` does, OSError when a floor that must rise cannot be stored, BadInput for a
        package that `open` did not give.
        """
        trust = self._require_allowed()
        self._require_digests(trust)
        trust.accept(self.core)

    def _require_allowed(self) -> Trust:
        """Whom this device believes now; raises when that is no longer this package's signers."""
        if not self._is_allowed or self._trust is None:
            raise BadInput(f"{self._where}: expected one that open() verified, got one to read")
        self.core.require_allowed(self._trust.root, _policy(self._trust, self._key))
        self._trust.require_current(self.package_id)
        return self._trust

    def _require_digests(self, trust: Trust) -> None:
        """Raises MalformedPackage when a member has not the digest in its row.

        It is looked at once on a device: the id of the package that ran says what is in it.
        """
        if self._has_known_digests(trust):
            return
        if "_payload" in self.__dict__:
            self.core.check_payload(self._payload)
        else:
            self.core.check_members(self._content_key())
        self._has_right_digests = True

    def _has_known_digests(self, trust: Trust) -> bool:
        return self._has_right_digests or trust.has_run(self.package_id)

    def _model(self, wish: Wish) -> _core.Model:
        trust = self._require_allowed()
        require_arguments(wish)
        if "_payload" not in self.__dict__:
            _core.require_memory(budget_bytes(wish.memory), self.core.payload_bytes)
        payload, entry = self._payload, self.entry
        self._require_digests(trust)
        # What is copied into Python's memory stays there: no more than says nothing of the weights.
        head = payload.read(entry.name)[:IDENTIFIER_BYTES].tobytes()
        open_model = partial(payload.open_model, kept=carried.KEPT)
        return opened(open_model, head, entry.size_bytes, wish)

    def verify(self) -> None:
        """Hold every byte against what was signed: stored ones, and with the key each member's too.

        Raises MalformedPackage, WrongKey.
        """
        if self._trust is None or (self.is_encrypted and self._key is None):
            self.core.check_stored(usable_cpus())
        else:
            self.core.check_members(self._content_key())

    def replay(
        self, *, engine: str | None = None, threads: int | None = None
    ) -> "list[Difference]":
        """Run the golden cases on this machine: how each output of each came out.

        Nothing is remembered of the package. Raises BadInput when it carries none, and as `load`.
        """
        golden = self.golden
        if golden is None:
            raise BadInput(
                f"{self._where}: expected golden cases in it, got none: seal it with some"
            )
        with self._model(Wish(engine, threads)) as model:
            return golden.replay(model)

    # --- Changing -------------------------------------------------------------------------------

    def resign(
        self,
        output: PathLike,
        keys: Sequence[_core.PrivateKey | _core.Signer],
        *,
        adds: bool = False,
    ) -> None:
        """Write it at `output` with signatures of `keys`: in place of its own, or after them.

        The payload stays as it is, and so do the wrapped keys: those beside it go along. Raises
        OSError, MalformedPackage when its stored bytes are not those of its head, BadInput for more
        than 16 signatures, SignerFailed, WrongKey when it is encrypted and no wrapped keys lie
        beside it.
        """
        wraps = key_wraps.read(self.core) if self.is_encrypted else None
        self.core.resign(os.fsdecode(output), list(keys), adds)
        if wraps is not None:
            replace_file(key_wraps.path_of(output), wraps)

    def add_recipients(
        self, devices: Sequence[_core.PublicKey], *, not_before_s: int = 0, not_after_s: int = 0
    ) -> None:
        """Let more devices open it, by wraps of its content key in the .ewk file beside it.

        Needs a key that opens it already. The times are Unix seconds; 0 for `not_after_s` means no
        end. Raises WrongKey, MalformedKey, OSError, BadInput when it is not encrypted.
        """
        key = self._content_key()
        if key is None:
            raise BadInput(f"{self._where}: expected an encrypted package, got one without a key")
        wraps = key_wraps.read(self.core)
        key_wraps.add(self.core, key, devices, wraps, not_before_s, not_after_s)

    def remove_recipients(self, devices: Sequence[_core.PublicKey]) -> None:
        """Take the devices' wraps out of the .ewk file: they cannot open it from now on.

        What they have opened before, they have seen. Raises BadInput when one of them has none,
        WrongKey when there is no .ewk file, MalformedKey, OSError; all of them can open it then.
        """
        key_wraps.remove(self.core, devices)


def _require_package(path: PathLike) -> None:
    """Before a trust root is asked for: a mistyped path or another kind of file is the reason then.

    Raises MalformedPackage, OSError, BadInput for a pipe or device.
    """
    name = os.fsdecode(path)
    try:
        with open_regular("package", path) as file:
            head = file.read(HEAD_BYTES)
    except IsADirectoryError:
        from edgeward.engines.foreign_file import require_package_file

        require_package_file(name)
        raise
    if not head.startswith(_core.PACKAGE_MAGIC):
        from edgeward.engines.foreign_file import require_package

        require_package(head, name)


def _believed(
    trust: PathLike | Trust | None, key: "PathLike | _core.PrivateKey | None"
) -> tuple[Trust, _core.PrivateKey | None]:
    """Whom this device believes, and its own key if it has one, from what a caller names."""
    if not isinstance(trust, Trust):
        trust = Trust(trust)
    if key is None:
        key = find_device_key(trust.directory)
    elif not isinstance(key, _core.PrivateKey):
        key = _core.PrivateKey.read(os.fsdecode(key))
    return trust, key


def _policy(trust: Trust, key: _core.PrivateKey | None) -> _core.Policy:
    """What this device asks of a package now."""
    device_id = key.public.id if key else None
    times = trust.publisher_times_s()
    return _core.make_policy(machine(), device_id, trust.floors(), trust.now_s(), times)
