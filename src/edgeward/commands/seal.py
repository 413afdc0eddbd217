"""`edgeward seal`: a model signed into a package, and encrypted for devices."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeward import (
    Contents,
    Package,
    PrivateKey,
    PublicKey,
    Release,
    Signer,
    TensorSpec,
    _core,
    load_unsigned,
)
from edgeward._core import CIPHERS, date_text
from edgeward.commands.options import add_engine, add_signing_keys, date, whole_number
from edgeward.commands.signing import signers_of
from edgeward.errors import BadInput
from edgeward.inputs.recipe_file import read_recipe
from edgeward.inputs.samples import read_cases
from edgeward.outcome import Outcome
from edgeward.packages import key_wraps, siblings
from edgeward.terminal.progress import Progress
from edgeward.trust import keys, root_document
from edgeward.trust.release import DEFAULT_PUBLISHER
from edgeward.trust.trust_directory import MOST_AHEAD_S

THIS = "this"
MAX_COUNTER = (1 << _core.EPOCH_SHIFT) - 1


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument("model", metavar="MODEL", type=Path, help="a .tflite, .onnx or .ort file")
    add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="the package: a .ewp file"
    )
    add_argument("--overwrite", action="store_true", help="replace OUT where it is there")
    add_argument("--name", required=True, help="what devices know the model by: A-Z a-z 0-9 . _ -")
    add_argument("--version", required=True, help="what people know this release by")
    _add_contents(parser)
    _add_signers(parser)
    _add_release(parser)
    add_argument(
        "--encrypt-to",
        metavar="KEY",
        type=Path,
        nargs="+",
        default=[],
        help="encrypt it for the devices with these .pub keys",
    )
    add_argument(
        "--cipher",
        choices=CIPHERS,
        default=CIPHERS[0],
        help="chacha20-poly1305 for processors without AES (default: aes-256-gcm)",
    )
    add_engine(parser, "the one for this kind of file")


def run(args: argparse.Namespace) -> Outcome:
    if args.as_is and args.with_original:
        raise BadInput("--with-original: expected without --as-is, which carries nothing else")
    signers = signers_of(args.key or [args.keys / keys.PUBLISHER_KEY])
    root_path = args.root or args.keys / keys.TRUST / keys.ROOT_FILE
    root = _root(root_path)
    _require_publisher(root_path, root, args.publisher, signers)
    if not args.any_clock:
        _require_plausible_clock(root_path, root)
    release = _release(args, root["epoch"])
    _require_new(args, release)
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
        "release_counter": release.counter,
    }
    lines = [f"sealed {args.name} {args.version} into {args.output}", f"id {package_id}"]
    if wraps:
        counted = "1 device" if len(devices) == 1 else f"{len(devices)} devices"
        lines.append(f"the keys of {counted} are in {wraps}: it goes along")
    return Outcome(report, "\n".join(lines))


def _add_contents(parser: argparse.ArgumentParser) -> None:
    """The options that say what the package carries beside the model."""
    add_argument = parser.add_argument
    add_argument(
        "--golden",
        metavar="FILE",
        type=Path,
        help="inputs, and outputs if it has them, that every device can replay: .npz or .npy",
    )
    add_argument(
        "--reference",
        metavar="FILE",
        type=Path,
        help="calibration inputs to take reference statistics over: .npz or .npy",
    )
    add_argument("--card", metavar="FILE", type=Path, help="a model card, in Markdown")
    add_argument(
        "--labels", metavar="FILE", type=Path, help="the names of the classes, one on a line"
    )
    add_argument(
        "--columns",
        metavar="FILE",
        type=Path,
        help="names along a tensor's last dimension: of the only input, one on a line, or a .json "
        "with a list for each tensor",
    )
    add_argument(
        "--recipe",
        metavar="FILE",
        type=Path,
        help="how pictures and sounds become inputs, and which outputs are boxes: .json or .toml",
    )
    add_argument("--as-is", action="store_true", help="seal an .onnx itself, not the .ort of it")
    add_argument(
        "--with-original", action="store_true", help="carry the .onnx too, beside the .ort"
    )


def _add_signers(parser: argparse.ArgumentParser) -> None:
    """The options that say who signs, and by which trust root."""
    parser.add_argument(
        "--keys",
        metavar="DIR",
        type=Path,
        default=Path(keys.DEFAULT_DIRECTORY),
        help=f"what edgeward keygen made (default: {keys.DEFAULT_DIRECTORY})",
    )
    add_signing_keys(
        parser,
        "who signs, once for each (default: publisher.key of --keys)",
        is_required=False,
    )
    parser.add_argument(
        "--root",
        metavar="FILE",
        type=Path,
        help="the trust root (default: trust/root.json of --keys)",
    )
    parser.add_argument(
        "--publisher",
        default=DEFAULT_PUBLISHER,
        metavar="NAME",
        help=f"whose keys they are, in the trust root (default: {DEFAULT_PUBLISHER})",
    )


def _require_new(args: argparse.Namespace, release: Release) -> None:
    """Raises BadInput for a package that would be of no use, or in the place of another."""
    now_s = int(time.time())
    if release.not_after_s is not None and release.not_after_s <= now_s and not args.expired:
        raise BadInput(
            f"--not-after: expected a time after now, {date_text(now_s)}, got "
            f"{date_text(release.not_after_s)}: no device would load it (--expired seals all "
            "the same)"
        )
    written = [args.output, *([Path(key_wraps.path_of(args.output))] if args.encrypt_to else [])]
    for path in written:
        if os.path.lexists(path) and not args.overwrite:
            raise BadInput(
                f"{path}: expected a name that no file has, got one that is there and stays as it "
                "is: choose another (--overwrite replaces it)"
            )
    # A counter that was not given is one that no twin has.
    is_free = args.again or args.counter is None
    twin = None if is_free else siblings.twin_of(release, args.output.parent)
    if twin is not None:
        raise BadInput(
            f"{args.output}: expected a release that no package beside it is, got {release.name} "
            f"{release.version} with counter {release.counter} as in {twin}: devices cannot tell "
            "which is later; give it another --counter (--again seals all the same)"
        )


def _require_plausible_clock(path: Path, root: root_document.Document) -> None:
    """Raises BadInput for a clock at which this root cannot be in force.

    A package carries the time, and devices judge its publisher's packages by it.
    """
    now_s = int(time.time())
    if root["issued"] - MOST_AHEAD_S <= now_s < root["expires"]:
        return
    raise BadInput(
        f'clock: expected a time within that of trust root "{path}", '
        f"{date_text(root['issued'])} to {date_text(root['expires'])}, got {date_text(now_s)}: "
        "set the clock, or renew the root with edgeward root rotate (--any-clock seals all the "
        "same)"
    )


def _add_release(parser: argparse.ArgumentParser) -> None:
    """The options that say where, when and in which order the release may run."""
    add_argument = parser.add_argument
    add_argument(
        "--counter",
        type=whole_number(1, MAX_COUNTER),
        metavar="N",
        help="the release counter (default: the time in seconds)",
    )
    add_argument(
        "--min-counter",
        type=_counter,
        metavar="N",
        default=1,
        help='devices that ran it refuse any release below N; "this" for its own counter',
    )
    add_argument(
        "--target",
        default="any",
        metavar="MACHINE",
        help='such as linux-aarch64, the only kind it may run on (default: "any")',
    )
    add_argument(
        "--bind-to", metavar="KEY", type=Path, help="the .pub key of the only device it may run on"
    )
    add_argument(
        "--not-after",
        metavar="DATE",
        type=date,
        help="its expiry: devices do not load it from this day on",
    )
    add_argument(
        "--any-clock",
        action="store_true",
        help="seal though the clock is outside of the trust root's time",
    )
    add_argument(
        "--expired", action="store_true", help="seal though the day of --not-after is past"
    )
    add_argument(
        "--again",
        action="store_true",
        help="seal though a package beside OUT has this name, version and counter",
    )


def _release(args: argparse.Namespace, epoch: int) -> Release:
    counter = int(time.time()) if args.counter is None else args.counter
    release = Release(
        args.name,
        args.version,
        counter,
        counter if args.min_counter == THIS else args.min_counter,
        epoch,
        args.target,
        args.publisher,
        args.not_after,
        PublicKey.read(str(args.bind_to)).id if args.bind_to else None,
    )
    while args.counter is None and siblings.twin_of(release, args.output.parent):
        # Sealed within the same second.
        counter = release.counter + 1
        least = counter if args.min_counter == THIS else release.min_counter
        release = release._replace(counter=counter, min_counter=least)
    return release


def _contents(args: argparse.Namespace) -> Contents:
    card = args.card.read_text(encoding="utf-8") if args.card else None
    labels = args.labels.read_text(encoding="utf-8").splitlines() if args.labels else []
    golden, calibration, columns = [], [], {}
    if args.golden or args.reference or args.columns:
        with load_unsigned(args.model, engine=args.engine, threads=1) as model:
            inputs, outputs = model.inputs, model.outputs
        if args.golden:
            golden = read_cases(args.golden, inputs, outputs)
        if args.reference:
            calibration = [case.inputs for case in read_cases(args.reference, inputs, outputs)]
        if args.columns:
            columns = _columns(args.columns, inputs)
    return Contents(
        golden=golden,
        calibration=calibration,
        card=card,
        labels=labels,
        keeps_original=args.with_original,
        columns=columns,
        recipe=read_recipe(args.recipe) if args.recipe else {},
    )


def _columns(path: Path, inputs: Sequence[TensorSpec]) -> dict[str, list[str]]:
    """The names in the file, by tensor. Raises OSError, BadInput."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        try:
            columns = {
                str(tensor): list(map(str, names)) for tensor, names in json.loads(text).items()
            }
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise BadInput(
                f'columns "{path}": expected an object with a list of names for each tensor, got '
                "something else"
            ) from None
        return columns
    if len(inputs) != 1:
        raise BadInput(
            f'columns "{path}": expected a .json with a list for each tensor of a model with '
            f"{len(inputs)} inputs, got lines"
        )
    return {inputs[0].name: text.splitlines()}


def _root(path: Path) -> root_document.Document:
    if not path.exists():
        raise BadInput(
            f'trust root: expected a file "{path}", got none: make one with edgeward keygen, or '
            "name one with --root"
        )
    return root_document.read_file(path)


def _require_publisher(
    path: Path, root: root_document.Document, publisher: str, signers: Sequence[PrivateKey | Signer]
) -> None:
    """Raises BadInput for a package that every device would refuse."""
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
    return text if text == THIS else whole_number(1, MAX_COUNTER, f' or "{THIS}"')(text)


class _Steps:
    """Shows the progress of sealing: one line for each noun that it counts."""

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
