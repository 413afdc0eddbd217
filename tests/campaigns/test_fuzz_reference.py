"""A short run of the campaign of references, and that the campaign sees what it looks for."""

import struct

import fuzz_reference
from fuzz_reference import mutation, outcome, seeds, tried
from trials import Verdict, campaign

from edgeward import _core
from edgeward.errors import MalformedCapture

COUNT = 3000


def test_no_damaged_reference_does_anything_but_be_read_or_refused():
    seeds()  # made once, and inherited
    total = campaign(1, range(COUNT), tried)
    assert total.findings == {}
    assert total.counts[Verdict.READ] > COUNT / 20
    assert total.counts[Verdict.REFUSED] > COUNT / 2
    assert sum(total.counts.values()) == COUNT


REASONS = (
    "Expecting", "other fields than its", "statistics: expected a CRC", "the count", "the number",
    "statistics: expected edges that ascend", "samples, of which", "other fields of thresholds",
    "sizes of windows", "thresholds of other tensors", "thresholds below 0", "false alarms in",
    "other fields of a tensor", "bins of tensor", "a name that is no text", "the variance",
)  # fmt: skip


def test_mutations_reach_every_check():
    missing = set(REASONS)
    for index in range(100_000):
        said = outcome(*mutation(2, index), is_judged=False)
        missing -= {reason for reason in missing if reason in said}
        if not missing:
            return
    raise AssertionError(f"expected each reason in 100,000 documents, never got {missing}")


def test_a_mutation_is_made_again_from_its_number():
    first = [mutation(7, index)[1] for index in range(50)]
    assert first == [mutation(7, index)[1] for index in range(50)]
    assert len(set(first)) > 45


def test_a_mended_crc_is_what_the_core_expects():
    for start in seeds():
        for bit in range(0, 8 * (len(start.statistics) - 4), 997):
            data = bytearray(start.statistics)
            data[bit // 8] ^= 1 << bit % 8
            (crc,) = struct.unpack_from("<I", data, len(data) - 4)
            struct.pack_into("<I", data, len(data) - 4, crc ^ start.flips[bit])
            assert "CRC" not in refusal(bytes(data))


def refusal(data: bytes) -> str:
    try:
        _core.Statistics.from_bytes(data)
    except MalformedCapture as error:
        return str(error)
    return ""


def test_another_error_is_a_finding(monkeypatch):
    monkeypatch.setattr(fuzz_reference, "REFUSALS", "nothing begins so")
    assert Verdict.WRONG in {fuzz_reference.tried(1, index) for index in range(10)}
