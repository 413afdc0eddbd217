"""Children that run code find the same edgeward, and nothing of the directory they are in."""

from __future__ import annotations

import subprocess
import sys

import edgeward
from edgeward.engines import child


def test_a_child_has_this_ones_modules_and_its_arguments(tmp_path, monkeypatch):
    (tmp_path / "edgeward.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    command = child.command("import edgeward; print(edgeward.__file__, sys.argv[1:])", "a", "-b")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{edgeward.__file__} ['a', '-b']\n"


def test_an_embedded_interpreter_has_no_child(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/usr/bin/program")
    assert child.command("pass") is None
    monkeypatch.setattr(sys, "executable", "")
    assert child.command("pass") is None
