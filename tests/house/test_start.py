"""docs/start.md from an empty directory: each program is written, each command run, in order."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from consoles import blurred, pattern
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "start.md").read_text("utf-8")
# A program, which begins with its path as a comment, or a command with what it prints.
STEP = re.compile(r"^```python\n# (\S+)\n(.*?)^```$|^```console\n\$ (.*?)\n(.*?)^```$", re.M | re.S)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in an empty directory, where `edgeward` and `python` are those of the test."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("python", ""), ("edgeward", " -m edgeward")):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{words} "$@"\n')
        (programs / name).chmod(0o755)
    directory = tmp_path / "empty"
    directory.mkdir()
    monkeypatch.chdir(directory)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "EDGEWARD_RINGS": str(tmp_path / "rings"),
        "PYTHONUTF8": "1",
    }

    def run_command(command: str) -> str:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    return run_command


def test_start_runs_from_an_empty_directory(run, capsys):
    steps = STEP.findall(PAGE)
    assert sum(bool(path) for path, *_ in steps) == 3
    assert sum(bool(command) for *_, command, _ in steps) >= 12
    begin_s = time.monotonic()
    for path, program, command, shown in steps:
        if path:
            Path(path).write_text(program, "utf-8")
        else:
            printed = run(command)
            assert re.fullmatch(pattern(shown), blurred(printed)), (command, printed)
    with capsys.disabled():
        print(f"\ndocs/start.md behind its build: {time.monotonic() - begin_s:.1f} s")
    # Another Pillow draws letters a little differently.
    drawn, shown = (
        np.asarray(Image.open(path).convert("L"), np.float32)
        for path in ("kept.png", ROOT / "docs" / "pictures" / "start.png")
    )
    assert drawn.shape == shown.shape
    assert np.abs(drawn - shown).mean() < 2


def test_start_installs_as_the_readme_does():
    """The gate runs the README's command; what it adds is the demo."""
    readme = (ROOT / "README.md").read_text("utf-8").partition("## Run it")[2]
    (command,) = re.findall(r"^```sh\n(sudo=.*)\n```$", PAGE, re.M)
    assert f"{command} && .venv/bin/edgeward demo\n" in readme
