"""Captures on the disk: python benchmarks/capture_files.py [--records N] [--pictures N] [--record]

Captures small records and pictures, then runs each command as a user does, in a process of its own:
its time from start to end, and the most memory that was resident in it. Files have been written a
moment before, and are read from the page cache. Where MCAP is installed, the same records are then
written and read as its messages. Ends with 1 when a limit does not hold.
"""

import argparse
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cases import tflite_models
from results import Result, finish

import edgeward as ew
from edgeward.captures.segments import segment_paths

MIB = 1 << 20
# Runs between two flushes: what is measured is not lost to a full ring.
BURSTS = {"small": 100_000, "picture": 200}
MOST_MIB = 256
MOST_BYTES = 256  # on the disk, of a record of 128
MOST_LS_S, MOST_SHOW_S = 1.0, 0.5
LEAST_PER_S = 300_000
LEAST_READ_PER_S, LEAST_READ_MB_PER_S = 1_000_000, 1000  # small ones; pictures
READ = """
import sys, edgeward
for batch in edgeward.read_captures(sys.argv[1], batch=10_000):
    len(batch)
"""
# A message for each record, without compression; of MCAP's reader what is quickest.
WRITE_MCAP = """
import sys, edgeward
from mcap.writer import CompressionType, Writer
with open(sys.argv[2], "wb") as file:
    writer = Writer(file, compression=CompressionType.NONE)
    writer.start()
    schema = writer.register_schema("tensors", "raw", b"")
    channel = writer.register_channel("run", "raw", schema)
    for batch in edgeward.read_captures(sys.argv[1], batch=100):
        for number, time_ns in enumerate(batch.time_ns.tolist()):
            tensors = (*batch.inputs.values(), *batch.outputs.values())
            data = b"".join(tensor[number].tobytes() for tensor in tensors)
            writer.add_message(channel, time_ns, data, time_ns)
    writer.finish()
"""
READ_MCAP = """
import itertools, sys
from mcap.reader import make_reader
with open(sys.argv[1], "rb") as file:
    reader = make_reader(file)
    {}
"""
MCAP_WAYS = {
    "summary": "reader.get_summary().statistics",
    "the last 5 messages": "len(list(itertools.islice(reader.iter_messages(reverse=True), 5)))",
    "all messages": "for _ in reader.iter_messages(log_time_order=False): pass",
}
FORMATS = ("parquet", "arrow", "npz")


class Run(NamedTuple):
    seconds: float
    resident_mib: float


MODELS = {"small": tflite_models.add, "picture": tflite_models.add_150k}


def capture_all(directory: Path, what: str, count: int) -> None:
    """In a process of its own: memory of this one would count as that of the commands."""
    model = ew.load_unsigned(MODELS[what](), threads=1)
    budget = {"most_bytes": 1 << 50, "least_free_bytes": 0}
    with ew.Capture(directory, ring_bytes=256 * MIB, **budget) as capture:
        capture.attach(model, name="bench", version="1.0")
        with model.session() as session:
            for start in range(0, count, BURSTS[what]):
                for _ in range(min(BURSTS[what], count - start)):
                    session.run()
                capture.flush(600)
        lost = capture.counters["lost_full"]
    assert lost == 0, f"{lost} records lost to a full ring: expected room for a burst"


def run(words: list[str]) -> Run:
    """A command of `edgeward captures`."""
    return run_python(["-m", "edgeward", "captures", *words])


def run_python(words: list[str]) -> Run:
    start = time.monotonic()
    child = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{words}: status {child.returncode}"
    return Run(seconds, usage.ru_maxrss / 1024)


def holds(is_within: bool) -> str:
    return "holds" if is_within else "does not hold"


