"""Where the limits of a process's cgroups are: for each version, its own group and those above."""

import pytest

from edgeward.engines import cgroup


@pytest.mark.parametrize(
    ("groups", "controller", "directories"),
    [
        ("", "cpu", []),
        ("0::/\n", "cpu", [("/sys/fs/cgroup", 2)]),
        ("0::/a/b", "memory",
         [("/sys/fs/cgroup/a/b", 2), ("/sys/fs/cgroup/a", 2), ("/sys/fs/cgroup", 2)]),
        ("4:cpu,cpuacct:/a\n3:memory:/b", "cpu",
         [("/sys/fs/cgroup/cpu/a", 1), ("/sys/fs/cgroup/cpu", 1)]),
        ("4:cpuset:/a", "cpu", []),
        ("nonsense", "cpu", [("/sys/fs/cgroup", 2)]),
    ],
)  # fmt: skip
def test_a_group_and_those_above_it_have_a_directory_each(groups, controller, directories):
    assert list(cgroup.directories(groups, controller)) == directories
