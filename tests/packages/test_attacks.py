"""Each attack that a device must withstand, by name, tried with genuine keys, packages and roots.

Each fails when its defence is taken away: tests/campaigns/seeded_faults.py does that, one by one.
"""

import base64
import hashlib
import itertools
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from models import tflite_models
from reference import package_reader
from sealed import (
    DAY_S,
    DEFAULT_ROLE,
    DEVICE,
    MODEL,
    NOW_S,
    OWNER,
    PUBLISHER,
    ROOT_DAYS,
    document,
    key,
    run,
    seal,
    seal_unchecked,
    signed,
    successor,
    trust_at,
)

from edgeward import (
    BadInput,
    Contents,
    ExpiredPackage,
    ExpiredRoot,
    MalformedKey,
    MalformedPackage,
    MalformedRoot,
    Package,
    RollbackRefused,
    Trust,
    UntrustedPackage,
    UntrustedRoot,
    WrongKey,
    WrongTarget,
    _core,
    load,
)
from edgeward.packages import key_wraps
from edgeward.packages.package import machine
from edgeward.trust import root_document
from edgeward.trust.root_document import publisher_role

TEN_YEARS_S = 3652 * DAY_S
LAST_COUNTER = (1 << 48) - 1
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SECOND, STRANGER = key("second"), key("stranger")
OTHER_DEVICE = key("other device", "x25519")


pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "trust"


@pytest.fixture
def device(directory):
    return trust_at(directory)


def wraps_of(path):
    return path.with_suffix(".ewk")


# --- Old releases -------------------------------------------------------------------------------


def test_rollback(tmp_path, directory, device, run_child):
    older, allowed = seal(tmp_path / "2.ewp", 2), seal(tmp_path / "3.ewp", 3, min_counter=2)
    newer = seal(tmp_path / "4.ewp", 4, min_counter=3)
    run(older, device)
    run(newer, device)
    with pytest.raises(RollbackRefused, match=r"at least 3, the floor .* got 2"):
        Package.open(older, trust=device)
    run(allowed, device)  # older, and not below the floor: the way back from a bad release
    run(newer, device)

    # The same after a restart, with the genuine clock.
    program = """
import sys
import edgeward as ew
for path in sys.argv[2:]:
    try:
        ew.load(path, trust=sys.argv[1])
    except ew.RollbackRefused:
        print("refused")
    else:
        print("ran")
"""
    assert run_child(program, directory, older, allowed, newer) == "refused\nran\nran\n"


def test_rollback_by_a_release_that_names_a_high_floor_and_a_low_counter(tmp_path):
    """The floor that a package sets is never above itself, so that it cannot be a way in."""
    with pytest.raises(BadInput, match="min_counter"):
        seal(tmp_path / "demo.ewp", 2, min_counter=3)


def test_an_older_trust_root(tmp_path, directory):
    """Put in the place of the one in force, with the keys that were revoked since."""
    first = document(publishers=[PUBLISHER, SECOND])
    device = trust_at(directory, first)
    second = successor(first)
    root_document.revoke(second, SECOND.public.id.hex())
    device.update(signed(second))
    (directory / "root.json").write_bytes(signed(first))
    for attempt in (
        lambda: Trust(directory),
        lambda: run(seal(tmp_path / "demo.ewp", keys=[SECOND]), device),
        lambda: device.update(signed(first)),
    ):
        with pytest.raises(RollbackRefused, match="expected version 2 or later"):
            attempt()


# --- Time ---------------------------------------------------------------------------------------


def test_freeze(tmp_path, device, clock):
    """A device that is kept from new roots runs what it had, and nothing that is new to it."""
    known, new = seal(tmp_path / "1.ewp", 1), seal(tmp_path / "2.ewp", 2)
    run(known, device)
    clock(device.root.expires_s)
    run(known, device)
    with pytest.raises(ExpiredRoot):
        run(new, device)
    run(known, Trust(device.directory))
    device.update(signed(successor(document())))
    run(new, device)


def test_a_clock_ten_years_behind(tmp_path, device, clock):
    """What expired, and that is known from a signature, stays expired."""
    path = seal(tmp_path / "1.ewp", 1, not_after_s=NOW_S + 10)
    wrapped = seal(tmp_path / "wrapped.ewp", 1, name="wrapped", encrypt_to=[DEVICE.public])
    opened = Package.open(wrapped, trust=device)
    opened.add_recipients([DEVICE.public], not_after_s=NOW_S + 10)
    run(path, device)
    run(wrapped, device)
    clock(NOW_S + 10)
    later = seal(tmp_path / "2.ewp", 2, name="other")
    run(later, device)
    clock(NOW_S - TEN_YEARS_S)
    with pytest.raises(ExpiredPackage):
        run(path, device)
    with pytest.raises(WrongKey, match="until 2033-05-18T03:33:30Z"):
        run(wrapped, device)
    with pytest.raises(ExpiredPackage):
        run(path, Trust(device.directory))
    run(later, device)


