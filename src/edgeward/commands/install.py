"""`edgeward install`: the package that programs on this device load, replaced in one step."""

import argparse
import shlex
from pathlib import Path

from edgeward import BadInput, Package, Trust
from edgeward.commands.options import add_trust
from edgeward.outcome import Outcome
from edgeward.packages.store import Store
from edgeward.trust.device_key import find_device_key


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument("package", metavar="PACKAGE", type=Path, nargs="?", help="a .ewp file")
    add_argument(
        "--into",
        metavar="DIR",
        type=Path,
        required=True,
        help="where programs load it from, as NAME.ewp",
    )
    add_argument(
        "--back", metavar="NAME", help="put the version of this model back that was in use before"
    )
    add_trust(parser)


def run(args: argparse.Namespace) -> Outcome:
    if (args.package is None) == (args.back is None):
        raise BadInput("install: expected either PACKAGE or --back NAME")
    store, trust = Store(args.into), Trust(args.trust, for_owner=True)
    if args.back is None:
        package = store.install(args.package, trust, args.key)
    else:
        package = store.roll_back(args.back, trust, args.key)
    has_key = args.key is not None or find_device_key(trust.directory) is not None
    path, last = store.path(package.name), store.last(package.name)
    before = None if last is None else Package.unverified(last.path)
    report = {
        "package": path,
        "name": package.name,
        "version": package.version,
        "package_id": package.package_id,
        "before": None
        if before is None
        else {
            "version": before.version,
            "package_id": before.package_id,
            "package": before.core.path,
        },
    }
    lines = [
        f"{path}: {package.name} {package.version}, every byte is as it was signed",
        f"id {package.package_id}",
    ]
    if package.is_encrypted and not has_key:
        lines.append("encrypted, and no device key here: whether it opens was not tried")
    if before is not None:
        options = {"--into": args.into, "--trust": args.trust, "--key": args.key}
        words = [f"{name} {shlex.quote(str(at))}" for name, at in options.items() if at is not None]
        lines.append(f"kept: {before.version}; this returns to it:")
        lines.append(f"edgeward install --back {package.name} {' '.join(words)}")
    return Outcome(report, "\n".join(lines))
