"""The trust directory: what it believes, what it remembers, and what no crash may lose."""

import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from sealed import (
    DAY_S,
    NOW_S,
    OWNER,
    PUBLISHER,
    ROOT_DAYS,
    document,
    run,
    seal,
    signed,
    successor,
    trust_at,
)

from edgeward import (
    BadInput,
    ExpiredRoot,
    MalformedPackage,
    MalformedRoot,
    Package,
    RollbackRefused,
    Trust,
    UntrustedPackage,
    UntrustedRoot,
    lock_file,
)
from edgeward.trust import root_document
from edgeward.trust import trust_directory as trust

WAIT_S = 60
EPOCH = 1 << 48


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "trust"


@pytest.fixture
def device(directory):
    return trust_at(directory)


@pytest.fixture
def package(tmp_path):
    """Makes a verified package of the core's, as accept() takes it."""

    def open_package(device, counter=1, **release):
        name = "-".join(map(str, [counter, *release.values()]))
        return Package.open(seal(tmp_path / f"{name}.ewp", counter, **release), trust=device).core

    return open_package


def state_of(directory):
    return json.loads((directory / "state.json").read_text())


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}


# --- Which directory, which root ----------------------------------------------------------------


def test_the_directory_is_the_one_given_or_the_environments_or_the_systems(
    directory, device, tmp_path, monkeypatch
):
    assert Trust(directory).directory == str(directory)
    monkeypatch.setattr(trust, "DEFAULT_DIRECTORY", str(directory))
    monkeypatch.delenv("EDGEWARD_TRUST", raising=False)
    assert Trust().directory == str(directory)
    shutil.copytree(directory, tmp_path / "other")
    monkeypatch.setenv("EDGEWARD_TRUST", str(tmp_path / "other"))
    assert Trust().directory == str(tmp_path / "other")
    assert Trust(directory).directory == str(directory)


def test_a_directory_without_a_root_says_how_to_get_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"trust root.*edgeward keygen") as refusal:
        Trust(tmp_path)
    assert refusal.value.filename == str(tmp_path / "root.json")


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", MalformedRoot),
        (b"{}", MalformedRoot),
        (signed(document())[:-2], MalformedRoot),
        (b" " * (512 << 10) + signed(document()), MalformedRoot),
        (signed(document(), [PUBLISHER]), UntrustedRoot),
        (signed(document(), []), UntrustedRoot),
    ],
    ids=["empty", "no envelope", "cut", "too long", "signed by another", "not signed"],
)
def test_a_root_that_cannot_be_believed_is_named(directory, content, refusal):
    directory.mkdir()
    (directory / "root.json").write_bytes(content)
    with pytest.raises(refusal, match=f'^trust root "{directory}/root.json": '):
        Trust(directory)


def test_the_root_in_force_is_seen_by_who_opened_the_directory_before(directory, device):
    other = Trust(directory)
    other.update(signed(successor(document())))
    assert device.root.version == other.root.version == 2


def test_a_root_that_goes_missing_is_missed(directory, device):
    (directory / "root.json").unlink()
    with pytest.raises(FileNotFoundError):
        _ = device.root


# --- Time ---------------------------------------------------------------------------------------


def test_the_time_is_the_clocks_but_never_before_what_is_certain(clock, directory, package):
    device = trust_at(directory)
    assert device.now_s() == NOW_S
    clock(NOW_S - 1)
    assert device.now_s() == NOW_S  # when the root was issued
    clock(NOW_S + 50)
    later = package(device)
    assert device.now_s() == NOW_S + 50
    clock(0)
    assert device.publisher_times_s() == {}  # a package that has not run tells nothing
    device.accept(later)
    assert device.publisher_times_s() == {"default": NOW_S + 50}
    assert device.now_s() == NOW_S  # it tells nothing to others
    clock(NOW_S + 60)
    assert device.now_s() == NOW_S + 60
    assert state_of(directory)["time_floor_s"] == NOW_S  # the clock's word is not kept


def test_a_successor_tells_the_time_too(clock, directory):
    first = document()
    device = trust_at(directory, first)
    clock(NOW_S + 70)
    device.update(signed(successor(first)))
    clock(0)
    assert device.now_s() == NOW_S + 70


