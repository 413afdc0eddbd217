"""Limits: the numbers that options of Capture and rules may be."""

import os
from numbers import Real

from edgeward import _core
from edgeward.errors import BadInput
from edgeward.paths import PathLike

MAX_FREE_BYTES = 128 << 20  # that a disk must have by default
FREE_PARTS = 10


def require_number(name: str, number: float, least: float, limit: float) -> None:
    """Raises BadInput unless `number` is a number of at least `least` and less than `limit`."""
    if not isinstance(number, Real) or not least <= number < limit:
        raise BadInput(f"{name}: expected at least {least} and less than {limit}, got {number!r}")


def require_ring_bytes(number: int) -> None:
    """Raises BadInput unless a ring may have this size."""
    is_in_range = _core.MIN_RING_BYTES <= number <= _core.MAX_RING_BYTES
    if not is_in_range or number & (number - 1):
        raise BadInput(
            f"ring_bytes: expected a power of two from {_core.MIN_RING_BYTES} to "
            f"{_core.MAX_RING_BYTES}, got {number}"
        )


def default_least_free_bytes(directory: PathLike) -> int:
    """What stays free of the disk of `directory`, which need not exist: 128 MiB, or a tenth of it.

    Raises OSError.
    """
    path = os.path.abspath(os.fsdecode(directory))
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    facts = os.statvfs(path)
    return min(MAX_FREE_BYTES, facts.f_blocks * facts.f_frsize // FREE_PARTS)
