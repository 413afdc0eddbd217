"""Folders: the files of all devices, in the order of their names, and no others."""

import os

import pytest

from edgeward.captures import folders


@pytest.fixture
def tree(tmp_path):
    for name in ("gate/2.ewc", "yard/1.ewc", "3.ewc", "site/roof/0.open", "gate/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_files_come_in_the_order_of_their_names(tree):
    paths = folders.files_below(tree, ".ewc", ".open")
    assert [os.path.relpath(path, tree) for path in paths] == [
        "site/roof/0.open", "yard/1.ewc", "gate/2.ewc", "3.ewc",
    ]  # fmt: skip


def test_the_folder_names_the_device(tree):
    paths = folders.files_below(tree, ".ewc", ".open")
    devices = [folders.device_of(path, tree) for path in paths]
    assert devices == ["site/roof", "yard", "gate", ""]
    assert folders.device_of(paths[0], tree / "site" / "roof") == ""


def test_a_link_to_a_folder_is_not_followed(tree):
    (tree / "loop").symlink_to(tree)
    assert len(folders.files_below(tree, ".ewc")) == 3


def test_a_directory_that_is_not_there_is_an_error(tree):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folders.files_below(tree / "nowhere", ".ewc")
    with pytest.raises(NotADirectoryError):
        folders.files_below(tree / "3.ewc", ".ewc")
