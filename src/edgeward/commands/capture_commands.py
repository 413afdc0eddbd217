"""The command that looks at what was captured: captures ls, show, export, stats, recover, drain.

Each step is a function from its arguments to an Outcome; cli.py prints it. For users: docs/cli.md.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward import Captured, Package, PrivateKey, _core, read_statistics
from edgeward.captures import export as capture_export
from edgeward.captures import rings
from edgeward.captures.capture import LEAST_FREE_BYTES, MOST_BYTES, SEGMENT_BYTES
from edgeward.captures.captured import (
    OPEN,
    Segment,
    read_captures,
    read_counters,
    segment_paths,
    segment_report,
)
from edgeward.captures.drift import drifts
from edgeward.errors import BadInput, Busy, MalformedCapture
from edgeward.outcome import Outcome
from edgeward.reports.inspection import aligned, number, size
from edgeward.terminal.picture import Ink, ink, lines
from edgeward.terminal.progress import Progress

NS = 1_000_000_000
SHOWN_VALUES = 8
PICTURE_COLUMNS = 32
PICTURE_LEAST, PICTURE_MOST = 8, 4096  # pixels along a side of what is drawn
LOOK_EVERY_S = 0.2


def add_captures(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(metavar="STEP", required=True, dest="step")

    def step(name: str, text: str) -> argparse.ArgumentParser:
        made = steps.add_parser(name, help=text[0].lower() + text[1:-1], description=text)
        made.add_argument("directory", metavar="DIR", type=Path, help="what Capture was given")
        made.add_argument("--json", action="store_true", help="print one JSON document")
        return made

    def add_key(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--key",
            metavar="FILE",
            type=Path,
            help="the private key of who alone can read what was captured with encrypt_to",
        )

    add_key(step("ls", "List the segments, and what was captured and lost."))

    show = step("show", "Show captured inferences, pictures as pictures.")
    add_key(show)
    show.add_argument("--last", type=int, metavar="N", default=1, help="how many (default: 1)")
    show.add_argument("--model", metavar="NAME", help="of this model alone")
    show.add_argument("--reason", metavar="WORD", help="kept for this reason: predicate, manual...")

    export = step("export", "Write captured inferences for other tools.")
    add_key(export)
    export.add_argument("--to", choices=capture_export.FORMATS, required=True, help="the format")
    export.add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="a file; jsonl: a directory"
    )
    export.add_argument("--model", metavar="NAME", help="of this model alone")
    export.add_argument("--fleet", metavar="NAME", default="fleet", help="for jsonl")
    export.add_argument("--device", metavar="NAME", default="device", help="for jsonl")

    stats = step("stats", "Show the statistics over every inference, kept or not.")
    stats.add_argument(
        "--against", metavar="PACKAGE", type=Path, help="compare with this package's reference"
    )
    stats.add_argument(
        "--trust", metavar="DIR", type=Path, help="of the package: the trust directory"
    )

    step("recover", "Seal segments that a crash left open.")

    drain = step("drain", "Bring what rings hold to the disk, also of programs that were killed.")
    drain.add_argument("--follow", action="store_true", help="go on until interrupted")
    drain.add_argument(
        "--most-bytes", type=int, metavar="N", default=MOST_BYTES, help="for all segments"
    )


def captures(args: argparse.Namespace) -> Outcome:
    steps = {
        "ls": _ls,
        "show": _show,
        "export": _export,
        "stats": _stats,
        "recover": _recover,
        "drain": _drain,
    }
    return steps[args.step](args)


# --- ls ---------------------------------------------------------------------------------------


def _ls(args: argparse.Namespace) -> Outcome:
    key = _key(args)
    found = [segment_report(path, key) for path in segment_paths(args.directory)]
    counters = read_counters(args.directory, key)
    waiting = _rings(args.directory)
    report: dict[str, Any] = {
        "segments": [one._asdict() | {"models": list(one.models)} for one in found],
        "record_count": sum(one.record_count for one in found),
        "size_bytes": sum(one.size_bytes for one in found),
        "rings": [{"ring_id": f"{ring:016x}", **values} for ring, values in counters.items()],
        "waiting_rings": waiting,
    }
    rows = [
        (
            os.path.basename(one.path),
            size(one.size_bytes),
            f"{one.record_count:,} records",
            _span(one),
            one.state + (", encrypted" if one.is_encrypted else ""),
            ", ".join(one.models),
        )
        for one in found
    ]
    told = aligned(rows) if rows else ["no segments"]
    total = {name: sum(one[name] for one in counters.values()) for name in _COUNTED}
    if counters:
        parts = ", ".join(f"{total[name]:,} {word}" for name, word in _COUNTED.items())
        told += ["", f"{report['record_count']:,} records on the disk; of its rings: {parts}"]
    if waiting:
        told.append(f"{len(waiting)} ring(s) in memory: edgeward captures drain brings them here")
    return Outcome(report, "\n".join(told))


_COUNTED = {
    "sampled_out": "sampled out",
    "committed": "committed",
    "lost_full": "lost to full rings",
    "lost_large": "too large",
    "overwritten": "overwritten",
}


def _rings(directory: Path) -> list[str]:
    place = rings.directory_of(directory)
    if not os.path.isdir(place):
        return []
    return sorted(name for name in os.listdir(place) if name.endswith(".ring"))


def _span(segment: Segment) -> str:
    if segment.first_ns is None or segment.last_ns is None:
        return ""
    return f"{_moment(segment.first_ns)} to {_moment(segment.last_ns)}"


def _moment(time_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(time_ns / NS, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


# --- show -------------------------------------------------------------------------------------


def _show(args: argparse.Namespace) -> Outcome:
    if args.last < 1:
        raise BadInput(f"--last: expected at least 1, got {args.last}")
    shown: list[Captured] = []
    for captured in _chosen(args):
        if args.reason is not None and args.reason not in captured.reasons:
            continue
        shown = [*shown, captured][-args.last :]
    report = {"records": [_record_report(one) for one in shown]}
    columns = shutil.get_terminal_size().columns
    how = ink(sys.stdout, os.environ)
    parts = [_record_text(one, columns, how) for one in shown]
    return Outcome(report, "\n\n".join(parts) or "nothing captured")


def _record_report(one: Captured) -> dict[str, Any]:
    facts = one._asdict()
    for side in ("inputs", "outputs"):
        facts[side] = {
            name: {
                "dtype": one.dtypes[side, name],
                "shape": list(array.shape),
                "values": array.tolist(),
            }
            for name, array in facts[side].items()
        }
    del facts["dtypes"]
    facts["user"] = one.user.hex()
    facts["reasons"] = list(one.reasons)
    facts["ring_id"] = f"{one.ring_id:016x}"
    return facts


def _record_text(one: Captured, columns: int, how: Ink) -> str:
    model = " ".join(filter(None, (one.model or "unnamed", one.version)))
    told = [
        f"{model}, {_moment(one.time_ns)}, {one.latency_ns / 1e3:,.1f} µs, "
        f"{', '.join(one.reasons)}, number {one.sequence} of ring {one.ring_id:016x}"
    ]
    if one.user:
        told.append(f"user      {one.user!r}")
    for side in ("inputs", "outputs"):
        for name, array in getattr(one, side).items():
            head = f"{side[:-1]:<8}  {name}  {one.dtypes[side, name]} {list(array.shape)}"
            picture = picture_of(array)
            if picture is None:
                told.append(f"{head}  {_values(array)}")
            else:
                told += [head, *lines(picture, min(PICTURE_COLUMNS, columns), how)]
    return "\n".join(told)


def picture_of(array: NDArray[Any]) -> NDArray[np.uint8] | None:
    """The tensor as grey values, when it looks like one picture: [1] height width [1 or 3].

    Stretched so that its least value is black and its greatest white.
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


