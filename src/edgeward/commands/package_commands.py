"""The commands that make and check packages: seal, verify, resign, wrap.

Each is a function from its arguments to an Outcome; cli.py prints it. For users: docs/cli.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeward import (
    Contents,
    Package,
    PrivateKey,
    PublicKey,
    Release,
    load_unsigned,
)
from edgeward.engines.engine import KINDS
from edgeward.errors import BadInput
from edgeward.inputs.samples import read_cases
from edgeward.outcome import Outcome
from edgeward.packages import key_wraps
from edgeward.packages.sealing import CIPHERS
from edgeward.terminal.progress import Progress
from edgeward.trust import keys, root_document
from edgeward.trust.release import DEFAULT_PUBLISHER

THIS = "this"
MISMATCH_STATUS = 1


def add_seal(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="a .tflite, .onnx or .ort file")
    add("-o", "--output", metavar="OUT", type=Path, required=True, help="the package: a .ewp file")
    add("--name", required=True, help="what devices know the model by: a-z 0-9 . _ -")
    add("--version", required=True, help="what people know this release by")
    add(
        "--encrypt-to",
        metavar="KEY",
        type=Path,
        nargs="+",
        default=[],
        help="encrypt it for the devices with these .pub keys",
    )
    add(
        "--golden",
        metavar="FILE",
        type=Path,
        help="inputs, and outputs if it has them, that every device can replay: .npz or .npy",
    )
    add(
        "--reference",
        metavar="FILE",
        type=Path,
        help="calibration inputs to take reference statistics over: .npz or .npy",
    )
    add("--card", metavar="FILE", type=Path, help="a model card, in Markdown")
    add("--labels", metavar="FILE", type=Path, help="the names of the classes, one on a line")
    add(
        "--keys",
        metavar="DIR",
        type=Path,
        default=Path(keys.DEFAULT_DIRECTORY),
        help=f"what edgeward keygen made (default: {keys.DEFAULT_DIRECTORY})",
    )
    add(
        "--key",
        metavar="FILE",
        type=Path,
        action="append",
        help="a signing key, once for each (default: publisher.key of --keys)",
    )
    add(
        "--root",
        metavar="FILE",
        type=Path,
        help="the trust root (default: trust/root.json of --keys)",
    )
    add(
        "--publisher",
        default=DEFAULT_PUBLISHER,
        metavar="NAME",
        help=f"whose keys they are, in the trust root (default: {DEFAULT_PUBLISHER})",
    )
    add(
        "--counter",
        type=int,
        metavar="N",
        help="its place in the order of releases (default: the time in seconds)",
    )
    add(
        "--min-counter",
        type=_counter,
        metavar="N",
        default=1,
        help='devices that ran it refuse any release below N; "this" for its own counter',
    )
    add(
        "--target",
        default="any",
        metavar="MACHINE",
        help='such as linux-aarch64, the only kind it may run on (default: "any")',
    )
    add("--bind-to", metavar="KEY", type=Path, help="the .pub key of the only device it may run on")
    add("--not-after", metavar="DATE", type=_date, help="devices load it no more from this day on")
    add(
        "--cipher",
        choices=CIPHERS,
        default=CIPHERS[0],
        help="chacha20-poly1305 for processors without AES (default: aes-256-gcm)",
    )
    add("--as-is", action="store_true", help="seal an .onnx itself, not the .ort made of it")
    add("--with-original", action="store_true", help="carry the .onnx too, beside the .ort")
    add("--engine", choices=tuple(KINDS), help="default: the one for this kind of file")


def seal(args: argparse.Namespace) -> Outcome:
    if args.as_is and args.with_original:
        raise BadInput("--with-original: expected without --as-is, which carries nothing else")
    signers = [_signing_key(path) for path in args.key or [args.keys / keys.PUBLISHER_KEY]]
    root_path = args.root or args.keys / keys.TRUST / keys.ROOT_FILE
    root = _root(root_path)
    _require_publisher(root_path, root, args.publisher, signers)
    counter = int(time.time()) if args.counter is None else args.counter
    release = Release(
        args.name,
        args.version,
        counter,
        counter if args.min_counter == THIS else args.min_counter,
        root["epoch"],
        args.target,
        args.publisher,
        args.not_after,
        PublicKey.read(str(args.bind_to)).id if args.bind_to else None,
    )
    devices = [PublicKey.read(str(path)) for path in args.encrypt_to]
    with _Steps() as steps:
        package_id = Package.seal(
            args.model,
            args.output,
            release,
            signers,
            _contents(args),
            encrypt_to=devices,
            cipher=args.cipher,
            converts=not args.as_is,
            engine=args.engine,
            progress=steps,
        )
    wraps = key_wraps.path_of(args.output) if devices else None
    report: dict[str, Any] = {
        "package": os.fsdecode(args.output),
        "package_id": package_id,
        "size_bytes": args.output.stat().st_size,
        "wraps": wraps,
        "release_counter": counter,
    }
    told = [f"sealed {args.name} {args.version} into {args.output}", f"id {package_id}"]
    if wraps:
        told.append(f"the keys of {len(devices)} device(s) are in {wraps}: it goes along")
    return Outcome(report, "\n".join(told))


def add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PACKAGE", type=Path, help="a .ewp file")
    add_trust(parser)
    add = parser.add_argument
    add("--run", dest="runs", action="store_true", help="replay its golden cases on this machine")
    add("--engine", choices=tuple(KINDS), help="default: the one for this kind of model")


def verify(args: argparse.Namespace) -> Outcome:
    from edgeward.reports.package_report import report as report_of

    package = Package.open(args.package, trust=args.trust, key=args.key)
    package.verify()
    is_opened = not package.is_encrypted or package.has_key
    report = {**report_of(package), "members_checked": is_opened}
    told = [
        f"{package.name} {package.version}: signed by {package.core.publisher}, every byte is as "
        "it was signed",
    ]
    if not is_opened:
        told.append("encrypted, and no device key here: its members were not looked into")
    if not args.runs:
        return Outcome(report, "\n".join(told))
    differences = package.replay(engine=args.engine)
    failed = [one for one in differences if not one.passed]
    report["golden"] = [one._asdict() for one in differences]
    worst = max(one.error for one in differences)
    told += [one.text for one in failed]
    told.append(
        f"golden outputs: {len(differences) - len(failed)} of {len(differences)} as expected, "
        f"largest error {worst:.3g}"
    )
    return Outcome(report, "\n".join(told), MISMATCH_STATUS if failed else 0)


def add_resign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PACKAGE", type=Path, help="a .ewp file")
    add = parser.add_argument
    add("-o", "--output", metavar="OUT", type=Path, required=True, help="the package to write")
    add(
        "--key",
        metavar="FILE",
        type=Path,
        action="append",
        required=True,
        help="a signing key, once for each",
    )
    add("--add", action="store_true", help="after the signatures it has, not in place of them")


def resign(args: argparse.Namespace) -> Outcome:
    signers = [_signing_key(path) for path in args.key]
    package = Package.unverified(args.package)
    package.resign(args.output, signers, adds=args.add)
    signed = Package.unverified(args.output)
    ids = [signer.hex() for signer in signed.core.signers]
    report = {
        "package": os.fsdecode(args.output),
        "package_id": package.package_id,
        "signers": ids,
    }
    return Outcome(report, f"{args.output}: signed by {len(ids)} key(s), {', '.join(ids)}")


def add_wrap(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PACKAGE", type=Path, help="a .ewp file")
    add_trust(parser)
    add = parser.add_argument
    add("--to", metavar="KEY", type=Path, nargs="+", default=[], help="devices to add: .pub keys")
    add("--remove", metavar="KEY", type=Path, help="a device to take out: its .pub key")
    add("--not-before", metavar="DATE", type=_date, default=0, help="from this day on")
    add("--not-after", metavar="DATE", type=_date, default=0, help="until this day")


def wrap(args: argparse.Namespace) -> Outcome:
    from edgeward.reports.package_report import report as report_of

    if not args.to and args.remove is None:
        raise BadInput("wrap: expected --to or --remove with the .pub key of a device, got neither")
    if args.to:
        package = Package.open(args.package, trust=args.trust, key=args.key)
        devices = [PublicKey.read(str(path)) for path in args.to]
        package.add_recipients(devices, not_before_s=args.not_before, not_after_s=args.not_after)
    else:
        package = Package.unverified(args.package)
    if args.remove is not None:
        package.remove_recipient(PublicKey.read(str(args.remove)))
    report = report_of(package)
    recipients = report["recipients"] or []
    return Outcome(report, f"{args.package}: {len(recipients)} device(s) can open it")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """The options by which a command learns whom this device believes."""
    parser.add_argument(
        "--trust",
        metavar="DIR",
        type=Path,
        help="the trust directory (default: $EDGEWARD_TRUST or /var/lib/edgeward/trust)",
    )
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        help="the device's private key (default: as docs/cli.md says)",
    )


# --- parts of them ---------------------------------------------------------------------------


class _Steps:
    """What sealing counts, as one line of progress after another."""

    def __init__(self) -> None:
        self._noun = ""
        self._done = 0
        self._line: Progress | None = None

    def __enter__(self) -> _Steps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._line is not None:
            self._line.__exit__(kind, error, trace)

    def __call__(self, noun: str, done: int, total: int) -> None:
        if noun != self._noun or self._line is None:
            self.__exit__(None, None, None)
            self._noun, self._done = noun, 0
            self._line = Progress(noun, total).__enter__()
        self._line.advance(done - self._done)
        self._done = done


def _contents(args: argparse.Namespace) -> Contents:
    card = args.card.read_text(encoding="utf-8") if args.card else None
    labels = args.labels.read_text(encoding="utf-8").splitlines() if args.labels else []
    golden, calibration = [], []
    if args.golden or args.reference:
        with load_unsigned(args.model, engine=args.engine, threads=1) as model:
            inputs, outputs = model.inputs, model.outputs
        if args.golden:
            golden = read_cases(args.golden, inputs, outputs)
        if args.reference:
            calibration = [case.inputs for case in read_cases(args.reference, inputs, outputs)]
    return Contents(
        golden=golden,
        calibration=calibration,
        card=card,
        labels=labels,
        keeps_original=args.with_original,
    )


def _signing_key(path: Path) -> PrivateKey:
    if not path.exists():
        raise BadInput(
            f'signing key: expected a file "{path}", got none: make keys with edgeward keygen, or '
            "name one with --key"
        )
    key = PrivateKey.read(str(path))
    if key.algorithm == "x25519":
        raise BadInput(f'signing key "{path}": expected one that signs, got a device\'s')
    return key


def _root(path: Path) -> root_document.Document:
    if not path.exists():
        raise BadInput(
            f'trust root: expected a file "{path}", got none: make one with edgeward keygen, or '
            "name one with --root"
        )
    return root_document.read_file(path)


def _require_publisher(
    path: Path, root: root_document.Document, publisher: str, signers: list[PrivateKey]
) -> None:
    """Raises BadInput now for what every device would refuse later."""
    role = root["roles"].get(root_document.publisher_role(publisher))
    if role is None:
        raise BadInput(f'trust root "{path}": expected publisher "{publisher}" in it, got none')
    count = len({signer.public.id.hex() for signer in signers} & set(role["keyids"]))
    if count < role["threshold"]:
        raise BadInput(
            f'signing keys: expected {role["threshold"]} of publisher "{publisher}" in trust root '
            f'"{path}", got {count}: name others with --key'
        )


def _counter(text: str) -> int | str:
    if text == THIS:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a number or "{THIS}", got "{text}"') from None


def _date(text: str) -> int:
    """The first second of a day, or a moment, in UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected a date such as 2027-01-31, got "{text}"'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp())
