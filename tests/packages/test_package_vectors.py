"""Every vector of the package format, by the core and by the slow reader that the document made."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
from pathlib import Path

import pytest
from reference import package_reader as slow

from edgeward import _core
from edgeward.errors import EdgewardError

HERE = Path(__file__).parents[1] / "vectors" / "package"
MANIFEST = json.loads((HERE / "manifest.json").read_text())
WRAPS = json.loads((HERE / "wraps.json").read_text())
NOW_S, TARGET, FLOOR = MANIFEST["now_s"], MANIFEST["target"], MANIFEST["floor"]
DEVICE_KEY = bytes.fromhex(MANIFEST["device_key"])
ROOTS = {root["name"]: base64.b64decode(root["content"]) for root in MANIFEST["roots"]}
SEALED = ("signed", "sealed-aes", "sealed-chacha")
CODES = {  # all that a reader of packages can say
    "malformed_package", "untrusted_package", "rollback_refused", "wrong_target",
    "expired_package", "expired_root", "wrong_key", "malformed_key", "malformed_root",
    "untrusted_root",
}  # fmt: skip


def by_core(path: Path, root: bytes, now_s: int = NOW_S) -> dict[str, str] | str:
    """The members' hashes, or the code of the refusal."""
    key = _core.PrivateKey.parse(b"edgeward-private-key x25519 " + DEVICE_KEY.hex().encode())
    try:
        trust = _core.TrustRoot.first(root)
        policy = _core.make_policy(TARGET, key.public.id, {"demo": FLOOR}, now_s, {})
        package = _core.Package.verified(str(path), trust, policy)
        trust.require_current(now_s)
        content_key = None
        if package.cipher is not None:
            wraps = path.with_suffix(".ewk")
            if not wraps.exists():
                return "wrong_key"
            content_key = _core.unwrap(wraps.read_bytes(), package.package_id, key, now_s)
        payload = package.open_payload(content_key, 2)
        members = {member.name: payload.read(member.name).tobytes() for member in package.members}
        package.check_members(content_key)
        for name, content in members.items():
            assert package.read_member(name, content_key) == content
    except EdgewardError as error:
        return error.code
    return {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}


def by_document(path: Path, root: bytes, now_s: int = NOW_S) -> dict[str, str] | str:
    try:
        device = slow.Device(TARGET, now_s, FLOOR, DEVICE_KEY)
        members = slow.read_package(path, path.with_suffix(".ewk"), slow.Root(root), device)
    except slow.Refused as refusal:
        return refusal.code
    return {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}


READERS = pytest.mark.parametrize("reader", [by_core, by_document])


def wraps_named(name: str) -> bytes:
    return base64.b64decode(next(wraps["content"] for wraps in WRAPS if wraps["name"] == name))


@pytest.fixture(scope="module")
def wraps_of():
    """The wrapped content key of any package that make.py made: its key is always the same."""
    spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    return make


