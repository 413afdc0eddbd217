"""A model and its outputs, as text in columns for people and as documents for JSON.

report() is all that can be said of a model without running it: its format and size, what it asks
for and gives, and who really runs its nodes. values_text() is what it gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import Model, Quantization, TensorSpec, _core
from edgeward.schema import quantization_report, signatures_report
from edgeward.terminal.quoting import quoted

FORMAT_TITLES = {"tflite": "TensorFlow Lite", "ort": "ONNX Runtime", "onnx": "ONNX"}
TOP_COUNT = 5
FEW_COUNT = 8
BAR_COLUMNS = 30
LABEL_LETTERS = 32


def report(path: str, model: Model) -> dict[str, Any]:
    """The document that `edgeward inspect --json` prints for the model loaded from `path`."""
    file = Path(path)
    with file.open("rb") as opened:
        head = opened.read(8)
    return {
        "model": path,
        "format": _core.model_format(head),
        "size_bytes": file.stat().st_size,
        "engine": engine_report(model),
        "is_stateful": model.is_stateful,
        "signatures": signatures_report(model),
    }


def package_report(model: Model) -> dict[str, Any] | None:
    """The package that the model came in; None for a bare one."""
    if model.package_id is None:
        return None
    return {"name": model.name, "version": model.version, "package_id": model.package_id}


def engine_report(model: Model) -> dict[str, Any]:
    """Who runs the model, on how many threads. Counts that the engine does not tell are None."""
    engine = model.engine
    return {
        "name": engine.name,
        "version": engine.version,
        "delegate": engine.delegate,
        "node_count": engine.node_count if engine.node_count >= 0 else None,
        "fallback_count": engine.fallback_count if engine.fallback_count >= 0 else None,
        "threads": model.threads,
    }


def memory_report(model: Model) -> dict[str, int]:
    """What the model holds in memory now."""
    memory = model.memory
    return {
        "file_bytes": memory.file_bytes,
        "packed_bytes": memory.packed_bytes,
        "arenas_bytes": memory.arenas_bytes,
        "outputs_bytes": memory.outputs_bytes,
        "total_bytes": memory.total_bytes,
        "session_count": memory.session_count,
    }


def memory_text(memory: Mapping[str, int]) -> str:
    kinds = ("file", "packed", "arenas", "outputs")
    parts = ", ".join(f"{kind} {size(memory[f'{kind}_bytes'])}" for kind in kinds)
    sessions = (
        "1 session" if memory["session_count"] == 1 else f"{memory['session_count']} sessions"
    )
    return f"{size(memory['total_bytes'])} with {sessions}: {parts}"


def text(report: Mapping[str, Any]) -> str:
    """The report for people."""
    title = FORMAT_TITLES[report["format"]]
    parts = [f"{quoted(report['model'])}  {title}, {size(report['size_bytes'])}", ""]
    parts += engine_lines(report)
    rows = [
        (
            side,
            spec["name"],
            spec["dtype"],
            shape_text(spec["shape"]),
            real_text(spec["quantization"]),
        )
        for signature in report["signatures"].values()
        for side in ("input", "output")
        for spec in signature[f"{side}s"]
    ]
    # Laid out together, so that the columns of all signatures stand below each other.
    laid_out = iter(aligned(rows))
    for name, signature in report["signatures"].items():
        parts += ["", f"signature {quoted(name)}"]
        parts += [f"  {next(laid_out)}" for _ in signature["inputs"] + signature["outputs"]]
    return "\n".join(parts)


def engine_lines(report: Mapping[str, Any]) -> list[str]:
    """Who runs the model, and whether it keeps state."""
    parts = [f"engine  {engine_text(report['engine'])}", f"nodes   {nodes_text(report['engine'])}"]
    if "memory" in report:
        parts.append(f"memory  {memory_text(report['memory'])}")
    if report["is_stateful"]:
        parts.append(
            "state   kept from run to run of a session, until reset(); predict starts anew"
        )
    return parts


def engine_text(engine: Mapping[str, Any]) -> str:
    threads = "1 thread" if engine["threads"] == 1 else f"{engine['threads']} threads"
    return f"{engine_name(engine)}, {threads}"


def engine_name(engine: Mapping[str, Any]) -> str:
    """With its version and the delegate that runs a part of the model, if one does."""
    delegate = "" if engine["delegate"] in ("", "none") else f" with {engine['delegate']}"
    return f"{engine['name']} {engine['version']}{delegate}"


def nodes_text(engine: Mapping[str, Any]) -> str:
    count, fallback_count = engine["node_count"], engine["fallback_count"]
    if count is None:
        return "the engine does not tell"
    if fallback_count is None:
        return str(count)
    if fallback_count == 0:
        return f"{count}, all run by {engine['delegate']}"
    return f"{count}, of which {fallback_count} fell back to the engine's reference kernels"


def shape_text(shape: Sequence[int] | None) -> str:
    """The shape of a spec; that of some tensors is known only after a run."""
    return "unknown" if shape is None else str(list(shape))


def real_text(quantization: Mapping[str, Any] | None) -> str:
    """How the real value comes from the stored one, q."""
    if quantization is None:
        return ""
    scales, zero_points = quantization["scales"], quantization["zero_points"]
    if len(scales) > 1:
        span = f"{min(scales):.6g} to {max(scales):.6g}"
        return f"{len(scales)} scales along axis {quantization['axis']}, {span}"
    zero_point = zero_points[0]
    if zero_point == 0:
        return f"{scales[0]:.6g} * q"
    return f"{scales[0]:.6g} * (q {'-' if zero_point > 0 else '+'} {abs(zero_point)})"


def size(size_bytes: int) -> str:
    """Three digits that matter: "812 B", "14.2 kB", "3.51 MB"."""
    number, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB"):
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    if unit == "B":
        return f"{size_bytes} B"
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f} {unit}"


def duration(us: float) -> str:
    """Three digits that matter in the unit that suits: "812 ns", "4.07 us", "13.2 ms"."""
    if us < 0:  # a difference may be
        return f"-{duration(-us)}"
    for unit, scale in (("ns", 1e-3), ("us", 1.0), ("ms", 1e3)):
        if us < 999.5 * scale:
            number = us / scale
            return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f} {unit}"
    return f"{us / 1e6:.2f} s"


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """The rows as lines, their columns below each other. Cells are quoted."""
    table = [[quoted(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first cell to the left and the others to the right, two spaces between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def values_report(
    spec: TensorSpec, tensor: NDArray[Any], labels: Sequence[str] = ()
) -> dict[str, Any]:
    """An output as a document; `best` are the greatest of scores that `labels` name."""
    report = {
        "dtype": spec.dtype,
        "shape": list(tensor.shape),
        "quantization": quantization_report(spec.quantization),
        "values": tensor,
    }
    if has_labels(tensor, labels):
        report["best"] = best_report(real_values(tensor, spec.quantization).ravel(), labels)
    return report


def best_report(scores: NDArray[Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """The greatest of a row of scores, one for each label, with their labels."""
    return [
        {"index": index, "label": labels[index], "score": scores[index].item()}
        for index in best_of(scores)
    ]


def has_labels(tensor: NDArray[Any], labels: Sequence[str]) -> bool:
    """Whether it is one row of scores, one for each label."""
    is_row = tensor.dtype.kind in "fiu" and max(tensor.shape, default=1) == tensor.size > 1
    return is_row and tensor.size == len(labels)


def best_of(scores: NDArray[Any]) -> list[int]:
    """The indices of the greatest of a row of scores, the greatest first."""
    best: list[int] = np.argsort(-scores.astype(np.float64), kind="stable")[:TOP_COUNT].tolist()
    return best


def values_text(
    spec: TensorSpec, tensor: NDArray[Any], bar: str, labels: Sequence[str] = ()
) -> str:
    """An output for people: the greatest of a row of scores, all of a few values, else a summary.

    Scores that all lie between 0 and 1 get lines drawn with `bar`. Stored integers that stand for
    real values are shown as those. `labels` name the scores of a row of as many.
    """
    stored = tensor.dtype.name
    has_numbers = stored == spec.dtype  # else bits of what numpy has no dtype for
    flat = (real_values(tensor, spec.quantization) if has_numbers else tensor).ravel()
    is_shown = has_numbers or spec.dtype == "string"
    kind = spec.dtype if is_shown else f"{spec.dtype}, bits as {stored}"
    lines = [f"{quoted(spec.name)}  {kind} {list(tensor.shape)}"]
    is_named = has_labels(flat.reshape(tensor.shape), labels)
    if is_named or (flat.dtype.kind == "f" and max(tensor.shape, default=1) == flat.size > 1):
        best = [(i, shortened(labels[i]) if is_named else str(i)) for i in best_of(flat)]
        rows: list[tuple[str, ...]] = []
        if flat.dtype.kind == "f" and ((flat >= 0) & (flat <= 1)).all():
            rows = [
                (name, f"{flat[i]:.4f}", bar * round(BAR_COLUMNS * flat[i])) for i, name in best
            ]
        elif is_named or flat.size > TOP_COUNT:
            rows = [(name, number(flat[i])) for i, name in best]
        if rows:
            return "\n".join(lines + [f"  {line}" for line in aligned(rows)])
    if flat.size > FEW_COUNT and has_numbers and flat.dtype.kind in "fiu":
        ends = (("min", flat.min()), ("mean", flat.mean()), ("max", flat.max()))
        lines.append("  " + "   ".join(f"{name} {number(value)}" for name, value in ends))
    shown = " ".join(number(value) for value in flat[:FEW_COUNT])
    lines.append(f"  {shown or 'no values'}{' ...' if flat.size > FEW_COUNT else ''}")
    return "\n".join(lines)


def shortened(label: str) -> str:
    """A label that leaves room beside it in a line."""
    return label if len(label) <= LABEL_LETTERS else label[: LABEL_LETTERS - 2] + ".."


def real_values(tensor: NDArray[Any], quantization: Quantization | None) -> NDArray[Any]:
    """What the stored values stand for; the values themselves where there is no quantization."""
    if quantization is None:
        return tensor
    across = [1] * tensor.ndim
    if len(quantization.scales) > 1:
        across[quantization.axis] = -1
    scales = np.asarray(quantization.scales, np.float64).reshape(across)
    zero_points = np.asarray(quantization.zero_points, np.float64).reshape(across)
    return np.asarray((tensor.astype(np.float64) - zero_points) * scales)


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
