"""The first keys: which files, for whom, and that none of them is ever written over."""

import os
import stat
import time

import pytest

import edgeward as ew
from edgeward.errors import BadInput
from edgeward.trust import keys


def test_the_files_are_those_that_the_module_names(tmp_path):
    directory = tmp_path / "keys"
    keys.make(directory, "ed25519", int(time.time()), 30)
    paths = (path for path in directory.rglob("*") if not path.is_dir())
    files = {str(path.relative_to(directory)) for path in paths}
    private = {"root.key", "publisher.key", "trust/device.key"}
    assert files == private | {"root.pub", "publisher.pub", "device.pub", "trust/root.json"}
    for name in private:
        assert stat.S_IMODE(os.stat(directory / name).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(directory / "trust").st_mode) == 0o700
    halves = {"root.key": "root.pub", "trust/device.key": "device.pub"}
    for key, public in halves.items():
        private_key = ew.PrivateKey.read(str(directory / key))
        assert private_key.public.text == ew.PublicKey.read(str(directory / public)).text


def test_the_publisher_is_believed_and_the_root_key_is_the_only_owner(tmp_path):
    issued = int(time.time())
    keys.make(tmp_path, "ed25519", issued, 30)
    root = ew.Trust(tmp_path / "trust").root
    assert (root.version, root.epoch, root.issued_s) == (1, 0, issued)
    assert root.expires_s == issued + 30 * 86_400


def test_no_key_is_ever_written_over(tmp_path):
    keys.make(tmp_path, "ed25519", 1_790_000_000, 30)
    before = (tmp_path / "root.key").read_bytes()
    with pytest.raises(BadInput, match="they stay as they are"):
        keys.make(tmp_path, "ed25519", 1_790_000_000, 30)
    with pytest.raises(FileExistsError):
        keys.make_key(tmp_path / "root.key", "ed25519")
    assert (tmp_path / "root.key").read_bytes() == before


def test_a_key_without_the_usual_ending_has_its_public_half_beside_it(tmp_path):
    key = keys.make_key(tmp_path / "camera", "x25519")
    assert ew.PublicKey.read(str(tmp_path / "camera.pub")).text == key.public.text
