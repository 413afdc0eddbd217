"""Windows below directories: those of each device in the order of time, handed over once."""

import datetime
import os
import warnings
from collections.abc import Iterator, Sequence

from edgeward import _core
from edgeward.captures.boot_clocks import BootClocks
from edgeward.captures.cursor import Cursor
from edgeward.captures.folders import device_of, files_below
from edgeward.captures.segments import segment_paths
from edgeward.captures.statistics_file import SUFFIXES, saved_in
from edgeward.captures.window import UNKNOWN_BOOT, Counted, Window
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
    saves it. Times are corrected when a device learned the time later in the same boot. The windows
    of one device are in memory together. A file of version 1 is a window of its day, which has no
    id: with a cursor it is passed over. A damaged file is passed over, with a warning that names
    it. Raises OSError, WrongKey.
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
    for folder in sorted(by_folder):
        paths = sorted(by_folder[folder])
        device = device_of(paths[0], root)
        saved = saved_in(paths, key, refused)
        windows = [
            (entry if isinstance(entry, Window) else _of_day(path, entry))._replace(device=device)
            for path, entry in saved
            if cursor is None or isinstance(entry, Window)
        ]
        windows = _put_right(windows, folder, key)
        if cursor is None:
            yield from windows
            continue
        for window in complete(windows, _core.moment_now()):
            if not cursor.has_window(device, window.id):
                yield window
                cursor.add_window(device, window.id)


def _of_day(path: str, counted: Counted) -> Window:
    """What a file of version 1 holds. Its name begins with the day, in UTC."""
    window = Window(counted, "", UNKNOWN_BOOT, 0, DAY_NS)
    try:
        day = datetime.date.fromisoformat(os.path.basename(path)[:10])
    except ValueError:
        return window
    wall_ns = (day - datetime.date(1970, 1, 1)).days * DAY_NS
    return window._replace(wall_ns=wall_ns if wall_ns >= _core.LEAST_WALL_NS else None)


def complete(windows: Sequence[Window], now: _core.Moment) -> list[Window]:
    """Those to which nobody adds any more, of the windows of one device in order. Pure."""
    reached_ns: dict[bytes, int] = {}  # by boot: where the latest of its periods begins
    for window in windows:
        reached_ns[window.boot_id] = max(reached_ns.get(window.boot_id, 0), window.begin_ns)
    chosen = []
    behind: dict[bytes, Window] = {}  # by boot: of those whose files were begun later, the last
    for window in reversed(windows):
        has_later = window.boot_id != UNKNOWN_BOOT and reached_ns[window.boot_id] >= window.end_ns
        if (
            has_later
            or _is_past(window, now)
            or any(_is_of_a_next_boot(other, window) for other in behind.values())
        ):
            chosen.append(window)
        behind.setdefault(window.boot_id, window)
    return chosen[::-1]


def _is_past(window: Window, now: _core.Moment) -> bool:
    if window.boot_id == now.boot_id != UNKNOWN_BOOT:
        return now.monotonic_ns >= window.end_ns + SAVING_NS
    end_ns = _wall_end_ns(window)
    return end_ns is not None and now.wall_ns >= end_ns + SILENT_NS


def _is_of_a_next_boot(other: Window, window: Window) -> bool:
    """Whether `other`, whose file was begun later, says that the boot of `window` is over."""
    if other.boot_id == window.boot_id != UNKNOWN_BOOT:
        return False
    # Two machines may share a directory, and then the boots of both go on.
    end_ns = _wall_end_ns(window)
    return end_ns is None or other.wall_ns is None or other.wall_ns >= end_ns


def _wall_end_ns(window: Window) -> int | None:
    return None if window.wall_ns is None else window.wall_ns + window.end_ns - window.begin_ns


def _put_right(
    windows: Sequence[Window], folder: str, key: _core.PrivateKey | None
) -> list[Window]:
    """With the times that their boots learned later, from other windows or from segments."""
    begins = {
        window.boot_id: window.wall_ns - window.begin_ns
        for window in windows
        if window.wall_ns is not None and window.boot_id != UNKNOWN_BOOT
    }
    is_known = all(window.wall_ns is not None or window.boot_id in begins for window in windows)
    clocks = BootClocks([] if is_known else segment_paths(folder), key)

    def wall_ns(window: Window) -> int | None:
        if window.wall_ns is not None:
            return window.wall_ns
        if window.boot_id in begins:
            return begins[window.boot_id] + window.begin_ns
        return clocks.time_ns(window.boot_id, window.begin_ns, 0) or None

    return [window._replace(wall_ns=wall_ns(window)) for window in windows]
