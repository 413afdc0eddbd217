"""No plaintext of an encrypted package on any path, in no core dump, and in no page given back.

A canary, new in each run, lies in the weights of a sealed and encrypted model; a child loads it and
runs it. What the engines copy into memory of their own is theirs: docs/security.md lists it.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sealed
from models import tflite_models
from models.tflite_writer import Op, Subgraph, Tensor, constant
from models.tflite_writer import model as tflite_file

from edgeward import Contents, Trust

STRACE, GDB = shutil.which("strace"), shutil.which("gdb")
ELEMENTS = 4096

# Loads the package, runs it, says so, and waits; then drops it all, says so, and waits again. The
# model adds its weights to the input: to NaN, so that they are not its output.
PROGRAM = """
import gc, os, sys
import numpy as np
import edgeward as ew
path, trust = sys.argv[1:3]
model = ew.load(path, trust=trust, engine=os.environ["ENGINE"])
model.predict(np.full(4096, np.nan, np.float32))
print("loaded", flush=True)
sys.stdin.readline()
model.close()
del model
gc.collect()
print("dropped", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def canary():
    """Weights that are found nowhere else, and hold no NaN."""
    numbers = np.frombuffer(os.urandom(4 * ELEMENTS), np.uint32) & 0xBF7FFFFF
    return numbers.view(np.float32)


def marks(weights):
    """Three places of the weights, as bytes."""
    content = weights.tobytes()
    return [content[at : at + 32] for at in (64, len(content) // 2, len(content) - 96)]


@pytest.fixture(params=["litert", "litert-interpreter"])
def package(request, tmp_path, canary):
    """The sealed model, its trust directory, and an environment whose folders are all new."""
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(
        tmp_path / "secret.ewp",
        model=tflite_models.add_constant(canary),
        encrypt_to=[sealed.DEVICE.public],
        contents=Contents(card="a card"),
    )
    places = {"HOME": "home", "XDG_CACHE_HOME": "cache", "TMPDIR": "temporary"}
    for directory in places.values():
        (tmp_path / directory).mkdir()
    folders = {name: str(tmp_path / at) for name, at in places.items()}
    environment = {**os.environ, **folders, "ENGINE": request.param}
    return path, trust, environment


def start(package, *wrapper):
    path, trust, environment = package
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", PROGRAM, str(path), trust.directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=path.parent,
        env=environment,
        text=True,
    )


def expect(child, word):
    assert child.stdout.readline() == f"{word}\n"


def go_on(child):
    child.stdin.write("\n")
    child.stdin.flush()


def finish(child):
    go_on(child)
    go_on(child)
    assert child.wait(60) == 0


def memory_of(pid, names=None):
    """(name, bytes) of every mapping that can be read from outside; only `names` when given."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            area, permissions, _, _, _, *name = line.split(maxsplit=5)
            first, last = (int(part, 16) for part in area.split("-"))
            label = name[0].strip() if name else ""
            if not permissions.startswith("r") or label in ("[vvar]", "[vsyscall]"):
                continue
            if names is not None and label not in names:
                continue
            try:
                memory.seek(first)
                yield label, memory.read(last - first)
            except (OSError, ValueError, OverflowError):
                continue


def found_in(pid, needle):
    return sum(content.count(needle) for _, content in memory_of(pid))


def test_the_canary_is_seen_where_it_must_be(package, canary):
    """What this file looks for, it would find: in memory while the model is loaded."""
    path, _, _ = package
    sealed_bytes = path.read_bytes()
    assert not any(mark in sealed_bytes for mark in marks(canary))
    with start(package) as child:
        expect(child, "loaded")
        assert all(found_in(child.pid, mark) >= 1 for mark in marks(canary))
        finish(child)


def test_dropped_models_leave_no_plaintext_in_memory(package, canary):
    with start(package) as child:
        expect(child, "loaded")
        go_on(child)
        expect(child, "dropped")
        left = [found_in(child.pid, mark) for mark in marks(canary)]
        go_on(child)
        assert child.wait(60) == 0
    assert left == [0, 0, 0]


def test_no_key_can_be_read_while_the_model_is_loaded(package):
    secret = bytes.fromhex(sealed.key_text("device", "x25519").split()[2])
    with start(package) as child:
        expect(child, "loaded")
        seen = found_in(child.pid, secret)
        spelled = found_in(child.pid, secret.hex().encode())
        finish(child)
    assert (seen, spelled) == (0, 0)


def flags_of(pid, needle):
    """The flags of every mapping that holds the needle."""
    flags = []
    smaps = Path(f"/proc/{pid}/smaps").read_text()
    areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.M)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for area in filter(None, areas):
            first, last = (int(part, 16) for part in area.split(maxsplit=1)[0].split("-"))
            try:
                memory.seek(first)
                content = memory.read(last - first)
            except (OSError, ValueError, OverflowError):
                continue
            if needle in content:
                flags.append(re.search(r"^VmFlags: (.*)$", area, re.M)[1].split())
    return flags


def test_what_a_model_keeps_of_its_package_is_not_dumped(tmp_path, package):
    """A card, until somebody asks for it, and when the package is gone."""
    _, trust, environment = package
    card = os.urandom(32).hex()
    path = sealed.seal(
        tmp_path / "card.ewp",
        model=tflite_models.add_constant(np.zeros(ELEMENTS, np.float32)),
        encrypt_to=[sealed.DEVICE.public],
        contents=Contents(card=card, labels=[card] * ELEMENTS),
    )
    with start((path, trust, environment)) as child:
        expect(child, "loaded")
        flags = flags_of(child.pid, card.encode())
        go_on(child)
        expect(child, "dropped")
        left = found_in(child.pid, card.encode())
        go_on(child)
        assert child.wait(60) == 0
    assert flags, "the card was not found"
    assert all("dd" in line for line in flags)
    assert left == 0


def test_the_payload_is_neither_dumped_nor_swapped(package, canary):
    """Every mapping that holds the canary has the flags for that: dd, and lo within the limit."""
    with start(package) as child:
        expect(child, "loaded")
        flags = flags_of(child.pid, marks(canary)[1])
        finish(child)
    assert flags, "the payload was not found"
    can_lock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] >= 4 * ELEMENTS + 8192
    assert all("dd" in line and ("lo" in line or not can_lock) for line in flags)


# Two sessions share packed weights once they have run at the same time.
TWO_SESSIONS = """
import re, sys, threading
import edgeward as ew
path, trust = sys.argv[1:3]
model = ew.load(path, trust=trust, engine="litert")

def run_until_packed(session):
    while not re.search("r--s .*memfd:edgeward-weights", open("/proc/self/maps").read()):
        for _ in range(8):
            session.run()

sessions = [model.session(), model.session()]
threads = [threading.Thread(target=run_until_packed, args=[session]) for session in sessions]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("loaded", flush=True)
sys.stdin.readline()
"""


def test_packed_weights_that_sessions_share_are_not_dumped_and_on_no_path(tmp_path):
    """They are the weights in another order: what is true of a mapping is true of them."""
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(
        tmp_path / "secret.ewp",
        model=tflite_models.mobilenet(0.25),
        encrypt_to=[sealed.DEVICE.public],
    )
    with subprocess.Popen(
        [sys.executable, "-c", TWO_SESSIONS, str(path), trust.directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        expect(child, "loaded")
        smaps = Path(f"/proc/{child.pid}/smaps").read_text()
        go_on(child)
        assert child.wait(60) == 0
    areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.M)
    packs = [area for area in areas if "memfd:edgeward-weights" in area.partition("\n")[0]]
    assert {area.split(maxsplit=2)[1] for area in packs} == {"r--s", "---s"}  # and to wipe it by
    for area in packs:
        assert "(deleted)" in area.partition("\n")[0]
        assert "dd" in re.search(r"^VmFlags: (.*)$", area, re.M)[1].split()


def dumped_by(pid, core):
    """As the kernel dumps it: by its own filter, and without what is marked as not to be dumped."""
    subprocess.run(
        [GDB, "-p", str(pid), "-batch", "-ex", "set use-coredump-filter on",
         "-ex", "set dump-excluded-mappings off", "-ex", f"generate-core-file {core}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return core.read_bytes()


# The weights are packed by the first run, and again for other shapes.
GIVEN_BACK = """
import gc, sys
import edgeward as ew
path, trust = sys.argv[1:3]

def say(word):
    print(word, flush=True)
    sys.stdin.readline()

model = ew.load(path, trust=trust, engine="litert", threads=1)
say("loaded")
session = model.session()
session.run()
say("run")
other = model.session()
other.resize({"x": (3, 2048)})
say("read again")
other.run()
say("run again")
session.close()
other.close()
model.close()
del session, other, model
gc.collect()
say("dropped")
"""


@pytest.mark.parametrize("look", ["memory", "dump"])
def test_plaintext_that_goes_back_and_is_read_again_is_nowhere_else(tmp_path, look):
    """A debugger touches pages that went back, and then they stay: it has a process of its own."""
    if GDB is None and look == "dump":
        pytest.skip("no gdb to force a core dump with")
    kernel = np.frombuffer(os.urandom(1 << 20), np.uint32) & 0xBF7FFFFF
    kernel = kernel.view(np.float32).reshape(128, 2048)
    tensors = [
        Tensor("x", "float32", (1, 2048), shape_signature=(-1, 2048)),
        constant("w", kernel),
        Tensor("y", "float32", (1, 128), shape_signature=(-1, 128)),
    ]
    operators = [Op("FULLY_CONNECTED", ["x", "w"], ["y"])]
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(
        tmp_path / "secret.ewp",
        model=tflite_file([Subgraph(tensors, operators, ["x"], ["y"])]),
        encrypt_to=[sealed.DEVICE.public],
    )
    content = kernel.tobytes()
    needles = [content[at : at + 32] for at in (1 << 18, 1 << 19, 3 << 18)]
    places, dumps, flags = {}, {}, {}
    with subprocess.Popen(
        [sys.executable, "-c", GIVEN_BACK, str(path), trust.directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    ) as child:
        for word in ("loaded", "run", "read again", "run again", "dropped"):
            expect(child, word)
            if look == "memory":
                places[word] = [found_in(child.pid, needle) for needle in needles]
                if any(places[word]):
                    flags[word] = flags_of(child.pid, needles[1])
            else:
                dumps[word] = dumped_by(child.pid, tmp_path / "core")
                (tmp_path / "core").unlink()
            go_on(child)
        assert child.wait(60) == 0
    if look == "memory":
        none, once = [0, 0, 0], [1, 1, 1]
        assert list(places.values()) == [once, none, once, none, none]
        can_lock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] >= len(content) + 65536
        for line in [*flags["loaded"], *flags["read again"]]:
            assert "dd" in line
            assert "lo" in line or not can_lock
    for word, dumped in dumps.items():
        assert b"edgeward" in dumped, word
        assert not any(needle in dumped for needle in needles), word
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert not any(needle in file.read_bytes() for needle in needles), file


def test_a_core_dump_holds_no_plaintext_and_no_key(package, canary, tmp_path):
    if GDB is None:
        pytest.skip("no gdb to force a core dump with")
    secret = bytes.fromhex(sealed.key_text("device", "x25519").split()[2])
    core = tmp_path / "core"
    with start(package) as child:
        expect(child, "loaded")
        dumped = dumped_by(child.pid, core)
        finish(child)
    assert len(dumped) > 1 << 20
    assert b"edgeward" in dumped  # it is of the right process
    assert not any(mark in dumped for mark in marks(canary))
    assert secret not in dumped


OPENED = re.compile(r"(?:openat?|creat)\((.*)\) = \d+")
HARMLESS = ("/dev/null", "/proc/", "/sys/")


def traced(package, tmp_path):
    """The calls of one load: those that opened something to write, and all bytes that went out."""
    log = tmp_path / "trace"
    calls = (
        "open,openat,creat,write,pwrite64,writev,pwritev,sendto,sendmsg,rename,renameat,renameat2"
    )
    wrapper = [STRACE, "-f", "-xx", "-s", "1000000", "-e", f"trace={calls}", "-o", str(log)]
    with start(package, *wrapper) as child:
        expect(child, "loaded")
        finish(child)
    lines = log.read_text(errors="replace").splitlines()
    opened = []
    for line in lines:
        match = OPENED.search(line)
        if match and re.search(r"O_WRONLY|O_RDWR|O_CREAT", match[1]):
            quoted = re.search(r'"((?:\\x[0-9a-f]{2})*)"', match[1])[1]
            opened.append(bytes.fromhex(quoted.replace("\\x", "")).decode())
    written = "".join(line for line in lines if not OPENED.search(line)).replace("\\x", "")
    return [path for path in opened if not path.startswith(HARMLESS)], written


def test_loading_writes_nothing_but_what_the_device_must_remember(package, canary, tmp_path):
    if STRACE is None:
        pytest.skip("no strace to look over its shoulder with")
    trust = package[1]
    with start(package) as child:  # the engine is probed once on a machine
        expect(child, "loaded")
        finish(child)
    os.unlink(os.path.join(trust.directory, "state.json"))

    first, written_first = traced(package, tmp_path)
    assert {os.path.dirname(path) for path in first} == {trust.directory}
    assert all(os.path.basename(path).startswith(("state.json", "lock")) for path in first)
    again, written_again = traced(package, tmp_path)
    assert again == []
    for mark in marks(canary):
        assert mark.hex() not in written_first + written_again


def test_no_folder_holds_plaintext_afterwards(package, canary, tmp_path):
    before = set(tmp_path.rglob("*"))
    with start(package) as child:
        expect(child, "loaded")
        finish(child)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        content = path.read_bytes()
        assert not any(mark in content for mark in marks(canary)), path
    written = {str(path.relative_to(tmp_path)) for path in set(tmp_path.rglob("*")) - before}
    assert written <= {
        "trust/state.json",
        "trust/lock",
        "cache/edgeward",
        "cache/edgeward/engines.json",
    }


def test_what_is_read_by_hand_is_the_callers(package, canary):
    """Package.read hands out bytes that are the caller's to keep; loading makes no such copy."""
    path, trust, _ = package
    from edgeward import Package

    opened = Package.open(path, trust=Trust(trust.directory))
    assert marks(canary)[0] in opened.read("model.tflite")
