"""BOARDS.md: what boards have measured, drawn from boards/*.json: python benchmarks/boards.py

A file is the document of `edgeward bench --board -o FILE`, and none is edited. The table has one
row a board and one column a question.
"""

from collections.abc import Mapping
from pathlib import Path

from edgeward.commands.bench import BARE, PREDICT, RUN
from edgeward.measuring.peers import INTERPRETER, ONNX_RUN
from edgeward.reports import board_document, board_file, board_report
from edgeward.reports.board_document import LOAD, OPENING, PACKAGES, PER_CALL, START, Line

FOLDER = Path(__file__).with_name("boards")
FILE = Path(__file__).with_name("BOARDS.md")
ONE = f"{PER_CALL}, engine threads: 1"
COLUMNS = {
    "digits.tflite: bare call": ("digits.tflite", ONE, BARE),
    "`run()`": ("digits.tflite", ONE, RUN),
    "`predict(x)`": ("digits.tflite", ONE, PREDICT),
    "LiteRT's Interpreter": ("digits.tflite", ONE, INTERPRETER),
    "first run": ("digits.tflite", LOAD, "first run"),
    "import to first answer": ("digits.tflite", START, "import to first answer"),
    "digits.onnx: `predict(x)`": ("digits.onnx", ONE, PREDICT),
    "ONNX Runtime's `run`": ("digits.onnx", ONE, ONNX_RUN),
    "AES-256-GCM, 1 thread": (PACKAGES, OPENING, "aes-256-gcm, threads: 1"),
    "ChaCha20-Poly1305, 1 thread": (PACKAGES, OPENING, "chacha20-poly1305, threads: 1"),
}
INTRODUCTION = """\
# Boards

What `edgeward bench --board` measured; each row is a file in [boards/](boards), which it links to.
A row of a virtual machine holds for that machine and hour; one of an emulator is no measurement.
To add a board, run this on it while it does nothing else, and draw the page:

    edgeward bench --board -o benchmarks/boards/NAME.json
    python benchmarks/boards.py

`edgeward bench --compare A.json B.json` compares any of them line by line.

"""


def documents() -> dict[str, board_document.Document]:
    """By the names of their files. Raises BadInput for a file that is no such document."""
    return {path.stem: board_file.read(path) for path in sorted(FOLDER.glob("*.json"))}


def page(boards: Mapping[str, board_document.Document]) -> str:
    rows = [
        ["board", "kind", "processor", "measured", *COLUMNS],
        ["---"] * (4 + len(COLUMNS)),
        *(_row(name, document) for name, document in boards.items()),
    ]
    return INTRODUCTION + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, document: board_document.Document) -> list[str]:
    machine = document["machine"]
    lines = {line[:3]: line for line in board_document.lines(document)}
    return [
        f"[{machine['board'] or name}](boards/{name}.json)",
        machine["kind"],
        f"{machine['cpu']}, {machine['usable_cpus']} cores",
        f"{document['date'][:10]}, {document['edgeward']}",
        *(_text(lines.get(key)) for key in COLUMNS.values()),
    ]


def _text(line: Line | None) -> str:
    return board_report.NONE if line is None else line.text


if __name__ == "__main__":
    FILE.write_text(page(documents()))
