"""The processors that this process may use: how many, and which instruction sets they have."""

import os
import re
from collections.abc import Iterable

from edgeward.engines.cgroup import directories
from edgeward.engines.text import text_of

# Of x86, then of ARM and RISC-V. Others, such as the frequency, change from moment to moment.
_MODEL_FIELDS = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "cache size", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
    "isa", "uarch",
)  # fmt: skip


def usable_cpus() -> int:
    """How many processors this process may keep busy, by its affinity and its cgroup's quota."""
    files = quota_files(text_of("/proc/self/cgroup"))
    quotas = [" ".join(text_of(file) for file in pair) for pair in files]
    return cpus_within(len(os.sched_getaffinity(0)), quotas)


def doubling_counts(cpus: int) -> list[int]:
    """1, 2, 4 and so on, and as many as there are processors."""
    return [*(2**power for power in range((cpus - 1).bit_length())), cpus]


def quota_files(groups: str) -> list[tuple[str, ...]]:
    """The files that hold the CPU quotas of a process whose /proc/self/cgroup reads `groups`.

    For its own group and each above it: quota and period in one file (v2), or in two (v1).
    """
    names = {1: ("cpu.cfs_quota_us", "cpu.cfs_period_us"), 2: ("cpu.max",)}
    return [
        tuple(f"{at}/{name}" for name in names[version])
        for at, version in directories(groups, "cpu")
    ]


def cpus_within(affinity_count: int, quotas: Iterable[str]) -> int:
    """The processors that fit into every quota, at least one.

    A quota reads "<us> <us of a period>", or anything else for none ("max 100000", "-1 100000").
    A fraction of a processor does not count: a thread that uses it up stops until the period ends.
    """
    count = affinity_count
    for quota in quotas:
        granted = re.fullmatch(r"\s*(\d+)\s+([1-9]\d*)\s*", quota)
        if granted:
            count = min(count, int(granted[1]) // int(granted[2]))
    return max(count, 1)


def cpuinfo() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; x86 has `flags`, ARM `Features`."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            head = file.read(
                8192
            )  # the kernel writes it while it is read, which takes long on many CPUs
    except OSError:
        return {}
    fields = [line.partition(":") for line in head.split("\n\n", 1)[0].splitlines()]
    return {key.strip(): value.strip() for key, _, value in fields}


def processor() -> str:
    """What tells the first processor from those for which an engine may pack weights otherwise."""
    cpu = cpuinfo()
    return "\n".join(f"{key}: {cpu[key]}" for key in _MODEL_FIELDS if key in cpu)


def cpu_flags() -> str:
    """The instruction sets of the first processor, as the kernel lists them."""
    cpu = cpuinfo()
    return cpu.get("flags") or cpu.get("Features") or ""
