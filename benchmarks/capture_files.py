"""Captures on the disk: python benchmarks/capture_files.py [--records N] [--pictures N] [--record]

Captures small records and pictures, then runs each command as a user does, in a process of its own:
its time from start to end, and the most memory that was resident in it. Files have been written a
moment before, and are read from the page cache. Ends with 1 when a limit does not hold.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from cases import tflite_models
from results import Result, record

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
    commands = (("ls", ["ls"], MOST_LS_S), ("show --last 5", ["show", "--last", "5"], MOST_SHOW_S))
    for name, words, most_s in commands:
        ran = run([words[0], str(directory), *words[1:]])
        is_within = ran.seconds <= most_s and ran.resident_mib <= MOST_MIB
        text = f"{ran.seconds:.2f} s, {ran.resident_mib:.0f} MiB resident"
        limit = f"limit {most_s:g} s and {MOST_MIB} MiB {holds(is_within)}"
        results.append(Result(f"{what}: captures {name}", f"{text}, {limit}"))
    results.append(read_in_batches(directory, what, count, stored, is_small))
    for form in FORMATS:
        output = folder / f"out.{form}"
        ran = run(["export", str(directory), "--to", form, "-o", str(output)])
        output.unlink()
        rate_per_s = count / ran.seconds
        text = (
            f"{rate_per_s:,.0f} records/s, {stored / ran.seconds / 1e6:,.0f} MB/s, "
            f"{ran.resident_mib:.0f} MiB resident"
        )
        if form == "parquet":
            is_within = ran.resident_mib <= MOST_MIB and (rate_per_s >= LEAST_PER_S or not is_small)
            least = f"{LEAST_PER_S:,} records/s and " if is_small else ""
            text += f", limit {least}{MOST_MIB} MiB {holds(is_within)}"
        results.append(Result(f"{what}: captures export --to {form}", text))
    return results


def read_in_batches(directory: Path, what: str, count: int, stored: int, is_small: bool) -> Result:
    ran = run_python(["-c", READ, str(directory)])
    rate_per_s, mb_per_s = count / ran.seconds, stored / ran.seconds / 1e6
    is_fast = rate_per_s >= LEAST_READ_PER_S if is_small else mb_per_s >= LEAST_READ_MB_PER_S
    least = f"{LEAST_READ_PER_S:,} records/s" if is_small else f"{LEAST_READ_MB_PER_S:,} MB/s"
    text = f"{rate_per_s:,.0f} records/s, {mb_per_s:,.0f} MB/s, {ran.resident_mib:.0f} MiB resident"
    limit = f"limit {least} and {MOST_MIB} MiB {holds(is_fast and ran.resident_mib <= MOST_MIB)}"
    return Result(f"{what}: read_captures(batch=10,000)", f"{text}, {limit}")


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
    for result in results:
        print(f"{result.what}: {result.number}", flush=True)
    if args.record:
        record(" ".join(["python", "benchmarks/capture_files.py", *sys.argv[1:]]), results)
    return 1 if any(result.number.endswith("does not hold") for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
