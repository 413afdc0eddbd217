"""`edgeward captures show`: captured inferences, those that look like pictures as pictures."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import Captured, _core
from edgeward.commands.captures_records import (
    add_directory,
    add_key,
    add_model,
    records,
    timestamp,
)
from edgeward.commands.options import whole_number
from edgeward.outcome import Outcome
from edgeward.reports.inspection import number
from edgeward.terminal.picture import Ink, ink, lines
from edgeward.terminal.quoting import quoted

MAX_LAST = 1_000_000
SHOWN_VALUES = 8
PICTURE_COLUMNS = 32
PICTURE_LEAST, PICTURE_MOST = 8, 4096  # pixels along a side of what is drawn


def add(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)
    add_key(parser)
    parser.add_argument(
        "--last",
        type=whole_number(1, MAX_LAST),
        metavar="N",
        default=1,
        help="how many (default: 1)",
    )
    add_model(parser)
    parser.add_argument("--reason", choices=_core.REASONS, help="kept for this reason")


def run(args: argparse.Namespace) -> Outcome:
    chosen = (
        captured
        for captured in records(args)
        if args.reason is None or args.reason in captured.reasons
    )
    last = list(deque(chosen, args.last))
    report = {"records": [_report(captured) for captured in last]}
    columns = shutil.get_terminal_size().columns
    how = ink(sys.stdout, os.environ)
    parts = [_text(captured, columns, how) for captured in last]
    return Outcome(report, "\n\n".join(parts) or "nothing captured")


def _report(captured: Captured) -> dict[str, Any]:
    facts = captured._asdict()
    for side in ("inputs", "outputs"):
        facts[side] = {
            name: {
                "dtype": captured.dtypes[side, name],
                "shape": list(array.shape),
                "values": array,
            }
            for name, array in facts[side].items()
        }
    del facts["dtypes"]
    facts["user"] = captured.user.hex()
    facts["reasons"] = list(captured.reasons)
    facts["ring_id"] = f"{captured.ring_id:016x}"
    return facts


def _text(captured: Captured, columns: int, how: Ink) -> str:
    model = " ".join(filter(None, (captured.model or "unnamed", captured.version)))
    device = f"{captured.device}: " if captured.device else ""
    parts = [
        f"{quoted(device + model)}, {timestamp(captured.time_ns)}, "
        f"{captured.latency_ns / 1e3:,.1f} µs, {', '.join(captured.reasons)}, "
        f"number {captured.sequence} of ring {captured.ring_id:016x}"
    ]
    if captured.user:
        parts.append(f"user      {captured.user!r}")
    parts += [f"redact    {quoted(_rule(rule))}" for rule in captured.redact]
    for side in ("inputs", "outputs"):
        for name, array in getattr(captured, side).items():
            dtype = captured.dtypes[side, name]
            head = f"{side[:-1]:<8}  {quoted(name)}  {dtype} {list(array.shape)}"
            picture = picture_of(array)
            if picture is None:
                parts.append(f"{head}  {_values(array)}")
            else:
                parts += [head, *lines(picture, min(PICTURE_COLUMNS, columns), how)]
    return "\n".join(parts)


def _rule(rule: dict[str, Any]) -> str:
    """A redaction as its ring's description has it: any JSON object."""
    rest = {name: value for name, value in rule.items() if name not in ("rule", "tensor")}
    head = f"{rule.get('rule', '?')} {rule.get('tensor', '?')}"
    return f"{head} {json.dumps(rest, ensure_ascii=False)}" if rest else head


def picture_of(array: NDArray[Any]) -> NDArray[np.uint8] | None:
    """The tensor as grey values, when it looks like one picture: [1] height width [1 or 3].

    The values are scaled so that the least is black and the greatest is white.
    """
    shape = [extent for extent in array.shape if extent != 1]
    if len(shape) == 3 and shape[-1] == 3:
        grey = array.reshape(shape).astype(np.float64).mean(axis=-1)
    elif len(shape) == 3 and shape[0] == 3:
        grey = array.reshape(shape).astype(np.float64).mean(axis=0)
    elif len(shape) == 2 and array.dtype.kind in "uifb":
        grey = array.reshape(shape).astype(np.float64)
    else:
        return None
    if not all(PICTURE_LEAST <= extent <= PICTURE_MOST for extent in grey.shape):
        return None
    if not np.isfinite(grey).all():
        return None
    least, most = grey.min(), grey.max()
    scaled = (grey - least) * (255 / (most - least)) if most > least else np.zeros_like(grey)
    picture: NDArray[np.uint8] = scaled.astype(np.uint8)
    return picture


def _values(array: NDArray[Any]) -> str:
    flat = array.reshape(-1)
    shown = "  ".join(number(value) for value in flat[:SHOWN_VALUES])
    return shown + (f"  … {flat.size:,} in all" if flat.size > SHOWN_VALUES else "")
