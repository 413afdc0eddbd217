"""From a model to a package: what goes into it, in which form, and who may open it."""

import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgeward import _core
from edgeward.captures.column_names import require_columns
from edgeward.engines import choice
from edgeward.errors import BadInput
from edgeward.packages import columns_file, key_wraps
from edgeward.packages.calibration import calibrated
from edgeward.packages.contents import CARD, COLUMNS, GOLDEN, LABELS, ORIGINAL, REFERENCE, Contents
from edgeward.packages.golden import Golden
from edgeward.packages.onnx_conversion import to_ort
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular
from edgeward.schema import signatures_report
from edgeward.trust.release import Release

if TYPE_CHECKING:
    from typing_extensions import Buffer

Progress = Callable[[str, int, int], None]

ENTRY_NAMES = {"tflite": "model.tflite", "onnx": "model.onnx", "ort": "model.ort"}
SEALED_BYTES, CALIBRATION_RUNS = "sealed bytes", "calibration runs"  # what progress counts


class Member(NamedTuple):
    """A file to be sealed; its type is one that _core.Member.type may be."""

    name: str
    type: str
    is_entry: bool
    content: "Buffer"


def require_sealable(
    release: Release, keys: Sequence[_core.PrivateKey], devices: Sequence[_core.PublicKey]
) -> None:
    """Raises BadInput for a release or keys that no package can have, before a model is opened."""
    release.require_valid()
    for key in keys:
        if key.algorithm == "x25519":
            raise BadInput("signing key: expected an ed25519 or ecdsa-p256 key, got a device's")
    for device in devices:
        if device.algorithm != "x25519":
            raise BadInput(f"device key: expected an x25519 key, got {device.algorithm}")


def package_source(
    model: "PathLike | Buffer",
    release: Release,
    contents: Contents,
    converts: bool,
    engine: str | None,
    progress: Progress | None,
) -> _core.PackageSource:
    """All that a package says and holds, not encrypted. Runs the model; raises as Package.seal."""
    members = model_members(model, converts, contents.keeps_original)
    with _opened(members, engine) as opened:
        metadata = {"schema": signatures_report(opened)}
        members += _further_members(opened, contents, progress)
    epoch = release.epoch << _core.EPOCH_SHIFT
    source = _core.PackageSource()
    source.name = release.name
    source.version = release.version
    source.target = release.target
    source.publisher = release.publisher
    source.release_counter = epoch | release.counter
    source.min_counter = epoch | release.min_counter
    source.created_s = int(time.time())
    source.hard_expiry_s = release.not_after_s or 0
    source.binding = release.device_id
    source.metadata = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    for member in members:
        source.add_member(*member)
    return source


def write(
    source: _core.PackageSource,
    output: PathLike,
    keys: Sequence[_core.PrivateKey],
    devices: Sequence[_core.PublicKey],
    progress: Progress | None,
) -> str:
    """Seal `source` at `output`, its key wrapped for `devices`. Returns the package's id."""

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(SEALED_BYTES, done, total)

    result = _core.seal_package(os.fsdecode(output), source, list(keys), report)
    if result.content_key is not None:
        package = _core.Package.unverified(os.fsdecode(output))
        key_wraps.add(package, result.content_key, devices)
    return result.package_id.hex()


def model_members(model: "PathLike | Buffer", converts: bool, keeps_original: bool) -> list[Member]:
    """The model in the form that a package holds, and the files that belong to it.

    The entry comes first, page-aligned. With `converts` an .onnx becomes an .ort, in which its
    external data is; else they are members each. Raises BadInput, OSError, and as to_ort.
    """
    is_path = isinstance(model, (str, os.PathLike))
    path = os.fsdecode(model) if isinstance(model, (str, os.PathLike)) else ""
    content = _read_model(path) if is_path else bytes(memoryview(model).cast("B"))  # type: ignore[arg-type]
    model_format = choice.format_of(content[: choice.HEAD_BYTES])
    if model_format != "onnx":
        kind = "tflite" if model_format == "tflite" else "onnx"
        return [Member(ENTRY_NAMES[model_format], kind, True, content)]
    external = _external_data(content, path)
    if not converts:
        return [Member(ENTRY_NAMES["onnx"], "onnx", True, content), *external]
    members = [Member(ENTRY_NAMES["ort"], "onnx", True, to_ort(path if external else content))]
    if keeps_original:
        members.append(Member(ORIGINAL, "auxiliary", False, content))
        members += [member._replace(type="auxiliary") for member in external]
    return members


def _external_data(model: bytes, path: str) -> list[Member]:
    """The files beside the .onnx at `path` that hold its tensors."""
    members = []
    for name in _core.external_data_of(model):
        if os.path.basename(name) != name or name in (".", ".."):
            raise BadInput(
                f'model: external data: expected the name of a file beside it, got "{name}"'
            )
        if not path:
            raise BadInput(f'model: expected its path, since its data lies in "{name}", got bytes')
        content = _read(os.path.join(os.path.dirname(path), name))
        members.append(Member(name, "onnx-external", False, content))
    return members


def _read_model(path: str) -> bytes:
    with open_regular("model file", path) as file:
        # A file that is no model is refused before the rest of it is read.
        choice.format_of(file.read(choice.HEAD_BYTES))
        file.seek(0)
        return file.read()


def _read(path: str) -> bytes:
    with open_regular("model file", path) as file:
        return file.read()


def _opened(members: Sequence[Member], engine: str | None) -> _core.Model:
    """The entry, able to run, as a device will have it."""
    entry = members[0].content
    content = memoryview(entry)
    head = bytes(content[: choice.HEAD_BYTES])
    external = {member.name: member.content for member in members if member.type == "onnx-external"}

    def open_model(
        name: str, library: str, version: str, threads: int, shows_log: bool
    ) -> _core.Model:
        return _core.open_model(entry, name, library, version, threads, shows_log, external)

    return choice.opened(open_model, head, len(content), engine, None)


def _further_members(
    model: _core.Model, contents: Contents, progress: Progress | None
) -> list[Member]:
    members: list[Member] = []
    if contents.labels:
        text = "".join(f"{label}\n" for label in contents.labels)
        members.append(Member(LABELS, "labels", False, text.encode()))
    if contents.columns:
        require_columns(contents.columns, model.signatures.values())
        content = columns_file.to_bytes(contents.columns)
        members.append(Member(COLUMNS, "auxiliary", False, content))
    if contents.golden:
        golden = Golden.record(model, contents.golden, contents.tolerances)
        members.append(Member(GOLDEN, "auxiliary", False, golden.to_bytes()))
    if contents.calibration:
        count = None
        if progress is not None:
            report = progress

            def count(done: int, total: int) -> None:
                report(CALIBRATION_RUNS, done, total)

        reference = calibrated(model, contents.calibration, count)
        for shortcoming in reference.shortcomings:
            warnings.warn(f"reference: {shortcoming}", stacklevel=4)  # of whoever calls seal
        members.append(Member(REFERENCE, "auxiliary", False, reference.to_bytes()))
    if contents.card:
        members.append(Member(CARD, "auxiliary", False, contents.card.encode()))
    return members
