"""How much room statistics may take beside the segments, and what of them is removed."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from edgeward.captures.statistics_file import SUFFIXES, begun

SHARE = 4  # statistics have one part of so many; records have what statistics leave
DRAFT_AGE_S = 86_400.0
MAX_COUNT = 4_096  # of files: a program that is restarted again and again may seal one each time


class Held(NamedTuple):
    """A file of statistics in a directory of captures."""

    name: str
    size_bytes: int


def keep_within(directory: str, most_bytes: int) -> None:
    """Remove drafts that were left behind, and the oldest statistics beyond their share.

    Raises OSError.
    """
    now_s = time.time()
    files = []
    with os.scandir(directory) as entries:
        for entry in entries:
            is_whole = entry.name.endswith(SUFFIXES)
            if not is_whole and not _is_draft(entry.name):
                continue
            with suppress(FileNotFoundError):  # another process was faster
                facts = entry.stat(follow_symlinks=False)
                if is_whole:
                    files.append(Held(entry.name, facts.st_size))
                elif abs(now_s - facts.st_mtime) > DRAFT_AGE_S:
                    os.unlink(entry.path)
    for name in evicted(files, most_bytes):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


def evicted(files: Sequence[Held], most_bytes: int) -> list[str]:
    """The names of those that must go, so that the others are within their share, and not too many.

    Pure. What was begun first goes first: names without a number, of version 1, then by number.
    """
    total_bytes = sum(file.size_bytes for file in files)
    names: list[str] = []
    for file in sorted(files, key=lambda file: begun(file.name)):
        if total_bytes <= most_bytes // SHARE and len(files) - len(names) <= MAX_COUNT:
            break
        total_bytes -= file.size_bytes
        names.append(file.name)
    return names


def _is_draft(name: str) -> bool:
    """Of replace_file, which adds a dot and random characters to the name."""
    return name.rpartition(".")[0].endswith(SUFFIXES)
