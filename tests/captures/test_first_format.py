"""Segments of format 1, as devices in the field still have them: read, reported and recovered.

The seeds of the fuzz target are segments behind a byte that says what is mended.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from reference import capture_reader
from segments import crc32c

import edgeward as ew
from edgeward import _core
from edgeward.captures.segments import segment_report

SEEDS = Path(__file__).parents[1] / "fuzz" / "corpus" / "segment"
NAME = "00000000000000000001-73616c7473616c74"


def seed(name: str) -> bytes:
    content = (SEEDS / name).read_bytes()[1:]
    assert content.startswith(b"EWSEG01\0")
    return content


def records_of(directory: Path) -> list[tuple[int, int, int, set[str], bytes, list[bytes]]]:
    return [
        (record.ring_id, record.sequence, record.latency_ns, set(record.reasons), record.user,
         [array.tobytes() for side in (record.inputs, record.outputs) for array in side.values()])
        for record in ew.read_captures(directory)
    ]  # fmt: skip


def expected_of(data: bytes) -> list[tuple[int, int, int, set[str], bytes, list[bytes]]]:
    records = capture_reader.segment(data).records
    return [
        (ring_id, record.sequence, record.latency_ns, record.reasons, record.user,
         [tensor.data for side in (0, 1) for tensor in record.tensors if tensor.side == side])
        for ring_id, record in records
    ]  # fmt: skip


def test_a_sealed_one_is_read_as_the_reference_reads_it(tmp_path):
    data = seed("001")
    (tmp_path / f"{NAME}.ewc").write_bytes(data)
    assert expected_of(data)
    assert records_of(tmp_path) == expected_of(data)
    assert segment_report(str(tmp_path / f"{NAME}.ewc")).state == "sealed"
    sequences = [
        sequence
        for batch in ew.read_captures(tmp_path, batch=2)
        for sequence in batch.sequences.tolist()
    ]
    assert sorted(sequences) == sorted(record[1] for record in expected_of(data))


def test_one_that_was_cut_anywhere_is_recovered_in_its_own_format(tmp_path):
    data = seed("001")
    kept = set()
    for size in range(192, len(data), 13):
        path = tmp_path / f"{NAME}.open"
        path.write_bytes(data[:size])
        recovered = _core.recover_segment(str(path))["path"]
        if recovered is None:
            continue
        content = Path(recovered).read_bytes()
        assert content.startswith(b"EWSEG01\0")
        assert capture_reader.segment(content).is_recovered
        assert segment_report(recovered).state == "recovered"
        assert records_of(tmp_path) == expected_of(content) == expected_of(data[:size])
        kept.add(len(expected_of(content)))
        Path(recovered).unlink()
    assert len(kept) > 1


def test_an_encrypted_one_proves_nothing(tmp_path):
    """Nobody needs its key to change heads, or to lay a footer that fits."""
    data = bytearray(seed("001"))
    data[24] = 1  # encrypted
    data[188:192] = crc32c(bytes(data[:188])).to_bytes(4, "little")
    footer = len(data) - 128
    data[footer + 88 : footer + 120] = hashlib.sha256(data[:footer]).digest()
    data[footer + 36 : footer + 40] = bytes(4)
    data[footer + 36 : footer + 40] = crc32c(bytes(data[footer : footer + 120])).to_bytes(
        4, "little"
    )
    path = tmp_path / f"{NAME}.ewc"
    path.write_bytes(data)
    assert segment_report(str(path)).state == "unauthenticated"


@pytest.mark.parametrize("name", ["001", "002"])
def test_a_flipped_bit_of_it_gives_no_record_that_was_not_written(name, tmp_path):
    data = seed(name)
    whole = expected_of(data)
    path = tmp_path / f"{NAME}.ewc"
    for bit in range(8 * 192, 8 * len(data), 29):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        records = records_of(tmp_path)
        assert records == whole[: len(records)]
