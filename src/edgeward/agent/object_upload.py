"""A directory's finished files, each carried to an object store once and then deleted here.

The store comes from `obstore`: a folder, or anything that speaks S3. A file's key is its path below
the directory, so that a file that is carried again, after a lost answer or a power cut, comes to be
the object that it is already.
"""

import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from edgeward.agent.capture_layout import SUFFIX as MANIFEST_SUFFIX
from edgeward.durable import DRAFT_SUFFIX
from edgeward.paths import PathLike

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
IDLE_FOLDER_S = 60.0  # since a folder was emptied: one that is written to often is not made anew
COMPARED_BYTES = 1 << 20


@dataclass(frozen=True)
class Pass:
    """What one look at the directory came to."""

    stored: tuple[str, ...]  # the keys that are in the store, and whose files are deleted
    failed: tuple[tuple[str, str], ...]  # (key, why) of those that stay here
    is_away: bool  # the store did not answer, or refused its keys; the rest was not tried


class ObjectUpload:
    """Carries what lies below `directory` to `store`, until it is stopped.

    Keys begin with `prefix`. With a `suffix`, only files whose names end so and that lie in
    `directory` itself are carried, and nothing else there is touched: it is another program's.

    Drafts of `durable` are left alone. In each folder the manifests go last, and only when
    everything beside and below them has gone: what a manifest names is there before it.
    `on_stored` is called between the store's receipt and the deletion; when it raises OSError, the
    file stays and is carried again. Folders that it emptied go, too, when nobody has written to
    them for a minute, and at the end of `run`: whoever writes there makes them again. An object of
    the same key with other bytes is never replaced; its file stays, and `failed` says so. Where the
    store knows no writes that only create, the last writer wins.

    One thread at a time; `stop` may be called from any.
    """

    def __init__(
        self,
        directory: PathLike,
        store: Any,
        *,
        prefix: str = "",
        suffix: str = "",
        on_stored: Callable[[str], None] = lambda key: None,
        on_failed: Callable[[str, str], None] = lambda key, why: None,
        seed: int | None = None,
    ) -> None:
        self._directory = Path(directory)
        self._store = store
        self._prefix = prefix
        self._suffix = suffix
        self._on_stored = on_stored
        self._on_failed = on_failed
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self._reported: dict[str, str] = {}
        self._emptied: set[Path] = set()  # folders below `directory` out of which files went

    def run(self, period_s: float) -> None:
        """Looks every `period_s` seconds; later when the store is away, with jitter."""
        failures = 0
        while not self._stopped.is_set():
            done = self.run_once()
            failures = failures + 1 if done.is_away else 0
            wait_s = delay_s(failures, self._random) if failures else period_s
            self._stopped.wait(max(wait_s, period_s))
        self._remove_emptied(0.0)

    def stop(self) -> None:
        """Has `run` return after the file that it is at."""
        self._stopped.set()

    def run_once(self) -> Pass:
        """Carries all that lies there now; gives up at the first sign that the store is away."""
        stored: list[str] = []
        failed: list[tuple[str, str]] = []
        folders_with_failures: set[Path] = set()
        is_away = False
        unreadable: list[tuple[Path, str]] = []
        paths = self._files(unreadable)
        for folder, reason in unreadable:
            failed.append((self._key(folder), reason))
            folders_with_failures.add(folder)
            self._report(*failed[-1])
        for path in paths:
            if self._stopped.is_set() or is_away:
                break
            if path.suffix == MANIFEST_SUFFIX and any(
                path.parent in (folder, *folder.parents) for folder in folders_with_failures
            ):
                failed.append((self._key(path), "waits for the files that it names"))
                continue
            try:
                why, is_away = self._carry(path)
            except FileNotFoundError:  # whoever keeps its directory within limits was faster
                continue
            if why is None:
                why = self._finish(path)
            if why is None:
                stored.append(self._key(path))
                continue
            failed.append((self._key(path), why))
            folders_with_failures.add(path.parent)
            self._report(*failed[-1])
        self._remove_emptied(IDLE_FOLDER_S)
        return Pass(tuple(stored), tuple(failed), is_away)

    def _files(self, unreadable: list[tuple[Path, str]]) -> list[Path]:
        if not self._suffix:
            return list(finished_files(self._directory, unreadable))
        _, files = entries_of(self._directory, unreadable)
        return [path for path in files if path.name.endswith(self._suffix)]

    def _finish(self, path: Path) -> str | None:
        """Tells of a file that is in the store, and deletes it; why it cannot."""
        try:
            self._on_stored(self._key(path))
            path.unlink(missing_ok=True)
        except OSError as error:
            return f"stored, but {error.strerror}"
        self._reported.pop(self._key(path), None)
        folders = path.relative_to(self._directory).parents
        self._emptied.update(self._directory / folder for folder in folders)
        self._emptied.discard(self._directory)
        return None

    def _remove_emptied(self, idle_s: float) -> None:
        """Removes those that are empty and did not change for so long, with no file in them."""
        end_s = time.time() - idle_s
        idle = []  # all, before a removal changes the folder above
        for folder in list(self._emptied):
            try:
                if os.stat(folder).st_mtime <= end_s:
                    idle.append(folder)
            except OSError:
                self._emptied.discard(folder)
        for folder in sorted(idle, reverse=True):  # those within first
            with suppress(OSError):  # it has files
                os.rmdir(folder)
                self._emptied.discard(folder)

    def _report(self, key: str, why: str) -> None:
        """Says what keeps a file here, once for each reason."""
        if self._reported.get(key) != why:
            self._reported[key] = why
            self._on_failed(key, why)

    def _key(self, path: Path) -> str:
        return self._prefix + path.relative_to(self._directory).as_posix()

    def _carry(self, path: Path) -> tuple[str | None, bool]:
        """Why the file stays here, None when it is in the store; and whether the store is away.

        Raises FileNotFoundError.
        """
        try:
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            return f"expected a file to read, got {error.strerror}", False
        with open(number, "rb") as file:
            try:
                content = file.read()
            except OSError as error:
                return f"expected a file to read, got {error.strerror}", False
            try:
                key = self._key(path)
                obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                try:
                    if not self._is_stored(path, file):
                        return "expected these bytes in the store, got an object with others", False
                except (BaseError, OSError) as error:
                    return first_line(error), True
            except (BaseError, OSError) as error:
                return first_line(error), True
        return None, False

    def _is_stored(self, path: Path, file: Any) -> bool:
        """Whether the object of this file's key has its bytes."""
        result = obstore.get(self._store, self._key(path))
        if result.meta["size"] != os.fstat(file.fileno()).st_size:
            return False
        file.seek(0)
        return all(file.read(len(part)) == bytes(part) for part in result.stream(COMPARED_BYTES))


