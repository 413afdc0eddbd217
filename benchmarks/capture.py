"""What capture costs the loop that predicts: python benchmarks/capture.py [--seconds N] [--record]

One process, the same model loaded once for each way, calls in turns: without a Capture, with one
that keeps nothing, with one that keeps everything, with statistics, with rules that leave a part
out; beside a queue that a thread
saves with numpy, beside MCAP, and beside sketches of datasketches, where they are installed. Ends
with 1 when a budget does not hold.
"""

import argparse
import ctypes
import importlib.util
import io
import itertools
import os
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from cases import onnx_models, tflite_models
from results import report

import edgeward as ew
from edgeward.captures import redact, rules
from edgeward.measuring.timing import Way, alternate, ratio, statement_way

RING_BYTES = 16 << 20
SEED = 4
MOST_FIXED_NS, MOST_COPY_RATIO = 150, 1.15
MOST_NO_NS, MOST_IDLE_RATIO, MOST_ELEMENT_NS = 20, 1.02, 1.0
MOST_REDACTED_RATIO = 1.2
MOST_PICTURE_RATIO, MOST_ROW_RATIO = 0.07, 0.15
PICTURES = (96, 224)
BURST_BYTES = RING_BYTES // 2  # what a ring takes before anybody has to empty it

Rounds = dict[str, list[float]]


class Case(NamedTuple):
    name: str
    model: bytes
    elements: int  # of its input and its output


CASES = (
    Case("one op", tflite_models.add(), 2 * 16),
    Case("150 kB", tflite_models.add_150k(), 2 * 37_632),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="What capture costs the loop that predicts.")
    parser.add_argument("--seconds", type=float, default=10, help="of each comparison")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        measured = findings(Path(folder), args.seconds)
        return report("capture.py", measured, is_recorded=args.record)


def findings(folder: Path, seconds: float) -> Iterator[tuple[str, str, bool]]:
    for case in CASES:
        yield from costs(folder / case.name, case, seconds)
    yield from elements(folder / "elements", seconds)
    for side in PICTURES:
        yield from pictures(folder / f"picture-{side}", side, seconds)
    yield from rows(folder / "rows", seconds)
    for height, width in CAMERAS:
        yield from redacted(folder / f"{height}", (1, height, width, 3), seconds)
    for case in CASES:
        yield from peers(folder / case.name, case, seconds)


class Captured:
    """One model with a session of its own, and maybe a Capture."""

    def __init__(self, model: bytes, directory: Path | None = None, **options: Any) -> None:
        self.capture = None if directory is None else ew.Capture(directory, **options)
        self._model = ew.load_unsigned(model, threads=1, capture=self.capture)
        self.session = self._model.session()
        self.input = next(iter(self.session.inputs.values()))
        self.output = next(iter(self.session.outputs.values()))
        generator = np.random.default_rng(SEED)
        self.input[...] = generator.standard_normal(self.input.shape)

    def way(self, name: str) -> Way:
        return statement_way(name, "run()", is_ours=True, run=self.session.run)

    def close(self) -> None:
        self.session.close()
        if self.capture is not None:
            self.capture.close()


# --- what a call costs ---------------------------------------------------------------------------


def captured_by(folder: Path, case: Case) -> dict[str, Captured]:
    """The model of `case`, loaded once for each kind of Capture that is measured."""
    quiet = {"statistics": False, "keep": "newest", "ring_bytes": RING_BYTES}
    return {
        "none": Captured(case.model),
        "idle": Captured(case.model, folder / "idle", sample=0.0, **quiet),
        "every": Captured(case.model, folder / "every", sample=rules.every(1 << 40), **quiet),
        "predicate": Captured(
            case.model, folder / "predicate", when=rules.above(_output(case), 1e30), **quiet
        ),
        "all": Captured(case.model, folder / "all", **quiet),
        "statistics": Captured(case.model, folder / "statistics", sample=0.0,
                               **(quiet | {"statistics": True})),
    }  # fmt: skip


