"""The packages beside one that is to be sealed: no two of them are the same release."""

from collections.abc import Iterator
from pathlib import Path

from edgeward import _core
from edgeward.errors import EdgewardError
from edgeward.trust.release import Release

SUFFIX = ".ewp"


def twin_of(release: Release, directory: Path) -> Path | None:
    """A package in `directory` that says the same of itself as `release`, though made before.

    The same name, version, counter, epoch, target and device. Files that are no packages, and those
    that cannot be read, are passed over. Raises OSError for the directory.
    """
    for path, package in _packages(directory):
        if _identity(package) == _wanted(release):
            return path
    return None


def _packages(directory: Path) -> Iterator[tuple[Path, _core.Package]]:
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            package = _core.Package.unverified(str(path))
        except (OSError, EdgewardError):
            continue
        yield path, package


def _identity(package: _core.Package) -> tuple[object, ...]:
    counter, binding = package.release_counter, package.binding
    return package.name, package.version, counter, package.target, binding


def _wanted(release: Release) -> tuple[object, ...]:
    counter = release.epoch << _core.EPOCH_SHIFT | release.counter
    return release.name, release.version, counter, release.target, release.device_id
