"""`edgeward root init`: a trust root's first version, with no publisher in it yet."""

import argparse
import time

from edgeward import BadInput
from edgeward.commands.options import add_root_days, add_signing_keys, count
from edgeward.commands.root_versions import add_root, write
from edgeward.commands.signing import signers_of
from edgeward.outcome import Outcome
from edgeward.trust import root_document


def add(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    add_signing_keys(parser, "who signs trust roots, once for each", is_required=True)
    parser.add_argument(
        "--threshold",
        type=count,
        metavar="N",
        default=1,
        help="how many of them a new trust root needs (default: 1)",
    )
    add_root_days(parser, "it")


def run(args: argparse.Namespace) -> Outcome:
    if args.root.exists():
        raise BadInput(
            f'trust root "{args.root}": expected no such file yet, got one: it stays as it is; '
            "change it with add-key, rotate or revoke"
        )
    signers = signers_of(args.key)
    document = root_document.first([key.public for key in signers], int(time.time()), args.days)
    root_document.set_threshold(document, root_document.ROOT, args.threshold)
    return write(args.root, document, signers)
