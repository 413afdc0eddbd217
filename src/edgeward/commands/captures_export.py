"""`edgeward captures export`: captured inferences, written for other tools."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edgeward import Captured
from edgeward.captures import export
from edgeward.captures.captured import segment_paths
from edgeward.commands.captures_records import add_directory, add_key, add_model, records
from edgeward.errors import BadInput
from edgeward.outcome import Outcome
from edgeward.terminal.progress import Progress
from edgeward.terminal.quoting import quoted

RECORD_BYTES = 192  # of a record beside its tensors, about
UNNAMED_DEVICE = "device"


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_directory(parser)
    add_key(parser)
    add_argument("--to", choices=export.FORMATS, required=True, help="the format")
    add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="a file; jsonl: a directory"
    )
    add_model(parser)
    add_argument("--fleet", metavar="NAME", default="fleet", help="for jsonl")
    add_argument("--device", metavar="NAME", help="of all records (default: their folder in DIR)")


def run(args: argparse.Namespace) -> Outcome:
    if args.output.exists() and not (args.to == "jsonl" and args.output.is_dir()):
        raise BadInput(f'output "{args.output}": expected no such file yet, got one')
    writer = export.writer(args.to, str(args.output), args.fleet, UNNAMED_DEVICE)
    count = 0
    paths = segment_paths(args.directory)
    total = sum(os.path.getsize(path) for path in paths)
    try:
        with Progress("bytes", total) as progress:
            for captured in records(args):
                if args.device is not None:
                    captured = captured._replace(device=args.device)
                writer.add(captured)
                count += 1
                progress.advance(_stored_bytes(captured))
        if count == 0:
            raise _nothing(args)
        written = writer.close()
    except BaseException:
        writer.discard()
        raise
    report = {"record_count": count, "format": args.to, "files": written}
    lines = [f"{count:,} records", *(f"wrote {quoted(path)}" for path in written)]
    return Outcome(report, "\n".join(lines))


def _nothing(args: argparse.Namespace) -> BadInput:
    wanted = "records" if args.model is None else f'records of "{args.model}"'
    return BadInput(f'captures "{args.directory}": expected {wanted}, got none')


def _stored_bytes(captured: Captured) -> int:
    arrays = [*captured.inputs.values(), *captured.outputs.values()]
    return RECORD_BYTES + sum(array.nbytes for array in arrays)
