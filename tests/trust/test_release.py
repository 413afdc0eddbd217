"""What a release may say of itself."""

import pytest
import sealed

from edgeward import Package, Release
from edgeward.errors import BadInput

MOST = (1 << 48) - 1


@pytest.mark.parametrize(
    "release",
    [
        {"counter": 1},
        {"counter": MOST, "min_counter": MOST},
        {"counter": 2, "min_counter": 1, "epoch": 65_535},
    ],
)
def test_what_the_format_can_hold(release):
    Release("demo", "1", **release).require_valid()


@pytest.mark.parametrize(
    ("release", "says"),
    [
        ({"counter": 0}, "counter: expected 1 to"),
        ({"counter": MOST + 1}, "counter: expected 1 to"),
        ({"counter": 1, "min_counter": 0}, "min_counter: expected 1 to"),
        ({"counter": 1, "min_counter": MOST + 1}, "min_counter: expected 1 to"),
        ({"counter": 1, "epoch": -1}, "epoch: expected 0 to 65535"),
        ({"counter": 1, "epoch": 65_536}, "epoch: expected 0 to 65535"),
    ],
)
def test_what_it_cannot_is_refused(release, says):
    with pytest.raises(BadInput, match=says):
        Release("demo", "1", **release).require_valid()


@pytest.mark.parametrize(
    "release",
    [
        {"name": ""},
        {"name": "with space"},
        {"name": ".hidden"},
        {"name": "x" * 65},
        {"version": ""},
        {"version": "with space"},
        {"version": "9" * 33},
        {"target": "Any"},
        {"publisher": "a b"},
        {"device_id": b"short"},
        {"counter": 1, "min_counter": 2},
    ],
)
def test_the_core_refuses_the_rest_and_writes_nothing(tmp_path, release):
    with pytest.raises(BadInput):
        sealed.seal(tmp_path / "p.ewp", **release)
    assert list(tmp_path.iterdir()) == []


def test_what_was_said_is_read_back(tmp_path):
    path = sealed.seal(
        tmp_path / "p.ewp", name="a-b_c.9", version="~2.1!", counter=5, min_counter=3, epoch=7,
        target="linux-aarch64", publisher="default", not_after_s=4_000_000_000, device_id=bytes(32),
    )  # fmt: skip
    core = Package.unverified(path).core
    assert (core.name, core.version, core.target) == ("a-b_c.9", "~2.1!", "linux-aarch64")
    assert (core.release_counter, core.min_counter) == (7 << 48 | 5, 7 << 48 | 3)
    assert core.hard_expiry_s == 4_000_000_000
