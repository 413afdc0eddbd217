"""`edgeward bench`: what one model costs here, and the engine's own Python API beside it.

Inputs come from files, or are random, valid and the same on every run. Each part is announced on
standard error; the result is a table or a document, and a chart if asked for.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import Model, Session, TensorSpec, UnsupportedModel, __version__, empty
from edgeward.commands import bench_board, bench_compare, bench_tune
from edgeward.commands.named_model import Opener, opener
from edgeward.commands.options import add_engine, add_trust
from edgeward.engines.choice import MAX_THREADS
from edgeward.engines.processors import doubling_counts, usable_cpus
from edgeward.errors import BadInput, EngineFailed
from edgeward.inputs import tensor_file
from edgeward.measuring import capturing, peers
from edgeward.measuring.capturing import CaptureReport
from edgeward.measuring.machine import cpu_model
from edgeward.measuring.timing import (
    Latency,
    Ratio,
    Way,
    alternate,
    latencies,
    ratio,
    statement_way,
)
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports import inspection
from edgeward.reports.inspection import columns, duration
from edgeward.terminal import chart
from edgeward.terminal.picture import pillow_image
from edgeward.terminal.progress import announce
from edgeward.terminal.prose import folded
from edgeward.terminal.quoting import quoted

Array = NDArray[Any]

BARE = "bare engine call"
RUN = "session.run()"
PREDICT = "predict(x)"
PREDICT_EMPTY = "predict(x) from ew.empty"
PREDICT_OUT = "predict(x, out=y)"

SEED = 2
LOADS_AGAIN = 5
COLUMNS = 80
RATIOS = "time over time, below 1 is faster"
COPY_CALLS = 10
MAX_SECONDS = 86_400


# --- inputs and ways -------------------------------------------------------------------------


def random_values(
    dtype: np.dtype[Any], shape: Sequence[int], generator: np.random.Generator
) -> Array:
    """Values any model accepts: all bytes, but of wider integers, which may be indices, 0 and 1."""
    if dtype.kind in "iu" and dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype.type, endpoint=True)
    if dtype.kind in "iub":
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)


def ordinary(values: Array) -> Array:
    """A copy aligned to 16 bytes but not to 64, as most arrays of numpy are."""
    memory = np.empty(values.nbytes + 128, np.uint8)
    offset = -memory.ctypes.data % 64 + 16
    copy = memory[offset : offset + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def in_place(values: Array) -> Array:
    """A copy in memory that every engine uses in place."""
    copy = empty(values.shape, values.dtype)
    copy[...] = values
    return copy


class Inputs(NamedTuple):
    """What is measured with: an ordinary array for each input, in the model's order."""

    arrays: Mapping[str, Array]
    guessed: Sequence[str]  # inputs that have 1 for an unknown dimension, since no file says more


def inputs_for(model: Model, files: Sequence[str]) -> Inputs:
    """The values in `files`, each FILE or NAME=FILE, and random ones for the other inputs.

    Raises BadInput or OSError for a file, BadInput for an input of unknown shape without one.
    """
    tensors = tensor_file.read(files, model.inputs)
    generator = np.random.default_rng(SEED)
    arrays, guessed = {}, []
    for spec in model.inputs:
        if spec.dtype == "string":
            raise UnsupportedModel(f'bench: input "{spec.name}": expected numbers, got string')
        if spec.name in tensors:
            arrays[spec.name] = ordinary(tensors[spec.name])
            continue
        if spec.shape is None:
            raise BadInput(
                f'bench: the model does not tell the shape of input "{spec.name}": '
                "expected --input for it, got none"
            )
        guessed += [spec.name] if _is_open(spec) else []
        like = empty([1 if dim < 0 else dim for dim in spec.shape], spec.dtype)
        arrays[spec.name] = ordinary(random_values(like.dtype, like.shape, generator))
    return Inputs(arrays, guessed)


def _is_open(spec: TensorSpec) -> bool:
    return spec.shape is None or -1 in spec.shape


def first_run(model: Model, inputs: Inputs) -> None:
    """Runs `model` once. Raises BadInput when it does not run on sizes that no file gave."""
    try:
        model.predict(dict(inputs.arrays))
    except EngineFailed as error:
        if not inputs.guessed:
            raise
        names = ", ".join(f'"{name}"' for name in inputs.guessed)
        raise BadInput(
            f"bench: expected --input for {names}, of a shape that the model runs on, "
            f"got none, and it does not run with 1 for each -1 ({error})"
        ) from None