def test_a_clock_ten_years_behind_and_a_root_issued_since(tmp_path, device, clock):
    path = seal(tmp_path / "1.ewp", 1, not_after_s=NOW_S + 10)
    clock(NOW_S + 10)
    device.update(signed(successor(document())))
    clock(NOW_S - TEN_YEARS_S)
    with pytest.raises(ExpiredPackage):
        run(path, device)


def test_a_clock_ten_years_ahead(tmp_path, directory, device, clock):
    """New packages are refused, known ones load, and nothing of that day is kept."""
    known, new = seal(tmp_path / "1.ewp", 1), seal(tmp_path / "2.ewp", 2)
    dated = seal(tmp_path / "dated.ewp", 1, name="dated", not_after_s=NOW_S + 500)
    run(known, device)
    run(dated, device)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    clock(NOW_S + TEN_YEARS_S)
    run(known, device)
    with pytest.raises(ExpiredRoot):
        run(new, device)
    with pytest.raises(ExpiredPackage):
        run(dated, device)
    run(known, Trust(directory))
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    clock(NOW_S)
    run(new, device)
    run(dated, device)


@pytest.mark.parametrize("clock_s", [NOW_S, 0], ids=["a clock", "a dead clock"])
def test_a_publisher_from_the_future(tmp_path, directory, clock, clock_s):
    """A stolen key, or a wrong clock where packages are sealed, expires no other's packages."""
    content = document()
    root_document.add_key(content, publisher_role("lab"), SECOND.public, ["cam-"])
    device = trust_at(directory, content)
    soon = {"not_after_s": NOW_S + 500, "encrypt_to": [DEVICE.public]}
    genuine = seal(tmp_path / "1.ewp", **soon)
    wrap_until_s = NOW_S + 500
    Package.open(genuine, trust=device).add_recipients([DEVICE.public], not_after_s=wrap_until_s)
    lab = {"publisher": "lab", "keys": [SECOND], "name": "cam-1"}
    dated = seal(tmp_path / "2.ewp", not_after_s=NOW_S + 500, **lab)
    for index, ahead_s in enumerate([600, 50 * DAY_S, TEN_YEARS_S]):
        clock(NOW_S + ahead_s)
        path = seal(tmp_path / f"ahead{index}.ewp", 2 + index, **lab)
        clock(clock_s)
        run(path, device)
        run(genuine, device)
        run(seal(tmp_path / f"new{index}.ewp", 10 + index), device)  # the root has not expired
        with pytest.raises(ExpiredPackage):  # its own packages alone
            run(dated, device)


def test_a_clock_ten_years_ahead_where_packages_are_sealed(tmp_path, device, clock):
    """It does not expire what the same publisher seals with the right clock."""
    clock(NOW_S + TEN_YEARS_S)
    path = seal(tmp_path / "1.ewp", 1)
    clock(NOW_S)
    for _ in range(2):
        run(path, device)
        run(seal(tmp_path / "2.ewp", 2, not_after_s=NOW_S + 10), device)


def test_a_clock_ten_years_ahead_while_a_root_comes(tmp_path, directory, device, clock):
    clock(NOW_S + 60)
    second = signed(successor(document()))
    clock(NOW_S + TEN_YEARS_S)
    device.update(second)
    clock(NOW_S + 60)
    assert device.now_s() == NOW_S + 60
    run(seal(tmp_path / "1.ewp"), device)


# --- A stolen publisher key ---------------------------------------------------------------------


def test_fast_forward(tmp_path, directory, clock):
    """The counter is driven to its end; a root of a new epoch opens the way again."""
    first = document()
    device = trust_at(directory, first)
    run(seal(tmp_path / "1.ewp", 1), device)
    clock(NOW_S + TEN_YEARS_S)  # the thief tells the time, too
    last = seal(tmp_path / "last.ewp", LAST_COUNTER, min_counter=LAST_COUNTER)
    clock(NOW_S)
    run(last, device)
    with pytest.raises(RollbackRefused):
        run(seal(tmp_path / "2.ewp", 2), device)
    with pytest.raises(BadInput, match=r"2\*\*48 - 1"):
        seal(tmp_path / "beyond.ewp", LAST_COUNTER + 1)
    with pytest.raises(RollbackRefused, match="expected epoch 0 of the trust root, got 1"):
        run(seal(tmp_path / "ahead.ewp", 1, epoch=1), device)

    second = successor(first)
    root_document.add_key(second, DEFAULT_ROLE, SECOND.public)
    root_document.revoke(second, PUBLISHER.public.id.hex())
    root_document.raise_epoch(second)
    device.update(signed(second))
    genuine = seal(tmp_path / "3.ewp", 1, epoch=1, keys=[SECOND], not_after_s=NOW_S + DAY_S)
    run(genuine, device)
    with pytest.raises(UntrustedPackage):
        run(last, device)
    with pytest.raises(RollbackRefused, match="expected epoch 1 of the trust root, got 0"):
        run(seal(tmp_path / "old.ewp", LAST_COUNTER, keys=[SECOND]), device)
    run(genuine, Trust(directory))


