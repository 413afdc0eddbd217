"""The extension is built so that a bug that is not known yet ends the program early."""

from __future__ import annotations

import platform
import struct
from pathlib import Path
from typing import NamedTuple

import pytest

from edgeward import _core

LOAD, DYNAMIC, GNU_STACK, GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
FLAGS, FLAGS_1, SYMTAB, STRTAB, STRSZ = 30, 0x6FFFFFFB, 6, 5, 10
BIND_NOW, NOW_1 = 8, 1
WRITABLE, EXECUTABLE = 2, 1
LANDINGS = {
    "x86_64": [bytes.fromhex("f30f1efa")],  # endbr64
    "aarch64": [bytes.fromhex("5f2403d5"), bytes.fromhex("3f2303d5")],  # bti c, paciasp
}


class Segment(NamedTuple):
    type: int
    flags: int
    offset: int
    address: int
    size_bytes: int


class Elf:
    """What is read of a 64-bit little-endian shared library: the format is that of elf(5)."""

    def __init__(self, content: bytes) -> None:
        assert content[:6] == b"\x7fELF\x02\x01"
        self.content = content
        offset, size, count = struct.unpack_from("<32xQ14xHH", content)
        rows = (struct.unpack_from("<IIQQQQ", content, offset + size * i) for i in range(count))
        self.segments = [
            Segment(kind, flags, at, address, length)
            for kind, flags, at, address, _, length in rows
        ]
        dynamic = self.bytes_of(DYNAMIC)
        self.dynamic = dict(struct.iter_unpack("<qQ", dynamic))
        self.symbols = list(self._symbols())

    def bytes_of(self, kind: int) -> bytes:
        [segment] = [segment for segment in self.segments if segment.type == kind]
        return self.content[segment.offset : segment.offset + segment.size_bytes]

    def offset(self, address: int) -> int:
        for segment in self.segments:
            if segment.type == LOAD and 0 <= address - segment.address < segment.size_bytes:
                return segment.offset + address - segment.address
        raise AssertionError(hex(address))

    def _symbols(self) -> list[tuple[str, int]]:
        """The dynamic symbols, and their addresses; 0 for those of other libraries."""
        # The table has no length of its own: the strings follow it.
        table, strings = (self.offset(self.dynamic[tag]) for tag in (SYMTAB, STRTAB))
        names = self.content[strings : strings + self.dynamic[STRSZ]]
        assert table < strings
        symbols = []
        for at in range(table + 24, strings - 23, 24):
            name, _, section, address = struct.unpack_from("<IHHQ", self.content, at)
            text = names[name : names.index(b"\0", name)].decode()
            symbols.append((text, address if section else 0))
        return symbols


@pytest.fixture(scope="module")
def core():
    return Elf(Path(_core.__file__).read_bytes())


def test_what_is_bound_at_load_cannot_be_overwritten(core):
    """Full RELRO: all symbols are bound at load, and their table is then read-only."""
    assert core.bytes_of(GNU_RELRO)
    assert core.dynamic.get(FLAGS, 0) & BIND_NOW or core.dynamic.get(FLAGS_1, 0) & NOW_1


def test_no_memory_is_writable_and_executable(core):
    [stack] = [segment for segment in core.segments if segment.type == GNU_STACK]
    assert stack.flags & EXECUTABLE == 0
    for segment in core.segments:
        assert segment.flags & (WRITABLE | EXECUTABLE) != WRITABLE | EXECUTABLE


def test_python_sees_one_symbol(core):
    assert [name for name, address in core.symbols if address] == ["PyInit__core"]


@pytest.mark.parametrize(
    "names",
    [
        {"__stack_chk_fail"},
        {"__memcpy_chk", "__memset_chk", "__snprintf_chk", "__read_chk", "__pread64_chk"},
        {"_ZSt21__glibcxx_assert_failPKciS0_S0_"},
    ],
    ids=["stack protector", "fortified functions", "assertions of the standard library"],
)
def test_what_checks_at_run_time_is_in_it(core, names):
    assert names & {name for name, address in core.symbols if not address}


def test_indirect_jumps_land_where_they_may(core):
    """Each function begins with the instruction that the processor asks for, where it asks."""
    [address] = [address for name, address in core.symbols if name == "PyInit__core"]
    first = core.content[core.offset(address) :][:4]
    assert first in LANDINGS[platform.machine()]
