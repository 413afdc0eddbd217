"""Keys in PKCS#11 tokens, of SoftHSM: they sign, and everything that is wrong is said."""

import os
import subprocess
import sys

import pytest
from sealed import DEVICE, document, run, trust_at
from sealed import seal as seal_demo
from softhsm import MODULE, PIN, House, needs_softhsm

from edgeward import BadInput, PublicKey, SignerFailed, _core, open_signer
from edgeward.trust import root_document
from edgeward.trust.token_signer import MODULE_VARIABLE, parse

ED, EC = "token=house;object=ed", "token=house;object=ec"


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTHSM2_CONF", "")  # put back in the end
    (tmp_path / "house").mkdir()
    return House(tmp_path / "house")


# --- The URI ------------------------------------------------------------------------------------


def test_a_uri_is_read_with_its_odd_characters():
    uri = parse("pkcs11:token=a%20b%3B;id=%00%ff;type=private?pin-value=%26=&module-path=/x%2Fy")
    assert uri.path == {"token": "a b;", "type": "private"}
    assert uri.query == {"pin-value": "&=", "module-path": "/x/y"}
    assert uri.key_id == b"\x00\xff"
    assert "pin-value" not in uri.where


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:", "pkcs11:token=a", "pkcs11:object=", "pkcs11:object=a;object=b", "pkcs11:object",
        "pkcs11:object=a;nothing=b", "pkcs11:object=%zz", "pkcs11:object=%2",
        "pkcs11:object=a?pin=1", "pkcs11:object=a?pin-value=1&pin-value=2",
        "pkcs11:object=a;type=public",
    ],
)  # fmt: skip
def test_a_uri_that_is_none_is_refused(uri):
    with pytest.raises(BadInput, match='signer "pkcs11:') as refusal:
        parse(uri)
    assert "=1" not in str(refusal.value)


def test_a_token_without_a_module_is_refused(monkeypatch, tmp_path):
    pytest.importorskip("pkcs11")
    monkeypatch.delenv(MODULE_VARIABLE, raising=False)
    with pytest.raises(BadInput, match=r"library of its token, got none: name it with \?module"):
        open_signer("pkcs11:object=ed?pin-value=5678")
    monkeypatch.setenv(MODULE_VARIABLE, str(tmp_path / "none.so"))
    with pytest.raises(BadInput, match=r'none\.so", got none'):
        open_signer("pkcs11:object=ed")
    (tmp_path / "none.so").write_text("no library")
    with pytest.raises(SignerFailed, match=r"expected a token that answers, got .*none\.so"):
        open_signer("pkcs11:object=ed")


def test_without_the_package_it_is_said_how_to_get_it(run_child):
    program = """
import sys
sys.modules["pkcs11"] = None
from edgeward import BadInput, open_signer
try:
    open_signer("pkcs11:object=ed?module-path=/x")
except BadInput as error:
    print(error)
"""
    assert 'pip install "edgeward[pkcs11]"' in run_child(program)


# --- Signing ------------------------------------------------------------------------------------


@needs_softhsm
@pytest.mark.parametrize(("path", "algorithm"), [(ED, "ed25519"), (EC, "ecdsa-p256")])
def test_a_package_that_a_token_signed_runs_on_a_device(tmp_path, house, path, algorithm):
    signer = open_signer(house.uri(path))
    assert signer.algorithm == signer.public.algorithm == algorithm
    content = document()
    root_document.add_key(content, "publisher:default", signer.public)
    trust = trust_at(tmp_path / "trust", content)
    run(seal_demo(tmp_path / "1.ewp", keys=[signer], encrypt_to=[DEVICE.public]), trust)


@needs_softhsm
def test_a_token_signs_trust_roots(tmp_path, house):
    owner = open_signer(house.uri(ED))
    content = root_document.first([owner.public], 1, 100_000)
    envelope = root_document.sign(content, [owner])
    assert _core.TrustRoot.first(envelope).version == 1


@needs_softhsm
def test_two_keys_of_one_token_sign_together(tmp_path, house):
    signers = [open_signer(house.uri(path)) for path in (ED, EC)]
    path = seal_demo(tmp_path / "1.ewp", keys=signers)
    assert _core.Package.unverified(str(path)).signers == tuple(
        signer.public.id for signer in signers
    )


