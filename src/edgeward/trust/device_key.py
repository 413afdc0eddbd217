"""Where a device's private key comes from: its service's credentials or a file."""

import os

from edgeward._core import PrivateKey
from edgeward.errors import EdgewardError

CREDENTIAL = "edgeward-device.key"  # its name in systemd's LoadCredential=
VARIABLE = "EDGEWARD_DEVICE_KEY"  # the key's text itself: for tests, since others can read it
FILE = "device.key"


def find_device_key(directory: str) -> PrivateKey | None:
    """The device's key, from the first place that has one; None when none has.

    In this order: the credentials directory that systemd gives a service, the environment, and
    device.key in `directory`, which its owner alone may read. Raises OSError, MalformedKey,
    BadInput for a key that is there and cannot be used.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        path = os.path.join(credentials, CREDENTIAL)
        if os.path.exists(path):
            return PrivateKey.read_credential(path)
    text = os.environ.get(VARIABLE)
    if text:
        try:
            return PrivateKey.parse(os.fsencode(text))
        except EdgewardError as error:
            raise type(error)(f"environment variable {VARIABLE}: {error}") from None
    path = os.path.join(directory, FILE)
    return PrivateKey.read(path) if os.path.exists(path) else None


def places(directory: str) -> str:
    """Where a key was looked for, as a phrase."""
    file = os.path.join(directory, FILE)
    return f"{file}, ${VARIABLE}, or {CREDENTIAL} among the service's credentials"
