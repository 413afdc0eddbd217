"""Rings of programs that capture in their own process, drained by an agent beside them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sealed
from captures.programs import Program, comes_true, values

import edgeward as ew
from edgeward.agent import ring_drains
from edgeward.captures import rings

from .running import LIMIT_S, Running

FIRST, SECOND = [1.0, 2.0, 3.0], [4.0, 5.0]


class Device:
    """A directory with an agent that drains, and rings of its own below it."""

    def __init__(self, directory: Path, *lines: str) -> None:
        self.directory = directory
        self.rings = directory / "rings"
        self.captures = directory / "captures"
        path = directory / "agent.toml"
        settings = ['socket = "agent.sock"', 'admin_socket = ""', "unsigned = true", "drain = true"]
        path.write_text("\n".join([*settings, *lines]))
        self.environment = {"EDGEWARD_RINGS": str(self.rings)}
        self.agent = Running(directory, "-c", path, **self.environment)

    def program(self, options: str = "", captures: Path | None = None) -> Program:
        return Program(captures or self.captures, options, **self.environment)

    def status(self) -> tuple[int, dict[str, Any], str]:
        """What `edgeward status` answers: its status, the rings by their captures, its text."""
        command = [sys.executable, "-m", "edgeward", "status", "-a", self.agent.socket]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        document, text = (
            subprocess.run([*command, *more], env=environment, capture_output=True, text=True)
            for more in (["--json"], [])
        )
        assert not document.stderr
        report = json.loads(document.stdout)
        entries = {entry["captures"] or entry["rings"]: entry for entry in report["rings"]}
        return document.returncode, entries, text.stdout

    def entry(self, captures: Path) -> dict[str, Any] | None:
        entry: dict[str, Any] | None = self.status()[1].get(str(captures))
        return entry

    def introduce(self) -> None:
        """Runs a program until the agent has found its rings, and waits until the agent drains."""
        with self.program() as program:
            program("run()")
            assert comes_true(lambda: self.entry(self.captures), LIMIT_S), self.agent.output
            program.end()
        self.until_drains()

    def until_drains(self) -> None:
        """Waits until the agent drains, and not only stands by."""

        def drains() -> bool:
            entry = self.entry(self.captures)
            return entry is not None and not entry["holder"]

        assert comes_true(drains, LIMIT_S), self.agent.output


def kept(captures: Path) -> list[float] | None:
    """As `values`; None while a segment is being begun, or sealed."""
    with suppress(ew.MalformedCapture, FileNotFoundError):
        return values(captures)
    return None


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_rings_of_a_killed_program_reach_the_disk(device: Device) -> None:
    with device.program() as program:
        program("run(1, 2, 3)")
        program.kill()
    with device.agent:
        assert comes_true(lambda: kept(device.captures) == FIRST, LIMIT_S)
        status, entries, text = device.status()
        assert status == 0
        entry = entries[str(device.captures)]
        assert entry["records"] == 3
        assert f"rings: {entry['records']} records brought to {device.captures}" in text
    assert values(device.captures) == FIRST
    assert not any(device.rings.iterdir())


def test_a_program_that_comes_later_leaves_it_to_the_agent(device: Device) -> None:
    with device.agent:
        with device.program() as program:
            program("run(1, 2, 3)")
            assert comes_true(lambda: device.entry(device.captures), LIMIT_S)
            entry = device.entry(device.captures)
            assert entry is not None
            assert str(program.pid) in entry["holder"]
            program.end()
        device.until_drains()
        with device.program() as program:
            program("run(4, 5)")
            assert program("capture.flush()")
            assert f"process {device.agent.process.pid}," in program("capture._parts.drain.holder")
            entry = device.entry(device.captures)
            assert entry is not None
            assert entry["records"] == 2
            device.agent.stop()
            # The program is the next drain.
            program("run(6)")
            assert comes_true(lambda: not program("capture._parts.drain.holder"), LIMIT_S)
            assert program("capture.flush()")
            program.end()
    assert values(device.captures) == [*FIRST, *SECOND, 6.0]


def test_directories_are_remembered(device: Device) -> None:
    with device.agent:
        device.introduce()
        device.agent.stop()
        assert not any(device.rings.iterdir())  # as after a restart of the machine
        device.agent.start()
        with device.program() as program:
            assert f"process {device.agent.process.pid}," in program("capture._parts.drain.holder")
        device.agent.stop()
        for path in device.captures.iterdir():
            path.unlink()
        device.captures.rmdir()
        device.agent.start()
        assert device.entry(device.captures) is None
        assert not device.captures.exists()


def test_each_ring_is_for_its_own_recipient(device: Device) -> None:
    owners = {name: sealed.key(name, "x25519") for name in ("one", "other")}
    with device.agent:
        device.introduce()
        for name in owners:
            key = f"encrypt_to=sealed.key({name!r}, 'x25519').public"
            with device.program(key) as program:
                program("run(1, 2)" if name == "one" else "run(3)")
                program.kill()
        assert comes_true(lambda: not list(device.rings.rglob("*.ring")), LIMIT_S)
    paths = list(device.captures.glob("*.ewc"))
    encrypted = []
    read: dict[str, list[float]] = {name: [] for name in owners}
    for path in paths:
        alone = device.directory / path.stem
        alone.mkdir()
        path.rename(alone / path.name)
        try:
            assert values(alone) == []  # of the program that had no recipient
        except ew.WrongKey:
            encrypted.append(path)
        for name, key in owners.items():
            with suppress(ew.WrongKey):
                read[name] += values(alone, key=key)
    assert read == {"one": [1.0, 2.0], "other": [3.0]}
    assert len(encrypted) == 2


def test_what_cannot_be_drained_is_named_and_the_rest_goes_on(device: Device) -> None:
    others = {name: device.directory / name for name in ("damaged", "unclaimed", "foreign", "good")}
    for captures in others.values():
        with device.program(captures=captures) as program:
            program("run(1, 2, 3)")
            program.kill()
    ring_directories = {name: device.rings / rings.name_of(path) for name, path in others.items()}
    (ring,) = ring_directories["damaged"].glob("*.ring")
    with ring.open("r+b") as file:
        file.write(b"\xff" * 64)
    (ring_directories["unclaimed"] / "drain.lock").write_text("process 1\ncaptures elsewhere\n")
    expected = {"damaged": "got other bytes", "unclaimed": 'got "elsewhere"'}
    if os.geteuid() == 0:
        os.chown(ring_directories["foreign"], 12345, 12345)
        expected["foreign"] = "got one of user 12345"
    with device.agent:
        assert comes_true(lambda: kept(others["good"]) == FIRST, LIMIT_S)

        def complaints() -> dict[str, str]:
            return {
                entry["rings"]: entry["complaint"]
                for entry in device.status()[1].values()
                if entry["complaint"]
            }

        assert comes_true(lambda: len(complaints()) == len(expected), LIMIT_S), complaints()
        for name, text in expected.items():
            path = str(ring_directories[name])
            assert text in complaints()[path]
            log = device.agent.output
            assert comes_true(lambda path=path: path in device.agent.output), log  # type: ignore[misc]
        status, _, text = device.status()
        assert status == 1
        assert all(path in text for path in complaints())
        with device.program(captures=others["good"]) as program:
            program("run(4, 5)")
            assert program("capture.flush()")
    assert values(others["good"]) == FIRST + SECOND
    assert values(others["unclaimed"]) == []


def test_captures_among_the_agents_own_are_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    device = Device(tmp_path, f'capture_directory = "{own}"')
    with device.program(captures=own / "program") as program:
        program("run(1)")
        program.kill()
        with device.agent:
            assert comes_true(lambda: device.status()[0] == 1, LIMIT_S)
            (entry,) = device.status()[1].values()
            assert "expected captures apart from the agent's own" in entry["complaint"]


def test_segments_go_on_to_the_store_and_the_rest_stays(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    bucket = tmp_path / "bucket"
    lines = (f'upload = "{bucket}"', "upload_period_s = 1", 'fleet = "shop"', 'device = "camera7"')
    device = Device(tmp_path, *lines)
    device.captures.mkdir()
    beside = device.captures / "notes.txt"
    beside.write_text("the program's own")
    (device.captures / "empty").mkdir()
    with device.agent:
        device.introduce()
        with device.program() as program:
            program("run(1, 2, 3)")
            program.kill()
        device.agent.stop()
        assert values(device.captures) == FIRST
        device.agent.start()
        folder = bucket / "shop" / "segments" / "camera7" / rings.name_of(device.captures)
        assert comes_true(lambda: kept(folder) == FIRST, LIMIT_S), device.agent.output
        assert comes_true(lambda: not list(device.captures.glob("*.ewc")), LIMIT_S)
        with device.program() as program:
            program("run(4, 5)")
            assert program("capture.flush()")
        device.agent.stop()
        assert values(device.captures) == SECOND
        device.agent.start()
        assert comes_true(lambda: kept(folder) == FIRST + SECOND, LIMIT_S)
    assert beside.read_text() == "the program's own"
    assert (device.captures / "empty").is_dir()


def test_killed_at_any_time_no_record_is_lost_or_doubled(device: Device) -> None:
    """The agent drains and is killed, again and again, while a program captures on."""
    chance = np.random.default_rng(7)
    sent = 0
    with device.agent:
        device.introduce()
        for _ in range(3):
            with device.program() as program:
                for _ in range(int(chance.integers(3, 12))):
                    count = int(chance.integers(1, 40))
                    program(f"run(*range({sent}, {sent + count}))")
                    sent += count
                device.agent.stop(signal.SIGKILL)
                program(f"run({sent})")
                sent += 1
                if chance.integers(2):
                    program.kill()
                else:
                    program.end()
            device.agent.start()
    assert values(device.captures) == [float(number) for number in range(sent)]


def test_a_complaint_that_stays_is_told_once(
    device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where rings are looked at again and again, since their captures' place is no folder."""
    monkeypatch.setattr(ring_drains, "LOOK_EVERY_S", 0.01)

    def without_place(name: str) -> str:
        captures = device.directory / name
        with device.program(captures=captures) as program:
            program("run(1)")
            program.kill()
        shutil.rmtree(captures)
        captures.write_text("")
        return str(device.rings / rings.name_of(captures))

    def complaints() -> dict[str, str]:
        return {entry["rings"]: entry["complaint"] for entry in drains.report()}

    first = without_place("first")
    limits = ring_drains.Limits(1 << 30, 0)
    base, state = str(device.rings), str(device.directory)
    drains = ring_drains.RingDrains(base, state, limits, "", lambda _: None)
    try:
        assert comes_true(lambda: bool(complaints().get(first)), LIMIT_S)
        second = without_place("second")  # which only a later look meets
        assert comes_true(lambda: bool(complaints().get(second)), LIMIT_S)
    finally:
        drains.close()
    lines = [record.getMessage() for record in caplog.records]
    assert sum(str(device.directory / "first") in line for line in lines) == 1
