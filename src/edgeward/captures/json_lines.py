"""JsonLines: records in the layout of SageMaker Edge Manager's capture, one file for each hour."""

from __future__ import annotations

import base64
import datetime
import json
import os
import uuid
from typing import Any

import numpy as np

from edgeward.captures.captured import Captured
from edgeward.captures.draft_file import DraftFile

NS = 1_000_000_000


class JsonLines:
    """The layout and the records of SageMaker Edge Manager's capture: one file an hour."""

    def __init__(self, output: str, fleet: str, device: str) -> None:
        self._output, self._fleet, self._device = output, fleet, device
        self._files: dict[tuple[str, str], DraftFile] = {}

    def add(self, captured: Captured) -> None:
        moment = datetime.datetime.fromtimestamp(captured.time_ns // NS, datetime.timezone.utc)
        model = captured.model or "model"
        hour = moment.strftime("%Y/%m/%d/%H")
        file = self._files.get((model, hour))
        if file is None:
            file = self._files[model, hour] = self._new_file(model, hour)
        line = json.dumps(self._record(captured, model, moment), sort_keys=True) + "\n"
        file.write(line.encode())
        file.spill()

    def close(self) -> list[str]:
        for file in self._files.values():
            os.makedirs(os.path.dirname(file.path), exist_ok=True)
        return [file.commit() for file in self._files.values()]

    def discard(self) -> None:
        for file in self._files.values():
            file.discard()

    def _new_file(self, model: str, hour: str) -> DraftFile:
        name = f"{uuid.uuid4().hex}.jsonl"
        path = os.path.join(self._output, self._fleet, _file_name(model), hour, name)
        # Drafts lie on the same file system as OUT, whose folders are made at the end.
        folder = self._output if os.path.isdir(self._output) else os.path.dirname(self._output)
        return DraftFile(path, os.path.join(folder, f".{name}.draft-{os.getpid()}"))

    def _record(self, captured: Captured, model: str, moment: datetime.datetime) -> dict[str, Any]:
        event = f"{captured.ring_id:016x}{captured.sequence:016x}"
        return {
            "deviceFleetAuxiliaryInputs": [],
            "deviceFleetAuxiliaryOutputs": [],
            "deviceFleetInputs": _payloads(captured, "inputs", "Input"),
            "deviceFleetOutputs": _payloads(captured, "outputs", "Output"),
            "eventMetadata": {
                "deviceFleetName": self._fleet,
                "deviceId": captured.device or self._device,
                "eventId": str(uuid.UUID(hex=event)),
                "inferenceTime": moment.strftime("%Y-%m-%dT%H:%M:%S"),
                "modelName": model,
                "modelVersion": captured.version,
            },
            "eventVersion": "0",
        }


def _payloads(captured: Captured, side: str, mode: str) -> list[dict[str, str]]:
    return [
        {
            "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(),
            "encoding": "BASE64",
            "mode": mode,
            "name": name,
            "observedContentType": f"Tensor[{captured.dtypes[side, name]}; "
            f"{', '.join(map(str, array.shape))}]",
        }
        for name, array in getattr(captured, side).items()
    ]


def _file_name(name: str) -> str:
    """`name` as the name of one directory."""
    return name.replace("/", "_") if name not in (".", "..") else "_"