def costs(folder: Path, case: Case, seconds: float) -> Iterator[tuple[str, str, bool]]:
    captured = captured_by(folder, case)
    copy = Copy(captured["none"].input.nbytes + captured["none"].output.nbytes)
    ways = [model.way(name) for name, model in captured.items()]
    rounds = alternate([*ways, copy.way("copy"), copy.nothing("call")], seconds, SEED)
    for model in captured.values():
        model.close()
    call_ns = 1000 * median(rounds["none"])
    yield f"{case.name}: session.run() without capture", f"{call_ns:.0f} ns", True
    idle = ratio(rounds, "idle", "none")
    yield (
        f"{case.name}: with a Capture that keeps nothing / without",
        f"{idle.median:.3f}, limit {MOST_IDLE_RATIO} {_verdict(idle.median <= MOST_IDLE_RATIO)}",
        idle.median <= MOST_IDLE_RATIO,
    )
    # A larger model's buffers lie differently in the caches from session to session: that is more.
    for name in ("idle", "every") if case.elements < 1000 else ():
        no_ns = added_ns(rounds, name)
        text = f"{no_ns:.1f} ns, limit {MOST_NO_NS} {_verdict(no_ns <= MOST_NO_NS)}"
        yield f"{case.name}: a rate's no ({name})", text, no_ns <= MOST_NO_NS
    predicate_ns = added_ns(rounds, "predicate")
    yield (
        f"{case.name}: no of a rule on {case.elements // 2} output elements, with two clock reads",
        f"{predicate_ns:.0f} ns",
        True,
    )
    copy_ns = 1000 * median(a - b for a, b in zip(rounds["copy"], rounds["call"], strict=True))
    all_ns = added_ns(rounds, "all")
    limit_ns = MOST_FIXED_NS + MOST_COPY_RATIO * copy_ns
    yield (
        f"{case.name}: keeping everything adds to a call",
        f"{all_ns:.0f} ns; memmove of the {copy.size_bytes} payload bytes into a ring's memory "
        f"{copy_ns:.0f} ns, limit {limit_ns:.0f} {_verdict(all_ns <= limit_ns)}",
        all_ns <= limit_ns,
    )
    statistics_ns = added_ns(rounds, "statistics")
    yield (
        f"{case.name}: statistics of {case.elements} elements add",
        f"{statistics_ns:.0f} ns",
        True,
    )


def added_ns(rounds: Rounds, name: str) -> float:
    return 1000 * median(a - b for a, b in zip(rounds[name], rounds["none"], strict=True))


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def _output(case: Case) -> str:
    return ew.load_unsigned(case.model).outputs[0].name


