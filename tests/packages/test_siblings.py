"""Siblings: which package beside another is the same release."""

import pytest
import sealed

from edgeward import Release
from edgeward.packages.siblings import twin_of

FACTS = {"version": "1.0", "counter": 7, "epoch": 2, "target": "linux-x"}


@pytest.fixture
def directory(tmp_path):
    sealed.seal(tmp_path / "b.ewp", **FACTS, device_id=sealed.DEVICE.public.id)
    sealed.seal(tmp_path / "c.ewp", 7)
    (tmp_path / "a.ewp").write_bytes((tmp_path / "c.ewp").read_bytes()[:500])
    (tmp_path / "d.ewp").mkdir()
    (tmp_path / "e.other").write_bytes((tmp_path / "c.ewp").read_bytes())
    return tmp_path


def test_a_package_that_says_the_same_is_the_twin(directory):
    assert twin_of(Release("demo", "7.0", 7), directory) == directory / "c.ewp"
    bound = Release("demo", **FACTS, device_id=sealed.DEVICE.public.id)
    assert twin_of(bound, directory) == directory / "b.ewp"
    assert twin_of(bound._replace(min_counter=3, not_after_s=9), directory) is not None
    assert twin_of(Release("demo", "7.0", 7), directory / "d.ewp") is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Demo"},
        {"version": "7"},
        {"counter": 8},
        {"epoch": 1},
        {"target": "linux-x"},
        {"device_id": sealed.DEVICE.public.id},
    ],
    ids=str,
)
def test_a_package_that_says_something_else_is_none(directory, change):
    assert twin_of(Release("demo", "7.0", 7)._replace(**change), directory) is None
