"""A regular file is opened, and nothing else keeps anybody waiting."""

import os
import socket

import pytest

from edgeward import BadInput
from edgeward.regular_file import open_regular


def test_a_regular_file_is_opened(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with open_regular("file", path) as file:
        assert file.read() == b"content"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = "/dev/zero" if kind == "device" else str(tmp_path / kind)
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BadInput, match=rf'\Atrust root "{path}": expected a regular file, got .+'):
        open_regular("trust root", path)
    assert os.listdir("/proc/self/fd") == before


def test_what_the_system_refuses_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_regular("file", tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        open_regular("file", tmp_path)
