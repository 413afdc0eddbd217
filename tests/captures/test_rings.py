"""Where rings lie: the same for every process, and nobody else's."""

import os
import stat

import pytest

from edgeward.captures import rings
from edgeward.errors import BadInput


def test_one_directory_of_captures_has_one_of_rings(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "base"))
    directory = rings.directory_of(tmp_path / "captures")
    assert directory.startswith(str(tmp_path / "base"))
    assert rings.directory_of(str(tmp_path / "other" / ".." / "captures")) == directory
    assert rings.directory_of(tmp_path / "others") != directory
    (tmp_path / "captures").mkdir()
    os.symlink(tmp_path / "captures", tmp_path / "link")
    assert rings.directory_of(tmp_path / "link") == directory
    monkeypatch.chdir(tmp_path)
    assert rings.directory_of("captures") == directory
    assert not os.path.exists(directory)


def test_by_default_they_lie_in_shared_memory_under_the_users_name(monkeypatch):
    monkeypatch.delenv("EDGEWARD_RINGS", raising=False)
    assert rings.directory_of("captures").startswith(f"/dev/shm/edgeward-{os.getuid()}/")


def test_it_is_made_for_this_user_alone(tmp_path):
    directory = str(tmp_path / "base" / "rings")
    rings.make_directory(directory)
    rings.make_directory(directory)
    for level in (directory, os.path.dirname(directory)):
        assert stat.S_IMODE(os.stat(level).st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_one_that_others_can_write_is_refused(tmp_path, mode):
    directory = tmp_path / "base" / "rings"
    directory.mkdir(parents=True)
    directory.chmod(mode)
    with pytest.raises(BadInput, match=f"own, got mode {mode:04o}: name one with .EDGEWARD_RINGS"):
        rings.make_directory(str(directory))


def test_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "rings")
    with pytest.raises(BadInput, match="own, got no directory"):
        rings.make_directory(str(tmp_path / "rings"))
