"""Every budget, one command: python benchmarks/run.py [--seconds S] [--only NAME] [--record]

Some processes for each model, in each of which all ways to run it take turns; then start-up, size
and memory.
Ends with 1 when a budget does not hold. README.md beside this file says how to read the numbers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import footprint
import numpy as np
from budgets import Verdict, verdicts
from cases import Case, cases
from results import Result, record

from edgeward.reports.inspection import columns, duration

RACE = Path(__file__).with_name("race.py")
PROCESS_COUNT = 5  # where memory comes to lie is luck, and another luck in each process


def raced(case: Case, seconds: float) -> dict[str, Any]:
    """The outcome of race.py, with the rounds of all processes in one row."""
    outcomes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / case.name
        path.write_bytes(case.read())
        for _ in range(PROCESS_COUNT):
            command = [sys.executable, str(RACE), str(path), str(seconds / PROCESS_COUNT)]
            child = subprocess.run(command, capture_output=True, text=True)
            if child.returncode != 0:
                raise SystemExit(f"{case.name}: status {child.returncode}\n{child.stderr}")
            outcomes.append(json.loads(child.stdout))
    first = outcomes[0]
    rounds_us = {
        name: [us for outcome in outcomes for us in outcome["rounds_us"][name]]
        for name in first["rounds_us"]
    }
    return {**first, "rounds_us": rounds_us}


def times_text(rounds_us: dict[str, list[float]]) -> str:
    return "; ".join(f"{name} {duration(float(np.median(us)))}" for name, us in rounds_us.items())


def report_race(case: Case, seconds: float) -> tuple[list[Result], list[Verdict]]:
    """Prints what one model's ways took, and its budgets."""
    outcome = raced(case, seconds)
    rounds_us = outcome["rounds_us"]
    print(f"\n{case.name}: {case.kind.value}")
    for name, why in outcome["failures"].items():
        print(f"  {name} does not run: {why}")
    if not rounds_us:
        return [], []
    rows = [[name, duration(float(np.median(us)))] for name, us in rounds_us.items()]
    print(*(f"  {line}" for line in columns(rows)), sep="\n")
    versions = ", ".join(f"{engine} {version}" for engine, version in outcome["engines"].items())
    results = [Result(f"{case.name}, {versions}: time per call", times_text(rounds_us))]
    all_verdicts = [
        verdict
        for engine in outcome["engines"]
        for verdict in verdicts(case.kind, engine, rounds_us, outcome["failures"])
    ]
    for verdict in all_verdicts:
        what = f"{verdict.ratio.ours} / {verdict.ratio.theirs}"
        print(f"  {what}: {verdict.text}")
        results.append(Result(f"{case.name}: {what}", verdict.text))
    return results, all_verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure Edgeward against the engines' own APIs.")
    parser.add_argument("--seconds", type=float, default=5.0, help="per model; default: 5")
    parser.add_argument("--only", metavar="NAME", help='one model file, or "footprint"')
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    chosen = [case for case in cases() if args.only in (None, case.name)]
    has_footprint = args.only in (None, "footprint")
    if not chosen and not has_footprint:
        known = ", ".join(case.name for case in cases())
        parser.error(f"--only: expected footprint or one of {known}, got {args.only}")
    results: list[Result] = []
    misses = 0
    for case in chosen:
        rows, all_verdicts = report_race(case, args.seconds)
        results += rows
        misses += sum(not verdict.holds for verdict in all_verdicts)
    if has_footprint:
        print("\nfootprint")
        for finding in footprint.findings():
            print(f"  {finding.what}: {finding.text}")
            results.append(Result(finding.what, finding.text))
            misses += not finding.holds
    if args.record:
        record(" ".join(["python", "benchmarks/run.py", *sys.argv[1:]]), results)
    print(f"\nbudgets that do not hold: {misses}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
