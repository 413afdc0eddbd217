"""Windows joined into longer ones: of each device by itself, and of all devices together.

Pure. Windows meet whose wall's time lies in the same multiple of the longer period; where nobody
knows it, those of one boot by its monotonic clock. A window is in one longer window alone, and what
was counted in other bins stays apart.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from statistics import median_high

from edgeward import _core
from edgeward.captures.window import UNKNOWN_BOOT, Counted, Window
from edgeward.errors import BadInput


def by_device(windows: Iterable[Window], period_ns: int | None) -> list[Window]:
    """Those of each device, joined to periods of this length; by device, then in their order.

    None joins what was counted in one period by several processes.
    """
    groups: dict[Hashable, list[Window]] = {}
    for window in windows:
        key = window.device, window.counted[:4], _slot(window, period_ns)
        groups.setdefault(key, []).append(window)
    return [whole for group in groups.values() for whole in _merged(group)]


def of_all(windows: Sequence[Window], period_ns: int | None) -> list[Window]:
    """Those of all devices, joined to periods of this length, in the order of time.

    None takes the longest period of the device in the middle: one that says it has counted for
    years does not put all that the others counted into one window. The device of a window is "".
    Those whose time nobody knows belong to no period of all devices, and are left out.
    """
    longest_ns: dict[str, int] = {}  # by device
    for window in windows:
        length_ns = window.end_ns - window.begin_ns
        longest_ns[window.device] = max(length_ns, longest_ns.get(window.device, 1))
    known = [window._replace(device="") for window in windows if window.wall_ns is not None]
    middle_ns = median_high(longest_ns.values()) if longest_ns else 1
    return sorted(by_device(known, period_ns or middle_ns), key=lambda window: window.wall_ns or 0)


def totals(windows: Iterable[Window]) -> list[Counted]:
    """What all of them counted, merged by release of a model and by signature, by name."""
    groups: dict[tuple[str, ...], list[Window]] = {}
    for window in windows:
        groups.setdefault(window.counted[:4], []).append(window)
    return [whole.counted for release in sorted(groups) for whole in _merged(groups[release])]


def _slot(window: Window, period_ns: int | None) -> Hashable:
    if period_ns is None:
        is_known = window.boot_id != UNKNOWN_BOOT
        return window.period if is_known else (window.period, window.wall_ns)
    if window.wall_ns is None:
        return window.boot_id, window.begin_ns // period_ns
    return window.wall_ns // period_ns


def _merged(group: Sequence[Window]) -> Iterator[Window]:
    """One window, or one for each set of bins that the group was counted in."""
    if len(group) == 1:
        yield group[0]
        return
    alike: list[list[Window]] = []
    totals: list[_core.Statistics] = []
    for window in group:
        for total, members in zip(totals, alike, strict=True):
            try:
                total.merge(window.counted.statistics)
            except BadInput:
                continue  # other tensors, or other bins
            members.append(window)
            break
        else:
            totals.append(_core.Statistics.from_bytes(window.counted.statistics.to_bytes()))
            alike.append([window])
    for total, members in zip(totals, alike, strict=True):
        yield _spanning(members)._replace(counted=members[0].counted._replace(statistics=total))


def _spanning(members: Sequence[Window]) -> Window:
    """The first of them, as long as from its begin to the end of the latest."""
    first = min(members, key=_start_ns)
    end_ns = max(_start_ns(window) + window.end_ns - window.begin_ns for window in members)
    return first._replace(end_ns=first.begin_ns + end_ns - _start_ns(first))


def _start_ns(window: Window) -> int:
    return window.begin_ns if window.wall_ns is None else window.wall_ns
