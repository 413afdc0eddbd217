"""The trust root as its owner writes it: made, changed and signed, one version after another.

A document is a dict, a root file its signed form. Pure, but for the two functions that read a file;
reads no clock. The core (cpp/packages/trust_root.h) decides what a root means and when it is
trusted. The format is docs/package-format.md.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeward import _core
from edgeward.errors import BadInput, MalformedRoot
from edgeward.regular_file import open_regular

ROOT = "root"
SECONDS_PER_DAY = 86_400
FIELDS = {"version", "epoch", "issued", "expires", "keys", "roles", "revoked"}

Document = dict[str, Any]


def publisher_role(name: str) -> str:
    return f"publisher:{name}"


def first(
    root_keys: Sequence[_core.PublicKey], issued_s: int, days: int, *, threshold: int = 1
) -> Document:
    """Version 1: no publisher yet, replaced by `threshold` of `root_keys`, valid for `days`.

    Raises BadInput for a device's key, and for a threshold that these keys cannot reach.
    """
    document: Document = {
        "version": 1,
        "epoch": 0,
        "issued": issued_s,
        "expires": issued_s + days * SECONDS_PER_DAY,
        "keys": [],
        "roles": {ROOT: {"keyids": [], "threshold": 1}},
        "revoked": [],
    }
    for key in root_keys:
        add_key(document, ROOT, key)
    set_threshold(document, ROOT, threshold)
    return document


def add_key(
    document: Document, role: str, key: _core.PublicKey, prefixes: Sequence[str] = ("",)
) -> None:
    """Let `key` act in `role`, which is made if it is a publisher's that is not there yet.

    `prefixes` are of the model names that a publisher made here may sign; "" is every name. Raises
    BadInput for another role, for a device's key, and for one that is revoked.
    """
    if role != ROOT and not re.fullmatch(r"publisher:[A-Za-z0-9_-][A-Za-z0-9._-]*", role):
        raise BadInput(f'role: expected "{ROOT}" or "publisher:NAME", got "{role}"')
    if key.algorithm == "x25519":
        raise BadInput("root: expected a key that signs (ed25519 or ecdsa-p256), got a device's")
    if key.id.hex() in document["revoked"]:
        raise BadInput(f"root: expected a key that is not revoked, got {key.id.hex()}")
    entry = {
        "id": key.id.hex(),
        "alg": key.algorithm,
        "pub": base64.b64encode(key.raw).decode(),
    }
    if entry not in document["keys"]:
        document["keys"].append(entry)
    if role not in document["roles"]:
        document["roles"][role] = {"keyids": [], "threshold": 1, "prefixes": list(prefixes)}
    key_ids = document["roles"][role]["keyids"]
    if entry["id"] not in key_ids:
        key_ids.append(entry["id"])


def set_threshold(document: Document, role: str, threshold: int) -> None:
    """Ask for the signatures of `threshold` keys of `role`. Raises BadInput for too many or few."""
    members = _role(document, role)["keyids"]
    if not 1 <= threshold <= len(members):
        raise BadInput(
            f'role "{role}": expected a threshold of 1 to {len(members)}, got {threshold}'
        )
    document["roles"][role]["threshold"] = threshold


def drop_key(document: Document, role: str, key_id: str) -> None:
    """Remove the key from `role`; what it signs in another role still counts.

    Raises BadInput for a key that is not in the role, or cannot be spared.
    """
    key_ids = _role(document, role)["keyids"]
    if key_id not in key_ids:
        raise BadInput(f'role "{role}": expected the id of one of its keys, got {key_id}')
    _require_enough(document, role, len(key_ids) - 1)
    key_ids.remove(key_id)


def revoke(document: Document, key_id: str) -> None:
    """Revoke the key: its signatures no longer count. Raises BadInput for a key not listed.

    A role that is left with fewer keys than its threshold is refused too: it could not sign.
    """
    if key_id not in [key["id"] for key in document["keys"]]:
        raise BadInput(f"root: expected the id of a key that it lists, got {key_id}")
    left = {
        name: [listed_id for listed_id in role["keyids"] if listed_id != key_id]
        for name, role in document["roles"].items()
    }
    for name, role in document["roles"].items():
        if len(left[name]) < len(role["keyids"]):
            _require_enough(document, name, len(left[name]))
    for name, role in document["roles"].items():
        role["keyids"] = left[name]
    document["keys"] = [key for key in document["keys"] if key["id"] != key_id]
    document["revoked"] = sorted({*document["revoked"], key_id})


def succeed(document: Document, issued_s: int, days: int) -> None:
    """Make it the next version, valid for `days` from `issued_s`."""
    document["version"] += 1
    document["issued"] = max(issued_s, document["issued"])
    document["expires"] = document["issued"] + days * SECONDS_PER_DAY


def raise_epoch(document: Document) -> None:
    """Void every floor and every package sealed so far: the way out after a stolen publisher key
    drove a counter to its end."""
    document["epoch"] += 1


def read(envelope: bytes) -> Document:
    """What a root file says; its signatures are not checked. Raises MalformedRoot."""
    try:
        document = json.loads(_core.document_payload(envelope))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or set(document) != FIELDS:
        raise MalformedRoot(
            f"expected an object of {', '.join(sorted(FIELDS))}, got something else"
        )
    return document


def read_file(path: Path) -> Document:
    """The same for the file at `path`, which the message names. Raises MalformedRoot, OSError."""
    try:
        return read(read_envelope(path))
    except MalformedRoot as error:
        raise MalformedRoot(f'trust root "{path}": {error}') from None


def read_envelope(path: Path) -> bytes:
    """The bytes of the root file at `path`. Raises OSError, BadInput when it is a pipe or device.

    No more than one byte beyond what a root may have: it is then refused when it is parsed.
    """
    with open_regular("trust root", path) as file:
        return file.read(_core.MAX_ROOT_BYTES + 1)


def sign(document: Mapping[str, Any], keys: Sequence[_core.PrivateKey | _core.Signer]) -> bytes:
    """The root file of `document`, signed by `keys`. Raises SignerFailed."""
    payload = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return _core.sign_document(_core.ROOT_TYPE, payload, list(keys)).encode()


def require_followable(envelope: bytes, previous: bytes | None) -> None:
    """Raises as TrustRoot does when no device would let this root file follow `previous`.

    None for the first of all.
    """
    if previous is None:
        _core.TrustRoot.first(envelope)
    else:
        _core.TrustRoot.first(previous).successor(envelope)


def _require_enough(document: Document, role: str, key_count: int) -> None:
    threshold = document["roles"][role]["threshold"]
    if key_count < threshold:
        raise BadInput(
            f'role "{role}": expected at least {threshold} keys, got {key_count} without this one: '
            "add another first"
        )


def _role(document: Document, name: str) -> dict[str, Any]:
    roles: dict[str, dict[str, Any]] = document["roles"]
    if name not in roles:
        known = ", ".join(sorted(roles))
        raise BadInput(f'role: expected one of {known}, got "{name}"')
    return roles[name]