@pytest.mark.parametrize(
    ("clock_s", "created_s", "is_believed"),
    [
        (NOW_S, NOW_S + DAY_S, True),
        (NOW_S, NOW_S + DAY_S + 1, False),
        (NOW_S - 1, NOW_S + DAY_S + 1, True),  # no root can have been issued at this time
        (0, NOW_S + ROOT_DAYS * DAY_S - 1, True),
        (0, NOW_S + ROOT_DAYS * DAY_S, False),
        (NOW_S + ROOT_DAYS * DAY_S - 2, NOW_S + ROOT_DAYS * DAY_S - 1, True),
        (NOW_S + ROOT_DAYS * DAY_S - 2, NOW_S + ROOT_DAYS * DAY_S, False),
    ],
)
def test_a_publisher_is_believed_one_day_ahead_or_to_the_roots_end(
    clock, directory, package, clock_s, created_s, is_believed
):
    device = trust_at(directory)
    clock(created_s)
    path = seal(directory.parent / "ahead.ewp")
    clock(clock_s)
    run(path, device)
    assert device.publisher_times_s() == ({"default": created_s} if is_believed else {})
    assert device.now_s() == max(clock_s, NOW_S)
    before = files(directory)
    run(path, device)
    assert files(directory) == before


def test_a_publishers_time_never_goes_back(clock, directory, package):
    device = trust_at(directory)
    earlier = package(device, 1)
    clock(NOW_S + 50)
    device.accept(package(device, 2))
    device.accept(earlier)
    assert device.publisher_times_s() == {"default": NOW_S + 50}


def test_a_new_epoch_voids_the_time_that_packages_told(clock, directory):
    first = document()
    device = trust_at(directory, first)
    clock(NOW_S + DAY_S)
    path = seal(directory.parent / "ahead.ewp")
    clock(NOW_S)
    run(path, device)
    second = successor(first)
    device.update(signed(second))
    assert device.publisher_times_s() == {"default": NOW_S + DAY_S}, "the same epoch"
    third = successor(second)
    root_document.raise_epoch(third)
    device.update(signed(third))
    assert device.publisher_times_s() == {}
    run(seal(directory.parent / "next.ewp", epoch=1), device)
    assert device.publisher_times_s() == {"default": NOW_S}


def test_a_state_of_version_1_is_read_and_rewritten(clock, directory, package):
    """Its one time, of roots and packages, holds on for everything, until a new epoch."""
    first = document()
    device = trust_at(directory, first)
    accepted = package(device, 3, min_counter=3)
    device.accept(accepted)
    state = state_of(directory)
    del state["publisher_times_s"]
    old = json.dumps({**state, "version": 1, "time_floor_s": NOW_S + 70})
    (directory / "state.json").write_text(old)
    assert device.now_s() == NOW_S + 70
    assert device.floors() == {"demo": 3}
    device.accept(accepted)
    assert state_of(directory) == {
        **state,
        "version": 2,
        "time_floor_s": NOW_S + 70,
        "publisher_times_s": {"default": NOW_S},
    }
    second = successor(first)
    root_document.raise_epoch(second)
    device.update(signed(second))
    assert device.now_s() == NOW_S


def test_an_expired_root_stops_what_has_not_run_here(clock, directory, package):
    device = trust_at(directory)
    known = package(device, 1)
    device.accept(known)
    clock(device.root.expires_s - 1)
    device.require_current("0" * 64)
    clock(device.root.expires_s)
    device.require_current(known.package_id.hex())
    with pytest.raises(ExpiredRoot):
        device.require_current("0" * 64)


# --- Floors, and what has run -------------------------------------------------------------------


def test_a_floor_rises_with_the_releases_that_run_and_never_falls(device, package):
    assert device.floors() == {}
    floors = []
    for counter, min_counter in [(1, 1), (3, 2), (4, 2), (4, 4), (9, 3), (5, 5)]:
        device.accept(package(device, counter, min_counter=min_counter))
        floors.append(device.floors().get("demo"))
    assert floors == [None, 2, 2, 4, 4, 5]


def test_each_model_has_a_floor_of_its_own(device, package):
    device.accept(package(device, 7, min_counter=7, name="one"))
    device.accept(package(device, 3, min_counter=2, name="two"))
    assert device.floors() == {"one": 7, "two": 2}
    run(Path(package(device, 3, min_counter=2, name="two").path), device)


