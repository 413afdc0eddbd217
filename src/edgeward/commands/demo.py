"""`edgeward demo`: the shipped digit model reads every shipped handwritten digit, one call each.

The model is sealed first, encrypted for a device whose key is made for this run, and opened as that
device opens it; or a package of digits that this device trusts is opened. Then it reads them again
with noise added, and the statistics of both captures show the drift. run(), seal(), opened(),
measure() and capture() act, the rest is pure. The model was not trained on these digits
(digits/README.md).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import (
    Capture,
    Case,
    Contents,
    Model,
    Package,
    PrivateKey,
    PublicKey,
    Release,
    empty,
    load_unsigned,
    read_captures,
)
from edgeward.captures import rings
from edgeward.captures.drift import Judgement, judge
from edgeward.commands.options import add_engine, add_trust
from edgeward.errors import BadInput
from edgeward.measuring.timing import percentiles
from edgeward.outcome import Outcome
from edgeward.packages.expectation import expectation
from edgeward.reports.inspection import engine_report, engine_text
from edgeward.terminal import picture
from edgeward.terminal.picture import Ink, Tile, grid
from edgeward.terminal.progress import Progress
from edgeward.terminal.prose import folded
from edgeward.trust import keys

DIGITS = Path(__file__).parents[1] / "digits"
DIGIT_COUNT = 10
FULL_INK = 16
SHOWN_MISTAKES = 6
SHOWN_FINDINGS = 3
FIRST = "the first digit"  # when windows of the demo began
GOLDEN_COUNT = 16
CALIBRATION_COUNT = 100
KEY_DAYS = 1
NOISE = 0.25  # of full ink, as a standard deviation
NOISE_SEED = 7
INDENT = 12  # columns of the words before what they name


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "package",
        metavar="PACKAGE",
        nargs="?",
        help="a .ewp file whose model takes such digits (default: the shipped model, sealed first)",
    )
    add_engine(parser, "litert")
    add_trust(parser)
    parser.add_argument("--png", metavar="FILE", type=Path, help="draw all mistakes")


def run(args: argparse.Namespace) -> Outcome:
    if args.png is not None:
        picture.pillow_image()  # fails now if it is missing, not after the work
    digits = load_digits()
    if args.package is None and (args.trust is not None or args.key is not None):
        raise BadInput("--trust, --key: expected a package with them, got none")
    with tempfile.TemporaryDirectory(prefix="edgeward-demo-") as directory:
        if args.package is None:
            device, seal_ms = seal(Path(directory), digits, args.engine)
        else:
            device, seal_ms = Device(Path(args.package), args.trust, args.key, args.engine), None
        model, sealed = opened(device, seal_ms)
        captured = capture(Path(directory), digits, device)
    with model:
        facts = report(model, sealed, digits, measure(model, digits), captured)
    ink = picture.ink(sys.stdout, os.environ)
    page = text(facts, digits, shutil.get_terminal_size().columns, ink)
    if args.png is not None:
        picture.write_contact_sheet(args.png, sheet_title(facts), tiles(facts, digits))
        facts["png"] = str(args.png)
        page += f"\n\nall {len(facts['mistakes'])} mistakes are in {args.png}"
    return Outcome(facts, page)


class Digits(NamedTuple):
    """Handwritten digits and what they are: pictures [count, 8, 8] and labels [count]."""

    pictures: NDArray[np.uint8]  # 0 paper to FULL_INK
    labels: NDArray[np.uint8]


class Device(NamedTuple):
    """A package, and what opens it here."""

    package: Path
    trust: Path | None
    key: Path | None
    engine: str | None

    def open(self) -> Package:
        return Package.open(self.package, trust=self.trust, key=self.key)


class Run(NamedTuple):
    """What one pass over all digits gave."""

    scores: NDArray[np.float32]  # [count, DIGIT_COUNT]
    latencies_ns: NDArray[np.int64]  # [count]
    copy_count: int


class Captured(NamedTuple):
    """What a capture of every reading tells, of the digits as they are and with noise."""

    record_count: int
    is_same: bool  # the records hold the inputs and outputs of the calls
    clean: Judgement | None  # None for a package without a reference
    noisy: Judgement | None


class Sealed(NamedTuple):
    """How a model came through its package."""

    package_id: str
    size_bytes: int
    cipher: str
    seal_ms: float | None  # None for a package that was there
    open_ms: float  # signature, keys, decryption, engine and all
    golden_count: int  # outputs that were compared with what they must be
    golden_passed_count: int


def model_path(engine: str | None) -> Path:
    return DIGITS / ("digits.onnx" if engine == "onnx" else "digits.tflite")


def load_digits() -> Digits:
    with np.load(DIGITS / "digits.npz") as archive:
        return Digits(archive["pictures"], archive["labels"])


def seal(directory: Path, digits: Digits, engine: str | None) -> tuple[Device, float]:
    """Seals the model into `directory` for a device with new keys. How long that takes, in ms."""
    keys.make(directory, "ed25519", int(time.time()), KEY_DAYS)
    signer = PrivateKey.read(str(directory / keys.PUBLISHER_KEY))
    recipient = PublicKey.read(str(directory / "device.pub"))
    with load_unsigned(model_path(engine), engine=engine) as plain:
        name = plain.inputs[0].name
    samples = [{name: image_of(picture)} for picture in digits.pictures[:CALIBRATION_COUNT]]
    contents = Contents(
        golden=[Case(sample) for sample in samples[:GOLDEN_COUNT]],
        calibration=samples,
        card="Reads one handwritten digit, 0 to 9, of 8 by 8 grey values.",
        labels=[str(digit) for digit in range(DIGIT_COUNT)],
    )
    path = directory / "digits.ewp"
    start_s = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are no 1,000 digits to calibrate on
        Package.seal(
            model_path(engine),
            path,
            Release("digits", "1.0", 1),
            [signer],
            contents,
            encrypt_to=[recipient],
            engine=engine,
        )
    seal_ms = 1e3 * (time.perf_counter() - start_s)
    return Device(path, directory / keys.TRUST, None, engine), seal_ms


def opened(device: Device, seal_ms: float | None) -> tuple[Model, Sealed]:
    """The package's model, opened as its device does. Raises BadInput for one of other things."""
    start_s = time.perf_counter()
    package = device.open()
    model = package.load(engine=device.engine, commit=False)
    open_ms = 1e3 * (time.perf_counter() - start_s)
    require_digits(device.package, model)
    replayed = package.replay(engine=device.engine) if package.golden else []
    return model, Sealed(
        package.package_id,
        device.package.stat().st_size,
        package.core.cipher or "none",
        seal_ms,
        open_ms,
        len(replayed),
        sum(difference.passed for difference in replayed),
    )


