"""Sound files: every kind that is read, whole or its beginning, and damaged in every way."""

import io
import struct
import wave

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from edgeward.errors import BadInput
from edgeward.inputs import sound_file
from edgeward.inputs.sound_file import EXTENSIBLE, FLOAT, PCM, SUBFORMAT_TAIL, read_wav

WAVE = np.array([0, 0.5, -0.5, -1, 0.25, 127 / 128], np.float32)


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def format_of(kind, bits, channels=1, rate_hz=8000):
    frame_bytes = channels * bits // 8
    return struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, bits)


def file_of(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wav(kind, bits, content, channels=1, rate_hz=8000):
    return file_of(
        chunk(b"fmt ", format_of(kind, bits, channels, rate_hz)), chunk(b"data", content)
    )


def pcm(values, bits):
    stored = np.asarray(values * 2.0 ** (bits - 1), np.int64)
    if bits == 8:
        return (stored + 128).astype(np.uint8).tobytes()
    return b"".join(int(value).to_bytes(bits // 8, "little", signed=True) for value in stored)


KINDS = {
    "8 bits": (PCM, 8, pcm(WAVE, 8)), "16 bits": (PCM, 16, pcm(WAVE, 16)),
    "24 bits": (PCM, 24, pcm(WAVE, 24)), "32 bits": (PCM, 32, pcm(WAVE, 32)),
    "float": (FLOAT, 32, WAVE.astype("<f4").tobytes()),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_read(name, tmp_path):
    kind, bits, content = KINDS[name]
    whole = wav(kind, bits, content, rate_hz=11025)
    sound = read_wav(whole)
    assert (sound.rate_hz, sound.frame_count, sound.samples.dtype) == (11025, 6, np.float32)
    assert np.array_equal(sound.samples, WAVE)
    (tmp_path / "a.wav").write_bytes(whole)
    assert np.array_equal(read_wav(tmp_path / "a.wav").samples, WAVE)
    extended = (
        format_of(EXTENSIBLE, bits) + struct.pack("<HHIH", 22, bits, 4, kind) + SUBFORMAT_TAIL
    )
    parts = chunk(b"LIST", b"odd"), chunk(b"fmt ", extended), chunk(b"fact", b"1234")
    assert np.array_equal(read_wav(file_of(*parts, chunk(b"data", content))).samples, WAVE)


def test_what_the_standard_library_writes_is_read():
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(np.array([[16384, 0], [-32768, -32768]], "<i2").tobytes())
    sound = read_wav(content.getvalue())
    assert (sound.rate_hz, sound.samples.tolist()) == (44100, [0.25, -1.0])


def test_no_more_is_read_than_is_asked_for(monkeypatch):
    content = wav(PCM, 16, pcm(np.linspace(-1, 0.9, 100), 16))
    monkeypatch.setattr(sound_file, "MOST_SAMPLES", 99)
    sound = read_wav(content, 3)
    assert (len(sound.samples), sound.frame_count) == (3, 100)
    with pytest.raises(BadInput, match=r"^sound: expected at most 99 frames, got 100$"):
        read_wav(content)


def test_a_vast_sound_takes_no_memory(tmp_path):
    """Its beginning is read; and a claim of more than there is is refused."""
    path = tmp_path / "vast.wav"
    size = 1 << 31
    head = file_of(chunk(b"fmt ", format_of(PCM, 16))) + b"data" + struct.pack("<I", size)
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    sound = read_wav(path, 5)
    assert (sound.samples.tolist(), sound.frame_count) == ([0.0] * 5, size // 2)
    with pytest.raises(BadInput, match="a chunk of 2147483648 bytes where 0 are"):
        read_wav(head)


RIGHT = chunk(b"fmt ", format_of(PCM, 16))
OTHERS = {
    "nothing": b"", "no RIFF": b"RIFX" + wav(*KINDS["8 bits"])[4:],
    "no samples": file_of(RIGHT), "no format": file_of(chunk(b"data", bytes(4))),
    "empty": file_of(RIGHT, chunk(b"data", b"")), "half a frame": wav(PCM, 16, bytes(3)),
    "compressed": wav(85, 16, bytes(4)), "12 bits": wav(PCM, 12, bytes(4)),
    "float of 64 bits": wav(FLOAT, 64, bytes(8)), "no channels": wav(PCM, 16, bytes(4), 0),
    "65 channels": wav(PCM, 16, bytes(130), 65), "no rate": wav(PCM, 16, bytes(4), 1, 0),
    "a vast rate": wav(PCM, 16, bytes(4), 1, 768_001),
    "a short format": file_of(chunk(b"fmt ", bytes(14)), chunk(b"data", bytes(4))),
    "not finite": wav(FLOAT, 32, np.array([np.nan], "<f4").tobytes()),
    "another subformat": file_of(
        chunk(b"fmt ", format_of(EXTENSIBLE, 16) + bytes(24)), chunk(b"data", bytes(4))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_refused(name):
    with pytest.raises(BadInput, match=r"^sound: expected "):
        read_wav(OTHERS[name])


@pytest.mark.parametrize("name", KINDS)
def test_a_file_cut_anywhere_is_refused(name):
    whole = wav(*KINDS[name])
    for size in range(len(whole)):
        with pytest.raises(BadInput, match=r"^sound: expected "):
            read_wav(whole[:size])


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(data=st.data())
def test_a_file_changed_anywhere_is_read_or_refused(data):
    content = bytearray(wav(*KINDS[data.draw(st.sampled_from(sorted(KINDS)))]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        samples = read_wav(bytes(content)).samples
    except BadInput:
        return
    assert np.isfinite(samples).all()
