"""The memory that this process may use, and the most of it that its models may hold.

A budget is the caller's, or that of EDGEWARD_MEMORY in the environment; there is none otherwise.
"""

import os
import re
from collections.abc import Iterable

from edgeward.engines.cgroup import directories
from edgeward.engines.text import text_of
from edgeward.errors import BadInput

VARIABLE = "EDGEWARD_MEMORY"
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
MOST_BYTES = 1 << 63  # cgroup v1 has a number near it for no limit


def budget_bytes(memory: int | str | None) -> int:
    """Bytes that all models of this process may hold together; 0 for any number.

    `memory` is a number of bytes, or a text such as "256M" or "60%", which is a part of
    `usable_bytes`; None takes EDGEWARD_MEMORY. Raises BadInput for anything else.
    """
    if memory is not None:
        return parsed(memory, "memory")
    text = os.environ.get(VARIABLE, "")
    return parsed(text, VARIABLE) if text else 0


def parsed(memory: object, name: str) -> int:
    """The bytes that `memory`, called `name` in messages, says; at least 1. Raises BadInput."""
    if isinstance(memory, str):
        if size := re.fullmatch(r"([0-9]{1,18})([KMG]?)", memory):
            memory = int(size[1]) * UNITS[size[2]]
        elif part := re.fullmatch(r"([0-9]{1,2}|100)%", memory):
            memory = usable_bytes() * int(part[1]) // 100
    if isinstance(memory, bool) or not isinstance(memory, int) or not 1 <= memory < MOST_BYTES:
        raise BadInput(
            f"{name}: expected bytes, with K, M or G for powers of 1024, or a percentage such as "
            f"60%, got {memory!r}"
        )
    return memory


def usable_bytes() -> int:
    """The memory of this machine, or the least limit of this process's cgroups if that is less."""
    limit = limit_bytes()
    return board_bytes() if limit is None else min(board_bytes(), limit)


def board_bytes() -> int:
    """The memory of this machine, as far as the kernel has it."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def limit_bytes() -> int | None:
    """The least memory limit of this process's cgroup and those above it; None without one."""
    return least_limit(text_of(file) for file in limit_files(text_of("/proc/self/cgroup")))


def limit_files(groups: str) -> list[str]:
    """The files that hold the memory limits of a process whose /proc/self/cgroup reads `groups`.

    For its own group and each above it.
    """
    names = {1: "memory.limit_in_bytes", 2: "memory.max"}
    return [f"{at}/{names[version]}" for at, version in directories(groups, "memory")]


def least_limit(limits: Iterable[str]) -> int | None:
    """The least of the texts that are a number of bytes ("max" is none); None without any."""
    sizes = [int(limit) for limit in limits if re.fullmatch(r"\s*[0-9]{1,19}\s*", limit)]
    return min((size for size in sizes if size < MOST_BYTES - (1 << 20)), default=None)