def require_digits(path: Path, model: Model) -> None:
    """Raises BadInput for a model that does not give a score for each digit of a picture."""
    image = image_of(np.zeros((8, 8), np.uint8))
    shapes = [spec.shape for spec in (*model.inputs, *model.outputs)]
    dtypes = {spec.dtype for spec in (*model.inputs, *model.outputs)}
    if shapes != [image.shape, (1, DIGIT_COUNT)] or dtypes != {"float32"}:
        raise BadInput(
            f"{path}: expected a model of digits, from float32 {list(image.shape)} to float32 "
            f"{[1, DIGIT_COUNT]}, got {model!r}"
        )


def image_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the model takes: [1, 8, 8, 1], 0 paper to 1 ink."""
    grey: NDArray[np.float32] = picture / np.float32(FULL_INK)
    return grey.reshape(1, *picture.shape, 1)


def measure(model: Model, digits: Digits) -> Run:
    """Predicts every digit through Model.predict and times each call, after one uncounted.

    The copy of a digit into memory that the engine uses in place is not part of the call.
    """
    image = empty(image_of(digits.pictures[0]).shape, model.inputs[0].dtype)
    image[:] = 0
    model.predict(image)
    count = len(digits.labels)
    scores = np.empty((count, DIGIT_COUNT), np.float32)
    latencies_ns = np.empty(count, np.int64)
    copy_count = model.copies
    with Progress("reading digits", count) as progress:
        for index, picture in enumerate(digits.pictures):
            image[...] = image_of(picture)
            start_ns = time.perf_counter_ns()
            answer = model.predict(image)
            latencies_ns[index] = time.perf_counter_ns() - start_ns
            scores[index] = answer
            progress.advance()
    return Run(scores, latencies_ns, model.copies - copy_count)


def capture(directory: Path, digits: Digits, device: Device) -> Captured:
    """Reads every digit twice, as it is and with noise; what is captured goes to `directory`."""
    package = device.open()
    expected = expectation(package)
    noise = np.random.default_rng(NOISE_SEED)
    counts, same = [], []
    judgements: list[Judgement | None] = []
    for spread in (0.0, NOISE):
        capture_directory = directory / f"captures-{spread}"
        answers = []
        try:
            with Capture(capture_directory) as kept:
                model = package.load(engine=device.engine, threads=1, capture=kept, commit=False)
                for picture in digits.pictures:
                    image = image_of(picture)
                    image += noise.normal(0, spread, image.shape).astype(np.float32)
                    answers.append((image, model.predict(image)))
                (statistics,) = model.statistics.values()
                judgements.append(
                    None if expected is None else judge(expected, [statistics.report()], [FIRST])
                )
                model.close()
        finally:
            shutil.rmtree(rings.directory_of(capture_directory), ignore_errors=True)
        records = list(read_captures(capture_directory))
        counts.append(len(records))
        same += [
            np.array_equal(image, next(iter(record.inputs.values())))
            and np.array_equal(answer, next(iter(record.outputs.values())))
            for (image, answer), record in zip(answers, records, strict=True)
        ]
    return Captured(sum(counts), all(same), *judgements)


def report(
    model: Model, sealed: Sealed, digits: Digits, run: Run, captured: Captured
) -> dict[str, Any]:
    """The document that `edgeward demo --json` prints. Mistakes come most confident first."""
    labels = digits.labels.astype(np.intp)
    predicted = run.scores.argmax(axis=1)
    confusion = np.zeros((DIGIT_COUNT, DIGIT_COUNT), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-run.scores[wrong, predicted[wrong]], kind="stable")]
    latency = percentiles((run.latencies_ns / 1e3).tolist())
    count = len(labels)
    return {
        "engine": engine_report(model),
        "package": sealed._asdict(),
        "capture": {
            "record_count": captured.record_count,
            "is_same": captured.is_same,
            "clean": words_of(captured.clean),
            "noisy": words_of(captured.noisy),
        },
        "digit_count": count,
        "correct_count": count - len(wrong),
        "accuracy": (count - len(wrong)) / count,
        "latency_us": {
            "p50": latency.p50_us,
            "p90": latency.p90_us,
            "p99": latency.p99_us,
            "max": latency.max_us,
        },
        "throughput_per_s": count / (int(run.latencies_ns.sum()) / 1e9),
        "copies_per_call": run.copy_count / count,
        "confusion": confusion.tolist(),
        "mistakes": [
            {
                "index": int(index),
                "true": int(labels[index]),
                "predicted": int(predicted[index]),
                "score": float(run.scores[index, predicted[index]]),
                "true_score": float(run.scores[index, labels[index]]),
            }
            for index in worst
        ],
    }


def words_of(judgement: Judgement | None) -> list[str] | None:
    return None if judgement is None else [finding.words for finding in judgement.findings]


def text(report: Mapping[str, Any], digits: Digits, columns: int, ink: Ink) -> str:
    """The report for people, in a terminal `columns` wide."""
    latency = report["latency_us"]
    latency_text = "   ".join(f"{name} {us:,.1f} µs" for name, us in latency.items())
    head = [
        f"engine      {engine_text(report['engine'])}",
        f"package     {package_text(report['package'])}",
        f"golden      {golden_text(report['package'])}",
        f"accuracy    {accuracy_text(report)}",
        f"latency     {latency_text}",
        f"throughput  {report['throughput_per_s']:,.0f} digits per second",
        f"copies      {report['copies_per_call']:g} per call",
        f"captures    {capture_text(report['capture'])}",
        "",
        *drift_lines(report["capture"]),
    ]
    lines = [part for line in head for part in folded(line, columns, INDENT)]
    lines += [
        "",
        *_confusion_lines(report["confusion"]),
    ]
    if report["mistakes"]:
        shown = tiles(report, digits)[:SHOWN_MISTAKES]
        lines += ["", f"the worst mistakes, {len(shown)} of {len(report['mistakes'])}", ""]
        lines += grid(shown, columns, ink)
    return "\n".join(lines)


def package_text(package: Mapping[str, Any]) -> str:
    encrypted = "" if package["cipher"] == "none" else f", encrypted ({package['cipher']})"
    return f"signed{encrypted} and opened in {package['open_ms']:.1f} ms"


def golden_text(package: Mapping[str, Any]) -> str:
    if not package["golden_count"]:
        return "no outputs in the package to compare with"
    return f"{package['golden_passed_count']} of {package['golden_count']} outputs as sealed"


def capture_text(captured: Mapping[str, Any]) -> str:
    verdict = "every bit as it was" if captured["is_same"] else "NOT as they were"
    return f"{captured['record_count']:,} read back, {verdict}"


def drift_lines(captured: Mapping[str, Any]) -> list[str]:
    """What has drifted from the package's reference, without noise and with it."""
    if captured["clean"] is None:
        return ["drift       the package has no reference to judge by"]
    lines = []
    for title, key in (("drift", "clean"), ("with noise", "noisy")):
        worst = captured[key][:SHOWN_FINDINGS]
        rest = len(captured[key]) - len(worst)
        sentences = [*worst, f"and {rest:,} more"] if rest else worst or ["none"]
        indents = [f"{title:<{INDENT}}", *[" " * INDENT] * len(sentences)]
        lines += [indent + text for indent, text in zip(indents, sentences, strict=False)]
    return lines


