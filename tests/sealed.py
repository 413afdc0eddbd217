"""Keys, trust directories and sealed packages for tests; the one place that calls the sealing API.

A key is made of its name, the same in every run. `OWNER` signs trust roots, `PUBLISHER` packages
as publisher "default"; `DEVICE` is the device's own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from models import tflite_models

from edgeward import Contents, Package, PrivateKey, PublicKey, Release, Trust, _core
from edgeward.trust import root_document

MODEL = tflite_models.add((4,))
ROOT_DAYS = 100
DAY_S = 86_400
NOW_S = 2_000_000_000  # what a clock that tests set says


def key_text(name: str, algorithm: str = "ed25519") -> str:
    return f"edgeward-private-key {algorithm} {hashlib.sha256(name.encode()).hexdigest()}"


def key(name: str, algorithm: str = "ed25519") -> PrivateKey:
    return PrivateKey.parse(key_text(name, algorithm).encode())


OWNER, PUBLISHER, DEVICE = key("owner"), key("publisher"), key("device", "x25519")
DEFAULT_ROLE = root_document.publisher_role("default")


def document(
    owners: Sequence[PrivateKey] = (OWNER,), publishers: Sequence[PrivateKey] = (PUBLISHER,)
) -> root_document.Document:
    """A first root, issued now, under which each of `publishers` signs any model."""
    content = root_document.first([owner.public for owner in owners], int(time.time()), ROOT_DAYS)
    for publisher in publishers:
        root_document.add_key(content, DEFAULT_ROLE, publisher.public)
    return content


def successor(before: root_document.Document) -> root_document.Document:
    """The next version of `before`, issued now, to be changed."""
    content = root_document.read(root_document.sign(before, [OWNER]))
    root_document.succeed(content, int(time.time()), ROOT_DAYS)
    return content


def signed(content: root_document.Document, owners: Sequence[PrivateKey] = (OWNER,)) -> bytes:
    return root_document.sign(content, owners)


def trust_at(directory: Path, content: root_document.Document | None = None) -> Trust:
    """A new trust directory, with its root and DEVICE's key."""
    directory.mkdir()
    (directory / "root.json").write_bytes(signed(document() if content is None else content))
    DEVICE.write(str(directory / "device.key"))
    return Trust(directory)


def seal(
    path: Path,
    counter: int = 1,
    *,
    keys: Sequence[PrivateKey] = (PUBLISHER,),
    contents: Contents = Contents(),  # noqa: B008 - immutable
    encrypt_to: Sequence[PublicKey] = (),
    model: bytes = MODEL,
    **release: Any,
) -> Path:
    """A package of `model` at `path`: release `counter` of "demo", unless `release` says else."""
    facts = Release(**{"name": "demo", "version": f"{counter}.0", "counter": counter, **release})
    Package.seal(model, path, facts, list(keys), contents, encrypt_to=encrypt_to)
    return path


def seal_unchecked(path: Path, *members: tuple[str, str, bool, bytes], **facts: Any) -> None:
    """A package of these (name, type, is_entry, bytes), by a publisher who has not run the model.

    `facts` are fields of a PackageSource where they are not those of "demo".
    """
    source = _core.PackageSource()
    fields = {
        "name": "demo", "version": "1", "target": "any", "publisher": "default",
        "release_counter": 1, "min_counter": 1, "created_s": int(time.time()),
        "chunk_bytes": 1 << 16, "metadata": "{}",
    }  # fmt: skip
    for name, value in {**fields, **facts}.items():
        setattr(source, name, value)
    for member in members:
        source.add_member(*member)
    _core.seal_package(str(path), source, [PUBLISHER], None)


def run(path: Path, trust: Trust, device: PrivateKey = DEVICE) -> None:
    """Opens the package as `device` would, and runs it once."""
    with Package.open(path, trust=trust, key=device).load() as model:
        model.predict(np.zeros(4, np.float32))
