"""`edgeward root rotate`: a trust root renewed: its expiry, its own keys, its epoch."""

import argparse
from pathlib import Path

from edgeward import PublicKey
from edgeward.commands.options import count
from edgeward.commands.root_versions import add_root, add_succession, succeed
from edgeward.commands.signing import HELP, signers_of
from edgeward.outcome import Outcome
from edgeward.trust import root_document


def add(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    parser.add_argument(
        "--add",
        metavar="SIGNER",
        action="append",
        default=[],
        help=f"who signs trust roots from now on, too: {HELP}",
    )
    parser.add_argument(
        "--drop",
        metavar="KEY",
        type=Path,
        action="append",
        default=[],
        help="the .pub file of a key that signs trust roots no more",
    )
    parser.add_argument(
        "--new-epoch",
        action="store_true",
        help="invalidate every package sealed so far, and every device's minimum counters",
    )
    add_succession(parser)
    parser.add_argument("--threshold", type=count, metavar="N", help="how many keys of the role")


def run(args: argparse.Namespace) -> Outcome:
    document = root_document.read_file(args.root)
    added = signers_of(args.add)
    for key in added:
        root_document.add_key(document, root_document.ROOT, key.public)
    if args.threshold is not None:
        root_document.set_threshold(document, root_document.ROOT, args.threshold)
    for path in args.drop:
        root_document.drop_key(document, root_document.ROOT, PublicKey.read(str(path)).id.hex())
    if args.new_epoch:
        root_document.raise_epoch(document)
    return succeed(args, document, added)