def revoked(directory):
    after = successor(document(publishers=[PUBLISHER, SECOND]))
    root_document.revoke(after, SECOND.public.id.hex())
    Trust(directory).update(signed(after))


def in_a_new_epoch(directory):
    after = successor(document(publishers=[PUBLISHER, SECOND]))
    root_document.raise_epoch(after)
    Trust(directory).update(signed(after))


@pytest.mark.parametrize("use", [Package.load, Package.commit], ids=["load", "commit"])
@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda directory, path, clock: revoked(directory), UntrustedPackage),
        (lambda directory, path, clock: in_a_new_epoch(directory), RollbackRefused),
        (lambda directory, path, clock: clock(NOW_S + 11), ExpiredPackage),
        (
            lambda directory, path, clock: run(
                seal(path.with_name("5.ewp"), 5, min_counter=5), Trust(directory)
            ),
            RollbackRefused,
        ),
    ],
    ids=["revoked", "a new epoch", "expired", "a higher floor"],
)
def test_a_package_that_was_opened_before(tmp_path, directory, clock, change, refusal, use):
    """What is allowed when it is opened is asked again when it is to run."""
    device = trust_at(directory, document(publishers=[PUBLISHER, SECOND]))
    path = seal(tmp_path / "1.ewp", 1, keys=[SECOND], not_after_s=NOW_S + 10)
    opened = Package.open(path, trust=device)
    change(directory, path, clock)
    with pytest.raises(refusal):
        use(opened)


def test_a_package_on_probation(tmp_path, device):
    """It runs, and the release before it can come back, until it is committed."""
    older, newer = seal(tmp_path / "1.ewp", 1), seal(tmp_path / "2.ewp", 2, min_counter=2)
    run(older, device)
    before = Path(device.directory, "state.json").read_bytes()
    candidate = Package.open(newer, trust=device)
    candidate.load(commit=False).close()
    load(newer, trust=device, commit=False).close()
    assert Path(device.directory, "state.json").read_bytes() == before
    run(older, device)
    candidate.commit()
    with pytest.raises(RollbackRefused, match="at least 2"):
        run(older, device)
    run(newer, device)
    for other in (Package.unverified(newer), Package.authentic(newer, trust=device)):
        with pytest.raises(BadInput, match="one that open"):
            other.commit()


def test_a_revoked_key(tmp_path, directory):
    first = document(publishers=[PUBLISHER, SECOND])
    device = trust_at(directory, first)
    stolen = seal(tmp_path / "1.ewp", keys=[SECOND])
    run(stolen, device)
    late = Trust(directory)
    second = successor(first)
    root_document.revoke(second, SECOND.public.id.hex())
    late.update(signed(second))
    for knows in (device, late, Trust(directory)):
        with pytest.raises(UntrustedPackage, match="got 0 among 1"):
            run(stolen, knows)
    run(seal(tmp_path / "2.ewp", keys=[PUBLISHER, SECOND]), device)


def test_one_stolen_key_of_two(tmp_path, directory):
    content = document(publishers=[PUBLISHER, SECOND])
    root_document.set_threshold(content, DEFAULT_ROLE, 2)
    device = trust_at(directory, content)
    for signers in ([SECOND], [SECOND, STRANGER], [SECOND, OWNER]):
        with pytest.raises(UntrustedPackage, match="expected 2 by keys"):
            run(seal(tmp_path / "1.ewp", keys=signers), device)
    run(seal(tmp_path / "2.ewp", keys=[SECOND, PUBLISHER]), device)


def test_duplicate_signatures_toward_a_threshold(tmp_path, directory):
    content = document(publishers=[PUBLISHER, SECOND])
    root_document.set_threshold(content, DEFAULT_ROLE, 2)
    device = trust_at(directory, content)
    path = seal(tmp_path / "1.ewp", keys=[PUBLISHER])
    for copies in range(2, 17):
        again = tmp_path / f"{copies}.ewp"
        Package.unverified(path).resign(again, [PUBLISHER], adds=True)
        path = again
        with pytest.raises(UntrustedPackage, match=f"expected 2 by keys .* got 1 among {copies}"):
            run(path, device)
    p256 = key("elliptic", "ecdsa-p256")  # which signs anew each time
    content = document(publishers=[p256, SECOND])
    root_document.set_threshold(content, DEFAULT_ROLE, 2)
    with pytest.raises(UntrustedPackage, match="got 1 among 2"):
        run(seal(tmp_path / "p256.ewp", keys=[p256, p256]), trust_at(tmp_path / "p256", content))


