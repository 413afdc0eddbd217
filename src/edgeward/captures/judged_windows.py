"""JudgedWindows: the windows of a device, or of all devices, held against a package's reference.

Pure. A release of a model and a signature of it are judged by themselves; what came from a package
of another name, or has no tensor of the reference, is not.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edgeward.captures import joined_windows
from edgeward.captures.drift import Judgement, Reference, judge
from edgeward.captures.series import Report
from edgeward.captures.window import Counted, Window

NS = 1_000_000_000


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


class Judged(NamedTuple):
    entries: list[JudgedWindows]  # the device that has drifted most first, all together last
    passed_over: list[str]  # one line for each device and release that was not judged

    @property
    def has_drifted(self) -> bool:
        return any(entry.judgement.has_drifted for entry in self.entries)


def judged(
    reference: Reference, model: str, windows: Sequence[Window], period_ns: int | None
) -> Judged:
    """Each device's windows, joined as in joined_windows; of several devices also together.

    `reference` is that of the package of `model`.
    """
    whole = Judged([], [])
    for group in _groups(joined_windows.by_device(windows, period_ns)):
        refusal = _refusal(reference, model, group)
        if refusal is None:
            whole.entries.append(_judged(reference, group, group[0].device))
        else:
            whole.passed_over.append(refusal)
    whole.entries.sort(key=lambda entry: -_severity(entry))  # stable: else by device
    if len({window.device for window in windows}) > 1:
        whole.entries.extend(
            _judged(reference, group, None)
            for group in _groups(joined_windows.of_all(windows, period_ns))
            if _refusal(reference, model, group) is None
        )
    return whole


def _severity(entry: JudgedWindows) -> float:
    return max((finding.severity for finding in entry.judgement.findings), default=0.0)


def _groups(windows: Iterable[Window]) -> Iterable[list[Window]]:
    groups: dict[tuple[str, ...], list[Window]] = {}
    for window in windows:
        groups.setdefault((window.device, *window.counted[:4]), []).append(window)
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
    begins = [_begin(window, index) for index, window in enumerate(windows)]
    judgement = judge(reference, reports, begins)
    return JudgedWindows(device, windows, reports, begins, judgement)


def _begin(window: Window, index: int) -> str:
    """In UTC, to the minute; where nobody knows it, which window of the device it is."""
    if window.wall_ns is None:
        return f"window {index + 1}"
    moment = datetime.datetime.fromtimestamp(window.wall_ns // NS, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M")
