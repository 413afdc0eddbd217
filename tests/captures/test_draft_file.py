"""DraftFile: complete under its name or not there, and open only while it is written to."""

import os

import pytest

from edgeward.captures.draft_file import DraftFile, finished_together, remove
from edgeward.errors import BadInput


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


def test_a_file_has_its_name_when_it_is_complete(path, tmp_path):
    file = DraftFile(path)
    assert file.write(b"one ") == 4
    file.spill()
    file.write(b"two")
    assert file.tell() == 7
    assert not os.path.exists(path)
    assert file.commit() == path
    assert os.listdir(tmp_path) == ["file"]
    with open(path, "rb") as written:
        assert written.read() == b"one two"


def test_a_file_that_is_discarded_was_never_there(path, tmp_path):
    file = DraftFile(path)
    file.write(b"one")
    file.spill()
    file.discard()
    file.discard()
    assert os.listdir(tmp_path) == []


def test_what_is_written_after_the_end_goes_nowhere(path, tmp_path):
    file = DraftFile(path)
    file.discard()
    assert file.write(b"late") == 4
    file.spill()
    assert os.listdir(tmp_path) == []


def test_a_file_that_has_its_name_is_not_discarded(path, tmp_path):
    file = DraftFile(path)
    file.commit()
    file.discard()
    assert os.listdir(tmp_path) == ["file"]


def test_no_file_is_open_between_two_writes(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    files = [DraftFile(str(tmp_path / str(number))) for number in range(50)]
    for file in files:
        file.write(b"data")
        file.spill()
    assert len(os.listdir("/proc/self/fd")) == before
    for file in files:
        file.discard()


def test_a_file_that_is_there_is_kept(path, tmp_path):
    with open(path, "w") as file:
        file.write("kept")
    with pytest.raises(BadInput, match=r'output ".*file": expected no such file yet, got one'):
        DraftFile(path)
    assert os.listdir(tmp_path) == ["file"]


def test_a_draft_may_lie_elsewhere(path, tmp_path):
    file = DraftFile(str(tmp_path / "folder" / "file"), str(tmp_path / "draft"))
    os.mkdir(tmp_path / "folder")
    file.commit()
    assert os.listdir(tmp_path / "folder") == ["file"]


def test_files_are_finished_together_or_not_at_all(tmp_path):
    drafts = [DraftFile(str(tmp_path / name)) for name in ("a", "b", "c")]
    os.unlink(drafts[2].draft)
    with pytest.raises(FileNotFoundError):
        finished_together(draft.commit for draft in drafts)
    assert os.listdir(tmp_path) == []


def test_only_files_are_removed(tmp_path):
    for name in ("folder", "kept"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    remove([str(tmp_path / name) for name in ("file", "folder", "pipe", "nothing")])
    assert sorted(os.listdir(tmp_path)) == ["folder", "kept", "pipe"]
