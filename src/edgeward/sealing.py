"""From a model file to a package: what goes into it, and who may open it."""

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edgeward import _core
from edgeward.errors import BadInput
from edgeward.golden import Golden
from edgeward.inspection import signatures_report
from edgeward.model import load_unsigned
from edgeward.package import CARD, GOLDEN, LABELS, REFERENCE, write_wraps
from edgeward.reference_statistics import ReferenceStatistics
from edgeward.trust import EPOCH_SHIFT

PathLike = str | os.PathLike[str]
DEFAULT_PUBLISHER = "default"
CIPHERS = ("aes-256-gcm", "chacha20-poly1305")
CHUNK_BYTES = 1 << 18
ENTRY_NAMES = {"tflite": "model.tflite", "onnx": "model.onnx", "ort": "model.ort"}
ORIGINAL = "original.onnx"


class Release(NamedTuple):
    """What a package says of itself, signed.

    A device that has run it accepts no release of this model below `min_counter`. Counters are
    whole numbers below 2**48; `epoch` is the trust root's. `not_after_s` is in Unix seconds; None
    means for ever. `device_id` is the key id of the only device it may run on; None means any.
    """

    name: str
    version: str
    counter: int
    min_counter: int = 1
    epoch: int = 0
    target: str = "any"
    publisher: str = DEFAULT_PUBLISHER
    not_after_s: int | None = None
    device_id: bytes | None = None


class Contents(NamedTuple):
    """What a package carries besides the model; None for what it does not."""

    golden: Golden | None = None
    reference: ReferenceStatistics | None = None
    card: str | None = None  # Markdown
    labels: Sequence[str] | None = None
    original: bytes | None = None  # the .onnx file that the model was converted from


def seal(
    model: bytes,
    output: PathLike,
    release: Release,
    keys: Sequence[_core.PrivateKey],
    *,
    contents: Contents = Contents(),  # noqa: B008 - immutable
    encrypt_to: Sequence[_core.PublicKey] = (),
    cipher: str = CIPHERS[0],
    engine: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Write `model` and `contents` as a package at `output`, signed by each of `keys`.

    With `encrypt_to` the payload is encrypted under a fresh key, wrapped for each of these devices
    in a .ewk file beside it. The model is opened once, which shows that it can be and gives the
    schema. `progress` is called with payload bytes done and to do. Returns the package id.

    Raises BadInput for a name, counter or key that does not fit, OSError, and as load_unsigned.
    """
    for key in keys:
        if key.algorithm == "x25519":
            raise BadInput("signing key: expected an ed25519 or ecdsa-p256 key, got a device's")
    for number, what in ((release.counter, "counter"), (release.min_counter, "min_counter")):
        if not 1 <= number < 1 << EPOCH_SHIFT:
            raise BadInput(f"{what}: expected 1 to 2**{EPOCH_SHIFT} - 1, got {number}")
    with load_unsigned(model, engine=engine) as opened:
        schema = signatures_report(opened)
    metadata: dict[str, Any] = {"schema": schema}
    members = _members(model, contents)
    epoch = release.epoch << EPOCH_SHIFT
    package_id, content_key = _core.seal_package(
        os.fsdecode(output),
        name=release.name,
        version=release.version,
        target=release.target,
        publisher=release.publisher,
        release_counter=epoch | release.counter,
        min_counter=epoch | release.min_counter,
        created_s=int(time.time()),
        hard_expiry_s=release.not_after_s or 0,
        binding=release.device_id,
        cipher=cipher if encrypt_to else None,
        chunk_bytes=CHUNK_BYTES,
        members=members,
        metadata=json.dumps(metadata, ensure_ascii=False, sort_keys=True),
        signers=list(keys),
        progress=progress,
    )
    if content_key is not None:
        write_wraps(_core.Package.unverified(os.fsdecode(output)), content_key, encrypt_to)
    return package_id.hex()


def _members(model: bytes, contents: Contents) -> list[tuple[str, str, bool, bytes]]:
    """Each member as (name, type, is_entry, bytes). The model comes first, page-aligned."""
    model_format = _core.model_format(model[:8])
    kind = "tflite" if model_format == "tflite" else "onnx"
    members = [(ENTRY_NAMES[model_format], kind, True, model)]
    if contents.labels:
        text = "".join(f"{label}\n" for label in contents.labels)
        members.append((LABELS, "labels", False, text.encode()))
    if contents.golden is not None:
        members.append((GOLDEN, "auxiliary", False, contents.golden.to_bytes()))
    if contents.reference is not None:
        members.append((REFERENCE, "auxiliary", False, contents.reference.to_bytes()))
    if contents.card:
        members.append((CARD, "auxiliary", False, contents.card.encode()))
    if contents.original is not None:
        members.append((ORIGINAL, "auxiliary", False, contents.original))
    return members
