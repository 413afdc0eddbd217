"""`edgeward demo`: the shipped digit model reads every shipped handwritten digit, one call each.

measure() runs the model, the rest is pure. What is shown are real answers to digits that the model
was not trained on (digits/README.md).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import Model, empty
from edgeward.inspection import engine_report, engine_text
from edgeward.picture import Ink, Tile, grid
from edgeward.progress import Progress
from edgeward.timing import percentiles

DIGITS = Path(__file__).parent / "digits"
DIGIT_COUNT = 10
FULL_INK = 16
SHOWN_MISTAKES = 6


class Digits(NamedTuple):
    """Handwritten digits and what they are: pictures [count, 8, 8] and labels [count]."""

    pictures: NDArray[np.uint8]  # 0 paper to FULL_INK
    labels: NDArray[np.uint8]


class Run(NamedTuple):
    """What one pass over all digits gave."""

    scores: NDArray[np.float32]  # [count, DIGIT_COUNT]
    latencies_ns: NDArray[np.int64]  # [count]
    copy_count: int


def model_path(engine: str | None) -> Path:
    return DIGITS / ("digits.onnx" if engine == "onnx" else "digits.tflite")


def load_digits() -> Digits:
    with np.load(DIGITS / "digits.npz") as archive:
        return Digits(archive["pictures"], archive["labels"])


def measure(model: Model, digits: Digits) -> Run:
    """Predicts every digit through Model.predict and times each call, after one uncounted.

    A digit is laid in memory that the engine can use in place, which is not part of the call.
    """
    spec = model.inputs[0]
    image = empty(spec.shape, spec.dtype)
    image[:] = 0
    model.predict(image)
    count = len(digits.labels)
    scores = np.empty((count, DIGIT_COUNT), np.float32)
    latencies_ns = np.empty(count, np.int64)
    copy_count = model.copies
    with Progress("reading digits", count) as progress:
        for index, picture in enumerate(digits.pictures):
            image[0, :, :, 0] = picture / FULL_INK
            start_ns = time.perf_counter_ns()
            answer = model.predict(image)
            latencies_ns[index] = time.perf_counter_ns() - start_ns
            scores[index] = answer
            progress.advance()
    return Run(scores, latencies_ns, model.copies - copy_count)


def report(model: Model, digits: Digits, run: Run) -> dict[str, Any]:
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


def text(report: Mapping[str, Any], digits: Digits, columns: int, ink: Ink) -> str:
    """The report for people, in a terminal `columns` wide."""
    latency = report["latency_us"]
    latency_text = "   ".join(f"{name} {us:,.1f} µs" for name, us in latency.items())
    lines = [
        f"engine      {engine_text(report['engine'])}",
        f"accuracy    {accuracy_text(report)}",
        f"latency     {latency_text}",
        f"throughput  {report['throughput_per_s']:,.0f} digits per second",
        f"copies      {report['copies_per_call']:g} per call",
        "",
        *_confusion_lines(report["confusion"]),
    ]
    if report["mistakes"]:
        shown = tiles(report, digits)[:SHOWN_MISTAKES]
        lines += ["", f"the worst mistakes, {len(shown)} of {len(report['mistakes'])}", ""]
        lines += grid(shown, columns, ink)
    return "\n".join(lines)


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
