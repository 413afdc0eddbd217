"""Signers: what signs packages and trust roots, by the text that names it.

    publisher.key                            a key file (edgeward keygen)
    pkcs11:token=house;object=publisher      a key in a token (token_signer.py)
    command:kms.pub ./sign-with-kms --key x  a program that asks a service (command_signer.py)

The keys of the last two are never in this process.
"""

import os
from typing import TYPE_CHECKING

from edgeward import _core
from edgeward.errors import BadInput
from edgeward.paths import PathLike

if TYPE_CHECKING:
    from edgeward.trust.token_signer import AskPin

TOKEN, COMMAND = "pkcs11:", "command:"


def open_signer(
    name: PathLike, *, ask_pin: "AskPin | None" = None
) -> "_core.PrivateKey | _core.Signer":
    """The signer that `name` names: a key file, a token's key or a command.

    A token is opened here, with the PIN that its URI says; without one `ask_pin` is asked, for a
    text that nobody else sees. A signer of a token or command may be used by any thread, one at a
    time. Raises BadInput for a name, a PIN or a token that does not fit, OSError, MalformedKey, and
    SignerFailed when the token does not answer.
    """
    text = os.fsdecode(name)
    if text.startswith(TOKEN):
        from edgeward.trust.token_signer import open_token_signer

        return open_token_signer(text, ask_pin)
    if text.startswith(COMMAND):
        from edgeward.trust.command_signer import open_command_signer

        return open_command_signer(text)
    if not os.path.exists(text):
        raise BadInput(
            f'signing key: expected a file "{text}", got none: make keys with edgeward keygen, or '
            f'name another: a file, "{TOKEN}..." or "{COMMAND}..."'
        )
    key = _core.PrivateKey.read(text)
    if key.algorithm == "x25519":
        raise BadInput(f'signing key "{text}": expected one that signs, got a device\'s')
    return key


def public_key_of(name: PathLike, *, ask_pin: "AskPin | None" = None) -> _core.PublicKey:
    """The public key of the signer that `name` names, or in the .pub file at `name`.

    Raises as open_signer, OSError, MalformedKey.
    """
    text = os.fsdecode(name)
    if text.startswith((TOKEN, COMMAND)):
        return open_signer(text, ask_pin=ask_pin).public
    return _core.PublicKey.read(text)
