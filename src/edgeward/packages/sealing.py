"""From a model to a package: what goes into it, in which form, and who may open it."""

import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from edgeward import _core
from edgeward.captures.column_names import require_columns
from edgeward.engines import choice
from edgeward.errors import BadInput, EdgewardError
from edgeward.packages import carried, columns_file, key_wraps, recipe
from edgeward.packages.calibration import calibrated
from edgeward.packages.contents import (
    CARD,
    COLUMNS,
    GOLDEN,
    LABELS,
    ORIGINAL,
    RECIPE,
    REFERENCE,
    Contents,
)
from edgeward.packages.golden import Golden
from edgeward.packages.input_plan import require_fit
from edgeward.packages.onnx_conversion import to_ort
from edgeward.paths import PathLike
from edgeward.schema import signatures_report
from edgeward.trust.release import Release

if TYPE_CHECKING:
    from typing_extensions import Buffer

Progress = Callable[[str, int, int], None]

ENTRY_NAMES = {"tflite": "model.tflite", "onnx": "model.onnx", "ort": "model.ort"}
SEALED_BYTES, CALIBRATION_RUNS = "sealed bytes", "calibration runs"  # what progress counts


class Member(NamedTuple):
    """What is to be sealed: bytes, or a file that is read then. Types are those of _core.Member."""

    name: str
    type: str
    is_entry: bool
    content: "Buffer | _core.ModelFile"


def require_sealable(
    release: Release,
    keys: Sequence[_core.PrivateKey | _core.Signer],
    devices: Sequence[_core.PublicKey],
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
    """All that a package says and holds, not encrypted. Opens the model; raises as Package.seal."""
    members = model_members(model, converts, contents.keeps_original)
    runs = bool(contents.golden or contents.calibration)
    with _opened(members, engine) if runs else _described(members, engine) as opened:
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
    for name, kind, is_entry, content in members:
        if isinstance(content, _core.ModelFile):
            source.add_file(name, kind, is_entry, content)
        else:
            source.add_member(name, kind, is_entry, content)
    return source


def write(
    source: _core.PackageSource,
    output: PathLike,
    keys: Sequence[_core.PrivateKey | _core.Signer],
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
    external data is; else they are members each. Files are opened, and read when they are sealed.
    Raises BadInput, OSError, and as to_ort.
    """
    path = os.fsdecode(model) if isinstance(model, (str, os.PathLike)) else ""
    content: bytes | _core.ModelFile
    if isinstance(model, (str, os.PathLike)):
        content = _core.ModelFile.open(path)
    else:
        content = model if isinstance(model, bytes) else bytes(memoryview(model).cast("B"))
    model_format = choice.format_of(_head(content))
    if model_format != "onnx":
        kind = "tflite" if model_format == "tflite" else "onnx"
        return [Member(ENTRY_NAMES[model_format], kind, True, content)]
    external = _external_data(content, path)
    if not converts:
        return [Member(ENTRY_NAMES["onnx"], "onnx", True, content), *external]
    source = content if isinstance(content, bytes) else path
    members = [Member(ENTRY_NAMES["ort"], "onnx", True, to_ort(source))]
    if keeps_original:
        members.append(Member(ORIGINAL, "auxiliary", False, content))
        members += [member._replace(type="auxiliary") for member in external]
    return members


def _external_data(model: bytes | _core.ModelFile, path: str) -> list[Member]:
    """The files beside the .onnx at `path` that hold its tensors."""
    if isinstance(model, _core.ModelFile):
        names = _core.external_data_of_file(model)
    else:
        names = _core.external_data_of(model)
    members = []
    for name in names:
        if os.path.basename(name) != name or name in (".", ".."):
            raise BadInput(
                f'model: external data: expected the name of a file beside it, got "{name}"'
            )
        if not path:
            raise BadInput(f'model: expected its path, since its data lies in "{name}", got bytes')
        real = os.path.realpath(os.path.join(os.path.dirname(path), name))
        folders = (os.path.realpath(os.path.dirname(path)), os.path.dirname(os.path.realpath(path)))
        if os.path.dirname(real) not in folders:
            raise BadInput(
                f'model: external data "{name}": expected a file in the same folder, '
                f'got a link to "{real}"'
            )
        content = _core.ModelFile.open(real)
        members.append(Member(name, "onnx-external", False, content))
    return members


def _head(model: "Buffer | _core.ModelFile") -> bytes:
    if isinstance(model, _core.ModelFile):
        return model.head(choice.HEAD_BYTES)
    return bytes(memoryview(model)[: choice.HEAD_BYTES])


def _size_bytes(model: "Buffer | _core.ModelFile") -> int:
    return model.size_bytes if isinstance(model, _core.ModelFile) else len(memoryview(model))


def _opened(members: Sequence[Member], engine: str | None) -> _core.Model:
    """The entry, able to run, as a device will have it."""
    entry = members[0].content
    external = {member.name: member.content for member in members if member.type == "onnx-external"}

    def open_model(opening: _core.Opening) -> _core.Model:
        return _core.open_model(entry, opening, external)

    return choice.opened(open_model, _head(entry), _size_bytes(entry), choice.Wish(engine))


def _described(members: Sequence[Member], engine: str | None) -> _core.Model:
    """The entry, which need not be able to run: a .tflite without its large weights."""
    entry = members[0].content
    if not isinstance(entry, _core.ModelFile) or members[0].type != "tflite":
        return _opened(members, engine)
    try:
        return choice.opened(
            partial(_core.open_outline, entry), _head(entry), entry.size_bytes, choice.Wish(engine)
        )
    except EdgewardError:
        return _opened(members, engine)  # to be refused as a device would, if it is


def _further_members(
    model: _core.Model, contents: Contents, progress: Progress | None
) -> list[Member]:
    members: list[Member] = []
    if contents.labels:
        carried.require_labels(contents.labels, model.signatures.values())
        text = "".join(f"{label}\n" for label in contents.labels)
        members.append(Member(LABELS, "labels", False, text.encode()))
    if contents.columns:
        require_columns(contents.columns, model.signatures.values())
        content = columns_file.to_bytes(contents.columns)
        members.append(Member(COLUMNS, "auxiliary", False, content))
    if contents.recipe:
        content = recipe.to_bytes(contents.recipe)
        require_fit(recipe.from_bytes(content, "recipe"), next(iter(model.signatures.values())))
        members.append(Member(RECIPE, "auxiliary", False, content))
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
