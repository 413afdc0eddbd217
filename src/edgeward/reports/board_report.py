"""A board and what was measured on it, in words and in columns for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeward.reports.board_document import (
    P99,
    PER_CALL,
    Document,
    Line,
    lines,
)
from edgeward.reports.inspection import aligned, columns, engine_name, size
from edgeward.terminal.prose import folded
from edgeward.terminal.quoting import quoted

COLUMNS = 80
NONE = "not told"
BELOW_ZERO = "An addition below zero is as much as chance moves such a difference."
NOT_MEASURED = "An emulator: times say nothing of a board, so this is not a measurement."
SHARED = "A virtual machine: other guests of its host take part in these times."


def text(document: Document) -> str:
    machine = document["machine"]
    parts = [
        [
            f"Edgeward {document['edgeward']}, {document['date']}, {document['took_s']:g} s",
            *warnings(document),
        ],
        _folded_rows([*fact_rows(machine), *engine_rows(document)]),
        columns([["", "before", "after"], *condition_rows(document)]),
    ]
    groups = grouped(lines(document))
    for title, rows in groups.items():
        if P99 in title:
            continue  # it stands beside the time per call
        cells = [[quoted(row.name), row.text] for row in rows]
        if PER_CALL in title:
            tails = groups[title.replace(PER_CALL, P99)]
            heads = ["", "per call", "p99"]
            pairs = zip(cells, tails, strict=True)
            cells = [heads, *([*row, tail.text] for row, tail in pairs)]
        parts.append([quoted(title), *columns(cells)])
    absent = absences(document)
    if absent:
        parts.append(["left out", *_folded_rows(absent)])
    if any(model["capture"] for model in document["models"]):
        parts.append([BELOW_ZERO])
    return "\n\n".join("\n".join(part) for part in parts)


def grouped(measured: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines below their titles, a title once."""
    groups: dict[str, list[Line]] = {}
    for line in measured:
        groups.setdefault(f"{line.part}: {line.title}", []).append(line)
    return groups


def warnings(document: Document) -> list[str]:
    """What a reader must know before any number."""
    machine = document["machine"]
    note = {"emulator": NOT_MEASURED, "virtual machine": SHARED}.get(machine["kind"])
    return [] if note is None else [f"{note} ({machine['kind_reason']})"]


def fact_rows(machine: Document) -> list[tuple[str, str]]:
    cores = ", ".join(_core_text(core) for core in machine["cores"])
    quota = machine["cpu_quota"]
    limit = machine["memory_limit_bytes"]
    swap = machine["swap_bytes"]
    return [
        ("board", machine["board"] or NONE),
        ("kind", machine["kind"]),
        ("processor", f"{machine['cpu']} ({machine['architecture']})"),
        ("cores", cores or NONE),
        ("usable cores", f"{machine['usable_cpus']}"),
        ("cgroup", f"{'no quota' if quota is None else f'{quota:g} processors'}, "
                   f"{'no memory limit' if limit is None else f'memory {size(limit)}'}"),
        ("memory", f"{size(machine['memory_bytes'])}, swap {NONE if swap is None else size(swap)}, "
                   f"pages of {machine['page_bytes']} bytes"),
        ("system", f"{machine['system']}, kernel {machine['kernel']}, {machine['libc']}"),
        ("python", f"{machine['python']}, numpy {machine['numpy']}"),
        ("crypto", machine["libcrypto"]),
    ]  # fmt: skip


def _core_text(core: Document) -> str:
    capacity = "" if core["capacity"] is None else f", capacity {core['capacity']}"
    at_most = "" if core["max_mhz"] is None else f", {core['max_mhz']:g} MHz"
    return f"{core['count']} x {core['name']}{at_most}{capacity}"


def condition_rows(document: Document) -> list[list[str]]:
    """A name, then what it was before and after the measurement; first what all machines tell."""
    both = document["before"], document["after"]
    sensors = dict.fromkeys(name for moment in both for name in moment["temperatures_c"])
    rows = [
        ["governor", *(", ".join(moment["governors"]) or NONE for moment in both)],
        ["frequency", *(_frequencies(moment["frequencies_mhz"]) for moment in both)],
        *(
            [f"temperature, {name}", *(_degrees(m["temperatures_c"].get(name)) for m in both)]
            for name in sensors
        ),
        ["load average", *(_number(moment["load_average"]) for moment in both)],
        ["stolen by the host's other guests, since boot",
         *(NONE if m["stolen_s"] is None else f"{m['stolen_s']:.1f} s" for m in both)],
    ]  # fmt: skip
    if any(moment["throttled"] is not None for moment in both):
        rows.append(["firmware", *(_throttled(moment["throttled"]) for moment in both)])
    if any(moment["throttle_count"] is not None for moment in both):
        rows.append(["throttled, times since boot", *(_number(m["throttle_count"]) for m in both)])
    return [[quoted(cell) for cell in row] for row in rows]


def _frequencies(mhz: Sequence[float]) -> str:
    if not mhz:
        return NONE
    least, most = min(mhz), max(mhz)
    return f"{most:.0f} MHz" if least == most else f"{least:.0f} to {most:.0f} MHz"


def _degrees(degrees: float | None) -> str:
    return NONE if degrees is None else f"{degrees:.1f} °C"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:g}"


def _throttled(words: Sequence[str] | None) -> str:
    return NONE if words is None else ", ".join(words) or "nothing throttled"


def absences(document: Document) -> list[tuple[str, str]]:
    """What could not be measured, and why."""
    rows = [(part["part"], part["reason"]) for part in document["left_out"]]
    for model in document["models"]:
        failures: dict[str, Any] = {}
        for part in model["runs"]:
            failures |= part["failures"]
        if model["capture"] is not None:
            failures |= model["capture"]["failures"]
        rows += [(f"{model['name']}: {name}", why) for name, why in failures.items()]
    return rows


def engine_rows(document: Document) -> list[tuple[str, str]]:
    """The models, and what ran them."""
    return [
        (model["name"], f"{size(model['size_bytes'])}, {engine_name(model['engine'])}")
        for model in document["models"]
    ]


def _folded_rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    indent = max(len(name) for name, _ in rows) + 2
    return [
        part for line in aligned(rows) for part in folded(line, COLUMNS, min(indent, COLUMNS // 2))
    ]
