"""`edgeward resign`: the same package, signed by other keys or by further ones."""

import argparse
import os
from pathlib import Path

from edgeward import Package
from edgeward.commands.options import add_signing_keys
from edgeward.commands.signing import signers_of
from edgeward.outcome import Outcome


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument("package", metavar="PACKAGE", type=Path, help="a .ewp file")
    add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="the package to write"
    )
    add_signing_keys(parser, "who signs, once for each", is_required=True)
    add_argument(
        "--add", action="store_true", help="after the signatures it has, not in place of them"
    )


def run(args: argparse.Namespace) -> Outcome:
    signers = signers_of(args.key)
    package = Package.unverified(args.package)
    package.resign(args.output, signers, adds=args.add)
    ids = [signer.hex() for signer in Package.unverified(args.output).core.signers]
    report = {
        "package": os.fsdecode(args.output),
        "package_id": package.package_id,
        "signers": ids,
    }
    return Outcome(report, f"{args.output}: signed by {len(ids)} key(s), {', '.join(ids)}")
