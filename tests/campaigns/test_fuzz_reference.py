"""A short run of the campaign of references, and that the campaign sees what it looks for."""

import os
import signal
import struct

import fuzz_reference
from fuzz_reference import Verdict, campaign, mutation, outcome, seeds

from edgeward import _core
from edgeward.errors import MalformedCapture

COUNT = 3000


def test_no_damaged_reference_does_anything_but_be_read_or_refused():
    total = campaign(1, range(COUNT))
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


def test_an_error_a_death_and_a_hang_cost_one_document_each(monkeypatch):
    def run(seed: int, index: int) -> Verdict:
        if index == 11:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 13:
            signal.pause()
        return Verdict.OTHER_ERROR if index == 14 else Verdict.READ

    monkeypatch.setattr(fuzz_reference, "TIME_LIMIT_S", 1)
    total = campaign(1, range(10, 16), run)
    assert total.findings == {11: Verdict.DEATH, 13: Verdict.HANG, 14: Verdict.OTHER_ERROR}
    assert total.counts[Verdict.READ] == 3


def test_memory_has_a_limit(monkeypatch):
    def run(seed: int, index: int) -> Verdict:
        try:
            return Verdict.READ if bytearray(2 * fuzz_reference.MEMORY_BYTES) else Verdict.REFUSED
        except MemoryError:
            return Verdict.OTHER_ERROR

    assert campaign(1, range(1), run).findings == {0: Verdict.OTHER_ERROR}


def test_another_error_is_a_finding(monkeypatch):
    monkeypatch.setattr(fuzz_reference, "REFUSALS", "nothing begins so")
    assert Verdict.OTHER_ERROR in {fuzz_reference.tried(1, index) for index in range(10)}
