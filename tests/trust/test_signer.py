"""Each kind of signer by its name, and what a program's own signer may answer."""

import pytest
from sealed import DEVICE, PUBLISHER, key, seal

from edgeward import BadInput, MalformedKey, Package, PrivateKey, Signer, SignerFailed, open_signer


def test_a_key_file_is_a_signer(tmp_path):
    PUBLISHER.write(str(tmp_path / "publisher.key"))
    signer = open_signer(tmp_path / "publisher.key")
    assert isinstance(signer, PrivateKey)
    assert signer.public.id == PUBLISHER.public.id


@pytest.mark.parametrize("name", ["none.key", "", "pkcs12:a", "commands"])
def test_a_name_of_nothing_says_what_can_be_named(tmp_path, name):
    with pytest.raises(BadInput, match=r'got none: make keys .* "pkcs11:\.\.\." or "command:'):
        open_signer(tmp_path / name if name == "none.key" else name)


def test_a_file_that_signs_nothing_is_refused(tmp_path):
    DEVICE.write(str(tmp_path / "device.key"))
    with pytest.raises(BadInput, match="expected one that signs, got a device's"):
        open_signer(tmp_path / "device.key")
    (tmp_path / "rubbish").write_text("rubbish")
    with pytest.raises(MalformedKey):
        open_signer(tmp_path / "rubbish")


def test_a_programs_own_signer_is_asked_once_with_the_bytes_to_sign(tmp_path):
    messages = []

    def sign(message):
        messages.append(message)
        raise LookupError("the service is away")

    with pytest.raises(LookupError, match="is away"):
        seal(tmp_path / "1.ewp", keys=[Signer(PUBLISHER.public, sign, "the service")])
    assert len(messages) == 1
    assert messages[0].startswith(b"DSSEv1 36 application/vnd.edgeward.ewp.body.v1 ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", [b"", bytes(63), bytes(64), bytes(65), bytearray(64)])
def test_what_is_no_signature_of_the_key_seals_nothing(tmp_path, answer):
    signer = Signer(PUBLISHER.public, lambda message: answer, "the service")
    path = seal(tmp_path / "1.ewp")
    before = path.read_bytes()
    package = Package.unverified(path)
    for attempt in (
        lambda: seal(tmp_path / "2.ewp", keys=[PUBLISHER, signer], encrypt_to=[DEVICE.public]),
        lambda: package.resign(tmp_path / "3.ewp", [signer]),
        lambda: package.resign(path, [signer], adds=True),
    ):
        with pytest.raises(SignerFailed, match='signer "the service": expected a signature by ed'):
            attempt()
    assert [file.name for file in tmp_path.iterdir()] == ["1.ewp"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("answer", [None, "text", 64])
def test_what_is_not_even_bytes_is_a_type_error(tmp_path, answer):
    with pytest.raises(TypeError):
        seal(tmp_path / "1.ewp", keys=[Signer(PUBLISHER.public, lambda message: answer)])
    assert list(tmp_path.iterdir()) == []


def test_a_devices_key_and_other_things_are_no_signers(tmp_path):
    with pytest.raises(BadInput, match="got a device's"):
        Signer(DEVICE.public, lambda message: bytes(64))
    for thing in (None, PUBLISHER.public, "publisher.key"):
        with pytest.raises((BadInput, AttributeError)):
            seal(tmp_path / "1.ewp", keys=[thing])
    assert repr(Signer(key("a").public, len)).startswith("<Signer of ed25519 ")
