"""From a model to a package: what goes into it, in which form, and who may open it."""

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgeward import _core
from edgeward.engines import choice
from edgeward.errors import BadInput
from edgeward.packages import key_wraps
from edgeward.packages.contents import CARD, GOLDEN, LABELS, ORIGINAL, REFERENCE, Contents
from edgeward.packages.golden import Golden
from edgeward.packages.onnx_conversion import to_ort
from edgeward.packages.reference_statistics import ReferenceStatistics
from edgeward.schema import signatures_report
from edgeward.trust.release import EPOCH_SHIFT, Release

if TYPE_CHECKING:
    from typing_extensions import Buffer

PathLike = str | os.PathLike[str]
Progress = Callable[[str, int, int], None]

ENTRY_NAMES = {"tflite": "model.tflite", "onnx": "model.onnx", "ort": "model.ort"}
CIPHERS = ("aes-256-gcm", "chacha20-poly1305")
CHUNK_BYTES = 1 << 18
SEALED_BYTES, CALIBRATION_RUNS = "sealed bytes", "calibration runs"  # what progress counts

Member = tuple[str, str, bool, "Buffer"]  # name, type, is_entry, bytes


def seal(
    model: "PathLike | Buffer",
    output: PathLike,
    release: Release,
    keys: Sequence[_core.PrivateKey],
    contents: Contents,
    *,
    encrypt_to: Sequence[_core.PublicKey],
    cipher: str,
    converts: bool,
    engine: str | None,
    progress: Progress | None,
) -> str:
    """Package.seal, which tells what it promises."""
    release.require_valid()
    for key in keys:
        if key.algorithm == "x25519":
            raise BadInput("signing key: expected an ed25519 or ecdsa-p256 key, got a device's")
    for device in encrypt_to:
        if device.algorithm != "x25519":
            raise BadInput(f"device key: expected an x25519 key, got {device.algorithm}")
    members = model_members(model, converts, contents.keeps_original)
    metadata: dict[str, Any] = {}
    with _opened(members, engine) as opened:
        metadata["schema"] = signatures_report(opened)
        members += _further_members(opened, contents, progress)
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
        progress=None if progress is None else lambda done, all: progress(SEALED_BYTES, done, all),
    )
    if content_key is not None:
        key_wraps.add(_core.Package.unverified(os.fsdecode(output)), content_key, encrypt_to)
    return package_id.hex()


def model_members(model: "PathLike | Buffer", converts: bool, keeps_original: bool) -> list[Member]:
    """The model in the form that a package holds, and the files that belong to it.

    The entry comes first, page-aligned. With `converts` an .onnx becomes an .ort, in which its
    external data is; else they are members each. Raises BadInput, OSError, and as to_ort.
    """
    is_path = isinstance(model, (str, os.PathLike))
    path = os.fsdecode(model) if isinstance(model, (str, os.PathLike)) else ""
    content = _read(path) if is_path else bytes(memoryview(model).cast("B"))  # type: ignore[arg-type]
    model_format = _core.model_format(content[: choice.HEAD_BYTES])
    if model_format != "onnx":
        kind = "tflite" if model_format == "tflite" else "onnx"
        return [(ENTRY_NAMES[model_format], kind, True, content)]
    external = _external_data(content, path)
    if not converts:
        return [(ENTRY_NAMES["onnx"], "onnx", True, content), *external]
    members: list[Member] = [
        (ENTRY_NAMES["ort"], "onnx", True, to_ort(path if external else content))
    ]
    if keeps_original:
        members.append((ORIGINAL, "auxiliary", False, content))
        members += [(name, "auxiliary", False, data) for name, _, _, data in external]
    return members


def _external_data(model: bytes, path: str) -> list[Member]:
    """The files beside the .onnx at `path` that hold its tensors."""
    members: list[Member] = []
    for name in _core.external_data_of(model):
        if os.path.basename(name) != name or name in (".", ".."):
            raise BadInput(
                f'model: external data: expected the name of a file beside it, got "{name}"'
            )
        if not path:
            raise BadInput(f'model: expected its path, since its data lies in "{name}", got bytes')
        content = _read(os.path.join(os.path.dirname(path), name))
        members.append((name, "onnx-external", False, content))
    return members


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _opened(members: Sequence[Member], engine: str | None) -> _core.Model:
    """The entry, able to run, as a device will have it."""
    _, _, _, entry = members[0]
    content = memoryview(entry)
    head = bytes(content[: choice.HEAD_BYTES])
    external = {name: data for name, kind, _, data in members if kind == "onnx-external"}
    ready = choice.ready(head, len(content), engine, None)
    return _core.open_model(entry, *ready, external)


def _further_members(
    model: _core.Model, contents: Contents, progress: Progress | None
) -> list[Member]:
    members: list[Member] = []
    if contents.labels:
        text = "".join(f"{label}\n" for label in contents.labels)
        members.append((LABELS, "labels", False, text.encode()))
    if contents.golden:
        golden = Golden.record(model, contents.golden, contents.tolerances)
        members.append((GOLDEN, "auxiliary", False, golden.to_bytes()))
    if contents.calibration:
        count = None
        if progress is not None:
            report = progress

            def count(done: int, total: int) -> None:
                report(CALIBRATION_RUNS, done, total)

        reference = ReferenceStatistics.measure(model, contents.calibration, count)
        members.append((REFERENCE, "auxiliary", False, reference.to_bytes()))
    if contents.card:
        members.append((CARD, "auxiliary", False, contents.card.encode()))
    return members
