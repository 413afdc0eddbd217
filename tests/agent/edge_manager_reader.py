"""A reader of an Edge Manager agent's captures, which knows the layout of the original alone.

Strict where programs in the field are: what they would stumble over is an AssertionError here.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PAYLOADS = {
    "deviceFleetAuxiliaryInputs": "Input",
    "deviceFleetAuxiliaryOutputs": "Output",
    "deviceFleetInputs": "Input",
    "deviceFleetOutputs": "Output",
}
METADATA = ["deviceFleetName", "deviceId", "eventId", "inferenceTime", "modelName", "modelVersion"]
FOLDER = re.compile(r"(?P<head>.+)/(?P<hour>\d{4}/\d\d/\d\d/\d\d)")
CONTENT_TYPE = re.compile(r"Tensor\[(\w+); ?((?:\d+(?:, )?)*)\]")


class Tensor(NamedTuple):
    name: str
    array: np.ndarray[Any, Any]
    is_beside: bool  # the record, in a file of its own


class Record(NamedTuple):
    folder: str  # below the root
    document: dict[str, Any]
    inputs: list[Tensor]
    outputs: list[Tensor]


def read(root: Path) -> dict[str, Record]:
    """Every record below the capture directory, by its event id."""
    by_event: dict[str, Record] = {}
    raw_files = {path for path in root.rglob("raw-data/*/*") if path.is_file()}
    named = set()
    for path in sorted(
        path for path in root.rglob("*") if path.is_file() and path not in raw_files
    ):
        assert re.fullmatch(r"[0-9a-f]{32}\.jsonl", path.name), path
        folder = path.relative_to(root).parent.as_posix()
        assert path.read_bytes().endswith(b"\n")
        for line in path.read_text("utf-8").splitlines():
            document = json.loads(line)
            _require_shape(folder, document)
            for key in PAYLOADS:
                named |= {
                    root / shown["data-ref"] for shown in document[key] if "data-ref" in shown
                }
            event = document["eventMetadata"]["eventId"]
            assert event not in by_event
            sides = ("deviceFleetInputs", "deviceFleetOutputs")
            tensors = [[tensor(root, shown) for shown in document[key]] for key in sides]
            by_event[event] = Record(folder, document, *tensors)
    assert named == raw_files
    return by_event


def content(root: Path, shown: dict[str, str]) -> bytes:
    """The bytes of a payload, embedded or beside."""
    if "data-ref" in shown:
        return (root / shown["data-ref"]).read_bytes()
    if shown["encoding"] == "BASE64":
        return base64.b64decode(shown["data"], validate=True)
    return shown["data"].encode()


def tensor(root: Path, shown: dict[str, str]) -> Tensor:
    match = CONTENT_TYPE.fullmatch(shown["observedContentType"])
    assert match is not None, shown["observedContentType"]
    shape = [int(size) for size in match[2].split(", ") if size]
    dtype = np.dtype(match[1]).newbyteorder("<")
    array = np.frombuffer(content(root, shown), dtype).reshape(shape)
    return Tensor(shown["name"], array, "data-ref" in shown)


def _require_shape(folder: str, document: dict[str, Any]) -> None:
    assert list(document) == [*PAYLOADS, "eventMetadata", "eventVersion"]  # in alphabetical order
    assert document["eventVersion"] == "0"
    metadata = document["eventMetadata"]
    assert list(metadata) == METADATA
    assert all(isinstance(value, str) for value in metadata.values())
    match = FOLDER.fullmatch(folder)
    assert match is not None, folder
    head = f"{metadata['deviceFleetName']}/{metadata['modelName']}"
    assert match["head"] == head or match["head"].endswith(f"/{head}")
    moment = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):\d\d:\d\d", metadata["inferenceTime"])
    assert moment is not None, metadata["inferenceTime"]
    assert match["hour"] == "/".join(moment.groups())
    for key, mode in PAYLOADS.items():
        for shown in document[key]:
            _require_payload(folder, mode, shown)


def _require_payload(folder: str, mode: str, shown: dict[str, str]) -> None:
    member = "data-ref" if "data-ref" in shown else "data"
    assert sorted(shown) == sorted([member, "encoding", "mode", "name", "observedContentType"])
    assert shown["mode"] == mode
    assert shown["encoding"] in ("CSV", "JSON", "NONE", "BASE64")
    if member == "data-ref":
        assert shown[member].startswith(f"{folder}/raw-data/")
