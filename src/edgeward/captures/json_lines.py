"""JsonLines: records in the layout of SageMaker Edge Manager's capture, one file for each hour."""

from __future__ import annotations

import base64
import datetime
import json
import os
import uuid
from typing import Any

from numpy.typing import NDArray

from edgeward.captures.batch import Batch
from edgeward.captures.columns import SIDES, Column, columns_of
from edgeward.captures.draft_file import DraftFile, finished_together
from edgeward.captures.pipe_file import PipeFile, is_pipe
from edgeward.captures.stack import parts_of

NS = 1_000_000_000
PART_RECORDS, PART_BYTES = 4096, 8 << 20  # of tensors whose lines are in memory
MAX_NAME_BYTES = 200  # of a folder
UNNAMED_MODEL = "model"

_Tensors = list[tuple[Column, NDArray[Any]]]  # of one side: each with the rows of all records


class JsonLines:
    """The layout and the records of SageMaker Edge Manager's capture: one file an hour.

    A pipe gets the lines alone, those of all models and hours. The layout has no more than it had:
    of a record's facts, the device.
    """

    def __init__(self, output: str, fleet: str, device: str, *, is_real: bool) -> None:
        self._output, self._fleet, self._device, self._is_real = output, fleet, device, is_real
        self._pipe = PipeFile(output) if is_pipe(output) else None
        self._files: dict[tuple[str, str], DraftFile] = {}

    def add(self, batch: Batch) -> None:
        """Writes each line, and holds those of 8 MiB of tensors at most."""
        for part in parts_of(batch, PART_RECORDS, PART_BYTES):
            self._write(part)

    def _write(self, batch: Batch) -> None:
        files = set()
        model = batch.model or UNNAMED_MODEL
        tensors = {side: self._tensors(batch, side) for side in SIDES}
        for index, time_ns in enumerate(batch.time_ns.tolist()):
            moment = datetime.datetime.fromtimestamp(time_ns // NS, datetime.timezone.utc)
            line = json.dumps(self._record(batch, index, moment, tensors), sort_keys=True) + "\n"
            file = self._pipe or self._file(model, moment.strftime("%Y/%m/%d/%H"))
            file.write(line.encode())
            files.add(file)
        for file in files:
            file.spill()

    def close(self) -> list[str]:
        if self._pipe is not None:
            return [self._pipe.commit()]
        for file in self._files.values():
            os.makedirs(os.path.dirname(file.path), exist_ok=True)
        return finished_together(file.commit for file in self._files.values())

    def discard(self) -> None:
        for file in (self._pipe, *self._files.values()):
            if file is not None:
                file.discard()

    def _file(self, model: str, hour: str) -> DraftFile:
        file = self._files.get((model, hour))
        if file is None:
            name = f"{uuid.uuid4().hex}.jsonl"
            folders = os.path.join(_folder_name(self._fleet), _folder_name(model), hour)
            path = os.path.join(self._output, folders, name)
            # Drafts lie on the same file system as OUT, whose folders are made at the end.
            is_there = os.path.isdir(self._output)
            folder = self._output if is_there else os.path.dirname(self._output)
            draft = os.path.join(folder, f".{name}.draft-{os.getpid()}")
            file = self._files[model, hour] = DraftFile(path, draft)
        return file

    def _record(
        self, batch: Batch, index: int, moment: datetime.datetime, tensors: dict[str, _Tensors]
    ) -> dict[str, Any]:
        event = f"{int(batch.ring_ids[index]):016x}{int(batch.sequences[index]):016x}"
        return {
            "deviceFleetAuxiliaryInputs": [],
            "deviceFleetAuxiliaryOutputs": [],
            "deviceFleetInputs": _payloads(tensors["inputs"], index, "Input"),
            "deviceFleetOutputs": _payloads(tensors["outputs"], index, "Output"),
            "eventMetadata": {
                "deviceFleetName": self._fleet,
                "deviceId": batch.device or self._device,
                "eventId": str(uuid.UUID(hex=event)),
                "inferenceTime": moment.strftime("%Y-%m-%dT%H:%M:%S"),
                "modelName": batch.model or UNNAMED_MODEL,
                "modelVersion": batch.version,
            },
            "eventVersion": "0",
        }

    def _tensors(self, batch: Batch, side: str) -> _Tensors:
        tensors = []
        for column in columns_of(batch).values():
            if column.side == side:
                rows = getattr(batch, side)[column.name]
                if self._is_real:
                    column, rows = column.as_real, column.real(rows)
                tensors.append((column, rows))
        return tensors


def _payloads(tensors: _Tensors, index: int, mode: str) -> list[dict[str, str]]:
    return [
        {
            "data": base64.b64encode(rows[index].tobytes()).decode(),
            "encoding": "BASE64",
            "mode": mode,
            "name": column.name,
            "observedContentType": f"Tensor[{column.dtype}; {', '.join(map(str, column.shape))}]",
        }
        for column, rows in tensors
    ]


def _folder_name(name: str) -> str:
    """`name` as the name of one folder: another one where a file system has no such name."""
    name = name.replace("/", "_").replace("\0", "_")
    if name in ("", ".", ".."):
        return "_"
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
