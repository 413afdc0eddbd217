"""What an export wrote, read back by the tool that it was written for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest


def table(path: str | Path) -> Any:
    """A Parquet or Arrow file, whichever it is."""
    return table_of(Path(path).read_bytes())


def table_of(content: bytes) -> Any:
    """A Parquet file, an Arrow file or an Arrow stream."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    if content[:4] == b"PAR1":
        return parquet.read_table(io.BytesIO(content))
    opened = pyarrow.ipc.open_file if content[:6] == b"ARROW1" else pyarrow.ipc.open_stream
    return opened(content).read_all()
