"""Names of columns: what stands along the last dimension of a model's tensors.

In a package they are columns.json; its fields are in docs/package-format.md, section 9.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from edgeward import _core
from edgeward.errors import BadInput, MalformedPackage

FORMAT_VERSION = 1
MOST_BYTES = 1 << 20

ColumnNames = Mapping[str, Sequence[str]]  # by the name of a tensor


def require_columns(columns: ColumnNames, signatures: Iterable[_core.Signature]) -> None:
    """Raises BadInput for a tensor that no signature has, and for names that do not fit it.

    There are as many names as the tensor's last dimension has elements, each once; any number
    where that dimension is open.
    """
    counts: dict[str, set[int]] = {}
    for signature in signatures:
        for spec in (*signature.inputs, *signature.outputs):
            counts.setdefault(spec.name, set()).add(spec.shape[-1] if spec.shape else 0)
    for tensor, names in columns.items():
        if tensor not in counts:
            known = ", ".join(f'"{name}"' for name in counts)
            raise BadInput(f'columns: expected tensors of the model\'s, {known}, got "{tensor}"')
        for count in counts[tensor] - {-1, len(names)}:
            raise BadInput(f'columns: expected {count} names for "{tensor}", got {len(names)}')
        again = [name for index, name in enumerate(names) if name in names[:index]]
        if again:
            raise BadInput(
                f'columns: expected each name for "{tensor}" once, got "{again[0]}" again'
            )


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
