"""The file of wrapped keys beside a package: where it lies, and how it changes."""

import os

import pytest
import sealed

from edgeward import Package, _core
from edgeward.errors import BadInput, MalformedKey, WrongKey
from edgeward.packages import key_wraps


@pytest.mark.parametrize(
    ("package", "wraps"),
    [
        ("a.ewp", "a.ewk"),
        ("some/a.b.ewp", "some/a.b.ewk"),
        ("a", "a.ewk"),
        ("a.ewp.v2", "a.ewp.v2.ewk"),
    ],
)
def test_where_they_lie(package, wraps):
    assert key_wraps.path_of(package) == wraps


@pytest.fixture
def opened(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "p.ewp", encrypt_to=[sealed.DEVICE.public])
    return Package.open(path, trust=trust)


def devices(package):
    return [wrap.device_id for wrap in _core.read_wraps(key_wraps.read(package.core))]


def test_a_device_is_added_once_and_removed(opened):
    other = sealed.key("other", "x25519").public
    opened.add_recipients([other])
    opened.add_recipients([other])
    assert sorted(devices(opened)) == devices(opened)
    assert set(devices(opened)) == {sealed.DEVICE.public.id, other.id}
    key_wraps.remove(opened.core, [other])
    assert devices(opened) == [sealed.DEVICE.public.id]
    with pytest.raises(BadInput, match=other.id.hex()):
        key_wraps.remove(opened.core, [other])


def test_several_devices_are_removed_together_or_not_at_all(opened):
    others = [sealed.key(name, "x25519").public for name in ("b", "c", "d")]
    opened.add_recipients(others[:2])
    before = devices(opened)
    with pytest.raises(BadInput, match=others[2].id.hex()):
        key_wraps.remove(opened.core, others)
    assert devices(opened) == before
    key_wraps.remove(opened.core, [*others[:2], others[0]])
    assert devices(opened) == [sealed.DEVICE.public.id]


def test_those_by_the_packages_id_come_first_and_are_the_ones_that_change(opened):
    plain = key_wraps.path_of(opened.core.path)
    by_id = key_wraps.path_by_id(opened.core.path, opened.package_id)
    assert by_id == plain.removesuffix("ewk") + f"{opened.package_id}.ewk"
    assert key_wraps.current_path(opened.core) == plain
    os.rename(plain, by_id)
    with open(plain, "wb") as file:
        file.write(b"the keys of another package")
    assert key_wraps.current_path(opened.core) == by_id
    opened.add_recipients([sealed.key("other", "x25519").public])
    assert len(devices(opened)) == 2
    key_wraps.remove(opened.core, [sealed.DEVICE.public])
    assert len(devices(opened)) == 1
    with open(plain, "rb") as file:
        assert file.read() == b"the keys of another package"


def test_without_the_file_its_name_is_told(opened):
    os.unlink(key_wraps.path_of(opened.core.path))
    with pytest.raises(WrongKey, match=r"p\.ewk.*copy it along"):
        key_wraps.read(opened.core)


def test_a_file_that_is_none_is_not_added_to(opened):
    path = key_wraps.path_of(opened.core.path)
    with open(path, "ab") as file:
        file.write(b"more")
    before = key_wraps.read(opened.core)
    with pytest.raises(MalformedKey):
        opened.add_recipients([sealed.key("other", "x25519").public])
    assert key_wraps.read(opened.core) == before


def test_a_pipe_in_their_place_keeps_nobody_waiting(opened):
    path = key_wraps.path_of(opened.core.path)
    os.unlink(path)
    os.mkfifo(path)
    with pytest.raises(BadInput, match=r"p\.ewk.*expected a regular file, got a device, pipe"):
        opened.verify()


def test_a_file_larger_than_any_is_not_read_whole(opened):
    path = key_wraps.path_of(opened.core.path)
    os.truncate(path, 1 << 40)
    content = key_wraps.read(opened.core)
    assert len(content) == _core.MAX_WRAPS_BYTES + 1
    with pytest.raises(MalformedKey):
        _core.read_wraps(content)
