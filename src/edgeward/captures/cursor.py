"""Cursor: what a job has handed over, so that the next one hands over each of the rest once.

Of records it lists segments by name, in whatever folder they are: as whole, or the last record of
each ring in a segment that was open, or cut short. So a segment that arrives late is read, and one
that was read as a whole is not opened again. Of windows it lists the ids, by device: no device can
name those of another. It is a JSON file: `version` 1, `model` (of --model, or null), `segments` and
`windows`.
"""

import json
import os
from collections.abc import Mapping

from edgeward.durable import replace_file
from edgeward.errors import BadInput
from edgeward.paths import PathLike

VERSION = 1


class Cursor:
    """What a job has handed over of captures, a JSON file, so that the next hands over the rest.

    With `model` it is of the captures of that model alone. One thread at a time; two jobs that run
    at once need a cursor each. read_windows takes one.
    """

    def __init__(self, path: PathLike, model: str | None = None) -> None:
        """As `path` has it, or of nothing where there is no such file.

        Raises OSError, BadInput for a file that is no cursor, and for one of another `model`.
        """
        self._path, self._model = os.fsdecode(path), model
        self._segments: dict[str, bool | dict[str, int]] = {}
        self._windows: dict[str, set[str]] = {}
        os.stat(os.path.dirname(self._path) or os.curdir)  # before a job that could not be noted
        try:
            with open(self._path, "rb") as file:
                self._parse(file.read())
        except FileNotFoundError:
            return

    def __repr__(self) -> str:
        return f'<Cursor "{self._path}">'

    def is_whole(self, path: str) -> bool:
        """Whether all records of this segment have been exported, and no more can come."""
        return self._segments.get(_name(path)) is True

    def last(self, path: str, ring_id: int) -> int:
        """The last record of the ring in this segment that has been exported; 0: none."""
        last = self._segments.get(_name(path), {})
        return 0 if isinstance(last, bool) else last.get(f"{ring_id:016x}", 0)

    def add(self, path: str, ring_id: int, last_sequence: int) -> None:
        """Notes that the ring's records up to this one have been exported."""
        last = self._segments.setdefault(_name(path), {})
        if not isinstance(last, bool):
            last[f"{ring_id:016x}"] = last_sequence

    def add_whole(self, path: str) -> None:
        """Notes that all records of this segment have been exported, and no more can come."""
        self._segments[_name(path)] = True

    def has_window(self, device: str, id: str) -> bool:
        """Whether the window of this device and `id` has been handed over."""
        return id in self._windows.get(device, ())

    def add_window(self, device: str, id: str) -> None:
        """Notes that the window of this device and `id` has been handed over."""
        self._windows.setdefault(device, set()).add(id)

    def save(self) -> None:
        """Replaces the file in one step, which is durable when it ends. Raises OSError."""
        document = {
            "version": VERSION,
            "model": self._model,
            "segments": self._segments,
            "windows": {device: sorted(ids) for device, ids in self._windows.items()},
        }
        replace_file(self._path, json.dumps(document).encode())

    def _parse(self, data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            raise self._refused("JSON", "something else") from None
        if not isinstance(document, Mapping) or document.get("version") != VERSION:
            raise self._refused(f"version {VERSION}", "another document")
        model, segments = document.get("model"), document.get("segments")
        windows = document.get("windows", {})
        if model != self._model:
            raise self._refused(_title(self._model), _title(model))
        if not isinstance(segments, dict) or not all(map(_is_progress, segments.values())):
            raise self._refused("segments, each true or numbers of its rings", "others")
        if not isinstance(windows, dict) or not all(map(_are_ids, windows.values())):
            raise self._refused("windows, each a list of ids", "others")
        self._segments = segments
        self._windows = {device: set(ids) for device, ids in windows.items()}

    def _refused(self, expected: str, got: str) -> BadInput:
        return BadInput(f'cursor "{self._path}": expected {expected}, got {got}')


def _name(path: str) -> str:
    """The segment's, which stays when it is sealed."""
    return os.path.splitext(os.path.basename(path))[0]


def _title(model: object) -> str:
    return "one of all models" if model is None else f"one of --model {model}"


def _is_progress(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(sequence, int) for sequence in value.values())
    return value is True


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(id, str) for id in value)
