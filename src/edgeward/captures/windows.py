"""Windows below directories: those of each device in the order of time, handed over once."""

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgeward import _core
from edgeward.captures.boot_clocks import BootClocks
from edgeward.captures.cursor import Cursor
from edgeward.captures.folders import device_of, files_below
from edgeward.captures.segments import segment_paths
from edgeward.captures.statistics_file import SUFFIXES, begun, saved_in
from edgeward.captures.window import UNKNOWN_BOOT, Counted, Window
from edgeward.errors import WrongKey
from edgeward.paths import PathLike

NS = 1_000_000_000
SAVING_NS = 60 * NS  # what began to be saved in a period is on the disk so long after it, at most
DAY_NS = 86_400 * NS
SILENT_NS = DAY_NS  # a device that has sent nothing for so long has nothing to add


def read_windows(
    directories: PathLike | Sequence[PathLike],
    *,
    key: _core.PrivateKey | None = None,
    cursor: Cursor | None = None,
) -> Iterator[Window]:
    """The windows below `directories`: those of one device after those of another, in time.

    `key` is the private key that belongs to the captures' encrypt_to. With `cursor`, gives only
    windows that are complete and that the cursor does not have, and adds them to it: the caller
    saves it. Times are corrected when a device learned the time later in the same boot. A file of
    version 1 is a window of its day, which has no id: with a cursor it is passed over. A damaged
    file is passed over, with a warning that names it. One window is in memory at a time. Raises
    OSError, WrongKey.
    """
    refused: list[str] = []
    for window in windows_below(directories, key, refused, cursor):
        while refused:
            warnings.warn(refused.pop(), stacklevel=2)
        yield window
    while refused:
        warnings.warn(refused.pop(), stacklevel=2)


def windows_below(
    directories: PathLike | Sequence[PathLike],
    key: _core.PrivateKey | None,
    refused: list[str],
    cursor: Cursor | None = None,
) -> Iterator[Window]:
    """As read_windows; `refused` gets a line for each file that is damaged."""
    if isinstance(directories, (str, os.PathLike)):
        directories = [directories]
    absolute = [os.path.abspath(directory) for directory in directories]
    root = os.path.commonpath(absolute)
    by_folder: dict[str, set[str]] = {}
    for directory in absolute:
        for path in files_below(directory, *SUFFIXES):
            by_folder.setdefault(os.path.dirname(path), set()).add(path)
    closed: list[WrongKey] = []  # of each device of which the key opens nothing
    has_any = False
    for _, folder_paths in sorted(by_folder.items()):
        paths = sorted(folder_paths, key=begun)
        device = device_of(paths[0], root)
        try:
            of_device = (
                _all_of(paths, device, key, refused)
                if cursor is None
                else _rest_of(paths, device, key, refused, cursor)
            )
            for window in of_device:
                has_any = True
                yield window
        except WrongKey as error:
            closed.append(error)
    if closed and not has_any:
        raise closed[0]
    refused.extend(map(str, closed))


class Head(NamedTuple):
    """A window without its counts: many of these are in memory, but one window at a time."""

    path: str
    id: str
    boot_id: bytes
    begin_ns: int
    end_ns: int
    wall_ns: int | None


def _all_of(
    paths: Sequence[str], device: str, key: _core.PrivateKey | None, refused: list[str]
) -> Iterator[Window]:
    walls_ns: dict[str, int | None] | None = None  # of each path, when they are needed
    for path, saved in saved_in(paths, key, refused):
        window = saved if isinstance(saved, Window) else _of_day(path, saved)
        wall_ns = window.wall_ns
        if wall_ns is None:
            if walls_ns is None:
                walls_ns = {head.path: head.wall_ns for head in _heads(paths, key, [])}
            wall_ns = walls_ns.get(path)
        yield window._replace(device=device, wall_ns=wall_ns)


