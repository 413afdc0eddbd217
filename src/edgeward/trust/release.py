"""Release: what a package says of itself, signed; and a counter's two parts."""

from typing import NamedTuple

from edgeward._core import EPOCH_SHIFT
from edgeward.errors import BadInput

DEFAULT_PUBLISHER = "default"


class Release(NamedTuple):
    """A package's name and place in the order of releases.

    A device that has run it accepts no release of this model whose counter is below `min_counter`.
    Counters are whole numbers from 1 to 2**48 - 1; `epoch` is the trust root's. `target` is "any"
    or the only kind of machine it is for, such as "linux-aarch64". `not_after_s` is in Unix
    seconds; None means for ever. `device_id` is the key id of the only device it may run on; None
    means any.
    """

    name: str
    version: str
    counter: int
    min_counter: int = 1
    epoch: int = 0
    target: str = "any"
    publisher: str = DEFAULT_PUBLISHER
    not_after_s: int | None = None
    device_id: bytes | None = None

    def require_valid(self) -> None:
        """Raises BadInput for counters that the format cannot hold; the core checks the rest."""
        for number, what in ((self.counter, "counter"), (self.min_counter, "min_counter")):
            if not 1 <= number < 1 << EPOCH_SHIFT:
                raise BadInput(f"{what}: expected 1 to 2**{EPOCH_SHIFT} - 1, got {number}")
        if not 0 <= self.epoch < 1 << 16:
            raise BadInput(f"epoch: expected 0 to 65535, got {self.epoch}")