# --- Roots that would let everything in ---------------------------------------------------------


def with_role(content, **changes):
    role = {**content["roles"][DEFAULT_ROLE], **changes}
    return {**content, "roles": {**content["roles"], DEFAULT_ROLE: role}}


def refuse_as_first_and_next(directory, content, refusal):
    """No device begins with the root, and none goes on with it."""
    with pytest.raises(refusal):
        trust_at(directory.with_name("first"), content)
    device = trust_at(directory)
    before = (directory / "root.json").read_bytes()
    with pytest.raises(refusal):
        device.update(signed({**content, "version": 2}))
    assert (directory / "root.json").read_bytes() == before


@pytest.mark.parametrize("threshold", [0, -1])
def test_threshold_zero(directory, threshold):
    refuse_as_first_and_next(directory, with_role(document(), threshold=threshold), MalformedRoot)


def test_a_root_role_with_threshold_zero(directory):
    content = document()
    content["roles"]["root"]["threshold"] = 0
    refuse_as_first_and_next(directory, content, MalformedRoot)


def test_duplicate_key(directory):
    """One key that is listed twice, or in a role twice, does not make two signers."""
    content = document()
    refuse_as_first_and_next(directory, {**content, "keys": 2 * content["keys"]}, MalformedRoot)


def test_duplicate_key_in_a_role(directory):
    content = document()
    twice = 2 * content["roles"][DEFAULT_ROLE]["keyids"]
    refuse_as_first_and_next(
        directory, with_role(content, keyids=twice, threshold=2), MalformedRoot
    )


def test_duplicate_key_under_another_id(directory):
    content = document()
    other = {**content["keys"][1], "id": STRANGER.public.id.hex()}
    content = {**content, "keys": [*content["keys"], other]}
    refuse_as_first_and_next(directory, content, MalformedRoot)


def test_a_root_by_a_publisher(directory):
    """Who signs packages does not say who signs packages."""
    device = trust_at(directory)
    second = successor(document())
    root_document.add_key(second, DEFAULT_ROLE, STRANGER.public)
    for signers in ([PUBLISHER], [STRANGER], [PUBLISHER, STRANGER]):
        with pytest.raises(UntrustedRoot):
            device.update(signed(second, signers))


def test_a_packages_signature_is_none_of_a_root(directory):
    """What is signed says what it is."""
    device = trust_at(directory)
    forged = signed(successor(document()), []).decode()
    payload = _core.document_payload(forged.encode())
    body_type = "application/vnd.edgeward.ewp.body.v1"
    as_a_body = _core.sign_document(body_type, payload, [OWNER])
    with pytest.raises(UntrustedRoot):
        device.update(as_a_body.replace(body_type, _core.ROOT_TYPE).encode())


# --- Packages of others -------------------------------------------------------------------------


def test_unknown_publisher(tmp_path, device):
    for publisher, signers in [
        ("nobody", [PUBLISHER]),
        ("root", [OWNER]),
        ("default", [STRANGER]),
        ("default", [OWNER]),
    ]:
        with pytest.raises(UntrustedPackage):
            run(seal(tmp_path / "1.ewp", publisher=publisher, keys=signers), device)


def test_a_publisher_under_anothers_name(tmp_path, directory):
    content = document()
    root_document.add_key(content, publisher_role("lab"), SECOND.public)
    device = trust_at(directory, content)
    run(seal(tmp_path / "1.ewp", publisher="lab", keys=[SECOND]), device)
    with pytest.raises(UntrustedPackage):
        run(seal(tmp_path / "2.ewp", publisher="default", keys=[SECOND]), device)


def test_wrong_name(tmp_path, directory):
    content = document()
    root_document.add_key(content, publisher_role("lab"), SECOND.public, ["lab-"])
    device = trust_at(directory, content)
    facts = {"publisher": "lab", "keys": [SECOND]}
    run(seal(tmp_path / "1.ewp", name="lab-demo", **facts), device)
    for name in ("demo", "lab", "xlab-demo"):
        with pytest.raises(UntrustedPackage, match=f'name: .* got "{name}"'):
            run(seal(tmp_path / "2.ewp", name=name, **facts), device)


