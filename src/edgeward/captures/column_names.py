"""Names of columns: what stands along the last dimension of a model's tensors."""

import json
from collections.abc import Iterable, Mapping, Sequence

from edgeward import _core
from edgeward.errors import BadInput

ColumnNames = Mapping[str, Sequence[str]]  # by the name of a tensor
MOST_BYTES = 512 << 10  # of their JSON, of the mebibyte that a description of statistics may have


def require_columns(columns: ColumnNames, signatures: Iterable[_core.Signature]) -> None:
    """Raises BadInput for a tensor that no signature has, and for names that do not fit it.

    There are as many names as the tensor's last dimension has elements, each once; any number
    where that dimension is open.
    """
    counts: dict[str, set[int]] = {}
    for signature in signatures:
        for spec in (*signature.inputs, *signature.outputs):
            shape = (-1,) if spec.shape is None else spec.shape
            counts.setdefault(spec.name, set()).add(shape[-1] if shape else 0)
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


def described(columns: ColumnNames) -> dict[str, tuple[str, ...]]:
    """As statistics carry them: none of them when they take too much room."""
    size_bytes = len(json.dumps({tensor: list(names) for tensor, names in columns.items()}))
    if size_bytes > MOST_BYTES:
        return {}
    return {tensor: tuple(names) for tensor, names in columns.items()}
