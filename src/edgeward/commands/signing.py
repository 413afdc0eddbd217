"""The signers that a command line names; whoever types is asked for a token's PIN."""

import os
from collections.abc import Sequence

from edgeward import BadInput, PrivateKey, PublicKey, Signer
from edgeward.trust.signer import open_signer, public_key_of

HELP = 'a key file, "pkcs11:..." or "command:..."'


def signers_of(names: Sequence[str]) -> list[PrivateKey | Signer]:
    """Raises as open_signer."""
    return [open_signer(name, ask_pin=_ask_pin) for name in names]


def signing_key_of(name: str) -> PublicKey:
    """Of a .pub file or a signer. Raises as public_key_of."""
    return public_key_of(name, ask_pin=_ask_pin)


def _ask_pin(question: str) -> str:
    """Asked on the terminal, which does not show it. Raises BadInput where there is none."""
    import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise BadInput(
            f"{question.removesuffix(': ')}: expected a terminal to ask for it, got none: name its "
            "file with ?pin-source=FILE"
        ) from None
    return getpass.getpass(question)
