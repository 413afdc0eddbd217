"""A signing key in a PKCS#11 token: a smart card, a USB key, an HSM, SoftHSM.

It is named by a URI of RFC 7512: "pkcs11:token=house;object=publisher?module-path=/usr/lib/...". It
signs in the token. Messages name the URI without its query, which may hold the PIN.
"""

import hashlib
import importlib
import os
import re
import stat
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from edgeward import _core
from edgeward.errors import BadInput, SignerFailed
from edgeward.regular_file import open_regular

AskPin = Callable[[str], str]  # from a question to its answer

MODULE_VARIABLE = "EDGEWARD_PKCS11_MODULE"
OF_TOKENS = ("token", "serial", "manufacturer", "model")
OF_PATH = (*OF_TOKENS, "slot-id", "object", "id", "type")
OF_QUERY = ("module-path", "pin-source", "pin-value")
MOST_PIN_BYTES = 256
ED25519_PARAMETERS = (bytes.fromhex("06032b6570"), bytes.fromhex("130c656477617264733235353139"))
P256_PARAMETERS = (bytes.fromhex("06082a8648ce3d030107"),)
POINT_BYTES = {"ed25519": 32, "ecdsa-p256": 65}


class TokenUri(NamedTuple):
    """What a URI says, decoded: `path` and `query` by attribute."""

    path: dict[str, str]
    query: dict[str, str]
    key_id: bytes | None
    where: str  # for messages: the signer, without its query


def parse(uri: str) -> TokenUri:
    """Raises BadInput for a URI that is none, or has other attributes than those used here."""
    path, _, query = uri.partition(":")[2].partition("?")
    where = f'signer "pkcs11:{path}"'
    texts: list[dict[str, str]] = []
    for part, separator, known in ((path, ";", OF_PATH), (query, "&", OF_QUERY)):
        values: dict[str, str] = {}
        for attribute in filter(None, part.split(separator)):
            name, equals, value = attribute.partition("=")
            is_right = equals and name in known and name not in values
            if not is_right or re.search("%(?![0-9A-Fa-f]{2})", value):
                raise BadInput(
                    f"{where}: expected {', '.join(known)}, each once, as name=value with odd "
                    f'characters as %2F, got "{name}"'
                )
            values[name] = value
        texts.append(values)
    key_id = texts[0].pop("id", None)
    if not texts[0].get("object") and not key_id:
        raise BadInput(f"{where}: expected object= or id= of the key, got neither")
    of_path, of_query = ({name: unquote(text) for name, text in each.items()} for each in texts)
    if of_path.get("type", "private") != "private":
        raise BadInput(f'{where}: expected type=private, got "{of_path["type"]}"')
    key_bytes = None if key_id is None else unquote_to_bytes(key_id)
    return TokenUri(of_path, of_query, key_bytes, where)


def open_token_signer(name: str, ask_pin: AskPin | None) -> _core.Signer:
    """The signer in the token that the URI `name` says, logged in. Raises as open_signer."""
    uri = parse(name)
    pkcs11 = _pkcs11(uri.where)
    try:
        token = _token(uri, _module(uri))
        session = _logged_in(uri, token, ask_pin)
        key = _one_object(uri, session, pkcs11.ObjectClass.PRIVATE_KEY)
        public = _public_key(uri, session)
    except pkcs11.PKCS11Error as error:
        raise SignerFailed(
            f"{uri.where}: expected a token that answers, got {_words(error)}"
        ) from None

    def sign(message: bytes) -> bytes:
        try:
            if public.algorithm == "ed25519":
                signature = key.sign(message, mechanism=pkcs11.Mechanism.EDDSA)
            else:
                digest = hashlib.sha256(message).digest()
                signature = key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)
        except pkcs11.PKCS11Error as error:
            raise SignerFailed(
                f"{uri.where}: expected a signature, got {_words(error)} from its token: is it "
                "still there?"
            ) from None
        return bytes(signature)

    return _core.Signer(public, sign, f"pkcs11:{name.partition(':')[2].partition('?')[0]}")


def _pkcs11(where: str) -> ModuleType:
    """The package python-pkcs11. Raises BadInput when it is not installed."""
    try:
        return importlib.import_module("pkcs11")
    except ImportError:
        raise BadInput(
            f"{where}: expected python-pkcs11, which is not installed: "
            'pip install "edgeward[pkcs11]"'
        ) from None


def _module(uri: TokenUri) -> Any:
    path = uri.query.get("module-path") or os.environ.get(MODULE_VARIABLE)
    if not path:
        raise BadInput(
            f"{uri.where}: expected the library of its token, got none: name it with "
            f"?module-path=FILE or in ${MODULE_VARIABLE}"
        )
    if not os.path.exists(path):
        raise BadInput(f'{uri.where}: expected the library of its token at "{path}", got none')
    return _pkcs11(uri.where).lib(path)


