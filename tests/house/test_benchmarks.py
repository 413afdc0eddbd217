"""The programs in benchmarks/ still run against the library."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import edgeward as ew

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DIGITS = Path(ew.__file__).parent / "digits" / "digits.tflite"
PROGRAMS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "test_budgets")


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_program_imports_is_there(name):
    subprocess.run([sys.executable, "-c", f"import {name}"], cwd=BENCHMARKS, check=True)


def test_a_race_has_a_time_for_every_way():
    pytest.importorskip("ai_edge_litert")
    race = subprocess.run(
        [sys.executable, "race.py", DIGITS, "0.01"],
        cwd=BENCHMARKS,
        check=True,
        capture_output=True,
        text=True,
    )
    rounds = json.loads(race.stdout)["rounds_us"]
    assert {"litert: session.run()", "litert: predict(x)"} <= set(rounds)
    assert all(rounds.values())