def test_the_floors_are_handed_out_as_a_copy(device):
    device.floors()["demo"] = 5
    assert device.floors() == {}
    assert trust.NEW_STATE["floors"] == {}


def test_what_was_opened_before_a_floor_rose_does_not_run_after(directory, device, package):
    older, newer = package(device, 1), package(device, 2, min_counter=2)
    Trust(directory).accept(newer)
    with pytest.raises(RollbackRefused, match="release_counter: expected at least 2 of epoch 0"):
        device.accept(older)
    device.accept(newer)


def test_what_was_opened_before_an_epoch_rose_does_not_run_after(directory, tmp_path, package):
    first = document()
    device = trust_at(directory, first)
    older = package(device, 5)
    second = successor(first)
    root_document.raise_epoch(second)
    Trust(directory).update(signed(second))
    with pytest.raises(RollbackRefused, match=r"at least 1 of epoch 1.* got 5 of epoch 0"):
        device.accept(older)


def test_the_latest_packages_that_ran_are_remembered(directory, device, package):
    packages = [package(device, counter) for counter in range(1, trust.MOST_ACCEPTED + 3)]
    ids = [verified.package_id.hex() for verified in packages]
    for verified in packages[:-2]:
        device.accept(verified)
    assert state_of(directory)["accepted"] == {"demo": ids[:-2]}
    # The first runs again, so that the second is the one that is longest ago.
    device.accept(packages[0])
    device.accept(packages[-2])
    assert state_of(directory)["accepted"] == {"demo": [*ids[2:-2], ids[0], ids[-2]]}
    device.accept(packages[-1])
    assert state_of(directory)["accepted"] == {"demo": [*ids[3:-2], ids[0], *ids[-2:]]}


def test_what_is_remembered_already_is_not_written_again(directory, device, package):
    core = package(device, 2, min_counter=2)
    device.accept(core)
    before = (directory / "state.json").stat()
    device.accept(core)
    assert (directory / "state.json").stat() == before


def test_what_a_refused_package_says_is_not_remembered(directory, device, tmp_path):
    path = seal(tmp_path / "other.ewp", 9, min_counter=9, keys=[OWNER])
    with pytest.raises(UntrustedPackage):
        run(path, device)
    bytes_ = bytearray(seal(tmp_path / "changed.ewp", 9, min_counter=9).read_bytes())
    bytes_[-1] ^= 1
    (tmp_path / "changed.ewp").write_bytes(bytes_)
    with pytest.raises(MalformedPackage):
        run(tmp_path / "changed.ewp", device)
    assert sorted(files(directory)) == ["device.key", "root.json"]


# --- The next root ------------------------------------------------------------------------------


def test_roots_follow_one_another(directory):
    content = document()
    device = trust_at(directory, content)
    for version in (2, 3, 4):
        content = successor(content)
        device.update(signed(content))
        assert device.root.version == Trust(directory).root.version == version
        assert state_of(directory)["root_version"] == version


def test_a_root_that_does_not_follow_changes_nothing(directory, device):
    second, third = successor(document()), successor(successor(document()))
    backwards = {**successor(second), "issued": 0}
    device.update(signed(second))
    before = files(directory)
    for content, keys, refusal in [
        (document(), [OWNER], RollbackRefused),
        ({**second, "expires": second["expires"] + 1}, [OWNER], RollbackRefused),
        (third, [PUBLISHER], UntrustedRoot),
        (third, [], UntrustedRoot),
        (successor(third), [OWNER], UntrustedRoot),
        (backwards, [OWNER], RollbackRefused),
        ({**third, "epoch": -1}, [OWNER], MalformedRoot),
    ]:
        with pytest.raises(refusal):
            device.update(signed(content, keys))
        assert files(directory) == before
        assert device.root.version == 2
    device.update(signed(third))


def test_the_same_root_again_changes_nothing(directory, device):
    second = signed(successor(document()))
    device.update(second)
    before = files(directory)
    device.update(second)
    assert files(directory) == before


def test_who_opened_the_directory_before_cannot_take_its_root_back(directory, device):
    late = Trust(directory)
    second = successor(document())
    device.update(signed(second))
    device.update(signed(successor(second)))
    with pytest.raises(RollbackRefused):
        late.update(signed({**second, "expires": second["expires"] + 1}))
    assert late.root.version == Trust(directory).root.version == 3


