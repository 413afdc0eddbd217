"""Sound files: .wav with PCM of 8, 16, 24 or 32 bits or float32, of any number of channels.

Chunks are walked from the file's head; what one claims is held against the file's size, and no more
samples are read than are asked for.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.errors import BadInput
from edgeward.inputs.array_file import refusing
from edgeward.packages.recipe import MOST_RATE_HZ, MOST_SAMPLES
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular

BLOCK_FRAMES = 1 << 14  # read at once
MOST_CHANNELS = 64
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # of the GUID, behind its tag
KINDS = {(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32)}


class Sound(NamedTuple):
    samples: NDArray[np.float32]  # [frame], -1 to 1: the mean of all channels
    rate_hz: int
    frame_count: int  # in the file, of which samples may be the first


class _Format(NamedTuple):
    kind: int
    bits: int
    channels: int
    rate_hz: int


def read_wav(source: PathLike | bytes, most_frames: int | None = None) -> Sound:
    """The first `most_frames` of a sound, at `source` or in its bytes; None: all.

    Raises BadInput, also for more than MOST_SAMPLES where all are asked for, and OSError.
    """
    opened: IO[bytes]
    if isinstance(source, bytes):
        name, opened = "sound", io.BytesIO(source)
    else:
        name, opened = os.fsdecode(source), open_regular("sound", source)
    with opened as file, refusing(Path(name), "a .wav file"):
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        layout, data_bytes = _data_of(file, size_bytes)
        if (layout.kind, layout.bits) not in KINDS:
            raise BadInput(
                f"{name}: expected PCM of 8, 16, 24 or 32 bits or float of 32, got format "
                f"{layout.kind} of {layout.bits} bits"
            )
        frame_bytes = layout.channels * layout.bits // 8
        frame_count, rest = divmod(data_bytes, frame_bytes)
        if rest or not frame_count:
            raise ValueError(f"{data_bytes} bytes for frames of {frame_bytes}")
        count = frame_count if most_frames is None else min(frame_count, most_frames)
        if most_frames is None and count > MOST_SAMPLES:
            raise BadInput(f"{name}: expected at most {MOST_SAMPLES:,} frames, got {frame_count:,}")
        samples = np.empty(count, np.float32)
        for first in range(0, count, BLOCK_FRAMES):
            into = samples[first : first + BLOCK_FRAMES]
            into[:] = _mixed(file, len(into), layout)
    return Sound(samples, layout.rate_hz, frame_count)


def _mixed(file: IO[bytes], count: int, layout: _Format) -> NDArray[np.float32]:
    """The mean of the channels of the next `count` frames. Raises ValueError."""
    size_bytes = count * layout.channels * layout.bits // 8
    content = file.read(size_bytes)
    if len(content) != size_bytes:
        raise ValueError("less than its size")
    frames = _samples(content, layout).reshape(count, layout.channels)
    if not np.isfinite(frames).all():
        raise ValueError("samples that are not finite")
    mean: NDArray[np.float32] = frames.mean(axis=1, dtype=np.float32)
    return mean


def _data_of(file: IO[bytes], size_bytes: int) -> tuple[_Format, int]:
    """Its format, and how many bytes of samples stand where `file` then is. Raises ValueError."""
    magic, _, form = struct.unpack("<4sI4s", _taken(file, 12))
    if magic != b"RIFF" or form != b"WAVE":
        raise ValueError("no RIFF of WAVE")
    layout = None
    while True:
        name, length = struct.unpack("<4sI", _taken(file, 8))
        if length > size_bytes - file.tell():
            raise ValueError(f"a chunk of {length} bytes where {size_bytes - file.tell()} are")
        if name == b"data":
            if layout is None:
                raise ValueError("samples before their format")
            return layout, length
        begin = file.tell()
        if name == b"fmt ":
            layout = _format(_taken(file, min(length, 40)))
        file.seek(begin + length + length % 2)


def _taken(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise ValueError("an end before the samples")
    return content


def _format(content: bytes) -> _Format:
    if len(content) < 16:
        raise ValueError(f"a format of {len(content)} bytes")
    kind, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", content)
    if kind == EXTENSIBLE and len(content) == 40 and content[26:] == SUBFORMAT_TAIL:
        (kind,) = struct.unpack_from("<H", content, 24)
    is_known = (kind, bits) in KINDS
    is_whole = frame_bytes == channels * bits // 8 and 1 <= rate_hz <= MOST_RATE_HZ
    if is_known and not (is_whole and 1 <= channels <= MOST_CHANNELS):
        raise ValueError(f"{channels} channels at {rate_hz} Hz in frames of {frame_bytes} bytes")
    return _Format(kind, bits, channels, rate_hz)


def _samples(content: bytes, layout: _Format) -> NDArray[np.float32]:
    if layout.kind == FLOAT:
        return np.frombuffer(content, "<f4").astype(np.float32)
    if layout.bits == 8:
        levels = np.frombuffer(content, np.uint8).astype(np.int8) ^ np.int8(-128)
        scaled_levels: NDArray[np.float32] = levels.astype(np.float32) / np.float32(128)
        return scaled_levels
    if layout.bits == 24:
        padded = np.zeros((len(content) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        stored = padded.reshape(-1).view("<i4")
    else:
        stored = np.frombuffer(content, f"<i{layout.bits // 8}")
    full = 2.0 ** (8 * stored.dtype.itemsize - 1)
    scaled: NDArray[np.float32] = (stored / full).astype(np.float32)
    return scaled
