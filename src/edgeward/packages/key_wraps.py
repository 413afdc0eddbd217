"""The file of wrapped content keys beside an encrypted package: name.ewk beside name.ewp.

One wrap for each device that may open the package; format: docs/package-format.md, section 6.
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


def read(package: PathLike) -> bytes:
    """The bytes of the wraps of the package at `package`. Raises WrongKey when there are none."""
    path = path_of(package)
    try:
        with open_regular("wrapped keys", path) as file:
            # One byte more than is allowed: the core then refuses it.
            return file.read(_core.MAX_WRAPS_BYTES + 1)
    except FileNotFoundError:
        raise WrongKey(
            f'package "{os.fsdecode(package)}": expected its wrapped keys at "{path}", got no '
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
    write(package.path, wraps)


def write(package: PathLike, wraps: bytes) -> None:
    """Put `wraps` beside the package at `package`. Raises OSError."""
    replace_file(path_of(package), wraps)


def remove(package: _core.Package, devices: Sequence[_core.PublicKey]) -> None:
    """Take the wraps for all of `devices` out, or none. Raises as `without`, OSError."""
    write(package.path, without(package, devices))


def without(package: _core.Package, devices: Sequence[_core.PublicKey]) -> bytes:
    """The wraps of `package` but for those of `devices`. Raises BadInput when one has none,
    WrongKey, MalformedKey."""
    wraps = rest = read(package.path)
    for device_id in dict.fromkeys(device.id for device in devices):
        _core.remove_wrap(wraps, device_id)  # says of how many it is none
        rest = _core.remove_wrap(rest, device_id)
    return rest