# --- export -----------------------------------------------------------------------------------


def _export(args: argparse.Namespace) -> Outcome:
    if args.output.exists() and not (args.to == "jsonl" and args.output.is_dir()):
        raise BadInput(f'output "{args.output}": expected no such file yet, got one')
    # Into a draft first: an export that ends early leaves nothing that looks whole.
    draft = f"{args.output}.draft-{os.getpid()}"
    writer = capture_export.writer(
        args.to, str(args.output) if args.to == "jsonl" else draft, args.fleet, args.device
    )
    count = 0
    paths = segment_paths(args.directory)
    total = sum(os.path.getsize(path) for path in paths)
    try:
        with Progress("bytes", total) as progress:
            for captured in _chosen(args):
                writer.add(captured)
                count += 1
                progress.advance(_stored_bytes(captured))
        written = writer.close()
    except BaseException:
        for left in Path(draft).parent.glob(Path(draft).name + "*"):
            left.unlink(missing_ok=True)
        raise
    if args.to != "jsonl":
        written = [_in_place(path, draft, str(args.output)) for path in written]
    report = {"record_count": count, "format": args.to, "files": written}
    told = [f"{count:,} records", *(f"wrote {path}" for path in written)]
    return Outcome(report, "\n".join(told))


def _stored_bytes(captured: Captured) -> int:
    arrays = [*captured.inputs.values(), *captured.outputs.values()]
    return 192 + sum(array.nbytes for array in arrays)


def _in_place(path: str, draft: str, output: str) -> str:
    """The draft's name as OUT, or OUT with a number before its ending."""
    stem, extension = os.path.splitext(output)
    suffix = path[len(draft.rsplit(".", 1)[0]) :]
    digits = "".join(character for character in suffix.rpartition("-")[2] if character.isdigit())
    place = output if path == draft else f"{stem}-{digits}{extension}"
    os.replace(path, place)
    return place


# --- stats ------------------------------------------------------------------------------------