def _token(uri: TokenUri, module: Any) -> Any:
    """The token that fits the URI."""
    flag = _pkcs11(uri.where).TokenFlag
    wanted = {name: uri.path[name] for name in OF_TOKENS if name in uri.path}
    labels, tokens = [], []
    for slot in module.get_slots(token_present=True):
        token = slot.get_token()
        if not token.flags & flag.TOKEN_INITIALIZED:
            continue
        labels.append(token.label)
        facts = {
            "token": token.label,
            "serial": token.serial.decode(errors="replace"),
            "manufacturer": token.manufacturer_id,
            "model": token.model,
        }
        is_slot = uri.path.get("slot-id", str(slot.slot_id)) == str(slot.slot_id)
        if is_slot and all(facts[name] == value for name, value in wanted.items()):
            tokens.append(token)
    if len(tokens) != 1:
        here = ", ".join(f'"{label}"' for label in labels) or "none at all"
        raise BadInput(
            f"{uri.where}: expected one token that fits, got {len(tokens)} (there: {here})"
        )
    return tokens[0]


def _logged_in(uri: TokenUri, token: Any, ask_pin: AskPin | None) -> Any:
    """A session in which the token's private keys can be used."""
    pkcs11 = _pkcs11(uri.where)
    if not token.flags & pkcs11.TokenFlag.LOGIN_REQUIRED:
        return token.open()
    try:
        return token.open(user_pin=_pin(uri, token, ask_pin))
    except pkcs11.UserAlreadyLoggedIn:  # by another key of this token
        return token.open()
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
        raise BadInput(
            f"{uri.where}: expected the PIN of its token, got another: after some wrong ones a "
            "token locks itself"
        ) from None
    except pkcs11.PinLocked:
        raise BadInput(
            f"{uri.where}: expected a token that takes its PIN, got one that has locked itself "
            "after wrong ones"
        ) from None


def _pin(uri: TokenUri, token: Any, ask_pin: AskPin | None) -> Any:
    pkcs11 = _pkcs11(uri.where)
    if "pin-value" in uri.query:
        return uri.query["pin-value"]
    if "pin-source" in uri.query:
        return _pin_in(uri, uri.query["pin-source"].removeprefix("file://").removeprefix("file:"))
    if token.flags & pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH:
        return pkcs11.PROTECTED_AUTH  # on its own keypad
    if ask_pin is None:
        raise BadInput(
            f"{uri.where}: expected the PIN of its token, got none: name its file with "
            "?pin-source=FILE"
        )
    return ask_pin(f'PIN of token "{token.label}": ')


def _pin_in(uri: TokenUri, path: str) -> str:
    """The first line of a file that its owner alone may read."""
    with open_regular("PIN", path) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        content = file.read(MOST_PIN_BYTES + 1)
    if mode & 0o077:
        raise BadInput(
            f'{uri.where}: expected a PIN in a file that only its owner may read, got "{path}" of '
            f"mode {mode:04o}: chmod 600 it"
        )
    try:
        pin = content.decode().splitlines()
    except UnicodeDecodeError:
        pin = []
    if len(pin) != 1 or not pin[0] or len(content) > MOST_PIN_BYTES:
        raise BadInput(f'{uri.where}: expected a line with the PIN in "{path}", got something else')
    return pin[0]


def _one_object(uri: TokenUri, session: Any, kind: Any) -> Any:
    """The object of this class that the URI names."""
    pkcs11 = _pkcs11(uri.where)
    wanted: dict[Any, Any] = {pkcs11.Attribute.CLASS: kind}
    if "object" in uri.path:
        wanted[pkcs11.Attribute.LABEL] = uri.path["object"]
    if uri.key_id is not None:
        wanted[pkcs11.Attribute.ID] = uri.key_id
    objects = list(session.get_objects(wanted))
    if len(objects) != 1:
        noun = "private key" if kind == pkcs11.ObjectClass.PRIVATE_KEY else "public key beside it"
        raise BadInput(f"{uri.where}: expected one {noun} of this name, got {len(objects)}")
    return objects[0]


def _public_key(uri: TokenUri, session: Any) -> _core.PublicKey:
    """The public half of the key, an object of its own in the token."""
    pkcs11 = _pkcs11(uri.where)
    attribute, key_type = pkcs11.Attribute, pkcs11.KeyType
    half = _one_object(uri, session, pkcs11.ObjectClass.PUBLIC_KEY)
    kind, parameters = half[attribute.KEY_TYPE], half[attribute.EC_PARAMS]
    if kind == key_type.EC_EDWARDS and parameters in ED25519_PARAMETERS:
        algorithm = "ed25519"
    elif kind == key_type.EC and parameters in P256_PARAMETERS:
        algorithm = "ecdsa-p256"
    else:
        raise BadInput(f"{uri.where}: expected an Ed25519 or P-256 key, got another")
    point = half[attribute.EC_POINT]
    size = POINT_BYTES[algorithm]
    if point[:2] == bytes([4, size]):  # in an OCTET STRING, as most tokens have it
        point = point[2:]
    if len(point) != size:
        raise BadInput(f"{uri.where}: expected a public key of {size} bytes, got {len(point)}")
    return _core.PublicKey.parse(f"edgeward-public-key {algorithm} {point.hex()}".encode())


def _words(error: Exception) -> str:
    """PKCS11Error's classes are named by what is wrong: "device removed"."""
    name = re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
    return f'"{name}"' if not str(error) else f'"{name}": {error}'
