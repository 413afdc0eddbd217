"""The memory of the board and of cgroups, and what a budget says."""

import pytest

from edgeward.engines import memory_budget
from edgeward.errors import BadInput


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/\n", ["/sys/fs/cgroup/memory.max"]),
        (
            "0::/a/b\n",
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max",
            ],
        ),
        (
            "9:cpu:/x\n4:hugetlb,memory:/c\n",
            [
                "/sys/fs/cgroup/memory/c/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ],
        ),
        ("", []),
    ],
)
def test_limits_are_looked_for_in_every_group_above_the_process(groups, files):
    assert memory_budget.limit_files(groups) == files


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        ([], None),
        (["max\n", ""], None),
        (["9223372036854771712\n"], None),  # cgroup v1 without a limit
        (["536870912\n", "max\n"], 512 << 20),
        (["536870912\n", "268435456\n"], 256 << 20),
        (["-1\n", "5e8", "18446744073709551615"], None),
    ],
)
def test_the_least_limit_holds(texts, limit):
    assert memory_budget.least_limit(texts) == limit


@pytest.mark.parametrize(
    ("memory", "size_bytes"),
    [
        (1, 1),
        (512 << 20, 512 << 20),
        ("1000", 1000),
        ("3K", 3 << 10),
        ("256M", 256 << 20),
        ("2G", 2 << 30),
        ("50%", 1 << 29),
        ("100%", 1 << 30),
    ],
)
def test_a_budget_is_bytes_or_a_part_of_what_there_is(monkeypatch, memory, size_bytes):
    monkeypatch.setattr(memory_budget, "usable_bytes", lambda: 1 << 30)
    assert memory_budget.budget_bytes(memory) == size_bytes
    monkeypatch.setenv("EDGEWARD_MEMORY", str(memory))
    assert memory_budget.budget_bytes(None) == size_bytes


@pytest.mark.parametrize(
    "memory",
    ["", "0", "-1", "1.5G", "1 G", "10m", "10MB", "0%", "101%", "%", "M", "9" * 19, 0, -5, 1.5,
     True, 1 << 63, b"1M", "\u0663M"],
    ids=repr,
)  # fmt: skip
def test_anything_else_is_bad_input(memory):
    with pytest.raises(BadInput, match="memory: expected bytes, with K, M or G"):
        memory_budget.budget_bytes(memory)


def test_the_environment_is_named_and_may_be_empty(monkeypatch):
    monkeypatch.setenv("EDGEWARD_MEMORY", "lots")
    with pytest.raises(BadInput, match=r"EDGEWARD_MEMORY: expected bytes, .* got 'lots'"):
        memory_budget.budget_bytes(None)
    assert memory_budget.budget_bytes("1K") == 1024
    monkeypatch.setenv("EDGEWARD_MEMORY", "")
    assert memory_budget.budget_bytes(None) == 0


def test_this_machine_has_memory():
    board = memory_budget.board_bytes()
    assert board > 1 << 24
    assert 0 < memory_budget.usable_bytes() <= board