def test_names_that_differ_in_capitals(tmp_path, directory):
    """They are other models, to prefixes and floors alike; one package holds no two such files."""
    content = document()
    root_document.add_key(content, publisher_role("Line-A"), SECOND.public, ["Line-A-"])
    device = trust_at(directory, content)
    facts = {"publisher": "Line-A", "keys": [SECOND]}
    run(seal(tmp_path / "1.ewp", 9, min_counter=9, name="Line-A-Person", **facts), device)
    for changed in ({"name": "line-a-person"}, {"name": "LINE-A-Person"}):
        with pytest.raises(UntrustedPackage, match="name: "):
            run(seal(tmp_path / "2.ewp", **facts, **changed), device)
    with pytest.raises(UntrustedPackage, match=r'publisher: .* got "line-a"'):
        run(seal(tmp_path / "3.ewp", **{**facts, "publisher": "line-a"}), device)
    run(seal(tmp_path / "4.ewp", 1, name="line-a-person"), device)  # no floor of the first's
    assert device.floors() == {"Line-A-Person": 9}
    twins = [("W.bin", "auxiliary", False, b"1"), ("w.bin", "auxiliary", False, b"2")]
    with pytest.raises(BadInput, match=r'"w\.bin": expected one of this name, in capitals or not'):
        seal_unchecked(tmp_path / "5.ewp", ("model.tflite", "tflite", True, MODEL), *twins)


def test_wrong_target(tmp_path, device):
    for target in ("linux-other", machine() + "x", machine()[:-1], "windows-" + machine()):
        with pytest.raises(WrongTarget, match=f'got "{target}"'):
            run(seal(tmp_path / "1.ewp", target=target), device)
    for target in ("any", machine()):
        run(seal(tmp_path / "2.ewp", target=target), device)


def test_bound_to_another_device(tmp_path, directory, device):
    path = seal(tmp_path / "1.ewp", device_id=DEVICE.public.id)
    run(path, device)
    with pytest.raises(WrongTarget, match="bound to another"):
        run(path, device, OTHER_DEVICE)
    (directory / "device.key").unlink()
    with pytest.raises(WrongTarget, match="bound to another"):
        Package.open(path, trust=device)


# --- Parts of packages --------------------------------------------------------------------------


def parts(path, count):
    """The package cut where one part ends and another begins, `count` chunks among them."""
    content = path.read_bytes()
    (body_bytes,) = struct.unpack_from("<I", content, 12)
    (payload,) = struct.unpack_from("<Q", content, 64 + 40)
    table = 64 + body_bytes + 16 * 144
    last_member = content.rindex(b"labels.txt", 64, table)
    (labels,) = struct.unpack_from("<Q", content, last_member + 72)
    rows = [table + 48 * index for index in range(1, count)]
    chunks = [payload + (index << 18) for index in range(1, count)]
    cuts = [64, 64 + body_bytes, table, *rows, payload, *chunks, payload + labels]
    assert cuts == sorted(set(cuts))
    assert cuts[-1] < len(content)
    return [content[a:b] for a, b in itertools.pairwise([0, *cuts, len(content)])]


ADDEND = np.arange(75_000, dtype=np.float32)
LARGE_MODEL = tflite_models.add(ADDEND.shape)
LARGE_MODELS = (LARGE_MODEL, LARGE_MODEL.replace(ADDEND.tobytes(), (-ADDEND).tobytes()))


def test_another_table_is_refused_before_a_key_is_looked_for(tmp_path, device):
    """The order of package-format 7: what fails first is what is said."""
    path = seal(tmp_path / "1.ewp", encrypt_to=[DEVICE.public])
    content = bytearray(path.read_bytes())
    content[64 + struct.unpack_from("<I", content, 12)[0] + 16 * 144] ^= 1
    path.write_bytes(content)
    wraps_of(path).unlink()
    with pytest.raises(MalformedPackage, match="expected the table that was signed, got another"):
        run(path, device)


@pytest.mark.parametrize("encrypt_to", [(), (DEVICE.public,)], ids=["signed", "encrypted"])
def test_mix_and_match(tmp_path, device, encrypt_to):
    """Head, signatures, table, chunks, members and wraps of two genuine packages, mixed."""
    assert LARGE_MODELS[0] != LARGE_MODELS[1]
    paths = [
        seal(
            tmp_path / f"{index}.ewp",
            index,
            model=LARGE_MODELS[index - 1],
            contents=Contents(labels=[label] * ADDEND.size),
            encrypt_to=encrypt_to,
        )
        for index, label in ((1, "cat"), (2, "dog"))
    ]
    for path in paths:
        Package.open(path, trust=device).verify()
    cut = [parts(path, 2) for path in paths]
    wraps = [wraps_of(path).read_bytes() if encrypt_to else b"" for path in paths]
    pieces = list(zip(*cut, strict=True)) + ([tuple(wraps)] if encrypt_to else [])
    assert all(len(a) == len(b) and a != b for a, b in pieces)
    mixed = tmp_path / "mixed.ewp"
    genuine = []
    for choice in itertools.product((0, 1), repeat=len(pieces)):
        chosen = [piece[index] for piece, index in zip(pieces, choice, strict=True)]
        if encrypt_to:
            wraps_of(mixed).write_bytes(chosen.pop())
        mixed.write_bytes(b"".join(chosen))
        try:
            Package.open(mixed, trust=device).load().close()
        except (MalformedPackage, UntrustedPackage, WrongKey):
            continue
        genuine.append(set(choice))
    assert genuine == [{0}, {1}]


