"""`edgeward captures show`: captured inferences, drawn where they look like something."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import Captured, _core
from edgeward.captures.captured import read_last
from edgeward.captures.description import title_of
from edgeward.captures.segments import Choice
from edgeward.commands.captures_records import (
    add_directory,
    add_key,
    add_model,
    read_key,
    require_captures,
    timestamp,
)
from edgeward.commands.options import whole_number
from edgeward.durable import replace_file
from edgeward.errors import BadInput
from edgeward.outcome import Outcome
from edgeward.reports.inspection import best_of, best_report, has_labels, number
from edgeward.terminal.drawing import drawing_of, fitted, grey
from edgeward.terminal.page import Section, page
from edgeward.terminal.picture import Ink, Tile, ink, lines, write_contact_sheet
from edgeward.terminal.prose import folded
from edgeward.terminal.quoting import quoted

MAX_LAST = 1_000_000
SHOWN_VALUES = 8
CURVE_LINES = 10
SHEET_CURVE = 224, 112  # width, height in pixels
SHEET_MOST = 448  # pixels along a side
CAPTION_LETTERS, CAPTION_LINES = 22, 2  # below a tile of the PNG


def add(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)
    add_key(parser)
    parser.add_argument(
        "--last",
        type=whole_number(1, MAX_LAST),
        metavar="N",
        default=1,
        help="how many (default: 1)",
    )
    add_model(parser)
    parser.add_argument("--reason", choices=_core.REASONS, help="kept for this reason")
    parser.add_argument("--png", metavar="FILE", type=Path, help="write what is drawn as a PNG")
    parser.add_argument(
        "--html", metavar="FILE", type=Path, help="write it as a page, with all that is told"
    )


def run(args: argparse.Namespace) -> Outcome:
    require_captures(args.directory)
    choice = Choice(args.model, args.reason)
    last = read_last(args.directory, args.last, read_key(args), choice)
    report: dict[str, Any] = {"records": [_report(captured) for captured in last]}
    columns = shutil.get_terminal_size().columns
    # What goes into a file need not fill the terminal too.
    how = ink(sys.stdout, os.environ) if args.png is None and args.html is None else None
    parts = ["\n".join(_text(captured, columns, how)) for captured in last]
    if args.png is not None or args.html is not None:
        _write_sheets(args, last)
    for form in ("png", "html"):
        path = getattr(args, form)
        if path is not None:
            report[form] = str(path)
            parts.append(f"wrote {quoted(str(path))}")
    return Outcome(report, "\n\n".join(parts) or "nothing captured")


# --- the document ------------------------------------------------------------------------------


def _report(captured: Captured) -> dict[str, Any]:
    facts = captured._asdict()
    for side in ("inputs", "outputs"):
        facts[side] = {
            name: {
                "dtype": captured.dtypes[side, name],
                "shape": list(array.shape),
                "quantization": _quantization_report(captured, side, name),
                "values": array,
            }
            for name, array in facts[side].items()
        }
    for side, name, array in _tensors(captured):
        if _has_labels(captured, side, array):
            facts[side][name]["best"] = best_report(array.reshape(-1), captured.labels)
    del facts["dtypes"], facts["quantizations"]
    facts["user"] = captured.user.hex()
    facts["reasons"] = list(captured.reasons)
    facts["labels"] = list(captured.labels)
    facts["ring_id"] = f"{captured.ring_id:016x}"
    return facts


def _quantization_report(captured: Captured, side: str, name: str) -> dict[str, Any] | None:
    quantization = captured.quantizations.get((side, name))
    return None if quantization is None else quantization.report()


# --- text --------------------------------------------------------------------------------------


def _text(captured: Captured, columns: int, how: Ink | None) -> list[str]:
    """Its lines. Pictures are as wide as the terminal, and not higher than two such squares.

    None are drawn where `how` is None.
    """
    text = [*folded(quoted(_title(captured)), columns, 2), *map(quoted, _facts(captured))]
    for side, name, array in _tensors(captured):
        text.append(quoted(_tensor_line(captured, side, name, array)))
        picture = None if how is None else drawing_of(array, columns, 2 * CURVE_LINES)
        if how is not None and picture is not None and not _has_labels(captured, side, array):
            height, width = picture.shape[:2]
            text += lines(grey(picture), max(1, min(columns, 2 * columns * width // height)), how)
    return text


def _title(captured: Captured) -> str:
    model = title_of(captured.model, captured.version)
    device = f"{captured.device}: " if captured.device else ""
    return (
        f"{device}{model}, {timestamp(captured.time_ns)}, "
        f"{captured.latency_ns / 1e3:,.1f} µs, {', '.join(captured.reasons)}, "
        f"number {captured.sequence} of ring {captured.ring_id:016x}"
    )


def _facts(captured: Captured) -> list[str]:
    user = [f"user      {captured.user!r}"] if captured.user else []
    return user + [f"redact    {_rule(rule)}" for rule in captured.redact]


def _rule(rule: dict[str, Any]) -> str:
    """A redaction as its ring's description has it: any JSON object."""
    rest = {name: value for name, value in rule.items() if name not in ("rule", "tensor")}
    head = f"{rule.get('rule', '?')} {rule.get('tensor', '?')}"
    return f"{head} {json.dumps(rest, ensure_ascii=False)}" if rest else head


