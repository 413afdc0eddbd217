"""The log, and a reader of it that stops."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import socket
from collections.abc import Iterator

import pytest

from edgeward.agent.log import JsonLine, Lines, TextLine

COUNT = 5000  # lines of more bytes than a pipe or a socket holds


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """What is read, and what is written; neither of them gives up waiting."""
    if request.param == "pipe":
        numbers = os.pipe()
    else:
        numbers = tuple(end.detach() for end in socket.socketpair())  # type: ignore[assignment]
    yield numbers
    for number in numbers:
        os.close(number)


def log_to(number: int, formatter: logging.Formatter) -> logging.Logger:
    log = logging.Logger("edgeward.agent.demo")
    lines = Lines(number, "ascii")
    lines.setFormatter(formatter)
    log.addHandler(lines)
    return log


def read(number: int) -> list[str]:
    """All lines that are there."""
    content = b""
    while select.select([number], [], [], 0)[0]:
        content += os.read(number, 1 << 16)
    return content.decode("ascii").splitlines()


def test_lines_that_nobody_reads_are_counted(ends: tuple[int, int]) -> None:
    source, target = ends
    log = log_to(target, JsonLine())
    for number in range(COUNT):
        log.info("%d %s", number, "x" * 1000)
    for _ in range(2):
        got = [json.loads(line) for line in read(source)]
        log.error("there is room again")
        (note, last) = (json.loads(line) for line in read(source))
        kept = sum(line["message"].endswith("x") for line in got)
        assert 0 < kept < COUNT
        assert note["message"].startswith(f"{COUNT - kept} lines of the log were lost")
        assert (note["level"], last["level"]) == ("warning", "error")
        assert last["message"] == "there is room again"
        for number in range(COUNT):
            log.info("%d %s", number, "x" * 1000)


def test_a_line_longer_than_the_room_ends_before_the_next(ends: tuple[int, int]) -> None:
    source, target = ends
    log = log_to(target, TextLine())
    log.info("x" * (1 << 21))
    (cut,) = read(source)
    assert len(cut) < 1 << 21
    log.info("after")
    lines = read(source)
    assert lines[0] == ""
    assert "1 lines of the log were lost" in lines[1]
    assert lines[2].endswith("after")


def test_a_reader_that_has_gone_costs_nothing() -> None:
    source, target = os.pipe()
    os.close(source)
    log = log_to(target, TextLine())
    for _ in range(3):
        log.info("nobody")
    os.close(target)


def test_names_that_the_encoding_lacks_are_escaped(ends: tuple[int, int]) -> None:
    source, target = ends
    log_to(target, TextLine()).info("\N{SNOWMAN}\nx")
    (line,) = read(source)
    assert line.endswith(" \\u2603 | x")


def test_the_descriptor_stays_as_others_have_it(ends: tuple[int, int]) -> None:
    """It is shared with other processes, which may count on a write that waits."""
    _, target = ends
    log_to(target, TextLine()).info("x")
    assert not fcntl.fcntl(target, fcntl.F_GETFL) & os.O_NONBLOCK
