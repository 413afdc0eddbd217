"""Keys come from where AWS's own tools look, or from an endpoint that asks for a certificate."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgeward import BadInput
from edgeward.agent.aws_credentials import (
    MOST_ANSWER_BYTES,
    Endpoint,
    of_endpoint,
    of_environment,
    of_profile,
    parse,
    provider,
)

EXPIRATION = "2026-11-28T14:00:00Z"
ANSWER = {
    "credentials": {
        "accessKeyId": "AKIA",
        "secretAccessKey": "secret",
        "sessionToken": "token",
        "expiration": EXPIRATION,
    }
}
KEYS = {
    "access_key_id": "AKIA",
    "secret_access_key": "secret",
    "token": "token",
    "expires_at": datetime(2026, 11, 28, 14, tzinfo=timezone.utc),
}


class Authority:
    """Issues certificates into files of a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        certificate = self._certificate(self._name, self._key, is_authority=True)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> x509.Certificate:
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1))
        builder = builder.not_valid_after(now + timedelta(days=1))
        constraints = x509.BasicConstraints(ca=is_authority, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        return builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certificate(subject, key, is_authority=False)
        files = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


class Provider:
    """A credentials endpoint: what it was asked, and what it answers."""

    def __init__(self, authority: Authority) -> None:
        self.status, self.body = 200, json.dumps(ANSWER).encode()
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers["x-amzn-iot-thingname"]))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *args: Any) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("server"))
        context.load_verify_locations(authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        port = self.server.server_address[1]
        self.url = f"https://localhost:{port}/role-aliases/SageMakerEdge-fleet/credentials"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def served(authority: Authority) -> Iterator[Provider]:
    served = Provider(authority)
    yield served
    served.server.shutdown()
    served.server.server_close()


def endpoint(served: Provider, authority: Authority, issuer: Authority | None = None) -> Endpoint:
    certificate, key = (issuer or authority).issue("device")
    return Endpoint(served.url, authority.file, certificate, key, thing_name="cam-1")


def test_the_environment_is_asked_first_then_a_profile_then_the_endpoint(
    tmp_path: Path, served: Provider, authority: Authority
) -> None:
    device = endpoint(served, authority)
    file = tmp_path / "credentials"
    environment = {
        "AWS_ACCESS_KEY_ID": "of environment",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
    }
    file.write_text(
        "[default]\naws_access_key_id = of profile\naws_secret_access_key = s\n"
        "[other]\naws_access_key_id = of other\naws_secret_access_key = s%s\n"
    )
    answers = []
    for leave_out in ((), ("AWS_ACCESS_KEY_ID",), tuple(environment)):
        for name in leave_out:
            environment.pop(name, None)
        ask = provider(environment, device)
        assert ask is not None
        answers.append(ask()["access_key_id"])
    assert answers == ["of environment", "of profile", "AKIA"]
    assert provider({}, None) is None
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "other"}
    keys = of_profile(environment)
    assert keys is not None
    assert (keys["access_key_id"], keys["secret_access_key"]) == ("of other", "s%s")


def test_a_profile_is_read_again_before_long(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    file = tmp_path / ".aws/credentials"
    environment = {"HOME": str(tmp_path)}
    file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    ask = provider(environment, None)
    assert ask is not None
    keys = ask()
    assert keys["expires_at"] - datetime.now(timezone.utc) < timedelta(minutes=6)
    file.write_text("[default]\naws_access_key_id = new\naws_secret_access_key = b\n")
    assert ask()["access_key_id"] == "new"
    file.unlink()
    with pytest.raises(OSError, match="profile: expected keys, got none"):
        ask()


def test_a_file_that_holds_no_profiles_is_named(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    for data in (b"no section\n", b"\xff\xfe\n"):
        file.write_bytes(data)
        with pytest.raises(BadInput, match="credentials: expected profiles, got"):
            of_profile(environment)
    file.write_text("[default]\naws_access_key_id = a\n")
    assert of_profile(environment) is None
    assert of_environment({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": ""}) is None


def test_the_endpoint_gives_keys_to_the_devices_certificate(
    served: Provider, authority: Authority
) -> None:
    assert of_endpoint(endpoint(served, authority)) == KEYS
    assert served.asked == [("/role-aliases/SageMakerEdge-fleet/credentials", "cam-1")]


def test_a_certificate_of_another_authority_is_refused_on_both_sides(
    tmp_path: Path, served: Provider, authority: Authority
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    with pytest.raises(OSError):  # noqa: PT011 - the text is OpenSSL's
        of_endpoint(endpoint(served, authority, issuer=other))
    device = endpoint(served, authority)
    wrong = Endpoint(device.url, other.file, device.certificate_file, device.key_file)
    with pytest.raises(ssl.SSLCertVerificationError):
        of_endpoint(wrong)
    assert served.asked == []


def test_what_is_no_endpoint_or_no_certificate_is_bad_input(
    tmp_path: Path, served: Provider, authority: Authority
) -> None:
    device = endpoint(served, authority)
    files = (device.ca_file, device.certificate_file, device.key_file)
    for url in ("http://localhost/x", "localhost", "https:///x"):
        with pytest.raises(BadInput, match="expected an https URL"):
            of_endpoint(Endpoint(url, *files))
    for position in range(3):
        changed = list(files)
        changed[position] = tmp_path / "none.pem"
        with pytest.raises(BadInput, match="expected certificates in PEM"):
            of_endpoint(Endpoint(device.url, *changed))


@pytest.mark.parametrize("status", [301, 403, 500])
def test_a_refusal_is_an_error_with_its_status(
    served: Provider, authority: Authority, status: int
) -> None:
    served.status = status
    with pytest.raises(OSError, match=f"expected status 200, got {status}"):
        of_endpoint(endpoint(served, authority))


def test_every_other_answer_is_refused() -> None:
    whole = json.dumps(ANSWER).encode()
    for size in range(len(whole)):
        with pytest.raises(OSError, match="expected credentials"):
            parse(whole[:size])
    for name in ANSWER["credentials"]:
        for value in ("", None, 7, [], "2026-11-28T14:00:00"):
            if (name == "expiration") == (value == "2026-11-28T14:00:00") or not value:
                changed = {"credentials": {**ANSWER["credentials"], name: value}}
                with pytest.raises(OSError, match="expected credentials"):
                    parse(json.dumps(changed).encode())
    for body in (b"[]", b"null", b'{"credentials": []}', b"[" * 60_000, b" " * (1 << 20)):
        with pytest.raises(OSError, match="expected credentials"):
            parse(body)
    assert len(whole) < MOST_ANSWER_BYTES
    assert parse(whole) == KEYS
