"""`edgeward wrap`: which devices can open an encrypted package."""

import argparse
from pathlib import Path

from edgeward import BadInput, Package, PublicKey
from edgeward.commands.options import add_trust, date
from edgeward.outcome import Outcome
from edgeward.packages import key_wraps
from edgeward.reports import package_report


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument("package", metavar="PACKAGE", type=Path, help="a .ewp file")
    add_trust(parser)
    add_argument(
        "--to", metavar="KEY", type=Path, nargs="+", default=[], help="devices to add: .pub keys"
    )
    add_argument(
        "--remove",
        metavar="KEY",
        type=Path,
        nargs="+",
        default=[],
        help="devices to take out: .pub keys",
    )
    add_argument("--not-before", metavar="DATE", type=date, default=0, help="from this day on")
    add_argument("--not-after", metavar="DATE", type=date, default=0, help="until this day")


def run(args: argparse.Namespace) -> Outcome:
    if not args.to and not args.remove:
        raise BadInput("wrap: expected --to or --remove with .pub keys of devices, got neither")
    removed = [PublicKey.read(str(path)) for path in args.remove]
    if args.to:
        package = Package.open(args.package, trust=args.trust, key=args.key)
        devices = [PublicKey.read(str(path)) for path in args.to]
        if removed:
            key_wraps.without(package.core, removed)  # if it cannot be done, nothing is
        package.add_recipients(devices, not_before_s=args.not_before, not_after_s=args.not_after)
    else:
        package = Package.unverified(args.package)
    if removed:
        package.remove_recipients(removed)
    report = package_report.report(package)
    recipients = report["recipients"] or []
    counted = "1 device" if len(recipients) == 1 else f"{len(recipients)} devices"
    return Outcome(report, f"{args.package}: {counted} can open it")
