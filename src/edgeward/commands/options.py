"""Options that several commands have, and the values that options take."""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgeward.commands import signing
from edgeward.engines.installed import AUTO, KINDS

TRUST_DIRECTORY = "the trust directory (default: $EDGEWARD_TRUST or /var/lib/edgeward/trust)"
ROOT_DAYS = 365
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MOST_S = 366 * 100 * UNITS_S["d"]


def add_engine(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--engine", choices=tuple(KINDS), help=f"default: {default}")


def add_running_engine(parser: argparse.ArgumentParser) -> None:
    """As add_engine, for a command that may run a model as `bench --tune` found best."""
    parser.add_argument(
        "--engine",
        choices=(*KINDS, AUTO),
        help="default: the one for this kind of file; auto: as bench --tune found best",
    )


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
        type=whole_number(1, 36_500, " days"),
        metavar="N",
        default=ROOT_DAYS,
        help=f"how long {noun} holds (default: {ROOT_DAYS})",
    )


def add_signing_keys(parser: argparse.ArgumentParser, help: str, is_required: bool) -> None:
    parser.add_argument(
        "--key",
        metavar="SIGNER",
        action="append",
        required=is_required,
        help=f"{help}: {signing.HELP}",
    )


def whole_number(least: int, most: int, unit: str = "") -> Callable[[str], int]:
    """A type of option: a whole number from `least` to `most`."""

    def read(text: str) -> int:
        with suppress(ValueError):
            if least <= (number := int(text)) <= most:
                return number
        raise argparse.ArgumentTypeError(f'expected {least} to {most}{unit}, got "{text}"')

    return read


def count(text: str) -> int:
    """A whole number whose range the command knows later."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a whole number, got "{text}"') from None


def duration(text: str) -> int:
    """Such as "90s", "30m", "6h" or "2d", in seconds, at least 1."""
    with suppress(ValueError, KeyError):
        if text[:-1].isdecimal() and 1 <= (seconds := int(text[:-1]) * UNITS_S[text[-1]]) <= MOST_S:
            return seconds
    raise argparse.ArgumentTypeError(
        f'expected a duration such as 90s, 30m, 6h or 2d, got "{text}"'
    )


def since(text: str) -> int:
    """A date, or a duration before now, in Unix seconds; not before 1970."""
    with suppress(argparse.ArgumentTypeError):
        return max(0, int(time.time()) - duration(text))
    with suppress(argparse.ArgumentTypeError):
        return date(text)
    raise argparse.ArgumentTypeError(
        f'expected a date such as 2027-01-31, or a duration before now such as 2d, got "{text}"'
    )


def date(text: str) -> int:
    """The first second of a day, or a moment, in UTC, in Unix seconds above 0."""
    with suppress(ValueError, OverflowError):
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        if moment.timestamp() >= 1:
            return int(moment.timestamp())
    raise argparse.ArgumentTypeError(
        f'expected a date such as 2027-01-31, after 1970-01-01, got "{text}"'
    )
