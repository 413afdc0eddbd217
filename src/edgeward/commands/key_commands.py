"""The commands that make keys and change trust roots: keygen, root.

Each is a function from its arguments to an Outcome; cli.py prints it. For users: docs/cli.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from edgeward import BadInput, PrivateKey, PublicKey, Trust
from edgeward.durable import replace_file
from edgeward.outcome import Outcome
from edgeward.trust import keys, root_document

SIGNING = ("ed25519", "ecdsa-p256")
ROOT_DAYS = 365


def add_keygen(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "directory",
        metavar="DIR",
        type=Path,
        nargs="?",
        default=Path(keys.DEFAULT_DIRECTORY),
        help=f"where to put them (default: {keys.DEFAULT_DIRECTORY})",
    )
    add("--device", metavar="FILE", type=Path, help="make one more device's key, and no other")
    add("--signing", metavar="FILE", type=Path, help="make one more signing key, and no other")
    add("--algorithm", choices=SIGNING, default=SIGNING[0], help="of signing keys")
    add(
        "--days",
        type=_days,
        metavar="N",
        default=ROOT_DAYS,
        help=f"how long the trust root holds (default: {ROOT_DAYS})",
    )


def keygen(args: argparse.Namespace) -> Outcome:
    if args.device and args.signing:
        raise BadInput("keygen: expected --device or --signing, got both")
    if args.device or args.signing:
        path = args.device or args.signing
        key = keys.make_key(path, "x25519" if args.device else args.algorithm)
        public = str(path).removesuffix(".key") + ".pub"
        use = (
            f"{path}: onto the device, as device.key of its trust directory; nowhere else\n"
            f"{public}: to seal packages for it, with --encrypt-to"
            if args.device
            else f"{path}: where packages are sealed\n"
            f"{public}: into the trust root, with edgeward root add-key"
        )
        report = {"key": str(path), "public_key": public, "key_id": key.public.id.hex()}
        return Outcome(report, use)
    place: Path = args.directory
    keys.make(place, args.algorithm, int(time.time()), args.days)
    trust = place / keys.TRUST
    report = {
        "root_key": str(place / keys.ROOT_KEY),
        "publisher_key": str(place / keys.PUBLISHER_KEY),
        "device_public_key": str(place / "device.pub"),
        "trust": str(trust),
    }
    told = (
        f"{place / keys.ROOT_KEY}: keep it offline; it alone can replace the trust root\n"
        f"{place / keys.PUBLISHER_KEY}: keep it where models are sealed; it signs packages\n"
        f"{trust}: copy it to the device as /var/lib/edgeward/trust; it holds the device's key"
    )
    return Outcome(report, told)


def add_root(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(metavar="STEP", required=True, dest="step")

    def step(name: str, text: str, count: str | None = None) -> argparse.ArgumentParser:
        made = steps.add_parser(name, help=text[0].lower() + text[1:-1], description=text)
        add = made.add_argument
        add("root", metavar="ROOT", type=Path, nargs=count, help="the trust root: root.json")
        made.add_argument("--json", action="store_true", help="print one JSON document")
        return made

    init = step("init", "Make a trust root, with no publisher in it yet.")
    init.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        action="append",
        required=True,
        help="a private key that signs trust roots, once for each",
    )
    init.add_argument(
        "--threshold",
        type=int,
        metavar="N",
        default=1,
        help="how many of them a new trust root needs (default: 1)",
    )
    init.add_argument(
        "--days",
        type=_days,
        metavar="N",
        default=ROOT_DAYS,
        help=f"how long it holds (default: {ROOT_DAYS})",
    )

    add_key = step("add-key", "Let one more key sign packages, or trust roots.")
    add_key.add_argument("public", metavar="KEY", type=Path, help="its .pub file")
    add_key.add_argument("--role", required=True, metavar="ROLE", help="publisher:NAME, or root")
    add_key.add_argument(
        "--prefix",
        action="append",
        metavar="TEXT",
        help="of the model names that a new publisher may sign, once for each (default: any name)",
    )

    rotate = step("rotate", "Renew it: its term, its own keys, its epoch.")
    rotate.add_argument(
        "--add",
        metavar="KEY",
        type=Path,
        action="append",
        default=[],
        help="a private key that signs trust roots from now on",
    )
    rotate.add_argument(
        "--drop",
        metavar="KEY",
        type=Path,
        action="append",
        default=[],
        help="the .pub file of one that does so no more",
    )
    rotate.add_argument(
        "--new-epoch",
        action="store_true",
        help="void every package sealed so far and every device's floors",
    )

    revoke = step("revoke", "Let a key count for nothing from now on.")
    revoke.add_argument("public", metavar="KEY", type=Path, help="its .pub file")

    for made in (add_key, rotate, revoke):
        made.add_argument(
            "--sign",
            metavar="FILE",
            type=Path,
            action="append",
            help=f"a key of its root role (default: {keys.DEFAULT_DIRECTORY}/{keys.ROOT_KEY})",
        )
        made.add_argument(
            "--days",
            type=_days,
            metavar="N",
            default=ROOT_DAYS,
            help=f"how long the new version holds (default: {ROOT_DAYS})",
        )
    for made in (add_key, rotate):
        made.add_argument("--threshold", type=int, metavar="N", help="how many keys of the role")

    accept = step("accept", "Let this device believe the next versions of its trust root.", "+")
    accept.add_argument(
        "--trust",
        metavar="DIR",
        type=Path,
        help="the trust directory (default: $EDGEWARD_TRUST or /var/lib/edgeward/trust)",
    )


def root(args: argparse.Namespace) -> Outcome:
    steps = {
        "init": _init,
        "add-key": _add_key,
        "rotate": _rotate,
        "revoke": _revoke,
        "accept": _accept,
    }
    return steps[args.step](args)


def _init(args: argparse.Namespace) -> Outcome:
    if args.root.exists():
        raise BadInput(
            f'trust root "{args.root}": expected no such file yet, got one: it stays as it is; '
            "change it with add-key, rotate or revoke"
        )
    signers = [PrivateKey.read(str(path)) for path in args.key]
    document = root_document.first([key.public for key in signers], int(time.time()), args.days)
    root_document.set_threshold(document, root_document.ROOT, args.threshold)
    return _write(args.root, document, signers)


def _add_key(args: argparse.Namespace) -> Outcome:
    document = root_document.read_file(args.root)
    role = args.role
    if role in document["roles"] and args.prefix:
        raise BadInput(f'--prefix: expected a new publisher, got "{role}", which is there already')
    root_document.add_key(document, role, PublicKey.read(str(args.public)), args.prefix or ("",))
    if args.threshold is not None:
        root_document.set_threshold(document, role, args.threshold)
    return _succeed(args, document, [])


def _rotate(args: argparse.Namespace) -> Outcome:
    document = root_document.read_file(args.root)
    added = [PrivateKey.read(str(path)) for path in args.add]
    for key in added:
        root_document.add_key(document, root_document.ROOT, key.public)
    if args.threshold is not None:
        root_document.set_threshold(document, root_document.ROOT, args.threshold)
    for path in args.drop:
        root_document.drop_key(document, root_document.ROOT, PublicKey.read(str(path)).id.hex())
    if args.new_epoch:
        root_document.raise_epoch(document)
    return _succeed(args, document, added)


def _revoke(args: argparse.Namespace) -> Outcome:
    document = root_document.read_file(args.root)
    root_document.revoke(document, PublicKey.read(str(args.public)).id.hex())
    return _succeed(args, document, [])


def _accept(args: argparse.Namespace) -> Outcome:
    """Takes the versions in their order, but for those that this device has had."""
    trust = Trust(args.trust)
    envelopes = sorted((root_document.read_file(path)["version"], path) for path in args.root)
    news = [one for one in envelopes if one[0] > trust.root.version]
    for _, path in news or envelopes[-1:]:
        trust.update(path.read_bytes())
    report = {"trust": trust.directory, "version": trust.root.version, "epoch": trust.root.epoch}
    return Outcome(report, f"{trust.directory}: trust root version {trust.root.version}")


def _succeed(
    args: argparse.Namespace, document: root_document.Document, added: list[PrivateKey]
) -> Outcome:
    """Write `document` as the next version, if the version in the file lets it follow."""
    signers = [
        PrivateKey.read(str(path))
        for path in args.sign or [Path(keys.DEFAULT_DIRECTORY) / keys.ROOT_KEY]
    ]
    root_document.succeed(document, int(time.time()), args.days)
    return _write(args.root, document, signers + added)


def _write(path: Path, document: root_document.Document, signers: list[PrivateKey]) -> Outcome:
    envelope = root_document.sign(document, signers)
    root_document.require_followable(envelope, path.read_bytes() if path.exists() else None)
    # Also under a name of its own: a device that missed a version needs each in turn.
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


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f'expected 1 to 36500 days, got "{text}"')
    return int(text)