def _tensors(captured: Captured) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Side, name and real values of each; as they are stored where no scale fits."""
    for side in ("inputs", "outputs"):
        for name, array in getattr(captured, side).items():
            quantization = captured.quantizations.get((side, name))
            is_whole = captured.dtypes[side, name] == array.dtype.name
            if quantization is not None and is_whole and quantization.fits(array.shape):
                yield side, name, quantization.real(array[None])[0]
            else:
                yield side, name, array


def _tensor_line(captured: Captured, side: str, name: str, array: NDArray[Any]) -> str:
    stored = getattr(captured, side)[name]
    head = f"{side[:-1]:<8}  {name}  {captured.dtypes[side, name]} {list(stored.shape)}"
    if _has_labels(captured, side, array):
        return f"{head}  {_scores(array.reshape(-1), captured.labels)}"
    if drawing_of(array, 1, 1) is None:
        return f"{head}  {_values(array)}"
    least, greatest = number(array.min()), number(array.max())
    is_curve = sum(extent != 1 for extent in array.shape) == 1
    return f"{head}  {f'{least} to' if is_curve else f'black {least}, white'} {greatest}"


def _has_labels(captured: Captured, side: str, array: NDArray[Any]) -> bool:
    """Whether it is one row of scores, one for each class."""
    return side == "outputs" and has_labels(array, captured.labels)


def _scores(scores: NDArray[Any], labels: tuple[str, ...]) -> str:
    return "  ".join(f"{labels[index]} {number(scores[index])}" for index in best_of(scores))


def _values(array: NDArray[Any]) -> str:
    flat = array.reshape(-1)
    shown = "  ".join(number(value) for value in flat[:SHOWN_VALUES])
    return shown + (f"  … {flat.size:,} in all" if flat.size > SHOWN_VALUES else "")


# --- contact sheets ----------------------------------------------------------------------------


def _write_sheets(args: argparse.Namespace, last: list[Captured]) -> None:
    sections = [_section(captured) for captured in last]
    if not any(section.tiles for section in sections):
        raise BadInput(
            f'captures "{args.directory}": expected a record that can be drawn as a picture, '
            "curve or spectrogram, got none"
        )
    title = f"Captures of {args.directory}"
    if args.png is not None:
        tiles = [tile for section in sections for tile in section.tiles]
        write_contact_sheet(args.png, quoted(title), [_captioned(tile) for tile in tiles])
    if args.html is not None:
        replace_file(args.html, page(title, sections).encode())


def _section(captured: Captured) -> Section:
    text, drawings = [*_facts(captured)], []
    answer = ""
    for side, name, array in _tensors(captured):
        text.append(_tensor_line(captured, side, name, array))
        if _has_labels(captured, side, array):
            answer = answer or captured.labels[int(np.argmax(array))]
        else:
            picture = drawing_of(array, *SHEET_CURVE)
            if picture is not None:
                drawn = f"{number(array.min())} to {number(array.max())}"
                drawings.append((fitted(picture, SHEET_MOST), f"{captured.sequence} {name}", drawn))
    named = f": {answer}" if answer else ""
    tiles = [Tile(picture, f"{head}{named}, {drawn}") for picture, head, drawn in drawings]
    return Section(_title(captured), text, tiles)


def _captioned(tile: Tile) -> Tile:
    """For a tile of the PNG, whose caption has two short lines."""
    lines = textwrap.wrap(
        quoted(tile.caption), CAPTION_LETTERS, max_lines=CAPTION_LINES, placeholder=".."
    )
    return Tile(tile.picture, "\n".join(lines))
