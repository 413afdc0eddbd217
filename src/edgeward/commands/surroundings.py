"""What a program on this machine stands on beside its engines, each with what to do about it.

Shared memory for rings, the trust directory, the device's key, the clock, the disk. Looks, and
changes nothing.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import TypedDict

from edgeward import own_directory
from edgeward._core import LEAST_WALL_NS, RING_HEAD_BYTES, date_text
from edgeward.captures import rings
from edgeward.captures.limits import default_least_free_bytes
from edgeward.errors import EdgewardError
from edgeward.reports.inspection import size
from edgeward.trust import device_key
from edgeward.trust.trust_directory import LOCK, Trust, chosen

NOTHING_TO_DO = "nothing to do"
SOON_S = 30 * 86_400  # before a root expires
LEAST_FILES = 1000
HEAD_BYTES = 4096  # more than a record has beside its tensors; it takes at most half a ring
CLOCK_ERROR = 5  # what adjtimex returns of a clock that is not synchronised
TIMEX_BYTES = 512  # more than struct timex


class Finding(TypedDict):
    """One of the things that a program stands on."""

    name: str
    is_fine: bool
    verdict: str
    advice: str


def findings(
    trust_directory: str | None, captures: str | None, record_bytes: int = 0
) -> list[Finding]:
    """A Finding for each of them.

    `captures` is where a Capture writes, None for nowhere; `record_bytes` is what the inputs and
    outputs of an inference take, 0 of an unknown model.
    """
    with warnings.catch_warnings(record=True) as oddities:
        warnings.simplefilter("always")
        try:
            trust: Trust | OSError | EdgewardError = Trust(trust_directory)
        except (OSError, EdgewardError) as error:
            trust = error
    return [
        _memory(record_bytes),
        _trust(trust, [str(oddity.message) for oddity in oddities]),
        _key(chosen(trust_directory)),
        _clock(trust),
        _disk(captures or (trust.directory if isinstance(trust, Trust) else os.getcwd())),
    ]


def _finding(name: str, verdict: str, advice: str = "") -> Finding:
    return {
        "name": name,
        "is_fine": not advice,
        "verdict": verdict,
        "advice": advice or NOTHING_TO_DO,
    }


def _memory(record_bytes: int) -> Finding:
    """Whether captures have room for their rings, which are files in memory, and rings for it."""
    base = os.environ.get(rings.VARIABLE) or own_directory.SHARED_MEMORY
    elsewhere = f"name another directory in ${rings.VARIABLE}"
    try:
        facts = os.statvfs(base)
        ring_bytes = rings.default_bytes(base)
    except OSError as error:
        return _finding("memory", f"{base}: {error.strerror}", f"for captures, {elsewhere}")
    free_bytes = facts.f_bavail * facts.f_frsize
    count = free_bytes // (RING_HEAD_BYTES + ring_bytes)
    verdict = (
        f"{base}: {size(facts.f_blocks * facts.f_frsize)}, {size(free_bytes)} free, room for "
        f"{count} {'ring' if count == 1 else 'rings'} of {size(ring_bytes)}"
    )
    if not os.access(base, os.W_OK) or facts.f_flag & os.ST_RDONLY:
        return _finding("memory", f"{verdict}, not writable", f"for captures, {elsewhere}")
    if count == 0:
        more = f"give it more room (docker run --shm-size 256m), or {elsewhere}"
        return _finding("memory", verdict, f"for captures, {more}")
    if record_bytes:
        verdict += f", each for {ring_bytes // record_bytes:,} records of {size(record_bytes)}"
    if 2 * (record_bytes + HEAD_BYTES) > ring_bytes:
        enough_bytes = 1 << (2 * (record_bytes + HEAD_BYTES) - 1).bit_length()
        advice = f"to capture what it runs, Capture(ring_bytes={enough_bytes})"
        if RING_HEAD_BYTES + enough_bytes > free_bytes:
            advice += f", with more room than {size(free_bytes)} in {base}"
        return _finding("memory", verdict, advice)
    return _finding("memory", verdict)


def _trust(trust: Trust | OSError | EdgewardError, oddities: list[str]) -> Finding:
    if isinstance(trust, FileNotFoundError):
        advice = (
            "copy the one here that edgeward device add made where you seal, or name it by --trust"
        )
        return _finding("trust", f"{trust.filename}: no such file", advice)
    if not isinstance(trust, Trust):
        words = f"{trust.filename}: {trust.strerror}" if isinstance(trust, OSError) else str(trust)
        return _finding("trust", words, "let this user read it, or restore it from the publisher")
    status = os.stat(trust.directory)
    root, now_s = trust.root, trust.now_s()
    end = "expired on" if now_s >= root.expires_s else "until"
    verdict = (
        f"{trust.directory}: root version {root.version}, {end} {date_text(root.expires_s)}; of "
        f"user {status.st_uid}, mode {status.st_mode & 0o7777:04o}"
    )
    if oddities:
        return _finding("trust", f"{verdict}; {'; '.join(oddities)}", "chown and chmod it")
    if now_s >= root.expires_s - SOON_S:
        advice = "edgeward root rotate where the root key is, then edgeward root accept here"
        return _finding("trust", verdict, advice)
    if not os.access(trust.directory, os.W_OK):
        advice = "let this user write there: a release that raises the floor is remembered there"
        return _finding("trust", f"{verdict}, not writable", advice)
    lock = os.path.join(trust.directory, LOCK)
    if os.path.exists(lock) and not os.access(lock, os.R_OK | os.W_OK):
        verdict += f"; {LOCK} is of user {os.stat(lock).st_uid}"
        return _finding("trust", verdict, "chown it: without it, nothing that runs is remembered")
    return _finding("trust", verdict)


def _key(directory: str) -> Finding:
    try:
        key = device_key.find_device_key(directory)
    except OSError as error:
        return _finding("key", f"{error.filename}: {error.strerror}", "let this user read it")
    except EdgewardError as error:
        return _finding("key", str(error), "see docs/deploy.md: the file is its owner's alone")
    if key is None:
        advice = "for encrypted packages, copy the one here that edgeward device add made"
        return _finding("key", f"none: looked for {device_key.places(directory)}", advice)
    source = device_key.source(directory)
    mode = f", mode {os.stat(source).st_mode & 0o7777:04o}" if os.path.exists(source) else ""
    return _finding("key", f"{key.public.id.hex()}, from {source}{mode}")


def _clock(trust: Trust | OSError | EdgewardError) -> Finding:
    """Whether the clock can be right, and whether something keeps it so."""
    now_s = int(time.time())
    state = {True: "synchronised", False: "not synchronised", None: "unknown whether synchronised"}
    is_synchronised = clock_is_synchronised()
    verdict = f"{date_text(max(now_s, 0))}, {state[is_synchronised]}"
    set_it = "set the clock, and keep it with timedatectl set-ntp true or chrony"
    if now_s * 10**9 < LEAST_WALL_NS:
        return _finding("clock", f"{verdict}: it was never set", set_it)
    if isinstance(trust, Trust) and now_s < trust.now_s():
        bound = date_text(trust.now_s())
        return _finding("clock", f"{verdict}: behind {bound}, when the root was issued", set_it)
    return _finding("clock", verdict, set_it if is_synchronised is False else "")


def clock_is_synchronised() -> bool | None:
    """What the kernel says of its clock; None where it does not say."""
    import ctypes

    try:
        adjtimex: Callable[[object], int] = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    state = adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))  # zeros: it changes nothing
    return None if state < 0 else state != CLOCK_ERROR


def _disk(directory: str) -> Finding:
    """Whether what must be written, state and captures, can be."""
    path = os.path.abspath(directory)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    facts = os.statvfs(path)
    free_bytes = facts.f_bavail * facts.f_frsize
    verdict = f"{path}: {size(free_bytes)} free of {size(facts.f_blocks * facts.f_frsize)}"
    if facts.f_flag & os.ST_RDONLY:
        advice = "mount what must be written: the trust directory, captures, the cache"
        return _finding("disk", f"{verdict}, mounted read-only", advice)
    if facts.f_files and facts.f_favail < LEAST_FILES:
        return _finding("disk", f"{verdict}, {facts.f_favail} more files", "remove files")
    least_bytes = default_least_free_bytes(path)
    if free_bytes < least_bytes:
        advice = (
            f"make room: below {size(least_bytes)} a Capture deletes its oldest records, and then "
            "keeps what comes in memory"
        )
        return _finding("disk", verdict, advice)
    return _finding("disk", verdict)