@needs_softhsm
def test_a_key_is_named_by_its_id_and_its_token_by_other_facts(house, monkeypatch):
    monkeypatch.setenv(MODULE_VARIABLE, str(MODULE))
    expected = open_signer(house.uri(ED)).public.id
    query = f"pin-source=file://{house.pin_file}"
    for path in (
        "id=%65%64",
        "model=SoftHSM%20v2;object=ed;id=ed",
        "manufacturer=SoftHSM%20project;id=ed",
    ):
        assert open_signer(f"pkcs11:{path}?{query}").public.id == expected


@needs_softhsm
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("token=none;object=ed", r'one token that fits, got 0 \(there: "house"\)'),
        ("token=house;slot-id=99;object=ed", "one token that fits, got 0"),
        ("token=house;object=none", "one private key of this name, got 0"),
        ("token=house;object=ed;id=ec", "one private key of this name, got 0"),
        ("token=house;object=other", "an Ed25519 or P-256 key, got another"),
    ],
)
def test_what_is_not_in_the_token_is_refused(house, path, says):
    with pytest.raises(BadInput, match=says):
        open_signer(house.uri(path))


@needs_softhsm
def test_two_tokens_of_one_name_are_told_apart(house):
    house.make_token()
    with pytest.raises(BadInput, match="one token that fits, got 2"):
        open_signer(house.uri(ED))


# --- The PIN ------------------------------------------------------------------------------------


@needs_softhsm
@pytest.mark.parametrize("query", ["pin-value=0000", "pin-value=1", "pin-value=" + "1" * 300])
def test_a_wrong_pin_is_said_and_nothing_secret_with_it(house, query):
    with pytest.raises(BadInput, match="expected the PIN of its token, got another") as refusal:
        open_signer(house.uri(ED, query))
    assert query not in str(refusal.value)


@needs_softhsm
def test_a_pin_is_asked_for_where_the_uri_has_none(house):
    questions = []

    def ask(question):
        questions.append(question)
        return PIN

    uri = f"pkcs11:{ED}?module-path={MODULE}"
    open_signer(uri, ask_pin=ask)
    assert questions == ['PIN of token "house": ']
    with pytest.raises(BadInput, match=r"got none: name its file with \?pin-source=FILE"):
        open_signer(uri)


@needs_softhsm
@pytest.mark.parametrize("content", [b"", b"\n", b"1\n2\n", b"\xff", b"1" * 257])
def test_a_pin_file_that_is_none_is_refused(house, content):
    house.pin_file.write_bytes(content)
    with pytest.raises(BadInput, match=r"expected a line with the PIN in .*, got something else"):
        open_signer(house.uri(ED))


@needs_softhsm
def test_a_pin_file_that_others_can_read_is_refused(house):
    house.pin_file.chmod(0o640)
    with pytest.raises(BadInput, match="of mode 0640: chmod 600 it"):
        open_signer(house.uri(ED))


# --- A token that goes --------------------------------------------------------------------------


@needs_softhsm
@pytest.mark.parametrize("path", [ED, EC])
def test_a_token_that_is_pulled_out_is_said_and_leaves_no_package(tmp_path, house, path):
    signer = open_signer(house.uri(path))
    earlier = seal_demo(tmp_path / "1.ewp", keys=[signer]).read_bytes()
    house.pull_out()
    with pytest.raises(SignerFailed, match=r"expected a signature, got .*: is it still there"):
        seal_demo(tmp_path / "1.ewp", keys=[signer])
    assert (tmp_path / "1.ewp").read_bytes() == earlier
    with pytest.raises(SignerFailed):
        seal_demo(tmp_path / "2.ewp", keys=[signer], encrypt_to=[DEVICE.public])
    assert {path.name for path in tmp_path.iterdir()} == {"1.ewp", "house"}


@needs_softhsm
def test_the_command_line_asks_on_the_terminal_and_says_where_there_is_none(house):
    """Without a terminal, which a session of its own has not."""
    program = "import sys; from edgeward.cli import main; sys.exit(main(sys.argv[1:]))"
    uri = f"pkcs11:{ED}?module-path={MODULE}"
    child = subprocess.run(
        [sys.executable, "-c", program, "root", "init", str(house.directory / "r"), "--key", uri],
        capture_output=True,
        text=True,
        start_new_session=True,
        env={**os.environ},
    )
    assert child.returncode == 2
    assert 'PIN of token "house": expected a terminal to ask for it, got none' in child.stderr
    assert not (house.directory / "r").exists()


def test_a_pub_file_is_a_public_key_too(tmp_path):
    from edgeward.trust.signer import public_key_of

    (tmp_path / "a.pub").write_text(DEVICE.public.text)
    assert isinstance(public_key_of(tmp_path / "a.pub"), PublicKey)
