"""The store of packages: a version replaced under those who read it, whatever happens meanwhile."""

import os
import shutil
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
import sealed

from edgeward import Package
from edgeward.errors import BadInput, MalformedPackage, RollbackRefused, UntrustedPackage, WrongKey
from edgeward.packages import key_wraps
from edgeward.packages.store import Store


@pytest.fixture
def trust(tmp_path):
    return sealed.trust_at(tmp_path / "trust")


@pytest.fixture
def store(tmp_path):
    (tmp_path / "models").mkdir()
    return Store(tmp_path / "models")


@pytest.fixture
def version(tmp_path):
    """Seals release `counter`, encrypted for the device unless told otherwise."""

    def make(counter, **options):
        options = {"encrypt_to": [sealed.DEVICE.public], **options}
        return sealed.seal(tmp_path / f"demo-{counter}.ewp", counter, **options)

    return make


def in_use(store, trust, name="demo"):
    """The version that a program gets, every byte of it read; it runs."""
    package = Package.open(store.path(name), trust=trust)
    package.verify()
    with package.load(commit=False) as model:
        model.predict(np.zeros(4, np.float32))
    return package.version


def last(store, name="demo"):
    kept = store.last(name)
    return None if kept is None else Package.unverified(kept.path).version


def test_a_version_is_put_in_use_and_the_one_before_is_kept(store, trust, version):
    for counter, before in ((1, None), (2, "1.0"), (3, "2.0"), (4, "3.0")):
        package = store.install(version(counter), trust)
        assert (package.name, package.version) == ("demo", f"{counter}.0")
        assert in_use(store, trust) == f"{counter}.0"
        assert last(store) == before
    # The two of them and nothing else.
    ids = {package.package_id, store.last("demo").package_id}
    assert sorted(os.listdir(store.directory)) == sorted(
        ["store.lock", "demo.ewp", f"demo.3.{store.last('demo').package_id}.ewp"]
        + [f"demo.{package_id}.ewk" for package_id in ids]
    )
    for name in os.listdir(store.directory):
        mode = stat.S_IMODE(os.stat(os.path.join(store.directory, name)).st_mode)
        assert mode == (0o600 if name == "store.lock" else 0o644), name


def test_the_version_before_comes_back_and_forth(store, trust, version):
    for counter in (1, 2):
        store.install(version(counter), trust)
    for now, before in (("1.0", "2.0"), ("2.0", "1.0"), ("1.0", "2.0")):
        assert store.roll_back("demo", trust).version == now
        assert in_use(store, trust) == now
        assert last(store) == before
    store.install(version(3), trust)
    assert (in_use(store, trust), last(store)) == ("3.0", "1.0")


def test_packages_that_are_not_encrypted_and_other_models_have_their_own(store, trust, version):
    plain = version(1, encrypt_to=())
    other = version(2, name="demo.1", encrypt_to=())
    assert store.install(plain, trust).name == "demo"
    assert store.install(other, trust).name == "demo.1"
    store.install(version(3), trust)
    store.install(version(4, name="demo.1"), trust)
    assert (in_use(store, trust), last(store)) == ("3.0", "1.0")
    assert (in_use(store, trust, "demo.1"), last(store, "demo.1")) == ("4.0", "2.0")
    store.roll_back("demo", trust)
    assert (in_use(store, trust), in_use(store, trust, "demo.1")) == ("1.0", "4.0")


def test_the_same_package_again_takes_its_new_wraps_and_signatures(store, trust, version):
    store.install(version(1), trust)
    path = version(2)
    store.install(path, trust)
    other = sealed.key("other", "x25519").public
    Package.open(path, trust=trust).add_recipients([other])
    store.install(path, trust)
    core = Package.unverified(store.path("demo")).core
    assert key_wraps.read(core) == Path(key_wraps.path_of(path)).read_bytes()
    assert (in_use(store, trust), last(store)) == ("2.0", "1.0")


def test_a_pair_that_was_copied_by_hand_is_kept_with_its_keys(store, trust, version):
    first = version(1)
    shutil.copy(first, store.path("demo"))
    shutil.copy(key_wraps.path_of(first), key_wraps.path_of(store.path("demo")))
    early = Package.open(store.path("demo"), trust=trust)
    store.install(version(2), trust)
    assert (in_use(store, trust), last(store)) == ("2.0", "1.0")
    early.verify()  # looks for its keys now
    store.roll_back("demo", trust)
    assert in_use(store, trust) == "1.0"
    assert not os.path.exists(key_wraps.path_of(store.path("demo")))


