"""The file of wrapped content keys beside an encrypted package: name.ewk beside name.ewp.

One wrap for each device that may open the package; format: docs/package-format.md, section 6. Where
packages are replaced while others read them, it is name.ID.ewk, by the package's id: whoever has
opened the one before then finds its keys, and not those of its successor.
"""

import os
from collections.abc import Sequence

from edgeward import _core
from edgeward.durable import replace_file
from edgeward.errors import WrongKey
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular


def path_of(package: PathLike) -> str:
    """The path of the wraps of the package at `package`."""
    return os.fsdecode(package).removesuffix(".ewp") + ".ewk"


def path_by_id(package: PathLike, package_id: str) -> str:
    """The path of the wraps of this very package, where others may come to lie at `package`."""
    return f"{os.fsdecode(package).removesuffix('.ewp')}.{package_id}.ewk"


def current_path(package: _core.Package) -> str:
    """Where the wraps of the package are: by its id if there are some, else by its name alone."""
    path = path_by_id(package.path, package.package_id.hex())
    return path if os.path.lexists(path) else path_of(package.path)


def read(package: _core.Package) -> bytes:
    """The bytes of the package's wraps. Raises WrongKey when there are none, BadInput, OSError."""
    path = current_path(package)
    try:
        with open_regular("wrapped keys", path) as file:
            # One byte more than is allowed: the core then refuses it.
            return file.read(_core.MAX_WRAPS_BYTES + 1)
    except FileNotFoundError:
        raise WrongKey(
            f'package "{package.path}": expected its wrapped keys at "{path}", got no '
            "such file: copy it along with the package"
        ) from None


def add(
    package: _core.Package,
    key: _core.ContentKey,
    devices: Sequence[_core.PublicKey],
    wraps: bytes = b"",
    not_before_s: int = 0,
    not_after_s: int = 0,
) -> None:
    """Write `wraps` and one for each of `devices` beside `package`.

    Raises MalformedKey for wraps or a key that are none, OSError.
    """
    for device in devices:
        wraps = _core.add_wrap(
            wraps,
            key,
            package.package_id,
            device,
            package.cipher or _core.CIPHERS[0],
            not_before_s,
            not_after_s,
        )
    replace_file(current_path(package), wraps)


def remove(package: _core.Package, devices: Sequence[_core.PublicKey]) -> None:
    """Take the wraps for all of `devices` out, or none. Raises as `without`, OSError."""
    replace_file(current_path(package), without(package, devices))


def without(package: _core.Package, devices: Sequence[_core.PublicKey]) -> bytes:
    """The wraps of `package` but for those of `devices`. Raises BadInput when one has none,
    WrongKey, MalformedKey."""
    wraps = rest = read(package)
    for device_id in dict.fromkeys(device.id for device in devices):
        _core.remove_wrap(wraps, device_id)  # says of how many it is none
        rest = _core.remove_wrap(rest, device_id)
    return rest
