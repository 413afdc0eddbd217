"""`edgeward root revoke`: a key whose signatures count no more."""

import argparse
from pathlib import Path

from edgeward import PublicKey
from edgeward.commands.root_versions import add_root, add_succession, succeed
from edgeward.outcome import Outcome
from edgeward.trust import root_document


def add(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    parser.add_argument("public", metavar="KEY", type=Path, help="its .pub file")
    add_succession(parser)


def run(args: argparse.Namespace) -> Outcome:
    document = root_document.read_file(args.root)
    root_document.revoke(document, PublicKey.read(str(args.public)).id.hex())
    return succeed(args, document)
