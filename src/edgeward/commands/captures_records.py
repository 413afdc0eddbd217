"""What a step of `edgeward captures` is asked of: a directory, a model, and whose key."""

import argparse
import datetime
import os
from pathlib import Path

from edgeward import PrivateKey
from edgeward.captures import rings
from edgeward.captures.folders import files_below
from edgeward.captures.segments import segment_paths
from edgeward.captures.statistics_file import SUFFIXES
from edgeward.errors import BadInput

NS = 1_000_000_000


def add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="the directory of the Capture")


def add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        help="the private key, for what was captured with encrypt_to",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="of this model alone")


def read_key(args: argparse.Namespace) -> PrivateKey | None:
    return PrivateKey.read(str(args.key)) if args.key else None


def require_captures(directory: Path) -> None:
    """Raises BadInput for a directory in which no Capture has written, OSError."""
    if segment_paths(directory) or files_below(directory, *SUFFIXES):
        return
    # A Capture that has kept nothing yet has rings.
    if os.path.isdir(rings.directory_of(directory)):
        return
    raise BadInput(
        f'captures "{directory}": expected segments or statistics in it or below it, got none'
    )


def timestamp(time_ns: int) -> str:
    """In UTC, to the second."""
    moment = datetime.datetime.fromtimestamp(time_ns / NS, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
