"""Times of records whose clock was not set are those that the same boot knew later, or stay."""

from pathlib import Path

import pytest
from reference import capture_reader

from edgeward import _core
from edgeward.captures.boot_clocks import UNKNOWN_BOOT, BootClocks

SECOND_NS = 10**9
BOOT, OTHER = bytes([1] * 16), bytes([2] * 16)
NOW_NS = _core.LEAST_WALL_NS + 10**6 * SECOND_NS


def segment(directory: Path, number: int, boot_id: bytes, monotonic_ns: int, wall_ns: int) -> str:
    """The head of one, begun then, and nothing behind it."""
    head = bytearray(192)
    head[:8] = b"EWSEG02\0"
    head[8:16] = number.to_bytes(8, "little")
    head[16:24] = wall_ns.to_bytes(8, "little", signed=True)
    head[144:160] = boot_id
    head[160:168] = monotonic_ns.to_bytes(8, "little")
    head[188:] = capture_reader.crc32c(bytes(head[:188])).to_bytes(4, "little")
    path = directory / f"{number:020}-00.ewc"
    path.write_bytes(head)
    return str(path)


def test_a_later_segment_of_the_boot_knows(tmp_path):
    paths = [
        segment(tmp_path, 1, BOOT, 5 * SECOND_NS, 5),
        segment(tmp_path, 2, OTHER, 5 * SECOND_NS, NOW_NS - 100 * SECOND_NS),
        segment(tmp_path, 3, BOOT, 50 * SECOND_NS, NOW_NS),
    ]
    clocks = BootClocks(paths, None)
    assert clocks.time_ns(BOOT, 7 * SECOND_NS, 7) == NOW_NS - 43 * SECOND_NS
    assert clocks.time_ns(OTHER, 7 * SECOND_NS, 7) == NOW_NS - 98 * SECOND_NS


def test_a_time_that_was_known_stays(tmp_path):
    clocks = BootClocks([segment(tmp_path, 1, BOOT, 5 * SECOND_NS, NOW_NS)], None)
    for wall_ns in (_core.LEAST_WALL_NS, NOW_NS, NOW_NS + 10**18):
        assert clocks.time_ns(BOOT, 7, wall_ns) == wall_ns


@pytest.mark.parametrize("boot_id", [OTHER, UNKNOWN_BOOT], ids=["another boot", "unknown"])
def test_a_time_that_nobody_knew_stays(tmp_path, boot_id):
    paths = [
        segment(tmp_path, 1, boot_id, 5 * SECOND_NS, 5),
        segment(tmp_path, 2, BOOT, 50 * SECOND_NS, NOW_NS),
    ]
    (tmp_path / "damaged.ewc").write_bytes(b"x")
    paths += [str(tmp_path / "damaged.ewc"), str(tmp_path / "evicted.ewc")]
    assert BootClocks(paths, None).time_ns(boot_id, 7, 7) == 7
