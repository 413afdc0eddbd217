"""JudgedWindows: the windows of a device, or of all devices, held against a package's reference.

Pure. A release of a model and a signature of it are judged by themselves; what came from a package
of another name, or has no tensor of the reference, is not. The windows of one device are in memory
at a time, and what all devices have counted together.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from edgeward.captures.drift import Judgement, Reference, judge
from edgeward.captures.joined_windows import Together, by_device
from edgeward.captures.series import Report
from edgeward.captures.window import Counted, Window

NS = 1_000_000_000
MINUTE_NS = 60 * NS


class JudgedWindows(NamedTuple):
    """Windows of one release and signature, in the order of time, and what is to say of them."""

    device: str | None  # None: all devices together
    windows: Sequence[Window]
    reports: Sequence[Report]
    begins: Sequence[str]  # when each began, in words
    judgement: Judgement

    @property
    def counted(self) -> Counted:
        """Of the first window; its name, version, package_id, signature are those of all."""
        return self.windows[0].counted


def judged(
    reference: Reference,
    model: str,
    windows: Iterable[Window],
    period_ns: int | None,
    passed_over: list[str],
) -> Iterator[JudgedWindows]:
    """Each device's windows, joined as in joined_windows; of several devices also together, last.

    `reference` is that of the package of `model`. The windows of a device come one after the other.
    `passed_over` gets a line for each device and release that is not judged.
    """
    together = Together(period_ns)
    device_count = 0

    def seen(of_device: Iterable[Window]) -> Iterator[Window]:
        for window in of_device:
            together.add(window)
            yield window

    for device, of_device in groupby(windows, key=lambda window: window.device):
        device_count += 1
        for group in _groups(by_device(seen(of_device), period_ns)):
            refusal = _refusal(reference, model, group)
            if refusal is None:
                yield _judged(reference, group, device)
            else:
                passed_over.append(refusal)
    if device_count > 1:
        for group in _groups(together.windows()):
            if _refusal(reference, model, group) is None:
                yield _judged(reference, group, None)


def _groups(windows: Iterable[Window]) -> Iterable[list[Window]]:
    groups: dict[tuple[str, ...], list[Window]] = {}
    for window in windows:
        groups.setdefault(window.counted[:4], []).append(window)
    return groups.values()


def _refusal(reference: Reference, model: str, group: Sequence[Window]) -> str | None:
    counted = group[0].counted
    where = f'{group[0].device or "captures"}: model "{counted.name}"'
    if counted.package_id and counted.name != model:
        return f'{where}: expected "{model}", as the package'
    expected = {(row["side"], row["name"]) for row in reference.report["tensors"]}
    rows = counted.statistics.report()["tensors"]
    if not any((row["side"], row["name"]) in expected for row in rows):
        return f'{where}, signature "{counted.signature}": expected a tensor of the reference'
    return None


def _judged(reference: Reference, windows: Sequence[Window], device: str | None) -> JudgedWindows:
    reports = [window.counted.statistics.report() for window in windows]
    begins = _begins(windows)
    return JudgedWindows(device, windows, reports, begins, judge(reference, reports, begins))


def _begins(windows: Sequence[Window]) -> list[str]:
    """In UTC, as precise as windows are long; where nobody knows it, which window it is."""
    lengths_ns = [window.end_ns - window.begin_ns for window in windows]
    precision = "minutes"
    if any(length_ns % MINUTE_NS for length_ns in lengths_ns):
        precision = (
            "seconds" if all(length_ns >= NS for length_ns in lengths_ns) else "milliseconds"
        )
    return [_begin(window, index, precision) for index, window in enumerate(windows)]


def _begin(window: Window, index: int, precision: str) -> str:
    if window.wall_ns is None:
        return f"window {index + 1}"
    seconds, rest_ns = divmod(window.wall_ns, NS)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    moment = moment.replace(microsecond=rest_ns // 1000, tzinfo=None)
    return moment.isoformat(" ", precision) + "Z"
