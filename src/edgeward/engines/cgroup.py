"""Where the kernel keeps the limits of a process's cgroups."""

from collections.abc import Iterator


def directories(groups: str, controller: str) -> Iterator[tuple[str, int]]:
    """Those of a process whose /proc/self/cgroup reads `groups`, each with its version, 1 or 2.

    For each group that `controller` limits: its own and those above it, its own first. In a
    container the path may be one of the host's; then the topmost one is that of its own group.
    """
    for line in groups.splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mount = f"/sys/fs/cgroup/{controller}" if controllers else "/sys/fs/cgroup"
        parts = [part for part in group.split("/") if part]
        for depth in range(len(parts), -1, -1):
            yield "/".join([mount, *parts[:depth]]), 1 if controllers else 2