class Copy:
    """memmove of a payload that lies in the caches, to place after place of a ring's memory."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._source = np.ones(size_bytes, np.uint8)
        self._ring = np.ones(RING_BYTES, np.uint8)  # its pages are there
        step = -(-size_bytes // 64) * 64
        self._places = itertools.cycle(
            range(self._ring.ctypes.data, self._ring.ctypes.data + RING_BYTES - size_bytes, step)
        )

    def way(self, name: str) -> Way:
        return self._moves(name, self.size_bytes)

    def nothing(self, name: str) -> Way:
        """What the call alone costs."""
        return self._moves(name, 0)

    def _moves(self, name: str, size_bytes: int) -> Way:
        move = ctypes.CDLL(None).memmove
        move.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        return statement_way(
            name, "move(take(places), source, size)", is_ours=False, move=move, take=next,
            places=self._places, source=self._source.ctypes.data, size=size_bytes,
        )  # fmt: skip


# --- statistics, by the element ------------------------------------------------------------------


def elements(folder: Path, seconds: float) -> Iterator[tuple[str, str, bool]]:
    """Of tensors of which every second stretch is counted."""
    count = 16_384
    model = tflite_models.add((count,))
    plain = Captured(model)
    counting = Captured(model, folder, sample=0.0, keep="newest")
    ways = [plain.way("none"), counting.way("statistics")]
    ways += [way for sketch in (kll(plain.input), plain_numpy(plain.input)) for way in sketch]
    rounds = alternate(ways, seconds, SEED)
    for captured in (plain, counting):
        captured.close()
    each_ns = added_ns(rounds, "statistics") / (2 * count)
    yield (
        f"statistics of a float32 tensor of {count} elements, by the element",
        f"{each_ns:.2f} ns, limit {MOST_ELEMENT_NS:g} {_verdict(each_ns <= MOST_ELEMENT_NS)}",
        each_ns <= MOST_ELEMENT_NS,
    )
    for name in rounds.keys() - {"none", "statistics"}:
        theirs_ns = 1000 * median(rounds[name]) / count
        yield (
            f"the same by {name}",
            f"{theirs_ns:.2f} ns; ours / theirs {each_ns / theirs_ns:.3f}",
            True,
        )


def pictures(folder: Path, side: int, seconds: float) -> Iterator[tuple[str, str, bool]]:
    """Of which a part is looked at, and means of channels."""
    model = tflite_models.add((1, side, side, 3))
    plain = Captured(model)
    counting = Captured(model, folder, sample=0.0, keep="newest")
    (numpy_way,) = plain_numpy(plain.input)
    rounds = alternate([plain.way("none"), counting.way("statistics"), numpy_way], seconds, SEED)
    for captured in (plain, counting):
        captured.close()
    share = added_ns(rounds, "statistics") / 2 / (1000 * median(rounds[numpy_way.name]))
    yield (
        f"statistics of a picture of {side} x {side} x 3 / numpy (min to histogram)",
        f"{share:.3f}, limit {MOST_PICTURE_RATIO:g} {_verdict(share <= MOST_PICTURE_RATIO)}",
        share <= MOST_PICTURE_RATIO,
    )


def rows(folder: Path, seconds: float) -> Iterator[tuple[str, str, bool]]:
    """Of tensors that are counted column by column; the output has scores besides."""
    model = tflite_models.add((1, 30))
    by_name = {
        "none": Captured(model),
        "looking": Captured(model, folder / "looking", sample=0.0, statistics=False, post_roll=1),
        "statistics": Captured(model, folder / "statistics", sample=0.0, keep="newest"),
    }
    rounds = alternate([each.way(name) for name, each in by_name.items()], seconds, SEED)
    for captured in by_name.values():
        captured.close()
    counting = added_ns(rounds, "statistics") - added_ns(rounds, "looking")
    share = counting / 2 / (1000 * median(rounds["none"]))
    yield (
        "statistics of [1, 30], one tensor / session.run()",
        f"{share:.3f}, limit {MOST_ROW_RATIO:g} {_verdict(share <= MOST_ROW_RATIO)}",
        share <= MOST_ROW_RATIO,
    )
    total = added_ns(rounds, "statistics")
    yield (
        "statistics of [1, 30], input and output with two clock reads add",
        f"{total:.0f} ns",
        True,
    )


def kll(values: npt.NDArray[np.float32]) -> Iterator[Way]:
    if importlib.util.find_spec("datasketches") is None:
        return
    from datasketches import kll_floats_sketch

    sketch = kll_floats_sketch(200)
    flat = values.ravel().copy()
    name = "a KLL sketch of datasketches (quantiles alone)"
    yield statement_way(name, "update(flat)", is_ours=False, update=sketch.update, flat=flat)


def plain_numpy(values: npt.NDArray[np.float32]) -> Iterator[Way]:
    flat = values.ravel().copy()
    edges = np.linspace(-4, 4, 17)
    statement = "(x.min(), x.max(), x.mean(), x.var(), isnan(x).sum(), histogram(x, edges))"
    yield statement_way(
        "numpy (min, max, mean, var, isnan and histogram of 16 bins)", statement, is_ours=False,
        x=flat, isnan=np.isnan, histogram=np.histogram, edges=edges,
    )  # fmt: skip


# --- what is left out ----------------------------------------------------------------------------

CAMERAS = ((224, 224), (480, 640), (1080, 1920))
FACES = ((0.1, 0.1, 0.3, 0.2), (0.4, 0.5, 0.6, 0.6), (0.35, 0.7, 0.65, 0.85))  # top, left, ...
BOX_COUNT = 16
BOXES = redact.Boxes(
    "boxes", order="yxyx", unit="normalised", scores="scores", least=0.3, count="count"
)
REDACTIONS = {
    "blank, three faces": [redact.blank("image", BOXES)],
    "keep_regions, three faces": [redact.keep_regions("image", BOXES)],
    "downsample by 2": [redact.downsample("image", 2)],
    "downsample by 8": [redact.downsample("image", 8)],
    "the first 240 rows": [redact.first("image", 240, axis=1)],
    "drop, and hash of an id": [redact.drop("image"), redact.hash("badge", bytes(32))],
}


def redacted(
    folder: Path, shape: tuple[int, ...], seconds: float
) -> Iterator[tuple[str, str, bool]]:
    """Of a camera's image, whose boxes are outputs; beside a Capture of the same without rules."""
    quiet = {"statistics": False, "keep": "newest", "ring_bytes": RING_BYTES}
    model = onnx_models.detector(shape, (1, BOX_COUNT, 4))
    captured = {"none": Captured(model), "as it is": Captured(model, folder / "whole", **quiet)}
    for name, rule in REDACTIONS.items():
        captured[name] = Captured(model, folder / name, redact=rule, **quiet)
    for each in captured.values():
        detect_faces(each)
    rounds = alternate([each.way(name) for name, each in captured.items()], seconds, SEED)
    for each in captured.values():
        each.close()
    whole_ns = added_ns(rounds, "as it is")
    picture = f"image of {shape[1]} x {shape[2]}"
    yield f"{picture}: keeping it as it is adds to a call", f"{whole_ns:.0f} ns", True
    for name in REDACTIONS:
        added = zip(rounds[name], rounds["as it is"], rounds["none"], strict=True)
        share = median((part - none) / (whole - none) for part, whole, none in added)
        holds = share <= MOST_REDACTED_RATIO
        text = (
            f"{added_ns(rounds, name):.0f} ns; against as it is {share:.3f}, limit "
            f"{MOST_REDACTED_RATIO} {_verdict(holds)}"
        )
        yield f"{picture}: {name}", text, holds


