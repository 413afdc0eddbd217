"""The first keys: of the trust root, of a publisher and of a device, laid out as they are used.

DIRECTORY/root.key         replaces the trust root; belongs offline
DIRECTORY/publisher.key    signs packages; belongs where they are sealed
DIRECTORY/trust/           the trust directory of a device: root.json and its device.key
DIRECTORY/*.pub            the public halves
"""

import os

from edgeward import _core
from edgeward.durable import replace_file
from edgeward.errors import BadInput
from edgeward.paths import PathLike
from edgeward.trust import root_document
from edgeward.trust.release import DEFAULT_PUBLISHER

DEFAULT_DIRECTORY = "edgeward-keys"
ROOT_KEY, PUBLISHER_KEY, DEVICE_KEY = "root.key", "publisher.key", "device.key"
TRUST, ROOT_FILE = "trust", "root.json"


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
    trust = os.path.join(path, TRUST)
    os.makedirs(trust, mode=0o700, exist_ok=True)
    root = make_key(os.path.join(path, ROOT_KEY), algorithm)
    publisher = make_key(os.path.join(path, PUBLISHER_KEY), algorithm)
    device = _core.PrivateKey.generate("x25519")
    device.write(os.path.join(trust, DEVICE_KEY))
    replace_file(os.path.join(path, "device.pub"), device.public.text.encode())
    document = root_document.first([root.public], issued_s, days)
    root_document.add_key(
        document, root_document.publisher_role(DEFAULT_PUBLISHER), publisher.public
    )
    replace_file(os.path.join(trust, ROOT_FILE), root_document.sign(document, [root]))


def make_key(path: PathLike, algorithm: str) -> _core.PrivateKey:
    """A new private key at `path`, mode 0600, and its public half beside it as .pub.

    Raises FileExistsError, OSError.
    """
    key_path = os.fsdecode(path)
    key = _core.PrivateKey.generate(algorithm)
    key.write(key_path)
    replace_file(key_path.removesuffix(".key") + ".pub", key.public.text.encode())
    return key
