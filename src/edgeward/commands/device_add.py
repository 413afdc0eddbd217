"""`edgeward device add`: a further device's trust directory, ready to be copied to it."""

import argparse
import time
from pathlib import Path

from edgeward import BadInput, PublicKey, _core
from edgeward.errors import EdgewardError
from edgeward.outcome import Outcome
from edgeward.trust import keys, root_document
from edgeward.trust.trust_directory import DEFAULT_DIRECTORY


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument("name", metavar="NAME", help="what its folder is called: A-Z a-z 0-9 . _ -")
    add_argument(
        "--keys",
        metavar="DIR",
        type=Path,
        default=Path(keys.DEFAULT_DIRECTORY),
        help=f"where it is laid out, in {keys.DEVICES} (default: {keys.DEFAULT_DIRECTORY})",
    )
    add_argument(
        "--root",
        metavar="FILE",
        type=Path,
        help="the trust root, its latest version (default: trust/root.json of --keys)",
    )


def run(args: argparse.Namespace) -> Outcome:
    root_path = args.root or args.keys / keys.TRUST / keys.ROOT_FILE
    if not root_path.exists():
        raise BadInput(
            f'trust root: expected a file "{root_path}", got none: make one with edgeward keygen '
            "where you seal, or name one with --root"
        )
    envelope = root_document.read_envelope(root_path)
    try:
        root = _core.TrustRoot.first(envelope)
        root.require_current(int(time.time()))
    except EdgewardError as error:
        raise type(error)(f'trust root "{root_path}": {error}') from None
    directory = Path(keys.add_device(args.keys, args.name, envelope))
    trust, public_key = directory / keys.TRUST, directory / keys.DEVICE_PUBLIC_KEY
    report = {
        "device": args.name,
        "trust": str(trust),
        "public_key": str(public_key),
        "key_id": PublicKey.read(str(public_key)).id.hex(),
        "root_version": root.version,
        "root_expires": _core.date_text(root.expires_s),
    }
    lines = [
        f"{trust}:",
        f"  copy it to the device as {DEFAULT_DIRECTORY}, owned by the user",
        "  who runs the model, and delete the key here:",
        f"  rsync -a {trust}/ DEVICE:{DEFAULT_DIRECTORY}/",
        f"  rm {trust / keys.DEVICE_KEY}",
        f"{public_key}:",
        "  to seal packages for it, with --encrypt-to; for those that are sealed,",
        "  edgeward wrap PACKAGE --to, with a --key that opens them: one of your own",
        "  among those of --encrypt-to",
        f"its trust root is version {root.version}, until {report['root_expires']};",
        "  edgeward doctor on the device tells whether all is in place",
    ]
    return Outcome(report, "\n".join(lines))
