"""Where a device's private key comes from: its service's credentials, the environment or a file.

What the environment has is taken out of it: programs that this process starts would inherit it, and
other processes of the same user could read it. Forked children still have it.
"""

import os
from typing import TYPE_CHECKING

from edgeward._core import PrivateKey, wipe_variable
from edgeward.errors import EdgewardError

if TYPE_CHECKING:
    from mmap import mmap

CREDENTIAL = "edgeward-device.key"  # its name in systemd's LoadCredential=
VARIABLE = "EDGEWARD_DEVICE_KEY"  # the key's text itself
FILE = "device.key"

# What the environment had. A PrivateKey would not do: it is of no use in a forked child. Threads
# that come here at once keep the same text.
_kept: "mmap | None" = None


def find_device_key(directory: str) -> PrivateKey | None:
    """The device's key, from the first place that has one; None when none has.

    In this order: the credentials directory that systemd gives a service, the environment, and
    device.key in `directory`, which its owner alone may read. Raises OSError, MalformedKey,
    BadInput for a key that is there and cannot be used.
    """
    credential = _credential()
    if credential is not None:
        return PrivateKey.read_credential(credential)
    text = _environment_text()
    if text is not None:
        try:
            return PrivateKey.parse(text)
        except EdgewardError as error:
            raise type(error)(f"environment variable {VARIABLE}: {error}") from None
    path = os.path.join(directory, FILE)
    return PrivateKey.read(path) if os.path.exists(path) else None


def source(directory: str) -> str:
    """Where find_device_key takes the key from: a path, or the variable's name after a dollar."""
    credential = _credential()
    if credential is not None:
        return credential
    if _kept is not None or os.environ.get(VARIABLE):
        return f"${VARIABLE}"
    return os.path.join(directory, FILE)


def places(directory: str) -> str:
    """Where a key was looked for, as a phrase."""
    file = os.path.join(directory, FILE)
    return (
        f"{file}, ${VARIABLE} (which a process that has read it does not hand on), or {CREDENTIAL} "
        "among the service's credentials"
    )


def _credential() -> str | None:
    """The path of the credential that systemd gave this service; None without one."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(credentials, CREDENTIAL) if credentials else ""
    return path if path and os.path.exists(path) else None


def _environment_text() -> "mmap | None":
    """The key's text that the environment has or had, in memory that no core dump contains."""
    global _kept
    text = os.environ.get(VARIABLE)
    if text:
        from mmap import MADV_DONTDUMP, MAP_ANONYMOUS, MAP_PRIVATE, mmap

        content = os.fsencode(text)
        kept = mmap(-1, len(content), flags=MAP_PRIVATE | MAP_ANONYMOUS)
        kept.madvise(MADV_DONTDUMP)
        kept[:] = content
        _kept = kept
        wipe_variable(VARIABLE)
        os.environ.pop(VARIABLE, None)
    return _kept