def _stats(args: argparse.Namespace) -> Outcome:
    counted = read_statistics(args.directory)
    reference = None
    if args.against is not None:
        reference = Package.open(args.against, trust=args.trust).reference
        if reference is None:
            raise BadInput(f'package "{args.against}": expected a reference in it, got none')
    document = []
    told = []
    for one in counted:
        rows = one.statistics.report()
        entry: dict[str, Any] = {
            "model": one.name,
            "version": one.version,
            "package_id": one.package_id,
            "signature": one.signature,
            "run_count": rows["run_count"],
            "error_count": rows["error_count"],
            "latency_ns": _latency(rows["latency_counts"]),
            "tensors": [_plain(row) for row in rows["tensors"]],
        }
        told.append(_stats_text(entry))
        if reference is not None:
            moved = drifts([tensor._asdict() for tensor in reference.tensors], rows["tensors"])
            entry["drift"] = [drift._asdict() for drift in moved]
            told += [
                "",
                *aligned(
                    [("drift", "tensor", "PSI", "mean moved by")]
                    + [
                        (
                            drift.side,
                            drift.name,
                            f"{drift.psi:.3f}",
                            "" if drift.shift is None else f"{drift.shift:+.2f} sd",
                        )
                        for drift in moved
                    ]
                ),
            ]
        document.append(entry)
    return Outcome({"statistics": document}, "\n".join(told) or "no statistics yet")


def _latency(counts: NDArray[np.uint64]) -> dict[str, int]:
    """The greatest latency of the fastest so many: each the least value of its bucket."""
    least = _core.least_latencies()
    total = int(counts.sum())
    if total == 0:
        return {}
    running = np.cumsum(counts)
    return {
        name: int(least[int(np.searchsorted(running, share * total))])
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A tensor's row for JSON; of bins without edges only those that hold something."""
    made = {name: value for name, value in row.items() if name not in ("counts", "class_counts")}
    counts = row["counts"]
    if row["edges"]:
        made["counts"] = counts.tolist()
    else:
        made["bins"] = [
            {"least": value, "count": int(counts[bin])}
            for bin, value in _core.bit_bins()
            if counts[bin]
        ]
    made["class_counts"] = row["class_counts"].tolist()
    return made


def _stats_text(entry: dict[str, Any]) -> str:
    model = " ".join(filter(None, (entry["model"] or "unnamed", entry["version"])))
    latency = "   ".join(f"{name} {ns / 1e3:,.1f} µs" for name, ns in entry["latency_ns"].items())
    rows = [("tensor", "", "values", "mean", "sd", "min", "max", "NaN", "Inf")]
    rows += [
        (
            row["side"],
            row["name"],
            f"{row['finite_count']:,}",
            number(row["mean"]),
            number(row["variance"] ** 0.5),
            number(row["min"]),
            number(row["max"]),
            f"{row['nan_count']:,}",
            f"{row['infinite_count']:,}",
        )
        for row in entry["tensors"]
    ]
    errors = f", {entry['error_count']:,} failed" if entry["error_count"] else ""
    head = f"{model}, {entry['signature']}: {entry['run_count']:,} inferences{errors}"
    return "\n".join([head, f"latency  {latency}", "", *aligned(rows)])


# --- recover, drain ---------------------------------------------------------------------------


def _recover(args: argparse.Namespace) -> Outcome:
    paths = [path for path in segment_paths(args.directory) if path.endswith(OPEN)]
    found = []
    with _alone(args.directory), Progress("segments", len(paths)) as progress:
        for path in paths:
            try:
                found.append({"segment": path, **_core.recover_segment(path)})
            except MalformedCapture as error:
                found.append({"segment": path, "path": None, "error": str(error)})
            progress.advance()
    rows = [
        (
            os.path.basename(one["segment"]),
            one.get("error")
            or f"{one['frame_count']:,} frames kept, {one['lost_bytes']:,} bytes lost",
        )
        for one in found
    ]
    return Outcome({"recovered": found}, "\n".join(aligned(rows)) if rows else "nothing to recover")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody drains meanwhile: what is open was left by a crash. Raises Busy."""
    with open(directory / "drain.lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f'captures "{directory}": expected nobody who drains into it, got a process that '
                "does: it seals its segments itself"
            ) from None
        yield


def _drain(args: argparse.Namespace) -> Outcome:
    place = rings.directory_of(args.directory)
    rings.make_directory(place)
    drain = _core.make_drain(
        place, str(args.directory), SEGMENT_BYTES, args.most_bytes, LEAST_FREE_BYTES, 0, False, None
    )
    try:
        while args.follow:
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        pass
    finally:
        drain.flush(60_000)
        complaint = drain.complaint
        drain.close()
    report = {"directory": str(args.directory), **drain.counters, "complaint": complaint}
    told = f"{report['records']:,} records brought to {args.directory}"
    if report["recovered_frames"]:
        told += f"; {report['recovered_frames']:,} frames of open segments recovered"
    if complaint:
        told += f"\nthe disk refuses: {complaint}"
    return Outcome(report, told, 1 if complaint else 0)


# --- parts of them ----------------------------------------------------------------------------


def _key(args: argparse.Namespace) -> PrivateKey | None:
    return PrivateKey.read(str(args.key)) if args.key else None


def _chosen(args: argparse.Namespace) -> Iterator[Captured]:
    for captured in read_captures(args.directory, key=_key(args)):
        if args.model is None or captured.model == args.model:
            yield captured
