"""A short run of the campaign of packages, and that the campaign sees what it looks for."""

from collections import Counter

import fuzz_packages
import pytest
from fuzz_packages import Case, answers, base, by_core, comparer, make, mutation, scratch, slow
from trials import Verdict, campaign

COUNT = 1000
CODES = {
    "malformed_package", "untrusted_package", "rollback_refused", "wrong_target",
    "expired_package", "expired_root", "wrong_key", "malformed_key", "malformed_root",
    "untrusted_root",
}  # fmt: skip


@pytest.fixture
def directory():
    with scratch() as path:
        yield path


def test_both_readers_say_the_same_of_every_case(directory):
    total = campaign(1, range(COUNT), comparer(directory))
    assert total.findings == {}
    assert total.counts[Verdict.READ] > COUNT / 20
    assert total.counts[Verdict.REFUSED] > COUNT / 2
    assert sum(total.counts.values()) == COUNT


def test_cases_reach_every_code(directory):
    codes = Counter()
    for index in range(20_000):
        case = mutation(2, index)
        path = directory / "case.ewp"
        path.write_bytes(case.package)
        answer = by_core(case, path)
        codes[answer if isinstance(answer, str) else "read"] += 1
        if len(codes) == len(CODES) + 1:
            break
    assert set(codes) == CODES | {"read"}


def test_a_case_is_made_again_from_its_number():
    first = [mutation(7, index) for index in range(50)]
    again = [mutation(7, index) for index in range(50)]
    assert [(case.package, case.root) for case in first] == [
        (case.package, case.root) for case in again
    ]
    assert len({case.package for case in first}) > 30


@pytest.mark.parametrize("cipher", [0, 1, 2])
def test_what_cases_start_from_is_read(cipher, directory):
    import random

    for number in range(20):
        draft = base(random.Random(number))
        draft.cipher = cipher
        package = draft.build()
        root = fuzz_packages.signed_root(
            fuzz_packages.json.dumps(fuzz_packages.root_document()).encode(), (make.OWNER,)
        )
        device = slow.Device("linux-test", make.NOW_S, fuzz_packages.FLOOR, make.DEVICE_KEY)
        case = Case(package, make.wrap(package, make.DEVICE_KEY), root, device)
        core, document = answers(case, directory)
        assert core == document == {name: content for name, _, _, content in draft.members}


def test_a_reader_that_leaves_a_check_out_is_found(directory, monkeypatch):
    """One after the other, each is seen by some case: of versions, of floors, of members."""
    genuine = slow.require

    for why in ("floor", "slot", "members", "zeros after the table", "order of the wraps"):

        def lenient(condition, code, said, why=why):
            if why not in said:
                genuine(condition, code, said)

        monkeypatch.setattr(slow, "require", lenient)
        tried = comparer(directory)
        assert any(is_finding(tried, index) for index in range(20_000)), why


def is_finding(tried, index):
    try:
        return tried(5, index) == Verdict.WRONG
    except Exception:  # the reference went on into bytes that make no sense
        return True
