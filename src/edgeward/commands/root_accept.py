"""`edgeward root accept`: a device's trust root, replaced with its next versions."""

import argparse
from pathlib import Path

from edgeward import Trust
from edgeward.commands.options import TRUST_DIRECTORY
from edgeward.outcome import Outcome
from edgeward.trust import root_document


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root", metavar="ROOT", type=Path, nargs="+", help="the trust root: root.json"
    )
    parser.add_argument("--trust", metavar="DIR", type=Path, help=TRUST_DIRECTORY)


def run(args: argparse.Namespace) -> Outcome:
    """Accepts the versions in order, except those that this device already has."""
    trust = Trust(args.trust, for_owner=True)
    versions = sorted((root_document.read_file(path)["version"], path) for path in args.root)
    following = [pair for pair in versions if pair[0] > trust.root.version]
    for _, path in following or versions[-1:]:
        trust.update(root_document.read_envelope(path))
    report = {"trust": trust.directory, "version": trust.root.version, "epoch": trust.root.epoch}
    return Outcome(report, f"{trust.directory}: trust root version {trust.root.version}")
