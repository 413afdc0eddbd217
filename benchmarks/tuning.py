"""Whether `bench --tune` chooses the fastest: python benchmarks/tuning.py [--record]

It tunes ten models, by the command itself, and races each choice against all other pairs of engine
and threads, anew and in turns. Ends with 1 when another pair is more than 3 % faster than a choice,
or the default at all.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cases import Case, Kind, cases
from results import report

from edgeward.commands.bench import prepared
from edgeward.commands.bench_tune import Pair, pairs, race

MODELS = 10
LEAST_RATIO = 0.97  # of any pair's time over that of the chosen one
LEAST_DEFAULT = 1.0
SECONDS = 2.0
SEED = 77


def chosen(path: Path) -> tuple[Pair, Pair]:
    """The pair that the command chooses, and the default."""
    command = [sys.executable, "-m", "edgeward", "bench", "--tune", "--json"]
    command += ["--seconds", str(SECONDS), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    return Pair(**document["chosen"]), Pair(**document["default"])


def findings(folder: Path, models: list[Case]) -> Iterator[tuple[str, str, bool]]:
    for case in models:
        path = folder / case.name
        path.write_bytes(case.read())
        choice, default = chosen(path)
        args = argparse.Namespace(
            model=str(path), trust=None, key=None, engine=None, seconds=SECONDS
        )
        ratios = {
            pair: race(args, pair, choice, lambda model: prepared(model, []), SEED).median
            for pair in pairs(default.engine)
            if pair != choice
        }
        best = min(ratios, key=ratios.__getitem__)
        holds = ratios[best] >= LEAST_RATIO
        holds &= choice == default or ratios[default] >= LEAST_DEFAULT
        text = f"{name(choice)}; next, {name(best)}, {ratios[best]:.2f} of its time"
        if choice != default:
            text += f"; the default, {name(default)}, {ratios[default]:.2f}"
        limit = f"limit {LEAST_RATIO} at least {'holds' if holds else 'does not hold'}"
        yield f"bench --tune, {case.name}: chosen", f"{text}, {limit}", holds


def name(pair: Pair) -> str:
    return f"{pair.engine} {pair.threads}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether bench --tune chooses the fastest.")
    parser.add_argument("--record", action="store_true", help="append rows to RESULTS.md")
    args = parser.parse_args()
    models = [case for case in cases() if case.kind is Kind.REAL][:MODELS]
    with tempfile.TemporaryDirectory() as folder:
        return report("tuning.py", findings(Path(folder), models), is_recorded=args.record)


if __name__ == "__main__":
    sys.exit(main())