@pytest.mark.parametrize("rows", [False, True], ids=["chunks", "chunks and rows"])
@pytest.mark.parametrize("encrypt_to", [(), (DEVICE.public,)], ids=["signed", "encrypted"])
def test_chunks_in_another_order(tmp_path, device, encrypt_to, rows):
    model = tflite_models.add((200_000,))
    path = seal(tmp_path / "1.ewp", model=model, encrypt_to=encrypt_to)
    content = path.read_bytes()
    (body_bytes,) = struct.unpack_from("<I", content, 12)
    (payload,) = struct.unpack_from("<Q", content, 64 + 40)
    whole_count = (len(content) - payload) >> 18
    pairs = list(itertools.combinations(range(whole_count), 2))
    assert len(pairs) == 3
    for pair in pairs:
        swapped = bytearray(content)
        places = [(payload, 1 << 18)]
        if rows:
            places.append((64 + body_bytes + 16 * 144, 48))
        for start, size in places:
            a, b = (slice(start + chunk * size, start + (chunk + 1) * size) for chunk in pair)
            swapped[a], swapped[b] = swapped[b], swapped[a]
        path.write_bytes(swapped)
        with pytest.raises(MalformedPackage, match="table" if rows else "chunk"):
            Package.open(path, trust=device).load()
    path.write_bytes(content)
    Package.open(path, trust=device).load().close()


def times(a, b):
    """The product of two blocks in the field of GCM (NIST SP 800-38D, 6.3)."""
    product, factor = 0, int.from_bytes(b, "big")
    for bit in f"{int.from_bytes(a, 'big'):0128b}":
        product ^= factor if bit == "1" else 0
        factor = factor >> 1 ^ (0xE1 << 120 if factor & 1 else 0)
    return product.to_bytes(16, "big")


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def test_an_insider_with_the_content_key(tmp_path, device):
    """A device that may open a package changes it for the others, under the very same tag.

    Who has the key of AES-GCM can change two blocks so that the tag stays; what is signed is the
    hash of each stored chunk, which does not.
    """
    path = seal(tmp_path / "1.ewp", model=LARGE_MODEL, encrypt_to=[DEVICE.public])
    content = bytearray(path.read_bytes())
    body = content[64 : 64 + struct.unpack_from("<I", content, 12)[0]]
    cipher, chunk_bytes, payload_at, payload_bytes, release = (
        struct.unpack_from(form, body, at)[0]
        for form, at in [("<H", 22), ("<I", 24), ("<Q", 40), ("<Q", 48), ("<Q", 56)]
    )
    secret = hashlib.sha256(b"device").digest()  # DEVICE's
    thief = package_reader.Device("any", NOW_S, private_key=secret)
    content_key = package_reader.unwrap(wraps_of(path), content[32:64], thief)
    info = struct.pack(">HIQQ", cipher, chunk_bytes, payload_bytes, release) + body[192:256]
    derived = HKDF(hashes.SHA256(), 64, bytes(body[128:160]), b"edgeward/ewp/v1\0" + info)
    chunk_key = derived.derive(content_key)[:32]

    chunk = slice(payload_at, payload_at + chunk_bytes)
    row = 64 + len(body) + 16 * 144
    tag, nonce = content[row + 32 : row + 48], bytes(12)
    plain = AESGCM(chunk_key).decrypt(nonce, bytes(content[chunk] + tag), None)
    assert plain == LARGE_MODEL[:chunk_bytes]
    weights = 4096
    hash_key = Cipher(algorithms.AES(chunk_key), modes.ECB()).encryptor().update(bytes(16))
    change = bytes(range(1, 17))
    two_blocks = slice(payload_at + weights, payload_at + weights + 32)
    content[two_blocks] = xor(content[two_blocks], change + times(change, hash_key))
    forged = AESGCM(chunk_key).decrypt(nonce, bytes(content[chunk] + tag), None)
    assert forged[weights : weights + 16] == xor(plain[weights : weights + 16], change)

    Package.open(path, trust=device).load().close()
    path.write_bytes(content)
    with pytest.raises(MalformedPackage, match="chunk 0: expected the bytes that were signed"):
        Package.open(path, trust=device).load()


