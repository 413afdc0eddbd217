"""Keys of the trust root, of a publisher and of devices, laid out as they are used.

DIRECTORY/root.key         replaces the trust root; belongs offline
DIRECTORY/publisher.key    signs packages; belongs where they are sealed
DIRECTORY/trust/           the trust directory of a device: root.json and its device.key
DIRECTORY/*.pub            the public halves
DIRECTORY/devices/NAME/    the same of each further device: trust/ and device.pub
"""

import os
import re
import shutil

from edgeward import _core
from edgeward.durable import DRAFT_SUFFIX, replace_file, sync
from edgeward.errors import BadInput
from edgeward.paths import PathLike
from edgeward.trust import root_document
from edgeward.trust.release import DEFAULT_PUBLISHER

DEFAULT_DIRECTORY = "edgeward-keys"
ROOT_KEY, PUBLISHER_KEY, DEVICE_KEY = "root.key", "publisher.key", "device.key"
DEVICE_PUBLIC_KEY = "device.pub"
TRUST, ROOT_FILE, DEVICES = "trust", "root.json", "devices"


def make(directory: PathLike, algorithm: str, issued_s: int, days: int) -> None:
    """Make the three keys and a trust root that lists the publisher, valid for `days`.

    `algorithm` is of the keys that sign: "ed25519" or "ecdsa-p256". Raises BadInput when there are
    keys already, which stay as they are, and OSError.
    """
    path = os.fsdecode(directory)
    if os.path.exists(os.path.join(path, ROOT_KEY)):
        raise BadInput(
            f'keys "{path}": expected a directory without keys, got one that has them: '
            "they stay as they are; name another directory"
        )
    os.makedirs(path, mode=0o700, exist_ok=True)
    root = make_key(os.path.join(path, ROOT_KEY), algorithm)
    publisher = make_key(os.path.join(path, PUBLISHER_KEY), algorithm)
    document = root_document.first([root.public], issued_s, days)
    root_document.add_key(
        document, root_document.publisher_role(DEFAULT_PUBLISHER), publisher.public
    )
    _lay_out_device(path, root_document.sign(document, [root]))


def add_device(directory: PathLike, name: str, root: bytes) -> str:
    """Lay out a device of this name at DIRECTORY/devices/NAME, whose first trust root is `root`.

    Returns that path. It is there whole, or not at all. Raises BadInput for a name that no folder
    can have and for one that is there, MalformedRoot, UntrustedRoot, OSError.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BadInput(
            f'device: expected a name of A-Z a-z 0-9 . _ -, the first no sign, got "{name}"'
        )
    _core.TrustRoot.first(root)
    devices = os.path.join(os.fsdecode(directory), DEVICES)
    path = os.path.join(devices, name)
    if os.path.lexists(path):
        raise BadInput(
            f'device "{path}": expected a name that no device has, got one that is there and stays '
            "as it is: choose another"
        )
    import tempfile

    os.makedirs(devices, mode=0o700, exist_ok=True)
    draft = tempfile.mkdtemp(prefix=f".{name}.", suffix=DRAFT_SUFFIX, dir=devices)
    try:
        _lay_out_device(draft, root)
        os.rename(draft, path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync(devices)
    return path


def _lay_out_device(directory: str, root: bytes) -> None:
    """A device's trust directory with `root` and a new key, and beside it the public half."""
    trust = os.path.join(directory, TRUST)
    os.makedirs(trust, mode=0o700, exist_ok=True)
    key = _core.PrivateKey.generate("x25519")
    key.write(os.path.join(trust, DEVICE_KEY))
    replace_file(os.path.join(directory, DEVICE_PUBLIC_KEY), key.public.text.encode())
    replace_file(os.path.join(trust, ROOT_FILE), root)


def make_key(path: PathLike, algorithm: str) -> _core.PrivateKey:
    """A new private key at `path`, mode 0600, and its public half beside it as .pub.

    Raises FileExistsError, OSError.
    """
    key_path = os.fsdecode(path)
    key = _core.PrivateKey.generate(algorithm)
    key.write(key_path)
    replace_file(key_path.removesuffix(".key") + ".pub", key.public.text.encode())
    return key
