"""`edgeward keygen`: the first keys of a trust root, a publisher and a device, or one key."""

import argparse
import time
from pathlib import Path

from edgeward import BadInput
from edgeward.commands.options import add_root_days
from edgeward.outcome import Outcome
from edgeward.trust import keys

SIGNING = ("ed25519", "ecdsa-p256")


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument(
        "directory",
        metavar="DIR",
        type=Path,
        nargs="?",
        default=Path(keys.DEFAULT_DIRECTORY),
        help=f"where to put them (default: {keys.DEFAULT_DIRECTORY})",
    )
    add_argument(
        "--device", metavar="FILE", type=Path, help="make one more device's key, and no other"
    )
    add_argument(
        "--signing", metavar="FILE", type=Path, help="make one more signing key, and no other"
    )
    add_argument(
        "--archive", metavar="FILE", type=Path, help="make one archive's key, and no other"
    )
    add_argument("--algorithm", choices=SIGNING, default=SIGNING[0], help="of signing keys")
    add_root_days(parser, "the trust root")


def run(args: argparse.Namespace) -> Outcome:
    chosen = [f"--{kind}" for kind in ("device", "signing", "archive") if getattr(args, kind)]
    if len(chosen) > 1:
        raise BadInput(
            f"keygen: expected one of --device, --signing and --archive, got {', '.join(chosen)}"
        )
    if args.device:
        return _one_key(
            args.device,
            "x25519",
            "onto the device, as device.key of its trust directory; nowhere else",
            "to seal packages for it, with --encrypt-to",
        )
    if args.signing:
        return _one_key(
            args.signing,
            args.algorithm,
            "where packages are sealed",
            "into the trust root, with edgeward root add-key",
        )
    if args.archive:
        return _one_key(
            args.archive,
            "x25519",
            "where captures are read, as --key of edgeward captures; on no device",
            "onto devices, as encrypt_to of a Capture",
        )
    return _first_keys(args.directory, args.algorithm, args.days)


def _one_key(path: Path, algorithm: str, use: str, public_use: str) -> Outcome:
    key = keys.make_key(path, algorithm)
    public = str(path).removesuffix(".key") + ".pub"
    report = {"key": str(path), "public_key": public, "key_id": key.public.id.hex()}
    return Outcome(report, f"{path}: {use}\n{public}: {public_use}")


def _first_keys(directory: Path, algorithm: str, days: int) -> Outcome:
    keys.make(directory, algorithm, int(time.time()), days)
    root_key, publisher_key = directory / keys.ROOT_KEY, directory / keys.PUBLISHER_KEY
    trust = directory / keys.TRUST
    report = {
        "root_key": str(root_key),
        "publisher_key": str(publisher_key),
        "device_public_key": str(directory / keys.DEVICE_PUBLIC_KEY),
        "trust": str(trust),
    }
    lines = [
        f"{root_key}: keep it offline; it alone can replace the trust root",
        f"{publisher_key}: keep it where models are sealed; it signs packages",
        f"{trust}: onto the device as /var/lib/edgeward/trust, with the device's key",
    ]
    return Outcome(report, "\n".join(lines))
