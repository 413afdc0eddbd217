"""Private keys that sign packages, read from the files that a command line names."""

from pathlib import Path

from edgeward import BadInput, PrivateKey


def read_signing_key(path: Path) -> PrivateKey:
    """Raises BadInput when there is no such file, or the key in it does not sign."""
    if not path.exists():
        raise BadInput(
            f'signing key: expected a file "{path}", got none: make keys with edgeward keygen, or '
            "name one with --key"
        )
    key = PrivateKey.read(str(path))
    if key.algorithm == "x25519":
        raise BadInput(f'signing key "{path}": expected one that signs, got a device\'s')
    return key
