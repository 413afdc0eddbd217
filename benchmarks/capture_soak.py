"""Threads that capture all they run, for minutes: python benchmarks/capture_soak.py [--record]

Each has a session of one model, and with it a ring. Memory is looked at once a second, after the
first tenth; at the end every inference is looked for, among the counted and among the kept. Ends
with 1 when memory grows or one is missing.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from cases import tflite_models
from results import Result, record

import edgeward as ew
from edgeward.commands.bench import resident_bytes

RING_BYTES = 16 << 20
MOST_DISK_BYTES = 256 << 20
LIMIT_BYTES = 2 << 20  # that memory may have grown by at the end


def capture_all(capture: ew.Capture, threads: int, seconds: float) -> tuple[int, float]:
    """Inferences, and by how many bytes a straight line through resident memory rises."""
    model = ew.load_unsigned(tflite_models.add(), threads=1, capture=capture)
    counts = [0] * threads
    end = time.monotonic() + seconds

    def run(index: int) -> None:
        with model.session() as session:
            while time.monotonic() < end:
                for _ in range(100):
                    session.run()
                counts[index] += 100

    workers = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    times, resident = [], []
    while (left := end - time.monotonic()) > 0:
        if left < 0.9 * seconds:
            times.append(-left)
            resident.append(resident_bytes())
        time.sleep(min(1.0, left))
    for worker in workers:
        worker.join()
    slope = float(np.polyfit(times, resident, 1)[0])
    return sum(counts), slope * (times[-1] - times[0])


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory and accounts of many capturing threads.")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        capture = ew.Capture(Path(folder), ring_bytes=RING_BYTES, most_bytes=MOST_DISK_BYTES)
        with capture:
            runs, grown_bytes = capture_all(capture, args.threads, 60 * args.minutes)
            capture.flush(60)
            counters = capture.counters
        evicted = capture.counters["evicted"]
        kept = sum(1 for _ in ew.read_captures(folder))
    committed, lost = counters["committed"], counters["lost_full"]
    missing = abs(runs - committed - lost) + abs(committed - kept - evicted)
    holds = missing == 0 and grown_bytes < LIMIT_BYTES
    what = f"{args.threads} threads capturing everything for {args.minutes:g} minutes"
    text = (
        f"{runs:,} inferences: {committed:,} kept (of them {evicted:,} evicted later), {lost:,} "
        f"lost to full rings and counted, {missing:,} missing; resident memory grew by "
        f"{grown_bytes / 1024:.0f} KiB, limit {LIMIT_BYTES >> 10}; "
        f"{'holds' if holds else 'does not hold'}"
    )
    print(f"{what}: {text}", flush=True)
    if args.record:
        record(
            " ".join(["python", "benchmarks/capture_soak.py", *sys.argv[1:]]), [Result(what, text)]
        )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
