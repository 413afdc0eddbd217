"""StatisticsFile: what was counted of one signature of a release of a model, beside the segments.

It is replaced whole, and sealed when the capture has a recipient.
Bytes: docs/capture-format.md, section 5.
"""

import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from edgeward import _core
from edgeward.captures.folders import files_below
from edgeward.captures.window import Counted, Window, parsed, window_bytes
from edgeward.durable import replace_file
from edgeward.errors import BadInput, EdgewardError, MalformedCapture, WrongKey
from edgeward.paths import PathLike

SUFFIX = _core.STATISTICS_SUFFIX
SEALED_SUFFIX = _core.SEALED_STATISTICS_SUFFIX
SUFFIXES = (SUFFIX, SEALED_SUFFIX, _core.JSON_STATISTICS_SUFFIX)
MODE = 0o640
MAX_BYTES = 64 << 20


class StatisticsFile:
    """One file, sealed or not by its suffix. One writer at a time; any process may read it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def write(self, window: Window, recipient: _core.PublicKey | None = None) -> None:
        """Replace its content, sealed to `recipient` if there is one.

        Raises OSError; the content then stays as it is.
        """
        content = window_bytes(window)
        if recipient is not None:
            content = _core.seal_statistics(recipient, content)
        try:
            replace_file(self.path, content, MODE)
        except OSError:
            # Only the directory's sync may have failed: whoever adds to a file must know that its
            # counts are there, or it adds them twice.
            if not self._holds(content):
                raise

    def read(self, key: _core.PrivateKey | None = None) -> Window | Counted:
        """A window; of a file of version 1 what was counted on a day.

        Raises OSError, MalformedCapture; WrongKey when it was sealed and `key` is not its.
        """
        try:
            content = self._content()
            if len(content) > MAX_BYTES:
                raise MalformedCapture(f"more than {MAX_BYTES} bytes")
            if self.path.endswith(SEALED_SUFFIX):
                content = _core.open_statistics(content, key)
            return parsed(content)
        except EdgewardError as error:
            raise type(error)(f'statistics "{self.path}": {error}') from None

    def _content(self) -> bytes:
        # Opening a pipe would wait for whoever writes into it.
        with open(self.path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MalformedCapture("expected a regular file, got another")
            return file.read(MAX_BYTES + 1)

    def _holds(self, content: bytes) -> bool:
        try:
            return self._content() == content
        except (OSError, MalformedCapture):
            return False


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def begun(path: str) -> tuple[int, int, str]:
    """Orders files by when they were begun: those of version 1, whose names have days, before.

    A copy, to whose name something was added, comes behind its file.
    """
    name = os.path.basename(path)
    number = _core.segment_number_of(name)
    return (-1 if number is None else number, len(name), name)


class Gathered(NamedTuple):
    """The statistics of a directory, sorted by name, and why others in it are not among them."""

    counted: list[Counted]
    refused: list[str]  # one line for each file


def read_statistics(directory: PathLike, *, key: _core.PrivateKey | None = None) -> list[Counted]:
    """What was counted in `directory`, merged by release of a model and by signature.

    Sorted by name. Models of one name that have other tensors or bins stay apart. `key` is the
    private key that belongs to the capture's encrypt_to. A damaged file is passed over, with a
    warning that names it. Raises OSError, WrongKey.
    """
    gathered = gather_statistics(directory, key)
    for refusal in gathered.refused:
        warnings.warn(refusal, stacklevel=2)
    return gathered.counted


def gather_statistics(directory: PathLike, key: _core.PrivateKey | None) -> Gathered:
    """Raises OSError, WrongKey."""
    merged: dict[tuple[str, ...], list[Counted]] = {}
    refused: list[str] = []
    paths = sorted(files_below(directory, *SUFFIXES), key=begun)
    for _, saved in saved_in(paths, key, refused):
        counted = saved.counted if isinstance(saved, Window) else saved
        _merge_into(merged.setdefault(counted[:4], []), counted)
    return Gathered([counted for release in sorted(merged) for counted in merged[release]], refused)


def saved_in(
    paths: Iterable[str], key: _core.PrivateKey | None, refused: list[str]
) -> Iterator[tuple[str, Window | Counted]]:
    """Each path, and what its file holds; `refused` gets a line for each that cannot be read.

    A window is given once, whatever copies of its file lie in the folder: `refused` has a line for
    each of those. Raises WrongKey when `key` opens none of them, after the last.
    """
    closed: list[WrongKey] = []
    known: dict[tuple[str, str], str] = {}  # paths by folder and id
    has_opened = False
    for path in paths:
        try:
            saved = StatisticsFile(path).read(key)
        except FileNotFoundError:
            continue  # it was evicted meanwhile
        except WrongKey as error:
            closed.append(error)
        except MalformedCapture as error:
            refused.append(str(error))
        except OSError as error:  # another user's, or a link to itself
            refused.append(f'statistics "{path}": {error.strerror}')
        else:
            has_opened = True
            if isinstance(saved, Window):
                first = known.setdefault((os.path.dirname(path), saved.id), path)
                if first != path:
                    refused.append(f'statistics "{path}": the window of "{first}", a second time')
                    continue
            yield path, saved
    if closed and not has_opened:
        raise closed[0]
    refused.extend(map(str, closed))


def _merge_into(alike: list[Counted], counted: Counted) -> None:
    for other in alike:
        try:
            other.statistics.merge(counted.statistics)
        except BadInput:
            continue  # other tensors, or other bins
        return
    alike.append(counted)
