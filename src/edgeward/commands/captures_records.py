"""The captured records that a step of `edgeward captures` reads: which, and with whose key."""

import argparse
import datetime
from collections.abc import Iterator
from pathlib import Path

from edgeward import Captured, PrivateKey, read_captures

NS = 1_000_000_000


def add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="the directory of the Capture")


def add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        help="the private key, for records that were captured with encrypt_to",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="of this model alone")


def read_key(args: argparse.Namespace) -> PrivateKey | None:
    return PrivateKey.read(str(args.key)) if args.key else None


def records(args: argparse.Namespace) -> Iterator[Captured]:
    """The records of --model in the directory, or all of them."""
    for captured in read_captures(args.directory, key=read_key(args)):
        if args.model is None or captured.model == args.model:
            yield captured


def timestamp(time_ns: int) -> str:
    """In UTC, to the second."""
    moment = datetime.datetime.fromtimestamp(time_ns / NS, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