def with_signed_body(path, offset, content):
    """Changes bytes of the package's body, and signs it again as its publisher."""
    data = bytearray(path.read_bytes())
    size = struct.unpack_from("<I", data, 12)[0]
    data[64 + offset : 64 + offset + len(content)] = content
    body = bytes(data[64 : 64 + size])
    envelope = json.loads(_core.sign_document(package_reader.BODY_TYPE, body, [PUBLISHER]))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    data[32:64] = hashlib.sha256(body).digest()
    data[64 + size + 40 : 64 + size + 104] = signature
    path.write_bytes(data)


@pytest.mark.parametrize("recipients", [[], [DEVICE.public]], ids=["signed", "encrypted"])
def test_a_publisher_who_signs_another_digest_of_a_member(tmp_path, directory, device, recipients):
    """What inspect shows of a package is what runs."""
    path = seal(tmp_path / "1.ewp", contents=Contents(card="# A card"), encrypt_to=recipients)
    content_key = None
    if recipients:
        wraps = wraps_of(path).read_bytes()
        opened = Package.open(path, trust=device)
        content_key = _core.unwrap(wraps, opened.core.package_id, DEVICE, NOW_S)
    with_signed_body(path, 448 + 160 + 88, bytes(32))  # of the card
    if content_key is not None:
        core = Package.open(path, trust=device).core
        key_wraps.add(core, content_key, recipients)
    for attempt in (
        lambda: run(path, device),
        lambda: Package.open(path, trust=device).load(commit=False),
        lambda: Package.open(path, trust=device).commit(),
        lambda: Package.open(path, trust=device).verify(),
        lambda: Package.open(path, trust=device).card,
    ):
        with pytest.raises(MalformedPackage, match=r'member "card\.md": expected the digest in'):
            attempt()
    assert not (directory / "state.json").exists()
    with_signed_body(path, 448 + 160 + 88, hashlib.sha256(b"# A card").digest())
    if content_key is not None:
        core = Package.open(path, trust=device).core
        key_wraps.add(core, content_key, recipients)
    run(path, device)


def test_what_can_be_changed_about_signatures(tmp_path, directory):
    """Signatures that do not count, and none that does, but for the other root of an ECDSA's."""
    p256 = key("p256", "ecdsa-p256")
    device = trust_at(directory, document(publishers=[PUBLISHER, p256]))
    path = seal(tmp_path / "1.ewp", keys=[p256, STRANGER])
    whole = path.read_bytes()
    slots = 64 + struct.unpack_from("<I", whole, 12)[0]

    def answer(offset, content):
        data = bytearray(whole)
        data[offset : offset + len(content)] = content
        path.write_bytes(data)
        try:
            run(path, device)
        except (UntrustedPackage, MalformedPackage) as error:
            return error.code
        return None

    first, second = (range(slots + at + 8, slots + at + 104) for at in (0, 144))
    for offset in [*first, *second]:
        expected = "untrusted_package" if offset in first else None
        for bit in range(8):
            assert answer(offset, bytes([whole[offset] ^ 1 << bit])) == expected, (offset, bit)
    s = int.from_bytes(whole[slots + 72 : slots + 104], "big")
    assert answer(slots + 72, (P256_ORDER - s).to_bytes(32, "big")) is None
    assert answer(slots + 72, (P256_ORDER - s + 1).to_bytes(32, "big")) == "untrusted_package"


def test_a_package_that_changes_after_it_was_opened(tmp_path, device):
    path = seal(tmp_path / "1.ewp", 1)
    other = seal(tmp_path / "2.ewp", 2, keys=[STRANGER], model=tflite_models.add((5,)))
    opened = Package.open(path, trust=device)
    shutil.copyfile(other, path)  # into the same file
    with pytest.raises(MalformedPackage):
        opened.load()
    path = seal(tmp_path / "3.ewp", 3)
    opened = Package.open(path, trust=device)
    os.replace(other, path)  # in its place
    opened.load().close()  # what was opened, not what lies there now
    with pytest.raises(UntrustedPackage):
        run(path, device)


def test_a_package_behind_a_link(tmp_path, device):
    (tmp_path / "link.ewp").symlink_to(seal(tmp_path / "1.ewp"))
    with pytest.raises(BadInput, match="symbolic link"):
        run(tmp_path / "link.ewp", device)


# --- Keys to packages ---------------------------------------------------------------------------


@pytest.fixture
def encrypted(tmp_path):
    return seal(tmp_path / "encrypted.ewp", encrypt_to=[DEVICE.public])


def test_an_encrypted_package_without_a_key(directory, device, encrypted):
    (directory / "device.key").unlink()
    with pytest.raises(WrongKey, match=r"device\.key"):
        Package.open(encrypted, trust=device).load()
    wraps_of(encrypted).unlink()
    with pytest.raises(WrongKey, match=r"encrypted\.ewk"):
        run(encrypted, device)
    assert not (directory / "state.json").exists()


