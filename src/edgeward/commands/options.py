"""Options that several commands have, and the values that options take."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from edgeward.engines.installed import KINDS

TRUST_DIRECTORY = "the trust directory (default: $EDGEWARD_TRUST or /var/lib/edgeward/trust)"
ROOT_DAYS = 365


def add_engine(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--engine", choices=tuple(KINDS), help=f"default: {default}")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """The options that say which trust root and which device key open a package."""
    parser.add_argument("--trust", metavar="DIR", type=Path, help=TRUST_DIRECTORY)
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        help="the device's private key (default: as docs/cli.md says)",
    )


def add_root_days(parser: argparse.ArgumentParser, noun: str) -> None:
    parser.add_argument(
        "--days",
        type=days,
        metavar="N",
        default=ROOT_DAYS,
        help=f"how long {noun} holds (default: {ROOT_DAYS})",
    )


def add_signing_keys(parser: argparse.ArgumentParser, help: str, is_required: bool) -> None:
    parser.add_argument(
        "--key", metavar="FILE", type=Path, action="append", required=is_required, help=help
    )


def days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f'expected 1 to 36500 days, got "{text}"')
    return int(text)


def date(text: str) -> int:
    """The first second of a day, or a moment, in UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected a date such as 2027-01-31, got "{text}"'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp())
