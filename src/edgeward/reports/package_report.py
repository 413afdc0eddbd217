"""A package as text in columns for people and as a document for JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from edgeward import _core
from edgeward.errors import MalformedKey, MalformedPackage, WrongKey
from edgeward.packages import key_wraps
from edgeward.packages.contents import RECIPE
from edgeward.packages.package import Package
from edgeward.packages.thresholds import least_shifts
from edgeward.reports.inspection import aligned, real_text, shape_text, size
from edgeward.terminal.quoting import quoted

COUNT_MASK = (1 << _core.EPOCH_SHIFT) - 1
LIST_COLUMNS = 60  # of names in a line
ID_DIGITS = 16  # of a key's or package's id, in text


def report(package: Package) -> dict[str, Any]:
    """What the package's head says; its signatures need not have been checked."""
    core = package.core
    return {
        "package": core.path,
        "package_id": package.package_id,
        "name": core.name,
        "version": core.version,
        "release_counter": core.release_counter & COUNT_MASK,
        "min_counter": core.min_counter & COUNT_MASK,
        "epoch": core.release_counter >> _core.EPOCH_SHIFT,
        "target": core.target,
        "publisher": core.publisher,
        "device_id": core.binding.hex() if core.binding else None,
        "created": _core.date_text(core.created_s),
        "not_after": _core.date_text(core.hard_expiry_s) if core.hard_expiry_s else None,
        "signers": [signer.hex() for signer in core.signers],
        "cipher": core.cipher,
        "recipients": _recipients(core),
        "payload_bytes": core.payload_bytes,
        "members": [
            {
                "name": member.name,
                "type": member.type,
                "is_entry": member.is_entry,
                "size_bytes": member.size_bytes,
                "sha256": member.digest.hex(),
            }
            for member in core.members
        ],
        "schema": package.schema,
        "columns": _columns(package),
        "recipe": _recipe(package),
        "reference": _reference(package),
    }


def text(report: Mapping[str, Any]) -> str:
    """The report for people."""
    target = "any machine" if report["target"] == "any" else report["target"]
    if report["device_id"]:
        target += f", only device {report['device_id'][:ID_DIGITS]}"
    order = f"{report['release_counter']}, accepts none below {report['min_counter']}"
    if report["epoch"]:
        order += f", epoch {report['epoch']}"
    rows = [
        ("package", f"{report['name']} {report['version']}, {size(report['payload_bytes'])}"),
        ("id", report["package_id"]),
        ("release", order),
        ("sealed", report["created"]),
        ("expires", report["not_after"] or "never"),
        ("for", target),
        ("signed by", f"{report['publisher']}: {_ids(report['signers'])}"),
        ("encrypted", _encryption(report)),
    ]
    parts = aligned(rows)
    parts += ["", "members"]
    parts += [
        f"  {line}"
        for line in aligned(
            (member["name"], member["type"], size(member["size_bytes"]))
            for member in report["members"]
        )
    ]
    parts += _schema_lines(report["schema"])
    if report["columns"]:
        rows = [(quoted(tensor), _listed(names)) for tensor, names in report["columns"].items()]
        parts += ["", "columns", *(f"  {line}" for line in aligned(rows))]
    if report["recipe"]:
        parts += ["", "recipe", *(f"  {line}" for line in aligned(_recipe_rows(report["recipe"])))]
    if report["reference"]:
        parts += ["", *_reference_lines(report["reference"])]
    return "\n".join(parts)


def _reference(package: Package) -> dict[str, Any] | None:
    """What its reference can tell; None where it has none, or it cannot be read without its key."""
    try:
        reference = package.reference if package.has_key or not package.is_encrypted else None
    except (MalformedPackage, WrongKey):
        return None
    if reference is None:
        return None
    limits = reference.thresholds
    shifts = {} if limits is None else dict(zip(limits.sizes, least_shifts(limits), strict=True))
    return {
        "sample_count": reference.sample_count,
        "least_shifts": [
            {"window": size, "deviations": shift}
            for size, shift in shifts.items()
            if not math.isnan(shift)
        ],
        "shortcomings": reference.shortcomings,
    }


def _reference_lines(report: Mapping[str, Any]) -> list[str]:
    rows = [
        (f"{shift['window']:,} inferences", f"{shift['deviations']:.2f} deviations")
        for shift in report["least_shifts"]
    ]
    lines = [f"reference of {report['sample_count']:,} samples"]
    if rows:
        lines.append("  a window of  shows a mean that has moved by")
        lines += [f"  {line}" for line in aligned(rows)]
    return lines + [f"  note: {shortcoming}" for shortcoming in report["shortcomings"]]


def _columns(package: Package) -> dict[str, list[str]] | None:
    """The names of columns; None where it has none, or they cannot be read without its key."""
    try:
        columns = package.columns if package.has_key or not package.is_encrypted else None
    except (MalformedPackage, WrongKey):
        return None
    return {tensor: list(names) for tensor, names in columns.items()} if columns else None


def _recipe(package: Package) -> dict[str, Any] | None:
    """The recipe's document; None where there is none that can be read here."""
    try:
        is_readable = package.has_key or not package.is_encrypted
        if not is_readable or package.recipe is None:
            return None
        document: dict[str, Any] = json.loads(package.read(RECIPE))
    except (MalformedPackage, WrongKey):
        return None
    return document


def _recipe_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row for each input, and one for the boxes: what is said of them."""
    parts = {**document.get("inputs", {})}
    if "boxes" in document:
        parts["boxes"] = document["boxes"]
    return [
        (name, ", ".join(f"{field} {_plain(value)}" for field, value in fields.items()))
        for name, fields in parts.items()
    ]


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _listed(names: list[str]) -> str:
    """As many of the names as stand in a line, and how many there are."""
    ends = accumulate(len(name) + len(", ") for name in names)
    count = sum(end <= LIST_COLUMNS for end in ends)
    text = ", ".join(quoted(name) for name in names[:count])
    return text if count == len(names) else f"{text}, ... ({len(names)})"


def _encryption(report: Mapping[str, Any]) -> str:
    if report["cipher"] is None:
        return "no"
    recipients = report["recipients"]
    if recipients is None:
        return f"{report['cipher']}; no readable .ewk file with wrapped keys beside it"
    count = "1 device" if len(recipients) == 1 else f"{len(recipients)} devices"
    return f"{report['cipher']}, for {count}: {_ids(recipients)}"


def _ids(ids: list[str]) -> str:
    return _listed([key_id[:ID_DIGITS] for key_id in ids]) or "nobody"


def _recipients(core: _core.Package) -> list[str] | None:
    if core.cipher is None:
        return None
    try:
        wraps = _core.read_wraps(key_wraps.read(core))
    except (WrongKey, MalformedKey, OSError):
        return None
    return [wrap.device_id.hex() for wrap in wraps]


def _schema_lines(schema: Mapping[str, Any]) -> list[str]:
    """The publisher's word, which may be anything: what does not look like a schema is left out."""
    lines: list[str] = []
    try:
        for name, signature in schema.items():
            rows = [
                (
                    side,
                    *map(str, (spec["name"], spec["dtype"])),
                    shape_text(spec["shape"]),
                    _real(spec),
                )
                for side in ("input", "output")
                for spec in signature[f"{side}s"]
            ]
            lines += ["", f"signature {quoted(name)}", *(f"  {line}" for line in aligned(rows))]
    except (TypeError, KeyError, ValueError, IndexError, AttributeError):
        return []
    return lines


def _real(spec: Mapping[str, Any]) -> str:
    return real_text(spec["quantization"])