def our_ways(model: Model, inputs: Mapping[str, Array]) -> list[Way]:
    """The bare engine call, session.run(), and predict() with each kind of memory.

    Where the shape of an output depends on values, the bare engine call and out= are left out.
    """
    session = filled_session(model, inputs)
    names = [f"x{index}" for index in range(len(inputs))]
    arguments = ", ".join(names)
    copied = dict(zip(names, inputs.values(), strict=True))
    shared = {name: in_place(values) for name, values in copied.items()}
    predict, fresh = model.predict, f"y = predict({arguments})"
    ways = [
        statement_way(RUN, "run()", is_ours=True, run=session.run),
        statement_way(PREDICT, fresh, is_ours=True, predict=predict, **copied),
        statement_way(PREDICT_EMPTY, fresh, is_ours=True, predict=predict, **shared),
    ]
    try:
        session.time_bare_runs(1)
    except UnsupportedModel:
        return ways
    outputs = {name: in_place(view) for name, view in session.outputs.items()}
    target = outputs if len(outputs) > 1 else next(iter(outputs.values()))
    reused = f"predict({', '.join([*names, 'out=y'])})"
    return [
        Way(BARE, True, session.time_bare_runs),
        *ways,
        statement_way(PREDICT_OUT, reused, is_ours=True, predict=predict, y=target, **shared),
    ]


def filled_session(model: Model, inputs: Mapping[str, Array]) -> Session:
    session = model.session()
    if any(map(_is_open, model.inputs)):
        session.resize({name: values.shape for name, values in inputs.items()})
    for name, values in inputs.items():
        session.inputs[name][...] = values
    return session


def prepared(model: Model, files: Sequence[str]) -> Session:
    """A session that has run once on what `files` hold."""
    inputs = inputs_for(model, files)
    first_run(model, inputs)
    return filled_session(model, inputs.arrays)


# --- measurements ----------------------------------------------------------------------------


class Plan(NamedTuple):
    """What is measured of a model, and for how long."""

    thread_counts: Sequence[int]
    seconds: float  # for each part
    limit_s: float  # of each part, in which a slow model has fewer rounds
    with_peers: bool
    with_capture: bool


class LoadReport(NamedTuple):
    """The first load opens the engine's library too. Bytes are the whole process's, in RAM."""

    first_ms: float
    again_ms: float
    first_run_ms: float
    before_bytes: int
    loaded_bytes: int
    run_bytes: int
    model: Mapping[str, int]  # what the model held after the first run, by kind


class WayReport(NamedTuple):
    name: str
    is_ours: bool
    per_call_us: float  # many calls in a block, median of the rounds
    latency: Latency  # single calls


class Throughput(NamedTuple):
    callers: int  # threads that call predict on one model
    per_s: float


class ThreadsReport(NamedTuple):
    """What was measured with the engine on one number of threads."""

    threads: int
    rounds: int
    ways: Sequence[WayReport]
    ratios: Sequence[Ratio]
    failures: Mapping[str, str]  # peers that do not run here, and why
    copies_per_call: Mapping[str, float]
    throughput: Sequence[Throughput]


class Report(NamedTuple):
    edgeward: str
    model: str
    package: Mapping[str, Any] | None  # None for a bare model
    size_bytes: int
    engine: Mapping[str, Any]
    machine: Mapping[str, str | int]
    inputs: Sequence[Mapping[str, object]]
    load: LoadReport
    runs: Sequence[ThreadsReport]
    capture: CaptureReport | None  # None where it was not asked for


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def median_of(samples: Sequence[float]) -> float:
    return float(np.median(samples))


def load_report(
    make_opener: Callable[[], Opener], threads: int, files: Sequence[str]
) -> tuple[LoadReport, Inputs]:
    """What the first load, the next ones and the first run cost, and what was run."""
    before_bytes, start_s = resident_bytes(), time.perf_counter()
    with make_opener()(threads) as model:
        first_s, loaded_bytes = time.perf_counter() - start_s, resident_bytes()
        inputs = inputs_for(model, files)
        start_s = time.perf_counter()
        first_run(model, inputs)
        run_s, run_bytes = time.perf_counter() - start_s, resident_bytes()
        held = inspection.memory_report(model)
    again_s = []
    for _ in range(LOADS_AGAIN):
        start_s = time.perf_counter()
        make_opener()(threads).close()
        again_s.append(time.perf_counter() - start_s)
    load = LoadReport(
        first_ms=first_s * 1e3,
        again_ms=median_of(again_s) * 1e3,
        first_run_ms=run_s * 1e3,
        before_bytes=before_bytes,
        loaded_bytes=loaded_bytes,
        run_bytes=run_bytes,
        model=held,
    )
    return load, inputs


