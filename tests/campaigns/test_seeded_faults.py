"""Each seeded fault can be tried: its source stands there once, and its test is there."""

from collections import Counter

import pytest
from seeded_faults import FAULTS, flaw

LEAST = {
    "cpp/packages/package_format.cc": 3,
    "cpp/packages/package_reader.cc": 14,
    "cpp/packages/trust_root.cc": 20,
    "cpp/packages/key_wrap.cc": 5,
    "cpp/crypto/crypto.cc": 4,
    "cpp/packages/key_file.cc": 2,
    "src/edgeward/trust/trust_directory.py": 15,
    "src/edgeward/packages/package.py": 5,
}


def test_there_are_faults_in_each_file_that_defends():
    counts = Counter(fault.file for fault in FAULTS)
    assert {file: count for file, count in LEAST.items() if counts[file] < count} == {}
    assert len(set(FAULTS)) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.test}")
def test_a_fault_can_be_tried(fault):
    assert flaw(fault) == ""


def test_a_fault_that_cannot_be_tried_is_told():
    fault = FAULTS[0]
    assert "found 0 times" in flaw(fault._replace(source="no such text"))
    assert "got none" in flaw(fault._replace(replacement=fault.source))
    assert "expected one test" in flaw(fault._replace(test=fault.test + "_no_more"))
    assert "expected one test" in flaw(fault._replace(test="tests/test_no.py::test_no"))
