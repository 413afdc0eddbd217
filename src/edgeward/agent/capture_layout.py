"""Captures as files: the folders and the JSON lines of an Edge Manager agent.

    PREFIX/FLEET/MODEL/YYYY/MM/DD/HH/<32 hex>.jsonl          one record a line, the hour in UTC
    PREFIX/FLEET/MODEL/YYYY/MM/DD/HH/raw-data/KIND/<32 hex>-<record>-<payload>

Raw files are on the disk before the manifest that names them, and the manifest appears in one step:
a reader never sees half a batch.
"""

import base64
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from edgeward.agent.capture_request import Captured, Payload
from edgeward.durable import replace_file, sync

SUFFIX = ".jsonl"
MOST_ATTEMPTS = 10  # to write a file into a folder that is removed meanwhile
TEXT_ENCODINGS = ("CSV", "JSON")


class Layout(NamedTuple):
    """Where captures of a device go, and what its records call it."""

    root: str  # absolute
    prefix: str  # below it, may be empty
    fleet: str
    device: str
    embed_bytes: int  # payloads up to this size are in the record

    def folder(self, capture: Captured) -> str:
        """The folder of a capture, below the root."""
        hour = _utc(capture.time_s, "/%m/%d/%H")
        return os.path.normpath(os.path.join(self.prefix, self.fleet, capture.model_name, hour))


class Manifest(NamedTuple):
    """A file of records: all of one model and one hour. `name` is 32 hexadecimal digits."""

    folder: str  # below the root
    name: str
    captures: Sequence[Captured]

    def path(self, layout: Layout) -> str:
        return os.path.join(layout.root, self.folder, self.name + SUFFIX)


def store(manifest: Manifest, layout: Layout) -> None:
    """Writes the records and their raw files; they are on the disk when it returns.

    The same call again writes the same files. Raises OSError; then there is no manifest.
    """
    lines = []
    for number, capture in enumerate(manifest.captures):
        document = _document(capture, layout)
        for index, payload in enumerate(capture.payloads):
            side, key = SIDES[payload.kind]
            shown = {
                "mode": side,
                "name": payload.name,
                "observedContentType": payload.content_type,
            }
            raw_name = f"{manifest.name}-{number}-{index}"
            raw_path = os.path.join(manifest.folder, "raw-data", payload.kind, raw_name)
            if len(payload.content) <= layout.embed_bytes:
                shown |= _embedded(payload)
            else:
                _write(os.path.join(layout.root, raw_path), payload.content)
                shown |= {"data-ref": raw_path, "encoding": payload.encoding}
            document[key].append(shown)
        lines.append(json.dumps(document, sort_keys=True) + "\n")
    _write(manifest.path(layout), "".join(lines).encode())


def discard(path: str) -> None:
    """Removes what a crash left of a manifest that never appeared at `path`: raw files, drafts."""
    folder, name = os.path.split(path)
    start = name.removesuffix(SUFFIX)
    for below, _, files in os.walk(folder):
        for file in files:
            if file.startswith(start):
                os.unlink(os.path.join(below, file))


# By the folder of raw files: the mode, and the list of the record.
SIDES = {
    "input-tensors": ("Input", "deviceFleetInputs"),
    "output-tensors": ("Output", "deviceFleetOutputs"),
    "auxiliary-inputs": ("Input", "deviceFleetAuxiliaryInputs"),
    "auxiliary-outputs": ("Output", "deviceFleetAuxiliaryOutputs"),
}


def _utc(time_s: int, rest: str) -> str:
    """A year of four digits, which strftime does not make of an early one, and the rest."""
    moment = time.gmtime(time_s)
    return f"{moment.tm_year:04}" + time.strftime(rest, moment)


def _document(capture: Captured, layout: Layout) -> dict[str, Any]:
    """A record whose lists of payloads are empty."""
    return {
        "eventVersion": "0",
        "eventMetadata": {
            "deviceFleetName": layout.fleet,
            "deviceId": layout.device,
            "eventId": capture.capture_id,
            "inferenceTime": _utc(capture.time_s, "-%m-%dT%H:%M:%S"),
            "modelName": capture.model_name,
            "modelVersion": capture.model_version,
        },
        **{key: [] for _, key in SIDES.values()},
    }


def _embedded(payload: Payload) -> dict[str, str]:
    """The payload in the record: text as it is, all else in base64."""
    if payload.encoding in TEXT_ENCODINGS:
        try:
            return {"data": payload.content.decode(), "encoding": payload.encoding}
        except UnicodeDecodeError:
            pass
    return {"data": base64.b64encode(payload.content).decode(), "encoding": "BASE64"}


def _write(path: str, content: bytes) -> None:
    for _ in range(MOST_ATTEMPTS - 1):
        with suppress(FileNotFoundError):  # the upload removed the folder, which was empty
            return _write_once(path, content)
    return _write_once(path, content)


def _write_once(path: str, content: bytes) -> None:
    _make_folder(os.path.dirname(path))
    replace_file(path, content)


def _make_folder(path: str) -> None:
    """Makes a folder and those above it, each durable by its name in the one above."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    _make_folder(above)
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    sync(above)