def copies_per_call(model: Model, inputs: Sequence[Array]) -> float:
    before = model.copies
    for _ in range(COPY_CALLS):
        model.predict(*inputs)
    return (model.copies - before) / COPY_CALLS


def predictions_per_s(model: Model, inputs: Sequence[Array], callers: int, seconds: float) -> float:
    """Of `callers` threads together on one model, each with inputs of its own."""
    start = threading.Barrier(callers)
    rates: list[float] = []

    def call_until_the_end(own: Sequence[Array]) -> None:
        start.wait()
        begin_s = now_s = time.perf_counter()
        count = 0
        while now_s < begin_s + seconds:
            for _ in range(8):
                model.predict(*own)
            count += 8
            now_s = time.perf_counter()
        rates.append(count / (now_s - begin_s))

    threads = [
        threading.Thread(target=call_until_the_end, args=([in_place(x) for x in inputs],))
        for _ in range(callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(rates) < callers:
        raise RuntimeError(f"throughput: expected {callers} threads to finish, got {len(rates)}")
    return sum(rates)


def threads_report(
    model: Model,
    inputs: Mapping[str, Array],
    path: str,
    threads: int,
    plan: Plan,
    say: Callable[[str], None],
) -> ThreadsReport:
    seconds, limit_s = plan.seconds, plan.limit_s
    arrays = list(inputs.values())
    ways = our_ways(model, inputs)
    rivals: list[Way] = []
    failures: dict[str, str] = {}
    if plan.with_peers:
        task = peers.Task(path, next(iter(model.signatures)), inputs, threads)
        rivals, failures = peers.ways(model.engine.name, task)
    say(f"{len(ways + rivals)} ways in turns, engine threads: {threads}, {seconds:g} s")
    rounds = alternate(ways + rivals, seconds, SEED, limit_s)
    say(f"single calls, engine threads: {threads}, {seconds:g} s")
    single = latencies(ways + rivals, seconds, limit_s)
    throughput = []
    for callers in doubling_counts(usable_cpus()):
        say(f"throughput, calling threads: {callers}, {seconds:g} s")
        throughput.append(Throughput(callers, predictions_per_s(model, arrays, callers, seconds)))
    pairs = [(RUN, way.name) for way in ways if way.name == BARE]
    pairs += [(way.name, rival.name) for way in ways for rival in rivals]
    measured = [
        WayReport(way.name, way.is_ours, median_of(rounds[way.name]), single[way.name])
        for way in ways + rivals
    ]
    with peers.silenced():  # what the packages print when their models go
        rivals.clear()
    return ThreadsReport(
        threads=threads,
        rounds=len(rounds[RUN]),
        ways=measured,
        ratios=[ratio(rounds, ours, theirs) for ours, theirs in pairs],
        failures=failures,
        copies_per_call={
            PREDICT: copies_per_call(model, arrays),
            PREDICT_EMPTY: copies_per_call(model, [in_place(values) for values in arrays]),
        },
        throughput=throughput,
    )


def report(
    path: str,
    files: Sequence[str],
    make_opener: Callable[[], Opener],
    plan: Plan,
    say: Callable[[str], None],
) -> Report:
    """All that `edgeward bench` shows of the model file at `path`, run on what `files` hold.

    `make_opener` begins each load. Calls `say` before each step.
    """
    say("load and first run")
    load, inputs = load_report(make_opener, plan.thread_counts[0], files)
    runs = []
    for threads in plan.thread_counts:
        with make_opener()(threads) as model:
            runs.append(threads_report(model, inputs.arrays, path, threads, plan, say))
            engine_report, specs = inspection.engine_report(model), model.inputs
            package = inspection.package_report(model)
    del engine_report["threads"]  # each of the runs has its own
    return Report(
        edgeward=__version__,
        model=path,
        package=package,
        size_bytes=os.stat(path).st_size,
        engine=engine_report,
        machine={
            "cpu": cpu_model(),
            "cores": usable_cpus(),
            "kernel": platform.release(),
        },
        inputs=[
            {"name": s.name, "dtype": s.dtype, "shape": list(inputs.arrays[s.name].shape)}
            for s in specs
        ],
        load=load,
        runs=runs,
        capture=_capture_report(make_opener(), inputs.arrays, plan, say),
    )


def _capture_report(
    opener: Opener, inputs: Mapping[str, Array], plan: Plan, say: Callable[[str], None]
) -> CaptureReport | None:
    if not plan.with_capture:
        return None
    say(f"capturing, in {len(capturing.KINDS)} ways, {plan.seconds:g} s each")
    threads = plan.thread_counts[0]
    return capturing.report(
        lambda capture: filled_session(opener(threads, capture), inputs), plan.seconds, plan.limit_s
    )


# --- what the user sees ----------------------------------------------------------------------


def document(full: Report) -> dict[str, Any]:
    """The report as JSON has it: an object for each tuple with names."""

    def plain(value: object) -> object:
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return plain(value._asdict())
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return {key: plain(item) for key, item in full._asdict().items()}


def table(full: Report) -> str:
    engine, machine, load = full.engine, full.machine, full.load
    lines = [
        f"{full.model}, {inspection.size(full.size_bytes)}",
        f"{inspection.engine_name(engine)}; nodes: {inspection.nodes_text(engine)}",
        f"{machine['cpu']}, {machine['cores']} usable cores, kernel {machine['kernel']}",
        *(f"{quoted(str(x['name']))}  {x['dtype']} {x['shape']}" for x in full.inputs),
        "",
        *columns(
            [
                ["load, engine library included", duration(load.first_ms * 1e3)],
                ["load again", duration(load.again_ms * 1e3)],
                ["first run", duration(load.first_run_ms * 1e3)],
                ["memory before", inspection.size(load.before_bytes)],
                ["memory after load", inspection.size(load.loaded_bytes)],
                ["memory after first run", inspection.size(load.run_bytes)],
            ]
        ),
        *folded(f"of which the model: {inspection.memory_text(load.model)}", COLUMNS, 2),
    ]
    for part in full.runs:
        lines += ["", *_threads_lines(part)]
    if full.capture is not None:
        lines += ["", *_capture_lines(full.capture)]
    return "\n".join(lines)


def _threads_lines(part: ThreadsReport) -> list[str]:
    ways = [["", "per call", "p90", "p99", "p99.9", "max"]]
    ways += [[way.name, *map(duration, (way.per_call_us, *way.latency[2:]))] for way in part.ways]
    ratios = [
        (r.ours, f"/ {r.theirs}", f"{r.median:.2f} ({r.least:.2f} to {r.greatest:.2f})")
        for r in part.ratios
    ]
    counts = [[f"copies per call, {name}", f"{n:g}"] for name, n in part.copies_per_call.items()]
    counts += [
        [f"predictions per s, calling threads: {t.callers}", f"{t.per_s:,.0f}"]
        for t in part.throughput
    ]
    return [
        f"engine threads: {part.threads} ({part.rounds} rounds)",
        *columns(ways),
        *(["", RATIOS, *inspection.aligned(ratios)] if part.ratios else []),
        *(f"{name} does not run here: {why}" for name, why in part.failures.items()),
        "",
        *columns(counts),
    ]


def _capture_lines(captured: CaptureReport) -> list[str]:
    rows = [[name, duration(added_us)] for name, added_us in captured.additions]
    return [
        f"added to {RUN}, which takes {duration(captured.without_us)}",
        *(columns(rows) if rows else []),
        *(f"{name} does not run here: {quoted(why)}" for name, why in captured.failures.items()),
    ]


def write_chart(full: Report, path: str) -> None:
    groups = []
    for part in full.runs:
        bars = [
            chart.Bar(w.name, w.is_ours, w.per_call_us, w.latency.p99_us, duration(w.per_call_us))
            for w in part.ways
        ]
        groups.append(chart.Group(f"time per call, engine threads: {part.threads}", bars))
    subtitle = f"{full.engine['name']} {full.engine['version']} on {full.machine['cpu']}"
    chart.write(path, Path(full.model).name, subtitle, groups, "tick: p99 of single calls")


# --- the command -----------------------------------------------------------------------------


def _threads(text: str) -> list[int]:
    with suppress(ValueError):
        counts = [int(part) for part in text.split(",")]
        if min(counts) >= 1 and max(counts) <= MAX_THREADS:
            return counts
    raise argparse.ArgumentTypeError(
        f'expected counts such as 1,2, each 1 to {MAX_THREADS}, got "{text}"'
    )


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= MAX_SECONDS:
            return seconds
    raise argparse.ArgumentTypeError(
        f'expected seconds above 0, at most {MAX_SECONDS}, got "{text}"'
    )


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        help="a .tflite, .onnx, .ort or .ewp file; with --board any number of them",
    )
    add_argument(
        "--input",
        dest="inputs",
        action="append",
        default=[],
        metavar="FILE",
        help="FILE or NAME=FILE, as predict takes it, once for each input (default: random)",
    )
    add_argument("--vs", action="store_true", help="measure the engine's own Python API beside it")
    add_engine(parser, "the one for this kind of file")
    add_trust(parser)
    add_argument("--threads", type=_threads, metavar="N,N", help="of the engine; default: 1")
    add_argument(
        "--seconds", type=_seconds, default=1.0, metavar="S", help="for each part; default: 1"
    )
    add_argument(
        "--limit",
        type=_seconds,
        metavar="S",
        help="for each part at most, where 30 rounds of a slow model take longer (default: none)",
    )
    add_argument("--capture", action="store_true", help="measure what capturing adds to a call")
    add_argument("--png", metavar="FILE", help="draw a chart (needs the extra image)")
    add_argument(
        "--tune",
        action="store_true",
        help="race the engines and numbers of threads, and write the fastest beside the model, "
        'for engine="auto"',
    )
    boards = parser.add_argument_group("boards")
    boards.add_argument(
        "--board",
        action="store_true",
        help="measure all that matters on this board, in less than five minutes: the shipped "
        "models and each MODEL, packages, starts, the machine",
    )
    boards.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="write the document of --board"
    )
    boards.add_argument(
        "--compare",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="show documents of --board beside each other, as ratios to the first",
    )
    boards.add_argument("--html", metavar="FILE", type=Path, help="write a page that shows it all")


