"""A trust root as its owner writes it: each step makes a document that the core believes."""

import copy
import json

import pytest
from sealed import DEFAULT_ROLE, OWNER, PUBLISHER, key

from edgeward import BadInput, MalformedRoot, RollbackRefused, UntrustedRoot, _core
from edgeward.trust import root_document
from edgeward.trust.root_document import ROOT, SECONDS_PER_DAY, publisher_role

ISSUED_S, DAYS = 1_000, 3
SECOND, THIRD = key("second"), key("third", "ecdsa-p256")
DEVICE = key("device", "x25519")
LAB_ROLE = publisher_role("lab")


@pytest.fixture
def document():
    """Two of three owners replace it; PUBLISHER signs any model, THIRD those of the lab."""
    owners = [OWNER.public, SECOND.public, THIRD.public]
    content = root_document.first(owners, ISSUED_S, DAYS, threshold=2)
    root_document.add_key(content, DEFAULT_ROLE, PUBLISHER.public)
    root_document.add_key(content, LAB_ROLE, THIRD.public, ["lab-", "test-"])
    return content


def believed(document, keys=(OWNER, SECOND)):
    return _core.TrustRoot.first(root_document.sign(document, keys))


def key_ids(document, role):
    return document["roles"][role]["keyids"]


def test_the_first_root_is_believed_by_its_owners_signatures(document):
    root = believed(document)
    assert (root.version, root.epoch) == (1, 0)
    assert (root.issued_s, root.expires_s) == (ISSUED_S, ISSUED_S + DAYS * SECONDS_PER_DAY)
    believed(document, [THIRD, OWNER])
    for too_few in ([OWNER], [OWNER, OWNER], [OWNER, PUBLISHER], []):
        with pytest.raises(UntrustedRoot):
            believed(document, too_few)


def test_what_is_read_is_what_was_signed(document):
    assert root_document.read(root_document.sign(document, [])) == document


def test_one_key_may_act_in_several_roles_and_is_listed_once(document):
    assert [key["id"] for key in document["keys"]].count(THIRD.public.id.hex()) == 1
    assert THIRD.public.id.hex() in key_ids(document, ROOT)
    assert key_ids(document, LAB_ROLE) == [THIRD.public.id.hex()]
    assert document["roles"][LAB_ROLE]["prefixes"] == ["lab-", "test-"]
    before = copy.deepcopy(document)
    root_document.add_key(document, LAB_ROLE, THIRD.public)
    root_document.add_key(document, ROOT, OWNER.public)
    assert document == before


def test_a_devices_key_signs_nothing(document):
    before = copy.deepcopy(document)
    with pytest.raises(BadInput, match="a device's"):
        root_document.add_key(document, DEFAULT_ROLE, DEVICE.public)
    with pytest.raises(BadInput, match="a device's"):
        root_document.first([DEVICE.public], ISSUED_S, DAYS)
    assert document == before


@pytest.mark.parametrize("threshold", [-1, 0, 4, 1 << 32])
def test_a_threshold_is_one_that_the_keys_can_reach(document, threshold):
    before = copy.deepcopy(document)
    with pytest.raises(BadInput, match=f"threshold of 1 to 3, got {threshold}"):
        root_document.set_threshold(document, ROOT, threshold)
    assert document == before
    with pytest.raises(BadInput, match="threshold of 1 to 1"):
        root_document.first([OWNER.public], ISSUED_S, DAYS, threshold=threshold)


def test_a_threshold_that_is_reached_is_asked_for(document):
    root_document.set_threshold(document, ROOT, 3)
    with pytest.raises(UntrustedRoot):
        believed(document)
    believed(document, [OWNER, SECOND, THIRD])


def test_a_root_without_owners_cannot_be_made():
    with pytest.raises(BadInput, match="threshold"):
        root_document.first([], ISSUED_S, DAYS)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: root_document.set_threshold(content, publisher_role("nobody"), 1),
        lambda content: root_document.drop_key(content, publisher_role("nobody"), "00"),
    ],
    ids=["set_threshold", "drop_key"],
)
def test_a_role_that_is_not_there_is_named_with_those_that_are(document, change):
    with pytest.raises(BadInput, match=r'publisher:default.* got "publisher:nobody"'):
        change(document)


# --- Taking keys away ---------------------------------------------------------------------------