def test_an_encrypted_package_for_device_a_given_to_b(tmp_path, device, encrypted):
    run(encrypted, device)
    with pytest.raises(WrongKey, match="1 for other devices"):
        run(encrypted, device, OTHER_DEVICE)
    bound = seal(
        tmp_path / "bound.ewp", encrypt_to=[DEVICE.public], device_id=DEVICE.public.id, name="it"
    )
    run(bound, device)
    with pytest.raises(WrongTarget):
        run(bound, device, OTHER_DEVICE)


def test_a_wrap_for_another_device_under_this_ones_id(tmp_path, device, encrypted):
    wrap = bytearray(wraps_of(encrypted).read_bytes())
    assert wrap[48:80] == DEVICE.public.id
    wrap[48:80] = OTHER_DEVICE.public.id
    wraps_of(encrypted).write_bytes(wrap)
    with pytest.raises(WrongKey, match="altered"):
        run(encrypted, device, OTHER_DEVICE)


def test_a_wrap_of_another_package(tmp_path, device, encrypted):
    other = seal(tmp_path / "other.ewp", 2, encrypt_to=[DEVICE.public])
    shutil.copyfile(wraps_of(other), wraps_of(encrypted))
    with pytest.raises(WrongKey, match="one of another package"):
        run(encrypted, device)
    relabelled = bytearray(wraps_of(other).read_bytes())
    relabelled[16:48] = Package.open(encrypted, trust=device).core.package_id
    wraps_of(encrypted).write_bytes(relabelled)
    with pytest.raises(WrongKey, match="altered"):
        run(encrypted, device)


def test_a_wrap_of_another_key(tmp_path, device, encrypted):
    """Made for this device and this package, by one who has another package's content key."""
    other = seal(tmp_path / "other.ewp", 2, encrypt_to=[DEVICE.public])
    other_id = Package.open(other, trust=device).core.package_id
    content_key = _core.unwrap(wraps_of(other).read_bytes(), other_id, DEVICE, NOW_S)
    package_id = Package.open(encrypted, trust=device).core.package_id
    cipher = "aes-256-gcm"
    forged = _core.add_wrap(b"", content_key, package_id, DEVICE.public, cipher, 0, 0)
    wraps_of(encrypted).write_bytes(forged)
    with pytest.raises(WrongKey, match="committed to"):
        run(encrypted, device)


def test_an_altered_wrap(device, encrypted):
    wrap = wraps_of(encrypted).read_bytes()
    run(encrypted, device)
    assert len(wrap) == 216
    for bit in range(8 * len(wrap)):
        altered = bytearray(wrap)
        altered[bit // 8] ^= 1 << bit % 8
        wraps_of(encrypted).write_bytes(altered)
        with pytest.raises((WrongKey, MalformedKey)):
            Package.open(encrypted, trust=device).read("model.tflite")


def test_a_wrap_outside_its_time(device, encrypted, clock):
    opened = Package.open(encrypted, trust=device)
    opened.add_recipients([DEVICE.public], not_before_s=NOW_S + 10, not_after_s=NOW_S + 20)
    for now_s, is_open in [(0, False), (9, False), (10, True), (19, True), (20, False)]:
        clock(NOW_S + now_s)
        if is_open:
            run(encrypted, device)
        else:
            with pytest.raises(WrongKey, match="expected use from"):
                run(encrypted, device)


# --- The trust directory ------------------------------------------------------------------------


def test_a_damaged_state(tmp_path, directory, device):
    """What was remembered is not begun anew: that would let older releases in."""
    older, newer = seal(tmp_path / "1.ewp", 1), seal(tmp_path / "2.ewp", 2, min_counter=2)
    run(newer, device)
    whole = (directory / "state.json").read_bytes()
    damages = [b"", b"{}", whole[:-1], whole[len(whole) // 2 :], bytes(len(whole)), b"\xff" + whole]
    for damaged in damages:
        (directory / "state.json").write_bytes(damaged)
        for path in (older, newer):
            with pytest.raises(MalformedRoot, match="trust state"):
                run(path, device)
    (directory / "state.json").write_bytes(whole)
    run(newer, device)
    with pytest.raises(RollbackRefused):
        run(older, device)


def test_a_damaged_root(tmp_path, directory, device):
    path = seal(tmp_path / "1.ewp")
    run(path, device)
    whole = (directory / "root.json").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], bytes(len(whole)), whole.replace(b"A", b"B", 1)):
        (directory / "root.json").write_bytes(damaged)
        with pytest.raises((MalformedRoot, UntrustedRoot)):
            run(path, device)


def test_the_days_of_these_tests_lie_as_they_think():
    assert ROOT_DAYS * DAY_S < TEN_YEARS_S
