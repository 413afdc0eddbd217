"""Window: what was counted in one period of one boot of a device, and its bytes.

Pure. Bytes: docs/capture-format.md, section 5.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edgeward import _core
from edgeward.errors import MalformedCapture

ID_DIGITS = 16
ID = re.compile(f"[0-9a-f]{{{ID_DIGITS}}}")
IDENTITY = ("name", "version", "package_id")
UNKNOWN_BOOT = bytes(16)
MAX_NS = (1 << 63) - 1


class Counted(NamedTuple):
    """Statistics of one signature of one release of a model.

    `columns` are names of the columns of tensors, by the tensor's name.
    """

    name: str
    version: str
    package_id: str
    signature: str
    statistics: _core.Statistics
    columns: Mapping[str, Sequence[str]] = {}


class Window(NamedTuple):
    """What was counted from `begin_ns` up to `end_ns` of the monotonic clock of one boot.

    `id` is its own, 16 hexadecimal digits; `boot_id` has 16 bytes, zeros where it is not known.
    `wall_ns` is the Unix time of `begin_ns`, None as long as nobody knows it. `device` is the
    folder below the directory that was read, "" for that directory itself.
    """

    counted: Counted
    id: str
    boot_id: bytes
    begin_ns: int
    end_ns: int
    wall_ns: int | None = None
    device: str = ""

    @property
    def period(self) -> tuple[bytes, int, int]:
        """`boot_id`, `begin_ns` and `end_ns`."""
        return self.boot_id, self.begin_ns, self.end_ns


def window_bytes(window: Window) -> bytes:
    """What a file holds of it."""
    counted = window.counted
    description = {
        "model": dict(zip(IDENTITY, counted[:3], strict=True)),
        "signature": counted.signature,
        "window": {
            "id": window.id,
            "boot_id": window.boot_id.hex(),
            "begin_ns": window.begin_ns,
            "end_ns": window.end_ns,
            "wall_ns": window.wall_ns or 0,
        },
        "columns": counted.columns,
    }
    return counted.statistics.to_bytes(json.dumps(description))


def parsed(content: bytes) -> Window | Counted:
    """What window_bytes made of a window; of version 1 what was counted, nobody knows when.

    Raises MalformedCapture for other bytes.
    """
    try:
        return _parsed(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedCapture(
            f"expected statistics of version 1 or 2, got something else ({error})"
        ) from None


def _parsed(content: bytes) -> Window | Counted:
    if content.startswith(b"{"):
        return _of_version_1(json.loads(content))
    statistics = _core.Statistics.from_bytes(content)
    return _window(json.loads(statistics.description), statistics)


def _of_version_1(document: Mapping[str, Any]) -> Counted:
    import base64

    if set(document) != {"version", "model", "signature", "statistics"}:
        raise ValueError("other members")
    if document["version"] != 1:
        raise ValueError("another version")
    data = base64.b64decode(document["statistics"], validate=True)
    return _counted(document, _core.Statistics.from_bytes(data))


def _counted(document: Mapping[str, Any], statistics: _core.Statistics) -> Counted:
    """Of a description: members that this version does not know are passed over."""
    name, version, package_id = (_text(document["model"][field]) for field in IDENTITY)
    columns = {tensor: _names(names) for tensor, names in document.get("columns", {}).items()}
    return Counted(name, version, package_id, _text(document["signature"]), statistics, columns)


def _window(description: Mapping[str, Any], statistics: _core.Statistics) -> Window:
    period = description["window"]
    begin_ns, end_ns, wall_ns = (_ns(period[field]) for field in ("begin_ns", "end_ns", "wall_ns"))
    boot_id = bytes.fromhex(period["boot_id"])
    if not ID.fullmatch(period["id"]):
        raise ValueError("an id that is none")
    if len(boot_id) != len(UNKNOWN_BOOT) or begin_ns >= end_ns:
        raise ValueError("a period of no boot, or that ends before it begins")
    counted = _counted(description, statistics)
    is_known = wall_ns >= _core.LEAST_WALL_NS
    return Window(counted, period["id"], boot_id, begin_ns, end_ns, wall_ns if is_known else None)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a name that is no text")
    return value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("names that are no array")
    return tuple(map(_text, value))


def _ns(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NS:
        raise ValueError("a time that is none")
    return value