def test_a_root_that_follows_the_one_another_process_brought_is_taken(directory, device):
    late = Trust(directory)
    second = successor(document())
    device.update(signed(second))
    late.update(signed(successor(second)))
    assert device.root.version == 3


def test_what_an_update_could_not_note_the_next_run_notes(directory, device, package):
    """A crash between the two files: the root is the successor, the state does not say so."""
    second = signed(successor(document()))
    device.update(second)
    (directory / "state.json").unlink()
    device.accept(package(device))
    assert state_of(directory)["root_version"] == 2


def test_an_update_that_is_repeated_notes_what_the_first_could_not(directory, device):
    second = signed(successor(document()))
    device.update(second)
    complete = files(directory)
    (directory / "state.json").unlink()
    device.update(second)
    assert files(directory) == complete


# --- A state that is not ours -------------------------------------------------------------------


def test_a_state_that_is_cut_anywhere_is_refused(directory, device, package):
    device.accept(package(device, 2, min_counter=2))
    whole = (directory / "state.json").read_bytes()
    assert len(whole) > 100
    for size in range(len(whole)):
        (directory / "state.json").write_bytes(whole[:size])
        with pytest.raises(
            MalformedRoot, match=f'trust state "{directory}/state.json": .* restore it'
        ):
            Trust(directory)


FINE = {
    "version": 2,
    "root_version": 1,
    "epoch": 0,
    "time_floor_s": 5,
    "publisher_times_s": {"default": 7},
    "floors": {"demo": 3},
    "accepted": {"demo": ["00"]},
}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": 1, "further": 1},
        {"version": 0},
        {"version": "1"},
        {"further": 1},
        {"root_version": -1},
        {"root_version": 1.0},
        {"root_version": None},
        {"root_version": True},
        {"epoch": 1 << 16},
        {"epoch": -1},
        {"time_floor_s": "5"},
        {"time_floor_s": 1 << 63},
        {"publisher_times_s": []},
        {"publisher_times_s": {"default": -1}},
        {"publisher_times_s": {"default": 1 << 63}},
        {"publisher_times_s": {"default": None}},
        {"floors": []},
        {"floors": {"demo": -1}},
        {"floors": {"demo": 1 << 64}},
        {"floors": {"demo": 3.5}},
        {"floors": {"demo": None}},
        {"accepted": []},
        {"accepted": {"demo": "00"}},
        {"accepted": {"demo": [0]}},
    ],
    ids=str,
)
def test_a_state_with_another_meaning_is_refused(directory, device, change):
    (directory / "state.json").write_text(json.dumps(FINE))
    assert Trust(directory).floors() == {"demo": 3}
    (directory / "state.json").write_text(json.dumps({**FINE, **change}))
    with pytest.raises(MalformedRoot, match="trust state"):
        Trust(directory)
    for name in FINE:
        (directory / "state.json").write_text(
            json.dumps({k: v for k, v in FINE.items() if k != name})
        )
        with pytest.raises(MalformedRoot, match="trust state"):
            Trust(directory)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "\x00" * 300, "[" * 100_000, "\xff"])
def test_a_state_that_is_something_else_is_refused(directory, device, text):
    (directory / "state.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(MalformedRoot, match="trust state"):
        Trust(directory)


# --- Crashes ------------------------------------------------------------------------------------

KILLED = """
import json, os, shutil, sys
from pathlib import Path
from edgeward import Package, Trust
from kills import each_kill
template, place = Path(sys.argv[1]), Path(sys.argv[2])

def reset():
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)

def state():
    return json.loads((place / "state.json").read_text())

reset()
"""


def test_a_kill_at_any_step_of_accept_leaves_the_old_floor_or_the_new(
    directory, device, package, run_child, monkeypatch
):
    device.accept(package(device, 3, min_counter=3))
    later_s = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later_s)
    newer = package(device, 5, min_counter=5)
    output = run_child(
        KILLED
        + """
core = Package.open(sys.argv[3], trust=template).core
trust = Trust(place)
earlier, later = trust.publisher_times_s(), {"default": core.created_s}
assert later["default"] > earlier["default"]
for step in each_kill(lambda: trust.accept(core)):
    floor = Trust(place).floors()["demo"]
    ids, times = state()["accepted"]["demo"], Trust(place).publisher_times_s()
    assert (floor, len(ids), times) in [(3, 1, earlier), (5, 2, later)], (step, floor, ids, times)
    # Nothing is in the way of the next.
    Trust(place).accept(core)
    assert Trust(place).floors() == {"demo": 5}, step
    print(step, floor)
    reset()
""",
        directory,
        directory.with_name("copy"),
        newer.path,
    )
    steps = output.splitlines()
    assert {"after flock 3", "before write 3", "before replace 3"} <= set(steps)
    assert {"after replace 5", "before flock 5", "before close 5"} <= set(steps)
    assert [step.split()[-1] for step in steps] == sorted(step.split()[-1] for step in steps)


