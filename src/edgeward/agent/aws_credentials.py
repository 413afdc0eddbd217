"""Keys for an S3-compatible store: of the environment, of a profile, or of a credentials endpoint.

The endpoint is what devices of AWS IoT have: it gives keys of some hour to whoever shows the
device's certificate (AWS IoT Core Developer Guide, "Authorizing direct calls to AWS services").
"""

import configparser
import http.client
import json
import os
import ssl
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edgeward.errors import BadInput

TIMEOUT_S = 10.0
MOST_ANSWER_BYTES = 64 << 10
# As obstore takes it: access_key_id, secret_access_key, token, expires_at.
Credential = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Where a device's certificate is worth keys; all files are PEM."""

    url: str  # https://HOST/role-aliases/ALIAS/credentials
    ca_file: Path
    certificate_file: Path
    key_file: Path
    thing_name: str | None = None


def of_environment(environment: Mapping[str, str]) -> Credential | None:
    """AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, with AWS_SESSION_TOKEN where there is one."""
    key = environment.get("AWS_ACCESS_KEY_ID")
    secret = environment.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    return {
        "access_key_id": key,
        "secret_access_key": secret,
        "token": environment.get("AWS_SESSION_TOKEN") or None,
        "expires_at": None,
    }


def of_profile(environment: Mapping[str, str]) -> Credential | None:
    """The keys of AWS_PROFILE, or "default", in the file that AWS's own tools read."""
    home = environment.get("HOME")
    file = environment.get("AWS_SHARED_CREDENTIALS_FILE") or (home and f"{home}/.aws/credentials")
    if not file or not os.path.isfile(file):
        return None
    profiles = configparser.RawConfigParser()
    try:
        profiles.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: expected profiles, got {str(error).splitlines()[0]}") from None
    name = environment.get("AWS_PROFILE") or "default"
    if not profiles.has_section(name):
        return None
    values = profiles[name]
    return of_environment(
        {
            "AWS_ACCESS_KEY_ID": values.get("aws_access_key_id", ""),
            "AWS_SECRET_ACCESS_KEY": values.get("aws_secret_access_key", ""),
            "AWS_SESSION_TOKEN": values.get("aws_session_token", ""),
        }
    )


def of_endpoint(endpoint: Endpoint, timeout_s: float = TIMEOUT_S) -> Credential:
    """Keys that the endpoint gives now.

    Raises BadInput for an URL or a certificate that are none, and OSError when the endpoint does
    not answer, does not show a certificate of `ca_file`, or refuses the device's.
    """
    url = urllib.parse.urlsplit(endpoint.url)
    if url.scheme != "https" or not url.hostname:
        raise BadInput(f'credentials endpoint: expected an https URL, got "{endpoint.url}"')
    context = tls_context(endpoint)
    headers = {"x-amzn-iot-thingname": endpoint.thing_name} if endpoint.thing_name else {}
    connection = http.client.HTTPSConnection(
        url.hostname, url.port or 443, timeout=timeout_s, context=context
    )
    try:
        connection.request("GET", url.path or "/", headers=headers)
        answer = connection.getresponse()
        body = answer.read(MOST_ANSWER_BYTES + 1)
    except http.client.HTTPException as error:
        raise OSError(f"credentials endpoint: expected HTTP, got {error!r}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"credentials endpoint: expected status 200, got {answer.status}")
    return parse(body)


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """What the device shows there, and trusts. Raises BadInput for files that have none."""
    try:
        context = ssl.create_default_context(cafile=str(endpoint.ca_file))
        context.load_cert_chain(str(endpoint.certificate_file), str(endpoint.key_file))
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"credentials endpoint: expected certificates in PEM, got {error}") from None
    return context


def parse(body: bytes) -> Credential:
    """Reads the endpoint's answer. Raises OSError when it is another one."""
    problem = "credentials endpoint: expected credentials, got"
    if len(body) > MOST_ANSWER_BYTES:
        raise OSError(f"{problem} more than {MOST_ANSWER_BYTES:,} bytes")
    try:
        members = json.loads(body)["credentials"]
        texts = [members[name] for name in ("accessKeyId", "secretAccessKey", "sessionToken")]
        expires_at = datetime.fromisoformat(members["expiration"].replace("Z", "+00:00"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OSError(f"{problem} {body[:80]!r}") from None
    if not all(isinstance(text, str) and text for text in texts) or expires_at.tzinfo is None:
        raise OSError(f"{problem} {body[:80]!r}")
    return dict(
        zip(("access_key_id", "secret_access_key", "token"), texts, strict=True),
        expires_at=expires_at,
    )


def provider(
    environment: Mapping[str, str], endpoint: Endpoint | None
) -> Callable[[], Credential] | None:
    """What obstore calls whenever it has no keys that are good; None when there is none to ask.

    A profile is read again each time, so that keys which somebody else renews are taken up.
    """
    keys = of_environment(environment)
    if keys is not None:
        return lambda: keys
    if of_profile(environment) is not None:
        return lambda: lasting(of_profile(environment))
    return None if endpoint is None else lambda: of_endpoint(endpoint)


def lasting(keys: Credential | None) -> Credential:
    """Keys of a profile, which do not say how long they last, to be read again in five minutes."""
    if keys is None:
        raise OSError("profile: expected keys, got none")
    return {**keys, "expires_at": datetime.now(timezone.utc) + timedelta(minutes=5)}