def _of_day(path: str, counted: Counted) -> Window:
    """What a file of version 1 holds. Its name begins with the day, in UTC."""
    import datetime

    window = Window(counted, "", UNKNOWN_BOOT, 0, DAY_NS)
    try:
        day = datetime.date.fromisoformat(os.path.basename(path)[:10])
    except ValueError:
        return window
    wall_ns = (day - datetime.date(1970, 1, 1)).days * DAY_NS
    return window._replace(wall_ns=wall_ns if wall_ns >= _core.LEAST_WALL_NS else None)


def _rest_of(
    paths: Sequence[str],
    device: str,
    key: _core.PrivateKey | None,
    refused: list[str],
    cursor: Cursor,
) -> Iterator[Window]:
    """What is complete, and what the cursor does not have."""
    heads = complete(_heads(paths, key, refused), _core.moment_now())
    rest = {head.id: head for head in heads if not cursor.has_window(device, head.id)}
    walls_ns = {head.path: head.wall_ns for head in rest.values()}
    for path, saved in saved_in(walls_ns, key, refused):
        if isinstance(saved, Window):
            yield saved._replace(device=device, wall_ns=walls_ns[path])
            cursor.add_window(device, saved.id)


def _heads(paths: Sequence[str], key: _core.PrivateKey | None, refused: list[str]) -> list[Head]:
    """Of one device, with the times that its boots learned later, from windows or from segments."""
    heads = [
        Head(path, *saved[1:6])
        for path, saved in saved_in(paths, key, refused)
        if isinstance(saved, Window)
    ]
    begins = {
        head.boot_id: head.wall_ns - head.begin_ns
        for head in heads
        if head.wall_ns is not None and head.boot_id != UNKNOWN_BOOT
    }
    is_known = all(head.wall_ns is not None or head.boot_id in begins for head in heads)
    clocks = BootClocks([] if is_known else segment_paths(os.path.dirname(paths[0])), key)

    def wall_ns(head: Head) -> int | None:
        if head.wall_ns is not None:
            return head.wall_ns
        if head.boot_id in begins:
            return begins[head.boot_id] + head.begin_ns
        return clocks.time_ns(head.boot_id, head.begin_ns, 0) or None

    return [head._replace(wall_ns=wall_ns(head)) for head in heads]


def complete(heads: Sequence[Head], now: _core.Moment) -> list[Head]:
    """Those to which nobody adds any more, of the windows of one device in order. Pure."""
    reached_ns: dict[bytes, int] = {}  # by boot: where the latest of its periods begins
    for head in heads:
        reached_ns[head.boot_id] = max(reached_ns.get(head.boot_id, 0), head.begin_ns)
    chosen = []
    behind: dict[bytes, Head] = {}  # by boot: of those whose files were begun later, the last
    for head in reversed(heads):
        has_later = head.boot_id != UNKNOWN_BOOT and reached_ns[head.boot_id] >= head.end_ns
        if (
            has_later
            or _is_past(head, now)
            or any(_is_of_a_next_boot(other, head) for other in behind.values())
        ):
            chosen.append(head)
        behind.setdefault(head.boot_id, head)
    return chosen[::-1]


def _is_past(head: Head, now: _core.Moment) -> bool:
    if head.boot_id == now.boot_id != UNKNOWN_BOOT:
        return now.monotonic_ns >= head.end_ns + SAVING_NS
    end_ns = _wall_end_ns(head)
    return end_ns is not None and now.wall_ns >= end_ns + SILENT_NS


def _is_of_a_next_boot(other: Head, head: Head) -> bool:
    """Whether `other`, whose file was begun later, says that the boot of `head` is over."""
    if other.boot_id == head.boot_id != UNKNOWN_BOOT:
        return False
    # Two machines may share a directory, and then the boots of both go on.
    end_ns = _wall_end_ns(head)
    return end_ns is None or other.wall_ns is None or other.wall_ns >= end_ns


def _wall_end_ns(head: Head) -> int | None:
    return None if head.wall_ns is None else head.wall_ns + head.end_ns - head.begin_ns