def test_a_kill_at_any_step_of_update_leaves_the_old_root_or_the_new(
    directory, device, package, run_child
):
    device.accept(package(device, 3, min_counter=3))
    second = directory.with_name("second.json")
    second.write_bytes(signed(successor(document())))
    output = run_child(
        KILLED
        + """
envelope = Path(sys.argv[3]).read_bytes()
trust = Trust(place)
for step in each_kill(lambda: trust.update(envelope)):
    found = Trust(place)
    assert found.floors() == {"demo": 3}, step
    assert state()["root_version"] <= found.root.version, step
    print(step, found.root.version, state()["root_version"])
    found.update(envelope)
    assert found.root.version == state()["root_version"] == 2, step
    reset()
""",
        directory,
        directory.with_name("copy"),
        second,
    )
    steps = output.splitlines()
    assert {"before replace 1 1", "after replace 2 1", "before replace 2 1"} <= set(steps)
    assert {"after replace 2 2", "after flock 2 2"} <= set(steps)


# --- A disk that is full, a directory that cannot be written ------------------------------------

FULL = """
import errno, os, resource, sys
from pathlib import Path
from edgeward import Package, Trust
place = Path(sys.argv[1])

def files():
    return {one.name: one.read_bytes() for one in place.iterdir() if one.name != "lock"}

def with_limit(size_bytes, work):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))
    try:
        work()
    except OSError as error:
        assert error.errno == errno.EFBIG, error
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    return True
"""


def test_a_disk_that_is_full_keeps_the_floor_and_says_so(directory, device, package, run_child):
    """A limit on a file's size stands for the disk: it lets so many bytes through, and no more."""
    device.accept(package(device, 3, min_counter=3))
    run_child(
        FULL
        + """
trust, before = Trust(place), files()
core = Package.open(sys.argv[2], trust=trust).core
limit = 0
while not with_limit(limit, lambda: trust.accept(core)):
    assert files() == before, limit
    limit += 1
assert limit == len(files()["state.json"]) > 100
assert trust.floors() == {"demo": 5}
""",
        directory,
        package(device, 5, min_counter=5).path,
    )


def test_a_full_disk_keeps_the_root_and_says_so(directory, device, run_child):
    second = directory.with_name("second.json")
    second.write_bytes(signed(successor(document())))
    run_child(
        FULL
        + """
trust, before = Trust(place), files()
envelope = Path(sys.argv[2]).read_bytes()
for limit in range(len(envelope)):
    assert not with_limit(limit, lambda: trust.update(envelope))
    assert files() == before, limit
    assert trust.root.version == 1
assert with_limit(len(envelope), lambda: trust.update(envelope))
assert trust.root.version == 2
""",
        directory,
        second,
    )


def has_mount_namespaces():
    command = ["unshare", "--mount", "true"]
    return shutil.which("unshare") and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not has_mount_namespaces(), reason="may not mount a disk of its own")
def test_a_disk_that_really_is_full_keeps_what_it_had(directory, device, package):
    device.accept(package(device, 3, min_counter=3))
    newer = package(device, 5, min_counter=5)
    disk = directory.with_name("disk")
    disk.mkdir()
    program = """
import errno, os, shutil, sys
from pathlib import Path
from edgeward import Package, Trust
template, disk = Path(sys.argv[1]), Path(sys.argv[2])
place = disk / "trust"
shutil.copytree(template, place)
trust = Trust(place)
core = Package.open(sys.argv[3], trust=trust).core
before = {one.name: one.read_bytes() for one in place.iterdir()}
with open(disk / "rest", "wb", buffering=0) as rest:
    try:
        while rest.write(bytes(4096)):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    try:
        trust.accept(core)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    else:
        raise AssertionError("went through")
assert {one.name: one.read_bytes() for one in place.iterdir()} == before
(disk / "rest").unlink()
trust.accept(core)
print(trust.floors()["demo"])
"""
    shell = 'mount -t tmpfs -o size=64k none "$3" && exec "$0" -c "$1" "$2" "$3" "$4"'
    words = [sys.executable, program, str(directory), str(disk), newer.path]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell, *words], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("5\n", "")


