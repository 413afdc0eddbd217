"""Limits: the numbers that options of Capture and rules may be."""

from numbers import Real

from edgeward import _core
from edgeward.errors import BadInput


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
