"""The object store that the settings name: a folder, or a bucket of anything that speaks S3."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from edgeward.agent.aws_credentials import Credential, Endpoint, provider
from edgeward.agent.configuration import Configuration
from edgeward.errors import BadInput, EngineMissing

S3 = "s3://"
REQUEST_LIMIT_S = 60
CONNECT_LIMIT_S = 10


def upload_store(settings: Configuration, environment: Mapping[str, str]) -> Any:
    """What `settings.upload` names, for obstore. Nothing is asked of it yet.

    Keys for a bucket are looked for in the environment, then in the profile, then at the endpoint
    for credentials, each time that some are needed. AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL count
    as they do for AWS's own tools. Raises BadInput; EngineMissing without obstore.
    """
    try:
        from obstore.store import LocalStore, S3Store
    except ImportError as error:
        message = f'an upload needs obstore: pip install "edgeward[agent]": {error}'
        raise EngineMissing(message) from None
    if not settings.upload.startswith(S3):
        if "://" in settings.upload:
            raise BadInput(f'upload: expected s3://BUCKET or a folder, got "{settings.upload}"')
        return LocalStore(Path(settings.upload).absolute(), mkdir=True)
    bucket, _, prefix = settings.upload.removeprefix(S3).partition("/")
    if not bucket:
        raise BadInput(f'upload: expected s3://BUCKET, got "{settings.upload}"')
    url = (
        settings.upload_endpoint
        or environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
    )
    config: Any = {"aws_region": settings.upload_region}
    if url:
        config["aws_endpoint_url"] = url
    ask: Any = partial(_keys, settings, environment)
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options={
            "allow_http": bool(url and url.startswith("http://")),
            "timeout": f"{REQUEST_LIMIT_S}s",
            "connect_timeout": f"{CONNECT_LIMIT_S}s",
        },
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=REQUEST_LIMIT_S)},
        credential_provider=ask,
    )


def _keys(settings: Configuration, environment: Mapping[str, str]) -> Credential:
    ask = provider(environment, endpoint_of(settings))
    if ask is None:
        raise OSError(
            "expected keys in the environment, in a profile, or of a credentials endpoint, got none"
        )
    return ask()


def endpoint_of(settings: Configuration) -> Endpoint | None:
    """Where the device's certificate is worth keys; None where the settings name no such place."""
    if not settings.credentials_url:
        return None
    return Endpoint(
        settings.credentials_url,
        Path(settings.credentials_ca_file),
        Path(settings.credentials_certificate_file),
        Path(settings.credentials_key_file),
        settings.credentials_thing or None,
    )