def delay_s(failures: int, chance: random.Random) -> float:
    """How long to wait after that many failures in a row: at random up to a bound that doubles.

    Source: "full jitter" in M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog,
    2015.
    """
    return chance.uniform(0, min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures, 16)))


def finished_files(directory: Path, unreadable: list[tuple[Path, str]]) -> Iterator[Path]:
    """Regular files below `directory`, by name; manifests behind all that lies below them.

    A folder that cannot be read is added to `unreadable`, with the reason.
    """
    folders, files = entries_of(directory, unreadable)
    for folder in folders:
        yield from finished_files(folder, unreadable)
    yield from sorted(files, key=lambda path: (path.suffix == MANIFEST_SUFFIX, path.name))


def entries_of(
    directory: Path, unreadable: list[tuple[Path, str]]
) -> tuple[list[Path], list[Path]]:
    """The folders and the regular files of a folder, by name, without drafts of `durable`."""
    folders, files = [], []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(DRAFT_SUFFIX):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    files.append(Path(entry.path))
    except FileNotFoundError:
        pass
    except OSError as error:
        unreadable.append((directory, f"expected a folder to read, got {error.strerror}"))
    return sorted(folders), sorted(files)


def first_line(error: BaseException) -> str:
    """What went wrong, without the times and the debug print that obstore adds."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r" in [0-9.]+(ns|µs|ms|s)\b", "", line)