def detect_faces(captured: Captured) -> None:
    inputs = captured.session.inputs
    inputs["image"][...] = np.random.default_rng(SEED).integers(0, 256, inputs["image"].shape)
    inputs["wanted_boxes"][...] = 0
    inputs["wanted_boxes"][0, : len(FACES)] = FACES
    inputs["wanted_scores"][...] = 0
    inputs["wanted_scores"][0, : len(FACES)] = 0.9
    inputs["wanted_count"][...] = BOX_COUNT
    inputs["badge"][...] = SEED


# --- the other ways to keep what a model saw -----------------------------------------------------


class Peer(NamedTuple):
    name: str
    keep: Callable[[npt.NDArray[Any], npt.NDArray[Any]], object]  # in the loop
    finish: Callable[[], object]  # what was kept is on the disk


def peers(folder: Path, case: Case, seconds: float) -> Iterator[tuple[str, str, bool]]:
    """Bursts that fit a ring, each waited for; what is timed is the loop that runs the model."""
    plain = Captured(case.model)
    ours = Captured(case.model, folder / "ours", statistics=False, ring_bytes=RING_BYTES)
    payload_bytes = plain.input.nbytes + plain.output.nbytes
    count = min(2000, BURST_BYTES // (payload_bytes + 512))
    capture = ours.capture
    assert capture is not None
    loops: dict[str, tuple[Captured, Peer | None]] = {"none": (plain, None), "ours": (ours, None)}
    folder.mkdir(exist_ok=True)
    for make in (np_save, mcap):
        for peer in make(folder):
            loops[peer.name] = (plain, peer)
    spent: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(max(5, int(seconds))):
        for name, (captured, peer) in loops.items():
            way = captured.way(name) if peer is None else kept_way(captured, peer)
            spent[name].append(way.seconds(count) / count * 1e6)
            if name == "ours":
                assert capture.flush(600)
            elif peer is not None:
                peer.finish()
    counters = capture.counters
    for captured in (plain, ours):
        captured.close()
    assert counters["lost_full"] == 0, counters
    ours_ns = added_ns(spent, "ours")
    yield (
        f"{case.name}: bursts of {count}, ours adds to a call, drained meanwhile",
        f"{ours_ns:.0f} ns",
        True,
    )
    for name in loops.keys() - {"none", "ours"}:
        theirs_ns = added_ns(spent, name)
        text = f"{theirs_ns:.0f} ns; ours / theirs {ours_ns / theirs_ns:.4f}"
        yield f"{case.name}: {name} adds to a call", text, True


def kept_way(captured: Captured, peer: Peer) -> Way:
    return statement_way(
        peer.name, "run(); keep(x, y)", is_ours=False, run=captured.session.run, keep=peer.keep,
        x=captured.input, y=captured.output,
    )  # fmt: skip


def np_save(folder: Path) -> Iterator[Peer]:
    """Copies into a queue, and a thread that saves a file for each inference."""
    waiting: queue.Queue[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = queue.Queue()
    target = folder / "kept.npy"

    def save() -> None:
        while True:
            x, y = waiting.get()
            with open(target, "wb") as file:
                np.save(file, x)
                np.save(file, y)
            waiting.task_done()

    threading.Thread(target=save, daemon=True).start()
    yield Peer(
        "a queue of copies and a thread with np.save",
        lambda x, y: waiting.put((x.copy(), y.copy())),
        waiting.join,
    )


def mcap(folder: Path) -> Iterator[Peer]:
    """One message for each inference, written by the loop itself as MCAP's writer is made for."""
    if importlib.util.find_spec("mcap") is None:
        return
    from mcap.writer import CompressionType, Writer

    file = open(folder / "kept.mcap", "w+b", buffering=io.DEFAULT_BUFFER_SIZE)  # noqa: SIM115
    writer = Writer(file, compression=CompressionType.NONE)
    writer.start()
    schema = writer.register_schema("tensors", "raw", b"")
    channel = writer.register_channel("run", "raw", schema)
    numbers = itertools.count()

    def keep(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
        number = next(numbers)
        writer.add_message(channel, number, x.tobytes() + y.tobytes(), number, number)

    def finish() -> None:
        file.flush()
        os.fsync(file.fileno())

    yield Peer("MCAP's Python writer, no compression", keep, finish)


if __name__ == "__main__":
    sys.exit(main())