def test_a_revoked_key_is_nowhere_and_does_not_come_back(document):
    root_document.revoke(document, SECOND.public.id.hex())
    assert document["revoked"] == [SECOND.public.id.hex()]
    assert SECOND.public.id.hex() not in key_ids(document, ROOT)
    assert SECOND.public.id.hex() not in json.dumps(document["keys"])
    believed(document, [OWNER, THIRD])
    with pytest.raises(UntrustedRoot):
        believed(document, [OWNER, SECOND])
    with pytest.raises(BadInput, match="not revoked"):
        root_document.add_key(document, ROOT, SECOND.public)


def test_a_key_that_cannot_be_spared_is_not_revoked_and_nothing_has_changed(document):
    root_document.set_threshold(document, ROOT, 2)
    before = copy.deepcopy(document)
    # Of the owners it could be spared; of the lab it is the only one.
    with pytest.raises(BadInput, match=r"publisher:lab.* add another first"):
        root_document.revoke(document, THIRD.public.id.hex())
    assert document == before
    root_document.add_key(document, LAB_ROLE, SECOND.public)
    root_document.revoke(document, THIRD.public.id.hex())
    believed(document)


@pytest.mark.parametrize("key_id", ["00", "", DEVICE.public.id.hex()])
def test_only_a_key_that_is_listed_is_revoked(document, key_id):
    before = copy.deepcopy(document)
    with pytest.raises(BadInput, match="id of a key that it lists"):
        root_document.revoke(document, key_id)
    assert document == before


def test_a_key_that_is_dropped_from_a_role_acts_in_its_others(document):
    root_document.drop_key(document, ROOT, THIRD.public.id.hex())
    assert THIRD.public.id.hex() not in key_ids(document, ROOT)
    assert key_ids(document, LAB_ROLE) == [THIRD.public.id.hex()]
    assert document["revoked"] == []
    with pytest.raises(BadInput, match="add another first"):
        root_document.drop_key(document, ROOT, SECOND.public.id.hex())
    with pytest.raises(BadInput, match="id of one of its keys"):
        root_document.drop_key(document, ROOT, THIRD.public.id.hex())
    believed(document)


# --- The next version ---------------------------------------------------------------------------


def test_a_version_follows_the_one_before(document):
    first = root_document.sign(document, [OWNER, SECOND])
    root_document.succeed(document, ISSUED_S + 60, 5)
    root_document.raise_epoch(document)
    second = root_document.sign(document, [OWNER, SECOND])
    root = _core.TrustRoot.first(first).successor(second)
    assert (root.version, root.epoch) == (2, 1)
    assert (root.issued_s, root.expires_s) == (ISSUED_S + 60, ISSUED_S + 60 + 5 * SECONDS_PER_DAY)
    root_document.require_followable(second, first)


def test_a_clock_that_went_back_does_not_take_the_day_of_issue_back(document):
    root_document.succeed(document, ISSUED_S - 500, DAYS)
    assert document["issued"] == ISSUED_S
    assert document["expires"] == ISSUED_S + DAYS * SECONDS_PER_DAY


def test_what_no_device_would_let_follow_is_refused(document):
    first = root_document.sign(document, [OWNER, SECOND])
    root_document.require_followable(first, None)
    with pytest.raises(RollbackRefused):
        root_document.require_followable(first, first)
    with pytest.raises(UntrustedRoot):
        root_document.require_followable(root_document.sign(document, [OWNER]), None)
    root_document.succeed(document, ISSUED_S, DAYS)
    with pytest.raises(UntrustedRoot):
        root_document.require_followable(root_document.sign(document, [OWNER]), first)


# --- What is no root file -----------------------------------------------------------------------


def test_a_file_that_is_no_envelope_is_malformed(document):
    for content in (b"", b"{}", b"[]", b"\xff", root_document.sign(document, [])[:-2]):
        with pytest.raises(MalformedRoot):
            root_document.read(content)


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"{", b"[]", b"null", b"{}", b'{"version":1}', b"[" * 100_000]
)
def test_an_envelope_of_something_else_is_malformed(payload):
    envelope = _core.sign_document(_core.ROOT_TYPE, payload, [OWNER]).encode()
    with pytest.raises(MalformedRoot, match="expected an object of epoch, expires"):
        root_document.read(envelope)
