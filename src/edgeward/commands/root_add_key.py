"""`edgeward root add-key`: one more key that may sign packages, or trust roots."""

import argparse

from edgeward import BadInput
from edgeward.commands.options import count
from edgeward.commands.root_versions import add_root, add_succession, succeed
from edgeward.commands.signing import signing_key_of
from edgeward.outcome import Outcome
from edgeward.trust import root_document


def add(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    parser.add_argument(
        "public", metavar="KEY", help='its .pub file, "pkcs11:..." or "command:..."'
    )
    parser.add_argument("--role", required=True, metavar="ROLE", help="publisher:NAME, or root")
    parser.add_argument(
        "--prefix",
        action="append",
        metavar="TEXT",
        help="of the model names that a new publisher may sign, once for each (default: any name)",
    )
    add_succession(parser)
    parser.add_argument("--threshold", type=count, metavar="N", help="how many keys of the role")


def run(args: argparse.Namespace) -> Outcome:
    document = root_document.read_file(args.root)
    role = args.role
    if role in document["roles"] and args.prefix:
        raise BadInput(f'--prefix: expected a new publisher, got "{role}", which is there already')
    root_document.add_key(document, role, signing_key_of(args.public), args.prefix or ("",))
    if args.threshold is not None:
        root_document.set_threshold(document, role, args.threshold)
    return succeed(args, document)
