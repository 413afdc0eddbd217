"""StatisticsFile: what was counted of one signature of a release of a model, beside the segments.

It is replaced whole, and sealed when the capture has a recipient.
Bytes: docs/capture-format.md, section 5.
"""

import json
import re
import warnings
from typing import Any, NamedTuple

from edgeward import _core
from edgeward.captures.folders import files_below
from edgeward.durable import replace_file
from edgeward.errors import BadInput, EdgewardError, MalformedCapture
from edgeward.paths import PathLike

SUFFIX = _core.STATISTICS_SUFFIX
SEALED_SUFFIX = _core.SEALED_STATISTICS_SUFFIX
FORMAT_VERSION = 1
MODE = 0o640
MAX_BYTES = 64 << 20
FIELDS = {"version", "model", "signature", "statistics"}
IDENTITY = ("name", "version", "package_id")
DAY = re.compile(r"\d{4}-\d\d-\d\d(?=-)")  # in UTC, at the beginning of a name


class Counted(NamedTuple):
    """Statistics of one signature of one release of a model."""

    name: str
    version: str
    package_id: str
    signature: str
    statistics: _core.Statistics


class StatisticsFile:
    """One file, sealed or not by its suffix. One writer at a time; any process may read it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def write(self, counted: Counted, recipient: _core.PublicKey | None = None) -> None:
        """Replace its content, sealed to `recipient` if there is one.

        Raises OSError; the content then stays as it is.
        """
        import base64

        document = {
            "version": FORMAT_VERSION,
            "model": dict(zip(IDENTITY, counted[:3], strict=True)),
            "signature": counted.signature,
            "statistics": base64.b64encode(counted.statistics.to_bytes()).decode(),
        }
        content = json.dumps(document).encode()
        if recipient is not None:
            content = _core.seal_statistics(recipient, content)
        try:
            replace_file(self.path, content, MODE)
        except OSError:
            # Only the directory's sync may have failed: whoever adds to a file must know that its
            # counts are there, or it adds them twice.
            if not self._holds(content):
                raise

    def read(self, key: _core.PrivateKey | None = None) -> Counted:
        """Raises OSError, MalformedCapture; WrongKey when it was sealed and `key` is not its."""
        content = self._content()
        if self.path.endswith(SEALED_SUFFIX):
            try:
                content = _core.open_statistics(content, key)
            except EdgewardError as error:
                raise type(error)(f'statistics "{self.path}": {error}') from None
        try:
            return _parsed(content)
        except (ValueError, TypeError, KeyError, RecursionError, MalformedCapture) as error:
            raise MalformedCapture(
                f'statistics "{self.path}": expected a file of version {FORMAT_VERSION}, got '
                f"something else ({error})"
            ) from None

    def _content(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read(MAX_BYTES + 1)

    def _holds(self, content: bytes) -> bool:
        try:
            return self._content() == content
        except OSError:
            return False


def day_in(name: str) -> str:
    """The day that a name of a statistics file says, such as "2026-01-31"; "" of any other name."""
    match = DAY.match(name) if name.endswith((SUFFIX, SEALED_SUFFIX)) else None
    return match[0] if match else ""


class Gathered(NamedTuple):
    """The statistics of a directory, sorted by name, and why others in it are not among them."""

    counted: list[Counted]
    refused: list[str]  # one line for each file


def read_statistics(directory: PathLike, *, key: _core.PrivateKey | None = None) -> list[Counted]:
    """What was counted in `directory`, merged by release of a model and by signature.

    Sorted by name. Models of one name that have other tensors or bins stay apart. `key` is the
    private key that belongs to the capture's encrypt_to. A damaged file is passed over, with a
    warning that names it. Raises OSError, WrongKey.
    """
    gathered = gather_statistics(directory, key)
    for refusal in gathered.refused:
        warnings.warn(refusal, stacklevel=2)
    return gathered.counted


def gather_statistics(directory: PathLike, key: _core.PrivateKey | None) -> Gathered:
    """Raises OSError, WrongKey."""
    merged: dict[tuple[str, ...], list[Counted]] = {}
    refused = []
    for path in files_below(directory, SUFFIX, SEALED_SUFFIX):
        try:
            counted = StatisticsFile(path).read(key)
        except FileNotFoundError:
            continue  # it was evicted meanwhile
        except MalformedCapture as error:
            refused.append(str(error))
            continue
        _merge_into(merged.setdefault(counted[:4], []), counted)
    return Gathered([counted for release in sorted(merged) for counted in merged[release]], refused)


def _merge_into(alike: list[Counted], counted: Counted) -> None:
    for other in alike:
        try:
            other.statistics.merge(counted.statistics)
        except BadInput:
            continue  # other tensors, or other bins
        return
    alike.append(counted)


def _parsed(content: bytes) -> Counted:
    import base64

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
    return Counted(name, version, package_id, signature, _core.Statistics.from_bytes(data))
