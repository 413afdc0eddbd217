"""Windows joined into longer ones: of each device by itself, and of all devices together.

Pure. Windows meet whose wall's time lies in the same multiple of the longer period; where nobody
knows it, those of one boot by its monotonic clock. A window is in one longer window alone, and what
was counted in other bins stays apart. What is joined as it comes need not be in memory at once.
"""

from collections.abc import Hashable, Iterable, Iterator
from statistics import median_high

from edgeward import _core
from edgeward.captures.window import UNKNOWN_BOOT, Counted, Window
from edgeward.errors import BadInput


class _Sum:
    """A window, and what was added to it; its statistics are copied before the first addition."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._is_own = False

    def add(self, other: Window) -> bool:
        """Whether it could be added: it could not when it has other tensors, or other bins."""
        if not self._is_own:
            counted = self.window.counted
            copy = _core.Statistics.from_bytes(counted.statistics.to_bytes())
            self.window = self.window._replace(counted=counted._replace(statistics=copy))
            self._is_own = True
        try:
            self.window.counted.statistics.merge(other.counted.statistics)
        except BadInput:
            return False
        self.window = _spanning(self.window, other)
        return True


class _Sums:
    """Windows added up under keys, in the order of the keys; one for each set of bins."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, list[_Sum]] = {}

    def add(self, key: Hashable, window: Window) -> None:
        sums = self._by_key.setdefault(key, [])
        if not any(total.add(window) for total in sums):
            sums.append(_Sum(window))

    def windows(self) -> Iterator[Window]:
        for sums in self._by_key.values():
            for total in sums:
                yield total.window


class Totals:
    """What all windows counted, merged by release of a model and by signature."""

    def __init__(self) -> None:
        self._sums = _Sums()

    def add(self, window: Window) -> None:
        self._sums.add(window.counted[:4], window)

    @property
    def counted(self) -> list[Counted]:
        """By name."""
        return [
            window.counted
            for window in sorted(self._sums.windows(), key=lambda window: window.counted[:4])
        ]


class Together:
    """The windows of all devices, joined to periods of one length.

    None takes the longest period of the device in the middle: one that says it has counted for
    years does not put all that the others counted into one window. Those whose time nobody knows
    belong to no period of all devices, and are left out.
    """

    def __init__(self, period_ns: int | None) -> None:
        self._period_ns = period_ns
        self._longest_ns: dict[str, int] = {}  # by device
        self._sums = _Sums()

    def add(self, window: Window) -> None:
        length_ns = window.end_ns - window.begin_ns
        self._longest_ns[window.device] = max(length_ns, self._longest_ns.get(window.device, 1))
        if window.wall_ns is not None:
            # Without a period, what lies in the same multiple of its own length is added already.
            key_ns = self._period_ns or length_ns
            key = window.counted[:4], key_ns, window.wall_ns // key_ns
            self._sums.add(key, window._replace(device=""))

    def windows(self) -> list[Window]:
        """In the order of time. The device of a window is ""."""
        middle_ns = median_high(self._longest_ns.values()) if self._longest_ns else 1
        joined = by_device(self._sums.windows(), self._period_ns or middle_ns)
        return sorted(joined, key=lambda window: window.wall_ns or 0)


def by_device(windows: Iterable[Window], period_ns: int | None) -> list[Window]:
    """Those of each device, joined to periods of this length; by device, then in their order.

    None joins what was counted in one period by several processes.
    """
    sums = _Sums()
    for window in windows:
        sums.add((window.device, window.counted[:4], _slot(window, period_ns)), window)
    return list(sums.windows())


def _slot(window: Window, period_ns: int | None) -> Hashable:
    if period_ns is None:
        is_known = window.boot_id != UNKNOWN_BOOT
        return window.period if is_known else (window.period, window.wall_ns)
    if window.wall_ns is None:
        return window.boot_id, window.begin_ns // period_ns
    return window.wall_ns // period_ns


def _spanning(first: Window, second: Window) -> Window:
    """The first, with the begin of the earlier one and as long as to the end of the later one."""
    early, late = sorted((first, second), key=_start_ns)
    end_ns = max(_start_ns(window) + window.end_ns - window.begin_ns for window in (early, late))
    end_ns += early.begin_ns - _start_ns(early)
    return early._replace(end_ns=end_ns, counted=first.counted)


def _start_ns(window: Window) -> int:
    return window.begin_ns if window.wall_ns is None else window.wall_ns