def measured(folder: Path, what: str, count: int) -> list[Result]:
    directory = folder / "captures"
    spawn = multiprocessing.get_context("spawn")
    capturing = spawn.Process(target=capture_all, args=(directory, what, count))
    capturing.start()
    capturing.join()
    assert capturing.exitcode == 0
    stored = sum(map(os.path.getsize, segment_paths(directory)))
    per_record = stored / count
    is_small = what == "small"
    limit = f", limit {MOST_BYTES} {holds(per_record <= MOST_BYTES)}" if is_small else ""
    what = f"{count:,} {what} records"
    results = [Result(f"{what}: bytes of one on the disk", f"{per_record:.1f}{limit}")]
    listing, listed = look(directory, what, ["ls"], MOST_LS_S)
    showing, shown = look(directory, what, ["show", "--last", "5"], MOST_SHOW_S)
    reading, read = read_in_batches(directory, what, count, stored, is_small)
    results += [listed, shown, read]
    for form in FORMATS:
        output = folder / f"out.{form}"
        ran = run(["export", str(directory), "--to", form, "-o", str(output)])
        output.unlink()
        rate_per_s = count / ran.seconds
        text = rates(ran, count, stored)
        if form == "parquet":
            is_within = ran.resident_mib <= MOST_MIB and (rate_per_s >= LEAST_PER_S or not is_small)
            least = f"{LEAST_PER_S:,} records/s and " if is_small else ""
            text += f", limit {least}{MOST_MIB} MiB {holds(is_within)}"
        results.append(Result(f"{what}: captures export --to {form}", text))
    if importlib.util.find_spec("mcap") is not None:
        ours = {"summary": listing, "the last 5 messages": showing, "all messages": reading}
        results += beside_mcap(directory, folder / "kept.mcap", what, count, ours)
    return results


def look(directory: Path, what: str, words: list[str], most_s: float) -> tuple[Run, Result]:
    ran = run([words[0], str(directory), *words[1:]])
    is_within = ran.seconds <= most_s and ran.resident_mib <= MOST_MIB
    text = f"{ran.seconds:.2f} s, {ran.resident_mib:.0f} MiB resident"
    limit = f"limit {most_s:g} s and {MOST_MIB} MiB {holds(is_within)}"
    return ran, Result(f"{what}: captures {' '.join(words)}", f"{text}, {limit}")


def read_in_batches(
    directory: Path, what: str, count: int, stored: int, is_small: bool
) -> tuple[Run, Result]:
    ran = run_python(["-c", READ, str(directory)])
    rate_per_s, mb_per_s = count / ran.seconds, stored / ran.seconds / 1e6
    is_fast = rate_per_s >= LEAST_READ_PER_S if is_small else mb_per_s >= LEAST_READ_MB_PER_S
    least = f"{LEAST_READ_PER_S:,} records/s" if is_small else f"{LEAST_READ_MB_PER_S:,} MB/s"
    limit = f"limit {least} and {MOST_MIB} MiB {holds(is_fast and ran.resident_mib <= MOST_MIB)}"
    text = f"{rates(ran, count, stored)}, {limit}"
    return ran, Result(f"{what}: read_captures(batch=10,000)", text)


def beside_mcap(
    directory: Path, path: Path, what: str, count: int, ours: dict[str, Run]
) -> Iterator[Result]:
    """`ours`: our way to the same answer as each of MCAP_WAYS."""
    run_python(["-c", WRITE_MCAP, str(directory), str(path)])
    stored = path.stat().st_size
    yield Result(f"{what}: bytes of one in an MCAP file", f"{stored / count:.1f}")
    for name, statement in MCAP_WAYS.items():
        ran = run_python(["-c", READ_MCAP.format(statement), str(path)])
        text = f"{ran.seconds:.2f} s, {ran.resident_mib:.0f} MiB resident"
        if name == "all messages":
            text = rates(ran, count, stored)
        share = ours[name].seconds / ran.seconds
        yield Result(f"{what}: MCAP's reader, {name}", f"{text}; ours / theirs {share:.3f}")
    path.unlink()


def rates(ran: Run, count: int, stored: int) -> str:
    return (
        f"{count / ran.seconds:,.0f} records/s, {stored / ran.seconds / 1e6:,.0f} MB/s, "
        f"{ran.resident_mib:.0f} MiB resident"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="What captures on the disk cost to read.")
    parser.add_argument("--records", type=int, default=1_000_000, help="small ones, of 128 bytes")
    parser.add_argument("--pictures", type=int, default=3000, help="of 150 kB in and out")
    parser.add_argument("--directory", default=".", help="where files are written for a while")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    results = []
    for what, count in (("small", args.records), ("picture", args.pictures)):
        if count:
            with tempfile.TemporaryDirectory(dir=args.directory) as folder:
                results += measured(Path(folder), what, count)
    return finish("capture_files.py", results, is_recorded=args.record)


if __name__ == "__main__":
    sys.exit(main())
