"""The unit file: systemd understands it, and it gives the agent little."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings

import pytest

from edgeward import PassedOver
from edgeward.agent import unit_file
from edgeward.agent.agent import LEAVING_CALLS, MOST_WATCHES
from edgeward.agent.configuration import Configuration
from edgeward.trust.device_key import CREDENTIAL

MOST_EXPOSURE = 2.0

analyzer = shutil.which("systemd-analyze")


@pytest.fixture
def unit(tmp_path, typed):
    status, out, _ = typed("agent --systemd")
    assert status == 0
    path = tmp_path / "edgeward-agent.service"
    path.write_text(out)
    return path


def test_it_starts_what_tells_when_it_is_ready(unit):
    lines = unit.read_text().splitlines()
    assert {"Type=notify", "WatchdogSec=30", "User=edgeward", "PrivateTmp=yes"} <= set(lines)
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    program = start.removeprefix("ExecStart=").split()
    done = subprocess.run([*program, "--help"], capture_output=True, text=True, check=True)
    assert "--systemd" in done.stdout


def test_it_has_the_key_and_room_for_what_the_agent_may_take(unit):
    lines = unit.read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and line[0].isupper())
    # Without a path, so that a device which has no key starts all the same.
    assert settings["LoadCredential"] == CREDENTIAL
    assert settings["OOMPolicy"] == "continue"
    most = Configuration.most_calls + LEAVING_CALLS + MOST_WATCHES
    assert int(settings["TasksMax"]) >= most + 2 * 4 * Configuration.most_connections
    assert int(settings["LimitNOFILE"]) >= 2 * 64 * Configuration.most_connections


@pytest.mark.skipif(analyzer is None, reason="systemd-analyze is not installed")
def test_systemd_understands_each_line(unit):
    done = subprocess.run([analyzer, "verify", str(unit)], capture_output=True, text=True)
    assert "edgeward-agent" not in done.stderr, done.stderr


@pytest.mark.skipif(analyzer is None, reason="systemd-analyze is not installed")
def test_its_exposure_is_small(unit):
    command = [analyzer, "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    match = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert match, done.stdout + done.stderr
    assert float(match[1]) <= MOST_EXPOSURE


def test_a_python_that_the_sandbox_hides_is_told(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/home/pi/.venv/bin/python")
    with pytest.warns(PassedOver, match=r"got /home/pi/\.venv/bin/python, which ProtectHome"):
        unit_file.unit()
    monkeypatch.setattr(sys, "executable", "/opt/edgeward/bin/python")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unit_file.unit()
