"""How long a program takes from its start to its first answer, in processes of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgeward.measuring.child_part import output_of

START = """
import time
start_s = time.perf_counter()
import edgeward
imported_s = time.perf_counter()
kind, path, trust, key = (argument or None for argument in sys.argv[1:])
if kind == "package":
    model = edgeward.load(path, trust=trust, key=key, threads=1, commit=False)
else:
    model = edgeward.load_unsigned(path, threads=1)
shapes = [[1 if dim < 0 else dim for dim in spec.shape] for spec in model.inputs]
inputs = [edgeward.empty(*pair) for pair in zip(shapes, [spec.dtype for spec in model.inputs])]
for array in inputs:
    array[...] = 0
model.predict(*inputs)
answered_s = time.perf_counter()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([
    1e3 * (imported_s - start_s),
    1e3 * (answered_s - start_s),
    1024 * int(status["VmHWM"].split()[0]),
]))
"""


class StartReport(NamedTuple):
    """Medians over `turns` processes, of which one more came first and was not counted."""

    turns: int
    import_ms: float
    answer_ms: float  # from the beginning of the import to the first answer
    process_ms: float  # from before the process to after its end
    peak_bytes: int


def report(
    path: str,
    is_package: bool,
    trust: os.PathLike[str] | None,
    key: os.PathLike[str] | None,
    turns: int,
    left_s: Callable[[], float],
) -> StartReport:
    """Starts programs that load `path` and run it once, on zeros. Raises PartError."""
    options = ("" if option is None else os.fspath(option) for option in (trust, key))
    arguments = ["package" if is_package else "bare", path, *options]
    rows: list[Sequence[float]] = []
    for _ in range(turns + 1):
        start_s = time.perf_counter()
        numbers = json.loads(output_of(START, arguments, left_s(), lambda _: None))
        rows.append([*numbers, 1e3 * (time.perf_counter() - start_s)])
    import_ms, answer_ms, peak_bytes, process_ms = np.median(rows[1:], axis=0).tolist()
    return StartReport(turns, import_ms, answer_ms, process_ms, int(peak_bytes))
