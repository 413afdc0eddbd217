"""Description: what the writer of a ring says of its records: the model, the names of tensors."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edgeward.captures.quantization import Quantization


class Description(NamedTuple):
    """Empty where the writer says nothing usable. Names are text that every file can hold."""

    model: str = ""
    version: str = ""
    package_id: str = ""
    signature: str = ""
    has_reservoir: bool = False
    inputs: tuple[str, ...] = ()  # names, each another
    outputs: tuple[str, ...] = ()
    redact: tuple[dict[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    quantizations: Mapping[tuple[str, str], Quantization] = {}
    document: bytes = b""  # what it was parsed from

    @classmethod
    def parsed(cls, payload: bytes) -> "Description":
        """Accepts any bytes: the payload is whatever a program wrote."""
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            return UNDESCRIBED
        fields = _mapping(document)
        model = _mapping(fields.get("model"))
        inputs = _names(fields.get("inputs"), "input")
        outputs = _names(fields.get("outputs"), "output")
        return cls(
            _text(model.get("name")),
            _text(model.get("version")),
            _text(model.get("package_id")),
            _text(fields.get("signature")),
            bool(fields.get("has_reservoir")),
            inputs,
            outputs,
            _mappings(fields.get("redact")),
            _texts(fields.get("labels")),
            {
                **_quantizations("inputs", inputs, fields.get("inputs")),
                **_quantizations("outputs", outputs, fields.get("outputs")),
            },
            payload,
        )

    @property
    def title(self) -> str:
        return title_of(self.model, self.version)

    def name(self, is_output: bool, index: int) -> tuple[str, str]:
        """The side and the name of a tensor."""
        side, names = ("outputs", self.outputs) if is_output else ("inputs", self.inputs)
        return side, names[index] if index < len(names) else f"{side[:-1]}_{index}"


UNDESCRIBED = Description()


def title_of(model: str, version: str) -> str:
    """What a reader is shown of a release of a model."""
    return " ".join(filter(None, (model or "unnamed", version)))


def _names(rows: object, side: str) -> tuple[str, ...]:
    """The tensors' names; the index of a tensor where the description does not name it.

    Of two tensors of one name the later has its index behind it.
    """
    names: list[str] = []
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        name = _text(_mapping(row).get("name"), f"{side}_{index}")
        while name in names:
            name = f"{name}_{index}"
        names.append(name)
    return tuple(names)


def _mappings(rows: object) -> tuple[dict[str, Any], ...]:
    return tuple(row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()


def _texts(rows: object) -> tuple[str, ...]:
    return tuple(map(_text, rows)) if isinstance(rows, list) else ()


def _quantizations(
    side: str, names: Sequence[str], rows: object
) -> dict[tuple[str, str], Quantization]:
    if not isinstance(rows, list):
        return {}
    parsed = (Quantization.parsed(_mapping(row).get("quantization")) for row in rows)
    return {
        (side, name): quantization
        for name, quantization in zip(names, parsed, strict=True)
        if quantization is not None
    }


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object, default: str = "") -> str:
    """JSON can spell half of a surrogate pair, which no file can hold: it is shown as an escape."""
    text = value if isinstance(value, str) else default
    return text.encode(errors="backslashreplace").decode()
