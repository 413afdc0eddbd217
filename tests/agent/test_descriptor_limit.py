"""The agent raises its limit of descriptors, and says when it is too small for its settings."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from agent.running import Running

PROGRAM = """
import logging, resource
from edgeward.agent.configuration import Configuration
from edgeward.agent.descriptor_limit import raise_for
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 640))
raise_for(Configuration(most_connections={most_connections}, users=("1", "2"), groups=("3",)))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("most_connections", "note"),
    [
        (32, ""),  # 256 of all else, and three for each connection of four users
        (
            33,
            "descriptors: expected 652 for 33 connections of each of 4 users, got 640: "
            "raise LimitNOFILE= or ulimit -Hn\n",
        ),
    ],
)
def test_the_limit_is_raised_and_said_when_it_is_too_small(most_connections, note):
    program = PROGRAM.format(most_connections=most_connections)
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == "640 640\n"
    assert ended.stderr == note


def test_an_agent_raises_its_limit(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "agent.toml").write_text("unsigned = true\n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    try:
        with Running(tmp_path, "-c", "agent.toml", "-a", tmp_path / "agent.sock") as running:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            text = Path(f"/proc/{running.process.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    (line,) = (line for line in text.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == [str(limits[1])] * 2