def test_what_is_there_and_no_package_is_replaced(store, trust, version):
    Path(store.path("demo")).write_bytes(b"half a download")
    store.install(version(1), trust)
    assert (in_use(store, trust), last(store)) == ("1.0", None)


def test_who_opened_a_version_reads_it_after_it_was_replaced(store, trust, version):
    store.install(version(1), trust)
    early = Package.open(store.path("demo"), trust=trust)
    store.install(version(2), trust)
    early.verify()
    with early.load(commit=False) as model:
        model.predict(np.zeros(4, np.float32))


# --- What may not be put in use ------------------------------------------------------------------


def flipped(path):
    """Changes the last byte of what is signed."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


REFUSED = {
    "a byte changed": (flipped, MalformedPackage),
    "cut": (lambda path: os.truncate(path, path.stat().st_size - 1), MalformedPackage),
    "its keys are missing": (lambda path: os.unlink(key_wraps.path_of(path)), WrongKey),
    "its keys are for others": (
        lambda path: Package.unverified(path).remove_recipients([sealed.DEVICE.public]),
        WrongKey,
    ),
}


@pytest.mark.parametrize("change", REFUSED)
def test_a_package_that_would_not_open_is_refused_and_nothing_changes(
    store, trust, version, change
):
    damage, error = REFUSED[change]
    store.install(version(1), trust)
    before = {path: path.read_bytes() for path in Path(store.directory).iterdir()}
    path = version(2, encrypt_to=[sealed.DEVICE.public, sealed.key("other", "x25519").public])
    damage(path)
    with pytest.raises(error):
        store.install(path, trust)
    assert {path: path.read_bytes() for path in Path(store.directory).iterdir()} == before


def test_who_signed_it_and_the_floor_are_asked_first(store, trust, version, tmp_path):
    store.install(version(1), trust)
    stranger = version(2, keys=[sealed.key("stranger")])
    with pytest.raises(UntrustedPackage):
        store.install(stranger, trust)
    store.install(version(3, min_counter=3), trust)
    sealed.run(Path(store.path("demo")), trust)  # from here on nothing below 3 runs
    with pytest.raises(RollbackRefused):
        store.install(tmp_path / "demo-1.ewp", trust)
    with pytest.raises(RollbackRefused):
        store.roll_back("demo", trust)
    assert (in_use(store, trust), last(store)) == ("3.0", "1.0")


def test_without_a_version_before_nothing_comes_back(store, trust, version):
    for name in ("demo", "../demo", "", "."):
        with pytest.raises(BadInput, match="from before the one in use, got none"):
            store.roll_back(name, trust)
    store.install(version(1), trust)
    with pytest.raises(BadInput, match='version of "demo" from before'):
        store.roll_back("demo", trust)


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a directory for packages") as caught:
        Store(tmp_path / "modles")
    assert caught.value.filename == str(tmp_path / "modles")


# --- Readers, rivals, deaths and full disks -------------------------------------------------------


def test_a_reader_never_gets_half_of_a_pair(store, trust, version):
    """It opens and decrypts all the time while versions take turns, each with keys of its own."""
    paths = [version(counter) for counter in (1, 2)]
    store.install(paths[0], trust)
    is_done, versions, failures = threading.Event(), [], []

    def read():
        try:
            while not is_done.is_set():
                package = Package.open(store.path("demo"), trust=trust)
                package.verify()  # unwraps and decrypts
                versions.append(package.version)
        except BaseException as failure:
            failures.append(failure)

    reader = threading.Thread(target=read)
    reader.start()
    turns = 0
    while turns < 12 or len(set(versions)) < 2:
        store.install(paths[turns % 2], trust)
        turns += 1
        assert not failures
        assert turns < 10_000
    is_done.set()
    reader.join()
    assert failures == []
    assert set(versions) == {"1.0", "2.0"}


PROGRAM = """
import os, shutil, sys
from pathlib import Path
import numpy as np
from edgeward import Package, Trust
from edgeward.packages.store import Store
from kills import each_kill
trust, first, second, third, place = Trust(sys.argv[1]), *sys.argv[2:5], Path(sys.argv[5])
CALLS = frozenset(("mkdir", "link", "replace", "unlink", "rmdir", "fsync"))

