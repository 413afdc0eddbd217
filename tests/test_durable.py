"""A file is replaced whole, in one step, and is on the disk before the call returns."""

import errno
import os
import stat

import pytest

from edgeward.durable import is_draft_of, replace_file

OLD, NEW = b"old bytes", b"all of the new bytes"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    return tmp_path / "file"


@pytest.fixture
def umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def test_the_bytes_are_there_and_nothing_else(path):
    replace_file(path, NEW)
    assert path.read_bytes() == NEW
    replace_file(path.parent / "other", b"")
    assert (path.parent / "other").read_bytes() == b""
    assert names(path) == ["file", "other"]


def test_a_path_may_be_relative(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    replace_file("file", NEW)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o640], ids=oct)
def test_the_mode_is_the_one_asked_for(path, umask, mode):
    replace_file(path, NEW, mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_who_has_the_old_file_open_keeps_it(path):
    with open(path, "rb") as reader:
        replace_file(path, NEW)
        assert reader.read() == OLD


def test_the_bytes_are_durable_before_the_name_and_the_name_before_the_return(path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(number):
        content = os.readlink(f"/proc/self/fd/{number}")
        is_directory = os.path.isdir(content)
        steps.append("directory" if is_directory else os.stat(number).st_size)
        fsync(number)

    def note_replace(source, target):
        steps.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    replace_file(path, NEW)
    assert steps == [len(NEW), "name", "directory"]


# --- What goes wrong ----------------------------------------------------------------------------


def test_a_directory_that_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "no" / "file", NEW)


def test_what_cannot_be_replaced_stays_and_no_draft_is_left(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "file", NEW)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["fchmod", "fsync", "replace"])
def test_a_step_that_fails_leaves_the_old_file(path, monkeypatch, step):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        replace_file(path, NEW)
    assert path.read_bytes() == OLD
    assert names(path) == ["file"]


def test_a_directory_that_cannot_be_made_durable_is_told_of(path, monkeypatch):
    fsync = os.fsync

    def fail_for_directories(number):
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(number)

    monkeypatch.setattr(os, "fsync", fail_for_directories)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        replace_file(path, NEW)
    assert path.read_bytes() == NEW
    assert names(path) == ["file"]


def test_an_interrupt_right_after_the_replacement_is_an_interrupt(path, monkeypatch):
    replace = os.replace

    def interrupted(source, target):
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, NEW)
    assert path.read_bytes() == NEW
    assert names(path) == ["file"]


def test_a_disk_that_is_full_at_any_byte_leaves_the_old_file(path, run_child):
    """A limit on a file's size stands for the disk: it lets so many bytes through, and no more."""
    output = run_child(
        """
import errno, os, resource, sys
from edgeward.durable import is_draft_of, replace_file
path, new = sys.argv[1], sys.argv[2].encode()
old = open(path, "rb").read()
for limit in range(len(new) + 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        replace_file(path, new)
    except OSError as error:
        assert error.errno == errno.EFBIG, error
        assert limit < len(new)
        assert open(path, "rb").read() == old
        assert len(os.listdir(os.path.dirname(path))) == 1
    else:
        assert limit == len(new), limit
        assert open(path, "rb").read() == new
        print("replaced")
""",
        path,
        NEW.decode(),
    )
    assert output == "replaced\n"


def test_a_kill_at_any_step_leaves_the_old_file_or_the_new_one(path, run_child):
    output = run_child(
        """
import os, sys
from edgeward.durable import is_draft_of, replace_file
from kills import each_kill
path, new = sys.argv[1], sys.argv[2].encode()
old = open(path, "rb").read()
for step in each_kill(lambda: replace_file(path, new)):
    content = open(path, "rb").read()
    assert content in (old, new), (step, content)
    print(step, "new" if content == new else "old")
    open(path, "wb").write(old)
""",
        path,
        NEW.decode(),
    )
    steps = output.splitlines()
    assert {"before write old", "after write old", "before fsync old"} <= set(steps)
    assert {"before replace old", "after replace new", "after fsync new"} <= set(steps)
    # The name changes once, at the replacement.
    assert [step.split()[-1] for step in steps] == sorted(
        (step.split()[-1] for step in steps), reverse=True
    )


def test_a_draft_is_known_by_its_name():
    assert is_draft_of("file.a1b2.draft", ["file"])
    for name in ("file", "file.draft", "file.backup", "other.a1b2.draft", "file.a1b2"):
        assert not is_draft_of(name, ["file"])
