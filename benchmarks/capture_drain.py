"""What one core drains: python benchmarks/capture_drain.py [--records N] [--seconds N] [--record]

Small records, and a drain that is a process of its own and kept to one core. First what the ring
of a killed program holds: the drain's time from start to end. Then a program on another core that
runs a model 200,000 times a second and captures each run, while the drain follows. Ends with 1 when
the drain is slower than that, or a record is lost.
"""

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cases import tflite_models
from results import Result, finish

import edgeward as ew
from edgeward.captures import rings

LEAST_PER_S = 200_000
RECORD_BYTES = 512  # that one takes in a ring, at most
RING_BYTES = 256 << 20  # while the drain follows: what comes in about two seconds
BURST = 500  # runs between two looks at the clock
READY_S, FLUSH_S = 60, 600
PROGRAM_CORE, DRAIN_CORE = sorted(os.sched_getaffinity(0))[:2]
SPAWN = multiprocessing.get_context("spawn")


def leave(directory: Path, count: int) -> None:
    """A black box of `count` records, whose program is killed."""
    ring_bytes = 1 << (count * RECORD_BYTES - 1).bit_length()
    capture = ew.Capture(directory, statistics=False, keep="newest", ring_bytes=ring_bytes)
    with ew.load_unsigned(tflite_models.add(), threads=1, capture=capture).session() as session:
        for _ in range(count):
            session.run()
        assert capture.counters["overwritten"] == 0
        os.kill(os.getpid(), signal.SIGKILL)


def run_steadily(directory: Path, count: int, counters_path: Path) -> None:
    """LEAST_PER_S runs in each second; the counters afterwards, with the seconds it took."""
    os.sched_setaffinity(0, {PROGRAM_CORE})
    with ew.Capture(directory, statistics=False, ring_bytes=RING_BYTES) as capture:
        model = ew.load_unsigned(tflite_models.add(), threads=1, capture=capture)
        with model.session() as session:
            begin = time.monotonic()
            for number in range(0, count, BURST):
                while (early_s := begin + number / LEAST_PER_S - time.monotonic()) > 0:
                    time.sleep(early_s)
                for _ in range(BURST):
                    session.run()
            seconds = time.monotonic() - begin
            assert capture.flush(FLUSH_S), capture.complaint
        counters_path.write_text(json.dumps(capture.counters | {"seconds": seconds}))


class Drain:
    """`edgeward captures drain`, kept to its core."""

    def __init__(self, directory: Path, *words: str) -> None:
        self._directory = directory
        command = ["-m", "edgeward", "captures", "drain", str(directory), "--json", *words]
        self._begin = time.monotonic()
        self._process = subprocess.Popen(
            ["taskset", "-c", str(DRAIN_CORE), sys.executable, *command],
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        lock = Path(rings.directory_of(self._directory), "drain.lock")
        while f"process {self._process.pid}\n" not in (lock.read_text() if lock.exists() else ""):
            assert self._process.poll() is None, "the drain ended"
            assert time.monotonic() < self._begin + READY_S, f"no drain in {lock}"
            time.sleep(0.01)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, float, float]:
        """Records; seconds from its start, and those of its core."""
        assert self._process.stdout is not None
        report = json.loads(self._process.stdout.read())
        _, status, usage = os.wait4(self._process.pid, 0)
        seconds = time.monotonic() - self._begin
        self._process.returncode = os.waitstatus_to_exitcode(status)
        assert self._process.returncode == 0, report
        return report["records"], seconds, usage.ru_utime + usage.ru_stime


def after_a_kill(directory: Path, count: int) -> Result:
    leaving = SPAWN.Process(target=leave, args=(directory, count))
    leaving.start()
    leaving.join()
    assert leaving.exitcode == -signal.SIGKILL
    records, seconds, busy_s = Drain(directory).end()
    assert records == count, f"{records:,} records, expected {count:,}"
    rate_per_s = count / seconds
    return Result(
        f"{count:,} small records of a killed program: captures drain, one core",
        f"{rate_per_s:,.0f} records/s, {seconds:.2f} s from start to end, of the core "
        f"{busy_s:.2f} s, limit {LEAST_PER_S:,} records/s {holds(rate_per_s >= LEAST_PER_S)}",
    )


def while_it_runs(directory: Path, seconds: float) -> Result:
    count = int(LEAST_PER_S * seconds) // BURST * BURST
    counters_path = directory.with_suffix(".json")
    drain = Drain(directory, "--follow", "--most-bytes", str(1 << 50))
    drain.wait_until_ready()
    running = SPAWN.Process(target=run_steadily, args=(directory, count, counters_path))
    running.start()
    running.join()
    drain.interrupt()
    assert running.exitcode == 0
    records, lived_s, busy_s = drain.end()
    counters = json.loads(counters_path.read_text())
    lost = counters["lost_full"]
    assert records == count - lost, f"{records:,} records of {count:,}, {lost:,} lost"
    rate_per_s = count / counters["seconds"]
    is_steady = rate_per_s >= 0.99 * LEAST_PER_S
    return Result(
        f"{LEAST_PER_S:,} small records a second, captures drain --follow on another core",
        f"{count:,} records, {rate_per_s:,.0f}/s, {lost:,} lost; of its core "
        f"{busy_s / lived_s:.0%}, limit 0 lost {holds(lost == 0 and is_steady)}",
    )


def holds(is_within: bool) -> str:
    return "holds" if is_within else "does not hold"


def main() -> int:
    parser = argparse.ArgumentParser(description="What one core drains.")
    parser.add_argument("--records", type=int, default=2_000_000, help="that a program leaves")
    parser.add_argument("--seconds", type=float, default=30, help="that a program runs")
    parser.add_argument("--directory", default=".", help="where files are written for a while")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=args.directory) as folder,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
    ):
        os.environ["EDGEWARD_RINGS"] = memory
        results = [
            after_a_kill(Path(folder, "left"), args.records),
            while_it_runs(Path(folder, "running"), args.seconds),
        ]
    return finish("capture_drain.py", results, is_recorded=args.record)


if __name__ == "__main__":
    sys.exit(main())
