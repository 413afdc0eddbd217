"""Commands that sign: genuine programs, good ones and every bad one."""

import base64
import os
import select
import shutil
import stat
import sys
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sealed import DEVICE, document, key_text, run, trust_at
from sealed import seal as seal_demo

from edgeward import BadInput, MalformedKey, SignerFailed, open_signer
from edgeward.trust import command_signer, root_document
from edgeward.trust.command_signer import plain_signature

SIGN = """#!{python}
import base64, sys
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
message = sys.stdin.buffer.read()
is_p256 = isinstance(key, ec.EllipticCurvePrivateKey)
signature = key.sign(message, ec.ECDSA(hashes.SHA256())) if is_p256 else key.sign(message)
sys.stdout.buffer.write(base64.encodebytes(signature) if "--base64" in sys.argv else signature)
"""
KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32),
    "ecdsa-p256": ec.derive_private_key(2**200 + 7, ec.SECP256R1()),
}


@pytest.fixture
def service(tmp_path):
    """A directory with a service's program and key of each algorithm: NAME.pem, NAME.pub."""
    directory = tmp_path / "a service"
    directory.mkdir()
    script(directory / "sign", SIGN.format(python=sys.executable))
    for name, private in KEYS.items():
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / f"{name}.pem").write_bytes(pem)
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (directory / f"{name}.pub").write_bytes(public)
    return directory


def script(path, text):
    path.write_text(text)
    path.chmod(stat.S_IRWXU)


def named(service, program, algorithm="ed25519"):
    return f"command:'{service / algorithm}.pub' {program}"


def ended(service, body):
    """What is said of a shell script as a signer, and what it leaves of a package."""
    script(service / "bad", f"#!/bin/sh\n{body}\n")
    signer = open_signer(named(service, f"'{service / 'bad'}'"))
    package = service.parent / "demo.ewp"
    with pytest.raises(SignerFailed) as refusal:
        seal_demo(package, keys=[signer], encrypt_to=[DEVICE.public])
    assert [path.name for path in service.parent.iterdir()] == ["a service"]
    assert "\n" not in str(refusal.value).partition("it said:")[0]
    return str(refusal.value)


# --- Those that sign ----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(KEYS))
@pytest.mark.parametrize("option", ["", "--base64"])
def test_a_package_that_a_command_signed_runs_on_a_device(tmp_path, service, algorithm, option):
    words = f"'{service / 'sign'}' '{service / algorithm}.pem' {option}"
    signer = open_signer(named(service, words, algorithm))
    content = document()
    root_document.add_key(content, "publisher:default", signer.public)
    trust = trust_at(tmp_path / "trust", content)
    run(seal_demo(tmp_path / "1.ewp", keys=[signer], encrypt_to=[DEVICE.public]), trust)


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_openssl_is_a_command_that_signs(tmp_path, service):
    words = f"openssl pkeyutl -sign -rawin -in /dev/stdin -inkey '{service}/ed25519.pem'"
    seal_demo(tmp_path / "1.ewp", keys=[open_signer(named(service, words))])
    digest = f"openssl dgst -sha256 -sign '{service}/ecdsa-p256.pem'"
    seal_demo(tmp_path / "2.ewp", keys=[open_signer(named(service, digest, "ecdsa-p256"))])


def test_no_shell_reads_the_words(tmp_path, service):
    script(service / "show", f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{tmp_path}/words'\n")
    signer = open_signer(named(service, f"'{service}/show' '$HOME' ';' 'a b' \\* '>' x"))
    with pytest.raises(SignerFailed, match="got 0 bytes that are none"):
        seal_demo(tmp_path / "1.ewp", keys=[signer])
    assert (tmp_path / "words").read_text().splitlines() == ["$HOME", ";", "a b", "*", ">", "x"]


def test_the_message_can_be_read_again(service):
    script(
        service / "twice",
        "#!/bin/sh\ncat /dev/stdin | wc -c >&2; cat /dev/stdin | wc -c >&2; exit 1\n",
    )
    signer = open_signer(named(service, f"'{service}/twice'"))
    with pytest.raises(SignerFailed, match=r"it said: (\d+)\n\1$"):
        seal_demo(service / "1.ewp", keys=[signer])


# --- Those that do not --------------------------------------------------------------------------


def test_a_command_that_dies_is_said_with_its_words(service):
    says = ended(service, "echo 'no such key: x' >&2; exit 3")
    assert "expected it to end with status 0, got status 3; it said: no such key: x" in says
    assert "got signal 9" in ended(service, "kill -9 $$")
    assert "got signal 15; it said: going" in ended(service, "echo going >&2; kill $$")


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ("true", "got 0 bytes that are none"),
        ("echo rubbish", "got 8 bytes that are none"),
        ("printf '%064d' 1", "by another key or of something else"),
        ("exec cat", "bytes that are none"),
        ("cat /dev/zero", "got 65536 bytes and no end: it was ended"),
    ],
)
def test_a_command_that_answers_rubbish_is_said(service, body, got):
    assert got in ended(service, body)


