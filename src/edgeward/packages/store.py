"""Store: a directory on a device with the package of each model that runs there, and the last one.

    NAME.ewp        the version in use: what programs load
    NAME.N.ID.ewp   the version before it, kept as number N; ID is its package id
    NAME.ID.ewk     the wrapped keys of each of them, which readers find by the package's id
    store.lock      held by the process that changes something

A version is staged and verified in a folder of its own, its wrapped keys are put in their place,
and one rename to NAME.ewp activates it. So a reader gets the old pair or the new one, whenever it
comes, and whenever the writer dies. What these two versions need is removed by no step.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from edgeward import _core, lock_file
from edgeward.durable import DRAFT_SUFFIX, sync
from edgeward.errors import BadInput, EdgewardError
from edgeward.packages import key_wraps
from edgeward.packages.package import Package
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular
from edgeward.trust.trust_directory import Trust

LOCK = "store.lock"
MOST_WAIT_S = 120.0  # for another process that stages a package
COPY_BYTES = 1 << 20
MODE = 0o644
DRAFT_PREFIX = ".store."
Key = PathLike | _core.PrivateKey | None


class Kept(NamedTuple):
    """A version that was in use."""

    number: int  # the later, the greater
    package_id: str
    path: str


class Store:
    """The store in `directory`. Any thread and process; those that change it wait for each other.

    Raises FileNotFoundError where there is no such directory, and as every method does, OSError.
    """

    def __init__(self, directory: PathLike) -> None:
        self.directory = os.fsdecode(directory)
        if not os.path.isdir(self.directory):
            import errno

            message = "expected a directory for packages, got none: make it, or name another"
            raise FileNotFoundError(errno.ENOENT, message, self.directory)

    def install(self, source: PathLike, trust: Trust, key: Key = None) -> Package:
        """Put the package at `source` in use, with its wrapped keys, and keep the version before.

        Every byte is verified first, and that this device may run it; the trust directory remembers
        nothing of it. Raises as Package.open and Package.verify do; what was in use then stays.
        """
        package = _require_whole(source, trust, key)
        with self._draft(package.name) as draft:
            _copy(source, draft)
            if package.is_encrypted:
                _copy(key_wraps.current_path(package.core), key_wraps.path_of(draft))
            return self._activate(_require_whole(draft, trust, key))

    def roll_back(self, name: str, trust: Trust, key: Key = None) -> Package:
        """Put the version of the model back in use that was before, and keep the one that is.

        Raises BadInput when there is none, and as `install`.
        """
        with self._draft(name) as draft:
            last = self.last(name)
            if last is None:
                raise BadInput(
                    f'store "{self.directory}": expected a version of "{name}" from before the one '
                    "in use, got none"
                )
            _link(last.path, draft)
            with suppress(FileNotFoundError):
                wraps = key_wraps.path_by_id(self.path(name), last.package_id)
                _copy(wraps, key_wraps.path_of(draft))
            return self._activate(_require_whole(draft, trust, key))

    def path(self, name: str) -> str:
        """The path of the package in use, which programs load."""
        return os.path.join(self.directory, f"{name}.ewp")

    def last(self, name: str) -> Kept | None:
        """The version that was in use before the one that is; None when there is none."""
        # A writer may have died between keeping the version in use and replacing it.
        in_use = _package_at(self.path(name))
        current_id = None if in_use is None else in_use.package_id.hex()
        others = [kept for kept in self._kept(name) if kept.package_id != current_id]
        return others[-1] if others else None

    def _kept(self, name: str) -> list[Kept]:
        """In the order in which they were in use."""
        pattern = re.compile(re.escape(name) + r"\.([1-9][0-9]{0,8})\.([0-9a-f]{64})\.ewp")
        matches = filter(None, map(pattern.fullmatch, os.listdir(self.directory)))
        return sorted(
            Kept(int(match[1]), match[2], os.path.join(self.directory, match[0]))
            for match in matches
        )

    def _activate(self, package: Package) -> Package:
        """Replace the version in use by `package`, which is staged in a draft."""
        name, staged = package.name, package.core.path
        path = self.path(name)
        in_use = _package_at(path)
        # Whoever has opened the version in use may still look for its keys there.
        has_plain_wraps = in_use is not None and key_wraps.current_path(
            in_use
        ) == key_wraps.path_of(path)
        if package.is_encrypted:
            target = key_wraps.path_by_id(path, package.package_id)
            os.replace(key_wraps.path_of(staged), target)
        if in_use is not None and in_use.package_id != package.core.package_id:
            self._keep(name, in_use, os.path.dirname(staged))
        sync(self.directory)
        os.replace(staged, path)
        sync(self.directory)
        self._remove_older(name, package.package_id)
        if not has_plain_wraps:
            with suppress(FileNotFoundError):
                os.unlink(key_wraps.path_of(path))
        return Package.unverified(path)

    def _keep(self, name: str, in_use: _core.Package, folder: str) -> None:
        """Give the version in use a further name, and its wrapped keys one with its id."""
        package_id, spare = in_use.package_id.hex(), os.path.join(folder, "kept")
        wraps = key_wraps.path_by_id(self.path(name), package_id)
        if in_use.cipher is not None and not os.path.exists(wraps):
            with suppress(FileNotFoundError):
                _copy(key_wraps.path_of(self.path(name)), spare)
                os.replace(spare, wraps)
        kept = self._kept(name)
        if kept and kept[-1].package_id == package_id:
            return
        number = kept[-1].number + 1 if kept else 1
        _link(self.path(name), spare)
        os.replace(spare, os.path.join(self.directory, f"{name}.{number}.{package_id}.ewp"))

    def _remove_older(self, name: str, current_id: str) -> None:
        """Remove what belongs neither to the version in use nor to the one before it."""
        last = self.last(name)
        needed = {current_id, last.package_id if last else current_id}
        for kept in self._kept(name):
            if kept != last:
                os.unlink(kept.path)
        pattern = re.compile(re.escape(name) + r"\.([0-9a-f]{64})\.ewk")
        for match in filter(None, map(pattern.fullmatch, os.listdir(self.directory))):
            if match[1] not in needed:
                os.unlink(os.path.join(self.directory, match[0]))

    @contextmanager
    def _draft(self, name: str) -> Iterator[str]:
        """Where to stage a package, in a folder that goes with the block; the store is locked.

        Removes the folders of those that were killed.
        """
        import tempfile

        path = os.path.join(self.directory, LOCK)
        with lock_file.held(path, "the store of packages", MOST_WAIT_S):
            for entry in os.listdir(self.directory):
                if entry.startswith(DRAFT_PREFIX) and entry.endswith(DRAFT_SUFFIX):
                    shutil.rmtree(os.path.join(self.directory, entry))
            folder = tempfile.mkdtemp(DRAFT_SUFFIX, DRAFT_PREFIX, self.directory)
            try:
                yield os.path.join(folder, f"{name}.ewp")
            finally:
                shutil.rmtree(folder)


def _require_whole(path: PathLike, trust: Trust, key: Key) -> Package:
    """The package at `path`, which may run here and every byte of which is as it was signed."""
    package = Package.open(path, trust=trust, key=key)
    if package.is_encrypted:
        # Without a key of this device nobody can tell more than that there are some.
        _core.read_wraps(key_wraps.read(package.core))
    package.verify()
    return package


def _package_at(path: str) -> _core.Package | None:
    """The package at `path`; None when there is nothing that a program could load."""
    try:
        return _core.Package.unverified(path)
    except (OSError, EdgewardError):
        return None


def _link(source: str, target: str) -> None:
    """The same file under one more name, or a copy where the system allows none."""
    try:
        os.link(source, target)
    except PermissionError:  # a file system without links, or a file of another user
        _copy(source, target)


def _copy(source: PathLike, target: str) -> None:
    """The bytes of the file at `source`, on the disk at `target`."""
    with open_regular("file", source) as reader, open(target, "xb") as writer:
        os.fchmod(writer.fileno(), MODE)
        shutil.copyfileobj(reader, writer, COPY_BYTES)
        writer.flush()
        os.fsync(writer.fileno())
