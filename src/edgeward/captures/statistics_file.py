"""StatisticsFile: what one capture counted of one signature, beside the segments.

Each flush, and the end of the capture, replaces it whole: docs/capture-format.md, section 5.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from edgeward import _core
from edgeward.captures.folders import files_below
from edgeward.durable import replace_file
from edgeward.errors import BadInput, MalformedCapture
from edgeward.paths import PathLike

SUFFIX = ".stats.json"
FORMAT_VERSION = 1
MAX_BYTES = 64 << 20
FIELDS = {"version", "model", "signature", "statistics"}
IDENTITY = ("name", "version", "package_id")


class Counted(NamedTuple):
    """Statistics of one signature of one release of a model."""

    name: str
    version: str
    package_id: str
    signature: str
    statistics: _core.Statistics


class StatisticsFile:
    """One file. Only its writer replaces it; any process may read it."""

    def __init__(self, path: str) -> None:
        self.path = path

    @classmethod
    def named(cls, directory: str, name: str) -> "StatisticsFile":
        return cls(os.path.join(directory, name + SUFFIX))

    def write(
        self, identity: Mapping[str, str], signature: str, statistics: _core.Statistics
    ) -> None:
        """Replace its content. Raises OSError; the content then stays as it is."""
        import base64

        document = {
            "version": FORMAT_VERSION,
            "model": dict(identity),
            "signature": signature,
            "statistics": base64.b64encode(statistics.to_bytes()).decode(),
        }
        replace_file(self.path, json.dumps(document, ensure_ascii=False).encode())

    def read(self) -> Counted:
        """Raises OSError, MalformedCapture."""
        import base64

        with open(self.path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        try:
            if len(content) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
            document: dict[str, Any] = json.loads(content)
            if set(document) != FIELDS or document["version"] != FORMAT_VERSION:
                raise ValueError("other fields, or another version")
            name, version, package_id = (document["model"][field] for field in IDENTITY)
            signature = document["signature"]
            if not all(isinstance(text, str) for text in (name, version, package_id, signature)):
                raise ValueError("a name that is no text")
            data = base64.b64decode(document["statistics"], validate=True)
            statistics = _core.Statistics.from_bytes(data)
            return Counted(name, version, package_id, signature, statistics)
        except (ValueError, TypeError, KeyError, RecursionError, MalformedCapture) as error:
            raise MalformedCapture(
                f'statistics "{self.path}": expected a file of version {FORMAT_VERSION}, got '
                f"something else ({error})"
            ) from None


def read_statistics(directory: PathLike) -> list[Counted]:
    """What was counted in `directory`, merged by release of a model and by signature.

    Sorted by name. Raises OSError, MalformedCapture, BadInput when two files of one release were
    counted in different bins.
    """
    merged: dict[tuple[str, ...], Counted] = {}
    for path in files_below(directory, SUFFIX):
        counted = StatisticsFile(path).read()
        before = merged.setdefault(counted[:4], counted)
        if before is counted:
            continue
        try:
            before.statistics.merge(counted.statistics)
        except BadInput as error:
            raise BadInput(f'statistics "{path}": {error}') from None
    return [merged[key] for key in sorted(merged)]
