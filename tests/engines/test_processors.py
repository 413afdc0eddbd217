"""Processors counted, within the affinity and every quota."""

import os

import pytest

from edgeward.engines import processors


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/\n", [("/sys/fs/cgroup/cpu.max",)]),
        (
            "0::/a/b\n",
            [
                ("/sys/fs/cgroup/a/b/cpu.max",),
                ("/sys/fs/cgroup/a/cpu.max",),
                ("/sys/fs/cgroup/cpu.max",),
            ],
        ),
        (
            "3:cpuset:/x\n2:cpu,cpuacct:/c\n",
            [
                ("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/c/cpu.cfs_period_us"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
            ],
        ),
        ("", []),
    ],
)
def test_quotas_are_looked_for_in_every_group_above_the_process(groups, files):
    assert processors.quota_files(groups) == files


@pytest.mark.parametrize(
    ("affinity_count", "quotas", "count"),
    [
        (8, [], 8),
        (8, ["max 100000\n"], 8),
        (8, ["-1\n 100000\n"], 8),
        (8, ["", "400000 100000\n"], 4),
        (8, ["200000\n 100000\n"], 2),
        (8, ["150000 100000\n"], 1),
        (8, ["50000 100000\n"], 1),
        (8, ["600000 100000\n", "300000 100000\n", "max 100000\n"], 3),
        (2, ["600000 100000\n"], 2),
        (8, ["100000 0\n"], 8),
        (8, ["400000"], 8),
    ],
)
def test_processors_are_counted_within_every_quota(affinity_count, quotas, count):
    assert processors.cpus_within(affinity_count, quotas) == count


def test_usable_cpus_are_within_the_affinity():
    assert 1 <= processors.usable_cpus() <= len(os.sched_getaffinity(0))