def in_use():
    package = Package.open(place / "demo.ewp", trust=trust)
    package.verify()
    return package.version

def reset():
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    store = Store(place)
    store.install(first, trust)
    store.install(second, trust)
    return store

store = reset()
"""


def test_a_kill_at_any_step_leaves_a_pair_that_opens_and_one_to_return_to(
    run_child, trust, version, tmp_path
):
    versions = [version(counter) for counter in (1, 2, 3)]
    output = run_child(
        PROGRAM
        + """
for step in each_kill(lambda: store.install(third, trust), CALLS):
    now, kept = in_use(), Package.unverified(store.last("demo").path).version
    assert (now, kept) in [("2.0", "1.0"), ("3.0", "2.0")], (step, now, kept)
    assert store.roll_back("demo", trust).version == kept
    assert in_use() == kept
    # Nothing is in the way of the next, and nothing is left behind.
    store.install(third, trust)
    assert in_use() == "3.0"
    assert len(list(place.iterdir())) == 5, (step, list(place.iterdir()))
    print(step, now)
    reset()
""",
        trust.directory,
        *versions,
        tmp_path / "place",
    )
    steps = output.splitlines()
    assert {"before mkdir 2.0", "before fsync 2.0", "after link 2.0"} <= set(steps)
    assert {"after replace 3.0", "before unlink 3.0", "after rmdir 3.0"} <= set(steps)
    assert [step.split()[-1] for step in steps] == sorted(step.split()[-1] for step in steps)


def test_a_kill_at_any_step_of_the_way_back_leaves_either(run_child, trust, version, tmp_path):
    versions = [version(counter) for counter in (1, 2, 3)]
    output = run_child(
        PROGRAM
        + """
for step in each_kill(lambda: store.roll_back("demo", trust), CALLS):
    now, kept = in_use(), Package.unverified(store.last("demo").path).version
    assert (now, kept) in [("2.0", "1.0"), ("1.0", "2.0")], (step, now, kept)
    store.roll_back("demo", trust)
    assert in_use() == kept, step
    print(now)
    reset()
""",
        trust.directory,
        *versions,
        tmp_path / "place",
    )
    assert set(output.split()) == {"2.0", "1.0"}


def test_a_full_disk_changes_nothing_and_says_so(run_child, trust, version, tmp_path):
    versions = [version(counter) for counter in (1, 2, 3)]
    output = run_child(
        PROGRAM
        + """
import resource
def limited(size_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

before = {path.name: path.read_bytes() for path in place.iterdir()}
size_bytes, failures = os.stat(third).st_size, 0
for limit in (0, 1, size_bytes // 2, size_bytes - 1):
    limited(limit)
    try:
        store.install(third, trust)
    except OSError as error:
        failures += 1
    finally:
        limited(resource.RLIM_INFINITY)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before, limit
store.install(third, trust)
print(failures, in_use())
""",
        trust.directory,
        *versions,
        tmp_path / "place",
    )
    assert output == "4 3.0\n"


def test_installs_at_once_wait_for_each_other(run_child, trust, version, tmp_path):
    versions = [version(counter) for counter in (1, 2, 3)]
    output = run_child(
        PROGRAM
        + """
children = []
for path in (first, second, third) * 2:
    child = os.fork()
    if child == 0:
        Store(place).install(path, Trust(sys.argv[1]))
        os._exit(0)
    children.append(child)
statuses = [os.waitpid(child, 0)[1] for child in children]
kept = Package.unverified(store.last("demo").path).version
print(statuses == [0] * 6, in_use() != kept, len(list(place.iterdir())))
store.roll_back("demo", trust)
print(in_use() == kept)
""",
        trust.directory,
        *versions,
        tmp_path / "place",
    )
    assert output == "True True 5\nTrue\n"


def test_where_the_system_allows_no_links_the_version_before_is_copied(
    store, trust, version, monkeypatch
):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted", source)

    monkeypatch.setattr(os, "link", refuse)
    for counter in (1, 2):
        store.install(version(counter), trust)
    assert (in_use(store, trust), last(store)) == ("2.0", "1.0")
    store.roll_back("demo", trust)
    assert (in_use(store, trust), last(store)) == ("1.0", "2.0")
