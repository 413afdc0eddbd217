"""What a program stands on beside its engines: found out, with what to do."""

import json
import os
import stat
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import sealed

from edgeward import PrivateKey
from edgeward.commands import surroundings
from edgeward.trust import device_key

SERVICE = 12345
NAMES = ["memory", "trust", "key", "clock", "disk"]


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A trust directory in which all is well."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv(device_key.VARIABLE, raising=False)
    monkeypatch.setattr(device_key, "_kept", None)
    sealed.trust_at(tmp_path / "trust")
    return tmp_path / "trust"


def findings(directory, captures=None):
    return {
        finding["name"]: finding
        for finding in surroundings.findings(
            str(directory), None if captures is None else str(captures)
        )
    }


def mounted(monkeypatch, path, **facts):
    """What the system says of the file system at `path`, but for these facts."""
    statvfs = os.statvfs

    def answer(asked):
        real = statvfs(asked)
        if os.path.realpath(asked) != os.path.realpath(path):
            return real
        names = [name for name in dir(real) if name.startswith("f_")]
        return SimpleNamespace(**{**{name: getattr(real, name) for name in names}, **facts})

    monkeypatch.setattr(os, "statvfs", answer)


def test_where_all_is_well_each_is_named_with_nothing_to_do(directory, monkeypatch):
    monkeypatch.setattr(surroundings, "clock_is_synchronised", lambda: True)
    report = surroundings.findings(str(directory), None)
    assert json.loads(json.dumps(report)) == report
    assert [finding["name"] for finding in report] == NAMES
    by_name = findings(directory)
    assert "root version 1, until 20" in by_name["trust"]["verdict"]
    assert (
        f"of user {os.getuid()}, mode {stat.S_IMODE(directory.stat().st_mode):04o}"
        in (by_name["trust"]["verdict"])
    )
    key_path = directory / "device.key"
    assert by_name["key"]["verdict"] == (
        f"{sealed.DEVICE.public.id.hex()}, from {key_path}, mode 0600"
    )
    assert by_name["clock"]["verdict"].endswith("Z, synchronised")
    for name in ("trust", "key", "clock"):
        assert by_name[name]["is_fine"], by_name[name]
        assert by_name[name]["advice"] == "nothing to do"


@pytest.mark.parametrize(
    ("blocks", "available", "is_fine", "says"),
    [
        (16384, 16384, True, "67.1 MB, 67.1 MB free, room for 29 rings of 2.10 MB"),  # a container
        (16384, 560, True, "room for 1 ring of 2.10 MB"),  # with its head of 192 KiB
        (16384, 559, False, "room for 0 rings"),
    ],
)
def test_the_room_for_rings(directory, monkeypatch, tmp_path, blocks, available, is_fine, says):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path))
    mounted(monkeypatch, tmp_path, f_blocks=blocks, f_frsize=4096, f_bavail=available)
    finding = findings(directory)["memory"]
    assert says in finding["verdict"]
    assert finding["is_fine"] is is_fine
    assert is_fine or "--shm-size" in finding["advice"]


@pytest.mark.parametrize(
    ("record_bytes", "available", "says", "advice"),
    [
        (10_000, 16384, "each for 209 records of 10.0 kB", "nothing to do"),
        (1_044_480, 16384, "each for 2 records of 1.04 MB", "nothing to do"),  # half but for a head
        (1_044_481, 16384, "each for 2 records", "Capture(ring_bytes=4194304)"),
        (30 << 20, 16384, "each for 0 records", "Capture(ring_bytes=67108864)"),
        (30 << 20, 16431, "each for 0 records", "with more room than 67.3 MB in"),
    ],
)
def test_the_room_for_records(
    directory, monkeypatch, tmp_path, record_bytes, available, says, advice
):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path))
    mounted(monkeypatch, tmp_path, f_blocks=16384, f_frsize=4096, f_bavail=available)
    finding = surroundings.findings(str(directory), None, record_bytes)[0]
    assert says in finding["verdict"]
    assert advice in finding["advice"]


def test_rings_that_cannot_be_written(directory, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path))
    mounted(monkeypatch, tmp_path, f_flag=os.ST_RDONLY)
    assert "$EDGEWARD_RINGS" in findings(directory)["memory"]["advice"]
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "none"))
    finding = findings(directory)["memory"]
    assert "No such file" in finding["verdict"]
    assert not finding["is_fine"]


def test_no_trust_directory(tmp_path):
    by_name = findings(tmp_path / "none")
    assert "none/root.json: no such file" in by_name["trust"]["verdict"]
    assert "edgeward device add" in by_name["trust"]["advice"]
    assert not by_name["key"]["is_fine"]


