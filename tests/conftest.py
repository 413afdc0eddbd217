"""What every test may use: engines that load the tests' models, and programs run in a child.

ONNX Runtime reads its telemetry switch when its library is opened, so it is set before any import.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import json
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sealed
from engines_here import ENGINES, models_of

import edgeward as ew

CHILD_LIMIT_S = 600


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Chooses hypothesis's seed here, so that the header can show it.

    A shell that starts the tests in the background has them ignore SIGINT, and nohup SIGHUP, and so
    would programs that tests start and interrupt.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = random.SystemRandom().randrange(1 << 32)


def pytest_report_header(config: pytest.Config) -> str:
    return f"repeat with --hypothesis-seed={config.getoption('hypothesis_seed')}"


@pytest.fixture(params=ENGINES or [pytest.param("", id="none installed")])
def engine_name(request: pytest.FixtureRequest) -> str:
    """Each engine that is installed here; a test that asks for one fails when there is none."""
    assert request.param, 'no engine is installed: pip install ".[test]"'
    return str(request.param)


@pytest.fixture
def load(engine_name: str) -> Callable[..., ew.Model]:
    """Opens the tests' own model of a name, with its generator's arguments, in each engine."""

    def opened(name: str, *args: object) -> ew.Model:
        content = getattr(models_of(engine_name), name)(*args)
        return ew.load_unsigned(content, engine=engine_name)

    return opened


@pytest.fixture
def run_child() -> Callable[..., str]:
    """Runs a program in a fresh interpreter that can import the test models; returns its output.

    Fails with the program's last words when it does not end by itself with status 0.
    """

    def run(program: str, *args: object, **environment: str) -> str:
        child = subprocess.run(
            [sys.executable, "-c", program, *map(str, args)],
            cwd=Path(__file__).parent,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=CHILD_LIMIT_S,
        )
        assert child.returncode == 0, f"status {child.returncode}: {child.stderr[-2000:]}"
        return child.stdout

    return run


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, str, str]]:
    """Runs a command line of `edgeward` in this process: its status, its output, its errors."""
    from edgeward import cli

    def run(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(shlex.split(line))
        streams = capsys.readouterr()
        return status, streams.out, streams.err

    return run


@pytest.fixture
def typed_well(typed: Callable[[str], tuple[int, str, str]]) -> Callable[[str], Any]:
    """The document of a command line that must end well."""

    def run(line: str) -> Any:
        status, out, err = typed(line + " --json")
        assert (status, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets this process's clock, which stands on sealed.NOW_S before."""

    def set_to(now_s: int) -> None:
        monkeypatch.setattr(time, "time", lambda: float(now_s))

    set_to(sealed.NOW_S)
    return set_to
