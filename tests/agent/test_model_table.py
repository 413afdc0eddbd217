"""The table of loaded models: what is written is read, and what no agent wrote is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.agent import model_table
from edgeward.agent.model_table import Load

LOADS = [Load("b", "demo.ewp", "/device/demo.ewp"), Load("a", "\N{SNOWMAN}", "/\N{SNOWMAN}")]


def test_what_is_written_is_read_by_alias(tmp_path: Path) -> None:
    path = str(tmp_path / model_table.NAME)
    assert model_table.read(path) == []
    model_table.write(path, LOADS)
    assert model_table.read(path) == LOADS[::-1]
    model_table.write(path, [])
    assert model_table.read(path) == []


def test_a_table_is_whole_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / model_table.NAME
    model_table.write(str(path), LOADS)
    content = path.read_bytes()
    for size_bytes in range(len(content)):
        path.write_bytes(content[:size_bytes])
        with pytest.raises(ValueError):  # noqa: PT011 - a decoder's own
            model_table.read(str(path))


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"3",
        b"{}",
        b'{"version": 2, "models": []}',
        b'{"version": 1}',
        b'{"version": 1, "models": 3}',
        b'{"version": 1, "models": [{"alias": "a", "url": "b"}]}',
        b"\xff",
    ],
    ids=str,
)
def test_what_no_agent_wrote_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / model_table.NAME
    path.write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - a decoder's own
        model_table.read(str(path))