def test_a_directory_that_cannot_be_written_lets_run_what_sets_no_floor(
    directory, device, package, run_child
):
    first, raises = package(device, 1), package(device, 2, min_counter=2)
    # As another user, who may reach neither this user's temporary directory nor write in this one.
    output = run_child(
        """
import fcntl, os, shutil, sys, tempfile
from pathlib import Path
from edgeward import Package, Trust
with tempfile.TemporaryDirectory() as directory:
    place = Path(directory) / "trust"
    shutil.copytree(sys.argv[1], place)
    os.chmod(directory, 0o755)
    os.chmod(place, 0o555)
    trust = Trust(place)
    first, raises = (Package.open(path, trust=trust).core for path in sys.argv[2:4])
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        trust.accept(first)
        print("first")
        trust.accept(raises)
    except PermissionError:
        print(sorted(os.listdir(place)), trust.floors())
    finally:
        os.seteuid(user)
        os.chmod(place, 0o755)
""",
        directory,
        first.path,
        raises.path,
    )
    assert output == "first\n['device.key', 'root.json'] {}\n"


# --- Several at once ----------------------------------------------------------------------------


def is_waited_for(directory):
    """Whether someone else of this process has the lock of the directory open."""
    inode = (directory / "lock").stat().st_ino
    opened = [
        os.stat(number).st_ino
        for number in map(int, os.listdir("/proc/self/fd"))
        if os.path.exists(f"/proc/self/fd/{number}")
    ]
    return opened.count(inode) > 1


def held_lock(directory):
    number = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(number, fcntl.LOCK_EX)
    return number


def test_what_another_process_noted_meanwhile_is_kept(directory, device, package):
    mine, theirs = package(device, 5, min_counter=5), package(device, 7, min_counter=7, name="it")
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    Trust(copy).accept(theirs)

    number = held_lock(directory)
    late = threading.Thread(target=device.accept, args=[mine])
    late.start()
    end_s = time.monotonic() + WAIT_S
    while not is_waited_for(directory):
        assert late.is_alive(), "went ahead without the lock"
        assert time.monotonic() < end_s
    shutil.copyfile(copy / "state.json", directory / "state.json")
    os.close(number)
    late.join(WAIT_S)
    assert device.floors() == {"demo": 5, "it": 7}


def test_processes_that_accept_at_once_lose_nothing(directory, device, package):
    process_count, each_count = 4, 6
    program = """
import sys
from edgeward import Package, Trust
trust = Trust(sys.argv[1])
cores = [Package.open(path, trust=trust).core for path in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
for core in cores:
    trust.accept(core)
"""
    names = [[f"m{p}-{n}" for n in range(each_count)] for p in range(process_count)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(directory)]
            + [package(device, 2, min_counter=2, name=name).path for name in mine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mine in names
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=WAIT_S)
        assert process.returncode == 0
    expected = sorted(name for mine in names for name in mine)
    assert sorted(device.floors()) == sorted(state_of(directory)["accepted"]) == expected