def accuracy_text(report: Mapping[str, Any]) -> str:
    return (
        f"{100 * report['accuracy']:.1f} %, "
        f"{report['correct_count']:,} of {report['digit_count']:,} handwritten digits"
    )


def sheet_title(report: Mapping[str, Any]) -> str:
    return f"misread: {len(report['mistakes']):,} of {report['digit_count']:,} handwritten digits"


def tiles(report: Mapping[str, Any], digits: Digits) -> list[Tile]:
    """Every mistake as a picture of light ink on dark paper, worst first."""
    return [
        Tile(
            (digits.pictures[mistake["index"]] * (255 / FULL_INK)).astype(np.uint8),
            f"true {mistake['true']}, predicted {mistake['predicted']}, {mistake['score']:.2f}",
        )
        for mistake in report["mistakes"]
    ]


def _confusion_lines(confusion: Sequence[Sequence[int]]) -> list[str]:
    """Rows are the true digits, columns the predicted ones; what never happened is a dot."""
    width = max(4, *(len(str(count)) + 2 for row in confusion for count in row))
    head = "predicted " + "".join(f"{digit:>{width}}" for digit in range(len(confusion)))
    rows = [
        "".join(
            [f"{'true' if digit == 0 else '':<5}{digit:>5}", *(f"{n or '·':>{width}}" for n in row)]
        )
        for digit, row in enumerate(confusion)
    ]
    return [head, *rows]
