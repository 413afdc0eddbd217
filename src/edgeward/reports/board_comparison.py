"""Boards beside each other: for each line that all of them have, the ratio to the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edgeward.errors import BadInput
from edgeward.paths import PathLike
from edgeward.reports import board_file
from edgeward.reports.board_document import CAPTURE, OVER, Document, Line, lines
from edgeward.reports.board_report import fact_rows, warnings
from edgeward.reports.inspection import aligned
from edgeward.terminal.quoting import quoted

LEAST = 2

Boards = Mapping[str, Document]  # by the name under which each is shown


class Row(NamedTuple):
    """One line of each board, in the boards' order."""

    lines: Sequence[Line]

    @property
    def part(self) -> str:
        return self.lines[0].part

    @property
    def title(self) -> str:
        return self.lines[0].title

    @property
    def ratios(self) -> list[float | None]:
        """Of each further board's number to the first's; None where it would say nothing.

        That is of a ratio, which is one already, and of a difference, which may be chance.
        """
        first = self.lines[0].value
        has_ratio = first > 0 and OVER not in self.title and self.title != CAPTURE
        return [line.value / first if has_ratio else None for line in self.lines[1:]]


def read(paths: Sequence[PathLike]) -> dict[str, Document]:
    """The documents in the files, named A, B and so on with their files and machines.

    Raises OSError, and BadInput for fewer than two and for other files.
    """
    if len(paths) < LEAST:
        raise BadInput(f"--compare: expected at least {LEAST} files, got {len(paths)}")
    boards: dict[str, Document] = {}
    for index, path in enumerate(paths):
        document = board_file.read(path)
        boards[f"{letter(index)}: {path}"] = document
    return boards


def letter(index: int) -> str:
    """A to Z, then AA and so on."""
    last = chr(ord("A") + index % 26)
    return last if index < 26 else letter(index // 26 - 1) + last


def rows(boards: Boards) -> list[Row]:
    """Those lines that every board has, in the first one's order."""
    by_key = [{line[:3]: line for line in lines(document)} for document in boards.values()]
    first, *others = by_key
    return [
        Row([line, *(other[key] for other in others)])
        for key, line in first.items()
        if all(key in other for other in others)
    ]


def lone_rows(boards: Boards) -> list[tuple[str, str]]:
    """The lines that some boards lack, and which have them."""
    owners: dict[tuple[str, ...], list[str]] = {}
    for name, document in boards.items():
        for line in lines(document):
            owners.setdefault((line.part, line.title, line.name), []).append(name.split(":")[0])
    return [
        (": ".join(key), ", ".join(names))
        for key, names in owners.items()
        if len(names) < len(boards)
    ]


def head(boards: Boards) -> list[str]:
    first, *others = (name.split(":")[0] for name in boards)
    return ["", first, *(cell for name in others for cell in (name, f"{name} / {first}"))]


def cells(row: Row) -> list[str]:
    first, *others = row.lines
    texts = [first.name, first.text]
    for line, ratio in zip(others, row.ratios, strict=True):
        texts += [line.text, "" if ratio is None else f"{ratio:.2f}"]
    return texts


def fact_table(boards: Boards) -> list[list[str]]:
    """A row for each fact of the machines, a column for each board."""
    columns = [dict(fact_rows(document["machine"])) for document in boards.values()]
    return [["", *boards], *([name, *(column[name] for column in columns)] for name in columns[0])]


def text(boards: Boards) -> str:
    parts = [[f"{name}, {_machine(document)}" for name, document in boards.items()]]
    parts += [[f"{name}: {note}" for note in warnings(doc)] for name, doc in boards.items()]
    compared = rows(boards)
    for part, title in dict.fromkeys((row.part, row.title) for row in compared):
        chosen = [row for row in compared if (row.part, row.title) == (part, title)]
        parts.append([f"{part}: {title}", *aligned([head(boards), *map(cells, chosen)])])
    absent = lone_rows(boards)
    if absent:
        parts.append(["not on every board", *aligned(absent)])
    return "\n\n".join("\n".join(map(quoted, part)) for part in parts if part)


def _machine(document: Document) -> str:
    machine = document["machine"]
    board = machine["board"] or machine["kind"]
    return f"{board}, {machine['cpu']}, {machine['usable_cpus']} cores, {document['date']}"


def document(boards: Boards) -> dict[str, object]:
    """The comparison as plain values."""
    return {
        "edgeward_board_comparison": 1,
        "boards": list(boards),
        "rows": [
            {
                "part": row.part,
                "title": row.title,
                "name": row.lines[0].name,
                "unit": row.lines[0].unit,
                "is_less_better": row.lines[0].is_less_better,
                "values": [line.value for line in row.lines],
                "ratios": row.ratios,
            }
            for row in rows(boards)
        ],
        "not_on_every_board": [list(pair) for pair in lone_rows(boards)],
    }
