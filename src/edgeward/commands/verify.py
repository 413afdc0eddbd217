"""`edgeward verify`: whether this device may run a package, and whether it answers right."""

import argparse
from pathlib import Path

from edgeward import Package, Trust
from edgeward.commands.options import add_engine, add_trust
from edgeward.errors import WrongKey
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports import package_report
from edgeward.terminal.quoting import quoted
from edgeward.trust.device_key import places
from edgeward.trust.trust_directory import chosen

MISMATCH_STATUS = 1


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PACKAGE", type=Path, help="a .ewp file")
    add_trust(parser)
    parser.add_argument(
        "--run", dest="runs", action="store_true", help="replay its golden cases on this machine"
    )
    parser.add_argument(
        "--without-key",
        dest="is_keyless",
        action="store_true",
        help="pass an encrypted one where no device key is, of which the stored bytes are verified",
    )
    add_engine(parser, "the one for this kind of model")


def run(args: argparse.Namespace) -> Outcome:
    trust = args.trust
    if is_package(args.package):  # what is none is told before a trust root is missed
        trust = Trust(trust, for_owner=not args.runs)
    package = Package.open(args.package, trust=trust, key=args.key)
    package.verify()
    _require_key(package, args)
    is_opened = not package.is_encrypted or package.has_key
    report = {**package_report.report(package), "members_checked": is_opened}
    lines = [
        f'{package.name} {package.version}: signed by publisher "{package.core.publisher}", '
        "every byte is as it was signed",
    ]
    if not is_opened:
        lines.append("encrypted, and no device key here: its members were not looked into")
    if not args.runs:
        return Outcome(report, "\n".join(lines))
    differences = package.replay(engine=args.engine)
    failed = [difference for difference in differences if not difference.passed]
    report["golden"] = [difference._asdict() for difference in differences]
    worst = max(difference.error for difference in differences)
    lines += [quoted(difference.text) for difference in failed]
    lines.append(
        f"golden outputs: {len(differences) - len(failed)} of {len(differences)} as expected, "
        f"largest error {worst:.3g}"
    )
    return Outcome(report, "\n".join(lines), MISMATCH_STATUS if failed else 0)


def _require_key(package: Package, args: argparse.Namespace) -> None:
    """Raises WrongKey for an encrypted package where this device has no key at all."""
    if package.is_encrypted and not package.has_key and not args.is_keyless:
        raise WrongKey(
            f"{args.package}: expected this device's key to an encrypted package, got none: looked "
            f"for {places(chosen(args.trust))} (--without-key verifies signatures and stored bytes)"
        )
