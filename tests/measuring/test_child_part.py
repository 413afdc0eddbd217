"""Parts in processes of their own: how they end is a reason, and never an end of this one."""

from __future__ import annotations

import sys

import pytest

from edgeward.measuring.child_part import PartError, output_of

SAYS = """
print("bench: a step", file=sys.stderr)
print("done", *sys.argv[1:])
"""


def test_what_a_part_prints_and_announces():
    steps = []
    assert output_of(SAYS, ["a", "b"], 60, steps.append) == "done a b\n"
    assert steps == ["a step"]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("sys.exit(3)", "it ended with status 3"),
        ("import os; os.kill(os.getpid(), 4)", "it was ended by SIGILL"),
        ("sys.exit('edgeward: engine_missing: no such engine')", "engine_missing: no such engine"),
        ("raise ValueError('a cause')", "ValueError: a cause"),
    ],
)
def test_how_a_part_fails_is_its_reason(code, why):
    with pytest.raises(PartError) as failure:
        output_of(code, [], 60, print)
    assert str(failure.value) == why


def test_a_part_that_does_not_end_is_ended():
    with pytest.raises(PartError, match="not done after"):
        output_of("import signal; signal.pause()", [], 0.2, print)


def test_no_part_begins_when_no_time_is_left():
    with pytest.raises(PartError, match="no time is left"):
        output_of(SAYS, [], 0.0, print)


def test_a_program_without_a_python_to_start(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(PartError, match="no Python to start"):
        output_of(SAYS, [], 60, print)