def test_a_signature_of_another_key_is_said(service):
    other = ed25519.Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (service / "other.pem").write_bytes(pem)
    says = ended(service, f"exec '{service}/sign' '{service}/other.pem'")
    assert "expected a signature by ed25519 key" in says
    assert "got one by another key or of something else" in says


def test_a_command_that_hangs_is_ended_with_all_it_started(service, monkeypatch):
    monkeypatch.setattr(command_signer, "LIMIT_S", 1.0)
    says = ended(service, f"sleep 1000 & echo $! > '{service}/child'; echo waiting >&2; wait")
    assert "within 1 s, got 0 bytes and no end: it was ended; it said: waiting" in says
    with suppress(ProcessLookupError):
        child = os.pidfd_open(int((service / "child").read_text()))
        assert select.select([child], [], [], 60)[0], "its child goes on"
        os.close(child)


def test_a_command_that_closes_its_output_and_goes_on_is_ended(service, monkeypatch):
    monkeypatch.setattr(command_signer, "LIMIT_S", 1.0)
    assert "got 0 bytes and no end" in ended(service, "exec >&- 2>&-; sleep 1000")


def test_words_without_end_are_cut(service, monkeypatch):
    monkeypatch.setattr(command_signer, "LIMIT_S", 1.0)
    says = ended(service, "yes complaint >&2")
    assert len(says) < 2 * command_signer.MOST_WORDS_BYTES


# --- Names that name none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", " ", "'", "a.pub", "'a.pub", "none.pub ./sign", "./sign --key x"]
)
def test_a_text_that_names_no_key_and_program_is_refused(text):
    with pytest.raises(BadInput, match=r'expected "command:KEY\.pub PROGRAM ARGUMENT\.\.\."'):
        open_signer(f"command:{text}")


def test_a_program_that_cannot_be_run_is_refused_at_once(service):
    (service / "file").write_text("#!/bin/sh\n")
    for program in ("no-such-program", f"'{service}/file'", f"'{service}'"):
        with pytest.raises(BadInput, match="expected a program that can be run"):
            open_signer(named(service, program))


def test_a_program_whose_interpreter_is_gone_is_the_systems_refusal(service):
    script(service / "bad", "#!/no/such/interpreter\n")
    signer = open_signer(named(service, f"'{service}/bad'"))
    with pytest.raises(FileNotFoundError):
        seal_demo(service / "1.ewp", keys=[signer])


def test_a_key_that_is_none_or_a_devices_is_refused(service):
    (service / "ed25519.pub").write_text(DEVICE.public.text)
    with pytest.raises(BadInput, match="got a device's"):
        open_signer(named(service, "true"))
    (service / "ed25519.pub").write_text(key_text("x"))
    with pytest.raises(MalformedKey, match="got a private one"):
        open_signer(named(service, "true"))


# --- Spellings of a signature -------------------------------------------------------------------


def der_of(signature):
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    return encode_dss_signature(r, s)


@pytest.mark.parametrize(
    "signature",
    [bytes(range(64)), b"\xff" * 64, b"\x30" * 64, b"\0" * 31 + b"\1" + b"\x80" * 32],
    ids=["small", "large", "like DER", "short r"],
)
def test_each_spelling_is_the_same_signature(signature):
    der = der_of(signature)
    spellings = [signature, der, base64.b64encode(signature), base64.encodebytes(der)]
    for spelling in spellings:
        assert plain_signature(spelling) == signature


def test_der_that_is_cut_or_goes_on_is_no_signature():
    der = der_of(bytes(range(1, 65)))
    for size in range(len(der)):
        assert len(plain_signature(der[:size])) != 64 or size == 64
    assert plain_signature(der + b"\0") == der + b"\0"
    long_number = b"\x30\x26\x02\x21" + b"\1" * 33 + b"\x02\x01\x01"
    assert plain_signature(long_number) == long_number
    for bit in range(8 * len(der)):
        damaged = bytearray(der)
        damaged[bit // 8] ^= 1 << bit % 8
        plain_signature(bytes(damaged))