def _say(step: str) -> None:
    announce(f"bench: {step}")


MEASURED = ("vs", "engine", "threads", "limit", "capture", "png")
OF_ONE_MODEL = ("inputs", "tune", *MEASURED)
# By the form of the command: the options that belong to the others.
FOREIGN = {
    "--compare": (*OF_ONE_MODEL, "board", "models", "output", "trust", "key"),
    "--board": OF_ONE_MODEL,
    "--tune": (*MEASURED, "output", "html"),
    "one MODEL": ("output", "html"),
}
SPELLED = {"inputs": "--input", "models": "MODEL"}


def _require_fit(args: argparse.Namespace) -> None:
    """Raises BadInput for options that do not go together."""
    flags = {"--compare": args.compare is not None, "--board": args.board, "--tune": args.tune}
    form = next((form for form, is_set in flags.items() if is_set), "one MODEL")
    for name in FOREIGN[form]:
        if getattr(args, name):
            raise BadInput(f"{SPELLED.get(name, f'--{name}')}: expected another form, got {form}")
    if form in ("--tune", "one MODEL") and len(args.models) != 1:
        raise BadInput(f"bench: expected one MODEL without --board, got {len(args.models)}")


def run(args: argparse.Namespace) -> Outcome:
    """Measures. Raises EdgewardError for a model that does not load."""
    _require_fit(args)
    if args.compare is not None:
        return bench_compare.run(args)
    if args.board:
        return bench_board.run(args, _say)
    (args.model,) = args.models
    if args.tune:
        return bench_tune.run(args, lambda model: prepared(model, args.inputs), _say)
    if args.png is not None:
        pillow_image()  # before the minutes, not after them
        os.stat(Path(args.png).parent)
    if args.vs and is_package(args.model):
        raise BadInput(
            f"{args.model}: expected a bare model with --vs, got a package: other programs cannot "
            "open it"
        )
    full = report(
        args.model,
        args.inputs,
        lambda: opener(args, commit=False),
        Plan(
            args.threads or [1],
            args.seconds,
            math.inf if args.limit is None else args.limit,
            args.vs,
            args.capture,
        ),
        _say,
    )
    if args.png is not None:
        write_chart(full, args.png)
    return Outcome(document(full), table(full))
