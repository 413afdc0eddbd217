"""columns.json, the names of columns in a package, as docs/package-format.md, section 9, has it."""

import json

from edgeward.captures.column_names import ColumnNames
from edgeward.errors import MalformedPackage

FORMAT_VERSION = 1
MOST_BYTES = 1 << 20


def to_bytes(columns: ColumnNames) -> bytes:
    document = {
        "version": FORMAT_VERSION,
        "columns": {tensor: list(names) for tensor, names in columns.items()},
    }
    return json.dumps(document, ensure_ascii=False).encode()


def from_bytes(data: bytes, where: str) -> dict[str, tuple[str, ...]]:
    """What to_bytes made. Raises MalformedPackage, beginning with `where`."""
    try:
        if len(data) > MOST_BYTES:
            raise ValueError(f"{len(data)} bytes")
        document = json.loads(data)
        if set(document) != {"version", "columns"} or document["version"] != FORMAT_VERSION:
            raise ValueError("other fields, or another version")
        return {tensor: _names(names) for tensor, names in document["columns"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedPackage(
            f"{where}: columns.json: expected names of version {FORMAT_VERSION}, got something "
            f"else ({error})"
        ) from None


def _names(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("names that are no list of texts")
    if len(set(names)) != len(names):
        raise ValueError("a name twice")
    return tuple(names)
