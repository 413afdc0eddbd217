"""Whose a directory is, and who else may use it."""

import os

import pytest

from edgeward import own_directory


def test_in_memory_there_is_one_for_each_user():
    assert own_directory.in_memory() == f"/dev/shm/edgeward-{os.geteuid()}"


@pytest.mark.parametrize(
    ("mode", "refused_mode", "wrong"),
    [
        (0o700, 0o077, ""),
        (0o500, 0o077, ""),
        (0o740, 0o077, "mode 0740"),
        (0o701, 0o077, "mode 0701"),
        (0o755, 0o022, ""),
        (0o775, 0o022, "mode 0775"),
        (0o757, 0o022, "mode 0757"),
        (0o777, 0, ""),
    ],
)
def test_a_mode_that_gives_others_what_is_refused_is_wrong(tmp_path, mode, refused_mode, wrong):
    tmp_path.chmod(mode)
    assert own_directory.what_is_wrong(str(tmp_path), refused_mode) == wrong
    tmp_path.chmod(0o700)


def test_a_file_and_a_link_are_no_directories(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        assert own_directory.what_is_wrong(str(tmp_path / name), 0) == "no directory"
    with pytest.raises(FileNotFoundError):
        own_directory.what_is_wrong(str(tmp_path / "none"), 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_one_of_another_user_is_wrong_whatever_its_mode(tmp_path):
    os.chown(tmp_path, 12345, 12345)
    assert own_directory.what_is_wrong(str(tmp_path), 0) == "one of user 12345"
    os.chown(tmp_path, 0, 0)
