"""Versions of a trust root: each is written as a file, signed by enough keys of the one before."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from edgeward import PrivateKey, Signer
from edgeward.commands.options import add_root_days
from edgeward.commands.signing import HELP, signers_of
from edgeward.durable import replace_file
from edgeward.outcome import Outcome
from edgeward.trust import keys, root_document


def add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOT", type=Path, help="the trust root: root.json")


def add_succession(parser: argparse.ArgumentParser) -> None:
    """The options of every step that writes the next version."""
    parser.add_argument(
        "--sign",
        metavar="SIGNER",
        action="append",
        help=f"one of its root role: {HELP} (default: {keys.DEFAULT_DIRECTORY}/{keys.ROOT_KEY})",
    )
    add_root_days(parser, "the new version")


def succeed(
    args: argparse.Namespace,
    document: root_document.Document,
    new_signers: Sequence[PrivateKey | Signer] = (),
) -> Outcome:
    """Writes `document` as the next version, if the version in the file lets it follow."""
    signers = signers_of(args.sign or [f"{keys.DEFAULT_DIRECTORY}/{keys.ROOT_KEY}"])
    root_document.succeed(document, int(time.time()), args.days)
    return write(args.root, document, [*signers, *new_signers])


def write(
    path: Path, document: root_document.Document, signers: Sequence[PrivateKey | Signer]
) -> Outcome:
    envelope = root_document.sign(document, signers)
    previous = root_document.read_envelope(path) if path.exists() else None
    root_document.require_followable(envelope, previous)
    # Keep each version under its own name: a device that missed some needs each in turn.
    kept = path.with_name(f"{document['version']}.{path.name}")
    replace_file(kept, envelope)
    replace_file(path, envelope)
    report = {
        "root": str(path),
        "kept_as": str(kept),
        "version": document["version"],
        "epoch": document["epoch"],
        "expires": document["expires"],
        "roles": document["roles"],
        "revoked": document["revoked"],
    }
    publishers = [name for name in document["roles"] if name != root_document.ROOT]
    return Outcome(
        report,
        f"{path}: version {document['version']}, "
        f"{', '.join(publishers) or 'no publisher yet'}; take {kept} to each device, and there: "
        "edgeward root accept",
    )