def test_threads_that_accept_at_once_lose_nothing(directory, device, package):
    cores = [package(device, 2, min_counter=2, name=f"m{n}") for n in range(12)]
    start = threading.Barrier(len(cores))

    def accept(core):
        start.wait(WAIT_S)
        device.accept(core)

    threads = [threading.Thread(target=accept, args=[core]) for core in cores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert sorted(device.floors()) == sorted(core.name for core in cores)


def test_a_child_forked_under_the_lock_does_not_keep_it(directory, device, package, run_child):
    output = run_child(
        """
import fcntl, os, sys
from edgeward import Package, Trust
from edgeward.trust import trust_directory as trust
device = Trust(sys.argv[1])
core = Package.open(sys.argv[2], trust=device).core
ends, end = os.pipe()
replace_file = trust.replace_file

def replace_and_fork(path, data, **of):
    replace_file(path, data, **of)
    if os.fork() == 0:
        os.close(end)
        os.read(ends, 1)  # until the parent is done
        os._exit(0)

trust.replace_file = replace_and_fork
device.accept(core)
number = os.open(os.path.join(sys.argv[1], "lock"), os.O_RDWR)
fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("free")
""",
        directory,
        package(device, 2, min_counter=2).path,
    )
    assert output == "free\n"


# --- Others who can read the directory ----------------------------------------------------------


def test_whoever_can_only_read_the_directory_keeps_nobody_waiting(directory, device, package):
    """A lock on the directory, which needs no right to write, is none; the lock file is its own."""
    newer = package(device, 3, min_counter=3)
    number = os.open(directory, os.O_RDONLY)
    fcntl.flock(number, fcntl.LOCK_EX)
    device.accept(newer)
    os.close(number)
    assert device.floors() == {"demo": 3}
    assert stat.S_IMODE((directory / "lock").stat().st_mode) == 0o600


def test_a_lock_that_is_never_free_is_an_error_that_says_so(
    directory, device, package, monkeypatch
):
    monkeypatch.setattr(lock_file, "MOST_WAIT_S", 0.05)
    newer = package(device, 3, min_counter=3)
    number = held_lock(directory)
    with pytest.raises(TimeoutError, match=r"lock of the trust directory within 0\.05 s") as caught:
        device.accept(newer)
    os.close(number)
    assert caught.value.filename == str(directory / "lock")
    assert device.floors() == {}
    device.accept(newer)
    assert device.floors() == {"demo": 3}


@pytest.mark.parametrize("name", ["root.json", "state.json"])
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(directory, device, name):
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    with pytest.raises(BadInput, match=f"{name}.*expected a regular file, got a device, pipe"):
        Trust(directory)


def test_drafts_of_killed_writers_are_removed_and_nothing_else(directory, device, package):
    drafts = [directory / name for name in ("state.json.a1b2c3d4.draft", "root.json.x.draft")]
    others = [directory / name for name in ("state.json.backup", "2.root.json", "notes.draft")]
    for path in drafts + others:
        path.write_bytes(b"")
    device.accept(package(device, 3, min_counter=3))
    assert not any(path.exists() for path in drafts)
    assert all(path.exists() for path in others)


# --- What is said of a directory ----------------------------------------------------------------


def warnings_of(directory):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Trust(directory)
    return [str(warning.message) for warning in caught]


def test_nothing_is_said_of_a_directory_as_keygen_and_running_leave_it(directory, device, package):
    assert warnings_of(directory) == []
    device.accept(package(device))
    assert warnings_of(directory) == []
    (directory / "root.json").chmod(0o664)  # as a umask of 002 leaves it: the group is one's own
    assert warnings_of(directory) == []


@pytest.mark.parametrize("name", ["", "root.json", "state.json", "lock"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: path.chmod(0o777), "written by its owner alone, got mode 0777"),
        (lambda path: path.chmod(0o702), "written by its owner alone, got mode 0702"),
        (lambda path: (os.chown(path, 0, 12345), path.chmod(0o770)), "got mode 0770"),
        (lambda path: os.chown(path, 12345, -1), r"to this user \(0\), got 12345"),
    ],
    ids=["777", "702", "another group", "another owner"],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_others_can_write_to_is_named(directory, device, package, name, change, says):
    device.accept(package(device))
    change(directory / name)
    [message] = warnings_of(directory)
    assert re.search(rf'expected "{directory / name}" to be.* {says}', message)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_is_the_services(directory, device, package):
    for path in (directory, *directory.iterdir()):
        os.chown(path, 12345, 12345)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_service = Trust(directory, for_owner=True)
    of_service.accept(package(of_service))
    of_service.update(signed(successor(document())))
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in directory.iterdir()}
    assert owners == dict.fromkeys(
        ["root.json", "state.json", "lock", "device.key"], (12345, 12345)
    )


def test_a_state_that_is_missing_where_packages_have_run_is_said(directory, device, package):
    with pytest.raises(MalformedRoot):
        device.update(b"")
    assert warnings_of(directory) == []  # a lock alone says nothing
    device.accept(package(device, 3, min_counter=3))
    (directory / "state.json").unlink()
    [message] = warnings_of(directory)
    assert message.startswith(f'trust state: expected "{directory}/state.json", which was there')
    device.accept(package(device, 3, min_counter=3))
    assert warnings_of(directory) == []
