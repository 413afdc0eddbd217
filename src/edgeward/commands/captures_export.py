"""`edgeward captures export`: captured inferences, written for other tools."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edgeward import PrivateKey
from edgeward.captures import export
from edgeward.captures.batch import RECORD_BYTES
from edgeward.captures.captured import read_batches
from edgeward.captures.cursor import Cursor
from edgeward.captures.draft_file import remove
from edgeward.captures.pipe_file import STANDARD_OUTPUT, is_pipe
from edgeward.captures.segments import Choice, segment_paths, segment_report
from edgeward.commands.captures_records import (
    add_directory,
    add_key,
    add_model,
    read_key,
    require_captures,
)
from edgeward.errors import BadInput
from edgeward.outcome import Outcome
from edgeward.terminal.progress import Progress
from edgeward.terminal.quoting import quoted

UNNAMED_DEVICE = "device"


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_directory(parser)
    add_key(parser)
    add_argument("--to", choices=export.FORMATS, required=True, help="the format")
    add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        required=True,
        help='a file, "-" for standard output; jsonl: a directory',
    )
    add_model(parser)
    add_argument(
        "--real",
        action="store_true",
        help="tensors in real values, float32, in place of quantised ones",
    )
    add_argument(
        "--since",
        metavar="FILE",
        type=Path,
        help="what no export with this file had; then note it there",
    )
    add_argument("--fleet", metavar="NAME", default="fleet", help="for jsonl")
    add_argument("--device", metavar="NAME", help="of all records (default: their folder in DIR)")


def run(args: argparse.Namespace) -> Outcome:
    output = str(args.output)
    is_folder = args.to == "jsonl" and args.output.is_dir()
    if args.output.exists() and not (is_folder or is_pipe(output)):
        raise BadInput(f'output "{output}": expected no such file yet, got one')
    require_captures(args.directory)
    cursor = None if args.since is None else Cursor(args.since, args.model)
    writer = export.writer(args.to, output, args.fleet, UNNAMED_DEVICE, is_real=args.real)
    written: list[str] = []
    try:
        count = _write(args, writer, cursor)
        if count == 0 and cursor is None:
            raise _nothing(args)
        written = writer.close()
        if cursor is not None:
            cursor.save()
    except BaseException:
        writer.discard()
        remove(written)  # what the cursor does not know would be exported twice
        raise
    if output in STANDARD_OUTPUT:
        return Outcome(None, "")
    report = {"record_count": count, "format": args.to, "files": written}
    lines = [f"{count:,} records", *(f"wrote {quoted(path)}" for path in written)]
    return Outcome(report, "\n".join(lines))


def _write(args: argparse.Namespace, writer: export.Writer, cursor: Cursor | None) -> int:
    """The number of records that `writer` was given; the cursor then has them."""
    key = read_key(args)
    paths = segment_paths(args.directory)
    if cursor is not None:
        paths = [path for path in paths if not cursor.is_whole(path)]
    # Before it is read: what is whole now does not grow meanwhile.
    whole = [path for path in paths if cursor is not None and _is_whole(path, key)]
    batches = read_batches(
        paths, args.directory, export.GROUP_RECORDS, key, Choice(args.model), cursor
    )
    count = 0
    with Progress("bytes", sum(map(_size_bytes, paths))) as progress:
        for batch in batches:
            writer.add(batch if args.device is None else replace(batch, device=args.device))
            count += len(batch)
            progress.advance(RECORD_BYTES * len(batch) + batch.tensor_bytes)
    if cursor is not None:
        for path in whole:
            cursor.add_whole(path)
    return count


def _is_whole(path: str, key: PrivateKey | None) -> bool:
    """Whether it is whole and does not grow."""
    with suppress(FileNotFoundError):  # a running program may delete it
        return segment_report(path, key).state not in ("open", "damaged")
    return False


def _size_bytes(path: str) -> int:
    with suppress(FileNotFoundError):  # a running program may seal or delete it
        return os.path.getsize(path)
    return 0


def _nothing(args: argparse.Namespace) -> BadInput:
    wanted = "records" if args.model is None else f'records of "{args.model}"'
    return BadInput(f'captures "{args.directory}": expected {wanted}, got none')
