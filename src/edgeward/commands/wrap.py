"""`edgeward wrap`: which devices can open an encrypted package."""

import argparse
from pathlib import Path

from edgeward import BadInput, Package, PublicKey
from edgeward.commands.options import add_trust, date
from edgeward.outcome import Outcome
from edgeward.reports import package_report


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument("package", metavar="PACKAGE", type=Path, help="a .ewp file")
    add_trust(parser)
    add_argument(
        "--to", metavar="KEY", type=Path, nargs="+", default=[], help="devices to add: .pub keys"
    )
    add_argument("--remove", metavar="KEY", type=Path, help="a device to take out: its .pub key")
    add_argument("--not-before", metavar="DATE", type=date, default=0, help="from this day on")
    add_argument("--not-after", metavar="DATE", type=date, default=0, help="until this day")


def run(args: argparse.Namespace) -> Outcome:
    if not args.to and args.remove is None:
        raise BadInput("wrap: expected --to or --remove with the .pub key of a device, got neither")
    if args.to:
        package = Package.open(args.package, trust=args.trust, key=args.key)
        devices = [PublicKey.read(str(path)) for path in args.to]
        package.add_recipients(devices, not_before_s=args.not_before, not_after_s=args.not_after)
    else:
        package = Package.unverified(args.package)
    if args.remove is not None:
        package.remove_recipient(PublicKey.read(str(args.remove)))
    report = package_report.report(package)
    recipients = report["recipients"] or []
    return Outcome(report, f"{args.package}: {len(recipients)} device(s) can open it")