def test_a_trust_root_that_ends_soon_has_ended_or_is_none(directory, monkeypatch):
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 90 * sealed.DAY_S)
    assert "edgeward root rotate" in findings(directory)["trust"]["advice"]
    assert ", until 20" in findings(directory)["trust"]["verdict"]
    monkeypatch.setattr(time, "time", lambda: clock() + 101 * sealed.DAY_S)
    assert ", expired on 20" in findings(directory)["trust"]["verdict"]
    (directory / "root.json").write_text("{}")
    finding = findings(directory)["trust"]
    assert "root.json" in finding["verdict"]
    assert not finding["is_fine"]


def test_a_directory_that_others_can_write_to(directory):
    directory.chmod(0o777)
    finding = findings(directory)["trust"]
    assert "mode 0777" in finding["verdict"]
    assert finding["advice"] == "chown and chmod it"


def test_a_key_that_is_not_there_cannot_be_read_or_is_in_the_environment(directory, monkeypatch):
    path = directory / "device.key"
    path.chmod(0o644)
    finding = findings(directory)["key"]
    assert not finding["is_fine"]
    assert "chmod 600" in finding["verdict"]
    path.unlink()
    finding = findings(directory)["key"]
    assert finding["verdict"].startswith("none: looked for ")
    assert "edgeward device add" in finding["advice"]
    monkeypatch.setenv(device_key.VARIABLE, sealed.key_text("other", "x25519"))
    other = sealed.key("other", "x25519").public.id.hex()
    for _ in range(2):  # the variable is gone after the first
        finding = findings(directory)["key"]
        assert finding["verdict"] == f"{other}, from ${device_key.VARIABLE}"


def test_a_key_among_the_services_credentials(directory, monkeypatch, tmp_path):
    credential = tmp_path / device_key.CREDENTIAL
    PrivateKey.generate("x25519").write(str(credential))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert f"from {credential}" in findings(directory)["key"]["verdict"]


@pytest.mark.parametrize(
    ("ahead_s", "is_synchronised", "is_fine", "says"),
    [
        (0, True, True, "Z, synchronised"),
        (0, None, True, "unknown whether synchronised"),
        (0, False, False, "Z, not synchronised"),
        (-sealed.DAY_S, True, False, "when the root was issued"),
        (-1_700_000_000, True, False, "it was never set"),
    ],
)
def test_the_clock(directory, monkeypatch, ahead_s, is_synchronised, is_fine, says):
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + ahead_s)
    monkeypatch.setattr(surroundings, "clock_is_synchronised", lambda: is_synchronised)
    finding = findings(directory)["clock"]
    assert says in finding["verdict"]
    assert finding["is_fine"] is is_fine
    assert is_fine or finding["advice"].startswith("set the clock")


def test_the_kernel_says_whether_its_clock_is_synchronised():
    assert surroundings.clock_is_synchronised() in (True, False, None)


@pytest.mark.parametrize(
    ("facts", "says", "advice"),
    [
        ({"f_flag": os.ST_RDONLY}, "mounted read-only", "mount what must be written"),
        ({"f_bavail": 1, "f_frsize": 4096}, "4.10 kB free", "make room"),
        (
            {"f_blocks": 1000, "f_bavail": 99, "f_frsize": 4096},
            "406 kB free",
            "make room: below 410 kB",
        ),
        ({"f_blocks": 1000, "f_bavail": 100, "f_frsize": 4096}, "410 kB free", "nothing to do"),
        ({"f_files": 10_000, "f_favail": 3}, "3 more files", "remove files"),
    ],
)
def test_the_disk(directory, monkeypatch, tmp_path, facts, says, advice):
    mounted(monkeypatch, tmp_path, **{"f_bavail": 1 << 40, "f_flag": 0, **facts})
    # One that is not there is on the disk of the nearest directory that is.
    finding = findings(directory, Path(tmp_path) / "captures" / "of-today")["disk"]
    assert finding["verdict"].startswith(f"{tmp_path}: ")
    assert says in finding["verdict"]
    assert finding["advice"].startswith(advice)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_lock_that_this_user_cannot_open_is_named():
    """Root ran a package there first, with a version that kept what it wrote."""
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "trust"
        sealed.trust_at(directory)
        (directory / "lock").touch(0o600)
        for path in (Path(parent), directory, *directory.iterdir()):
            os.chown(path, 0 if path.name == "lock" else SERVICE, -1)
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            try:
                os.setresuid(SERVICE, SERVICE, SERVICE)
                os.write(writing, json.dumps(findings(directory)["trust"]).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as answer:
            trust = json.load(answer)
        os.waitpid(child, 0)
    assert trust["verdict"].endswith("lock is of user 0")
    assert trust["advice"].startswith("chown it")