def content_of(case: dict) -> bytes:
    if "content" in case:
        return base64.b64decode(case["content"])
    content = bytearray((HERE / f"base-{case['cipher']}.ewp").read_bytes())
    for offset, changed in case["changes"]:
        content[offset : offset + len(changed) // 2] = bytes.fromhex(changed)
    return bytes(content)


@READERS
@pytest.mark.parametrize("case", MANIFEST["packages"], ids=lambda case: case["name"])
def test_a_package_gets_the_answer_it_must(case, reader, tmp_path, wraps_of):
    path = tmp_path / "case.ewp"
    path.write_bytes(content_of(case))
    path.with_suffix(".ewk").write_bytes(wraps_of.wrap(path.read_bytes(), DEVICE_KEY))
    assert reader(path, ROOTS["right"]) == case["expected"]


@READERS
@pytest.mark.parametrize("name", SEALED)
def test_a_package_of_each_mode_is_read(name, reader, tmp_path, wraps_of):
    path = tmp_path / "whole.ewp"
    path.write_bytes((HERE / f"{name}.ewp").read_bytes())
    if name != "signed":
        assert reader(path, ROOTS["right"]) == "wrong_key"  # no wraps yet
        path.with_suffix(".ewk").write_bytes(wraps_of.wrap(path.read_bytes(), DEVICE_KEY))
    members = reader(path, ROOTS["right"])
    assert members == {
        "model.tflite": hashlib.sha256(wraps_of.LARGE).hexdigest(),
        "labels.txt": hashlib.sha256(b"cat\ndog\n").hexdigest(),
    }


@READERS
@pytest.mark.parametrize("case", MANIFEST["roots"], ids=lambda case: case["name"])
def test_a_trust_root_gets_the_answer_it_must(case, reader, tmp_path):
    path = tmp_path / "any.ewp"
    path.write_bytes((HERE / "base-0.ewp").read_bytes())
    answer = reader(path, ROOTS[case["name"]])
    expected = "expired_root" if case["name"] == "ended" else case["expected"]
    assert (answer if isinstance(answer, str) else None) == expected


@READERS
@pytest.mark.parametrize("case", WRAPS, ids=lambda case: case["name"])
def test_wrapped_keys_get_the_answer_they_must(case, reader, tmp_path):
    path = tmp_path / "sealed.ewp"
    path.write_bytes((HERE / "base-1.ewp").read_bytes())
    path.with_suffix(".ewk").write_bytes(base64.b64decode(case["content"]))
    answer = reader(path, ROOTS["right"])
    assert (answer if isinstance(answer, str) else None) == case["expected"]


@READERS
def test_a_package_that_is_cut_or_goes_on_is_malformed(reader, tmp_path):
    content = (HERE / "base-0.ewp").read_bytes()
    path = tmp_path / "cut.ewp"
    for size in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:size])
        assert reader(path, ROOTS["right"]) == "malformed_package", size
    path.write_bytes(content + b"\0")
    assert reader(path, ROOTS["right"]) == "malformed_package"


def test_the_readers_agree_on_random_damage(tmp_path, wraps_of):
    """A flipped bit is refused by both, with the same word; the seed is in the message."""
    seed = int.from_bytes(os.urandom(4), "little")
    path = tmp_path / "damaged.ewp"
    for cipher in (0, 1, 2):
        whole = (HERE / f"base-{cipher}.ewp").read_bytes()
        path.with_suffix(".ewk").write_bytes(wraps_of.wrap(whole, DEVICE_KEY))
        for step in range(300):
            bit = int.from_bytes(hashlib.sha256(b"%d %d" % (seed, step)).digest()[:4], "little")
            damaged = bytearray(whole)
            damaged[bit // 8 % len(whole)] ^= 1 << bit % 8
            path.write_bytes(damaged)
            answers = by_core(path, ROOTS["right"]), by_document(path, ROOTS["right"])
            assert answers[0] == answers[1], (seed, step)
            assert isinstance(answers[0], str), (seed, step)


def test_there_is_a_vector_for_every_code_and_a_valid_one_for_every_mode():
    everything = [*MANIFEST["packages"], *MANIFEST["roots"], *WRAPS]
    named = {vector["expected"] for vector in everything if isinstance(vector["expected"], str)}
    assert named | {"expired_root"} == CODES
    valid = {
        vector["cipher"] for vector in MANIFEST["packages"] if isinstance(vector["expected"], dict)
    }
    assert valid == {0, 1, 2}
    assert len(MANIFEST["packages"]) >= 80


def test_the_writer_makes_the_committed_bytes(wraps_of):
    for name, content in wraps_of.packages().items():
        assert (HERE / name).read_bytes() == content, name
    assert json.loads(json.dumps(wraps_of.manifest())) == MANIFEST


def test_the_published_vector_is_met():
    """The package id, file hash and commitment that the format was published with."""
    content = (HERE / "sealed-aes.ewp").read_bytes()
    assert hashlib.sha256(content).hexdigest() == (
        "8a08d96e56c187d7061fd8b8c3f582727c2d0d0297cb3c6a22083c68cc9486fe"
    )
    ids = [(HERE / f"{name}.ewp").read_bytes()[32:64].hex() for name in SEALED]
    assert ids == [
        "3fd9879ef9456193ac436e707d92826c876517affce605fa647b4c96b189112c",
        "d51b8278801929cab1d3ff0841aa5d8071f68a672e727dd499d98f8c6ac01c04",
        "4e16684c02466c1e8e4655c4fcf70493b163e24babbf43eaf9cb38cad83acc39",
    ]
    assert content[64 + 160 : 64 + 192].hex() == (
        "b1eabb9eec44a4206dc7a769aaeae15810bc49d59c024c3f189d561922909015"
    )
