"""The configuration file of an Edge Manager agent, as it is: every key has a meaning here.

A key is honoured, or checked and then noted as one that this agent needs nothing from, or refused
with the reason. Numbers and booleans may be texts, and an empty text is as if the key were not
there: several writers of such files fill in templates.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeward.agent.configuration import Configuration, checked, state_directory
from edgeward.errors import BadInput
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular

CORE, PROVIDER = "sagemaker_edge_core_", "sagemaker_edge_provider_"
CAPTURE = CORE + "capture_data_"
DEVICE_KEYS = (CORE + "device_name", CORE + "device_uuid")

# Keys whose values are used: the field that they set.
TEXTS = {
    DEVICE_KEYS[0]: "device",
    DEVICE_KEYS[1]: "device",
    CORE + "device_fleet_name": "fleet",
    CORE + "root_certs_path": "trust",
    CORE + "folder_prefix": "capture_prefix",
    CAPTURE + "disk_path": "capture_directory",
    "sagemaker_edge_local_data_root_path": "state",
    CORE + "region": "upload_region",
    CORE + "iot_thing_name": "credentials_thing",
    PROVIDER + "aws_ca_cert_file": "credentials_ca_file",
    PROVIDER + "aws_cert_file": "credentials_certificate_file",
    PROVIDER + "aws_cert_pk_file": "credentials_key_file",
    PROVIDER + "aws_iot_cred_endpoint": "credentials_url",
}
NUMBERS = {
    CAPTURE + "buffer_size": "capture_buffer",
    CAPTURE + "batch_size": "capture_batch",
    CAPTURE + "push_period_seconds": "capture_period_s",
    CAPTURE + "base64_embed_limit": "capture_embed_bytes",
    CAPTURE + "periodic_upload_period_seconds": "upload_period_s",
}
BOOLEANS = {"sagemaker_edge_log_verbose": "log_verbose"}
REQUIRED = (CORE + "device_fleet_name", CORE + "root_certs_path")

# Keys that this agent needs nothing from: why.
NO_SERVICE = "this agent reports to no service"
OWN_STATE = "this agent's own state needs no module"
UNUSED = {
    CORE + "endpoint_override": NO_SERVICE,
    CORE + "config_path": "the path of this file is known",
    PROVIDER + "provider_path": "no provider library is needed",
    "sagemaker_edge_telemetry_libsystemd_path": "systemd is told without a library",
    "sagemaker_edge_db_module_path": OWN_STATE,
    "sagemaker_edge_model_deployment_poll_interval": "models come by LoadModel",
    "sagemaker_edge_dlr_backend_options": "the engines here keep no cache of TensorRT's",
}

# Keys of which only some values can be served: those, and why no other.
CHOICES = {
    PROVIDER + "provider": (("Aws", "None"), "no provider library is loaded"),
    CAPTURE + "destination": (("Cloud", "Disk"), "captures go to one of them"),
    "sagemaker_edge_deployment_lib_path": ((), "models come by LoadModel"),
}
# What decides whether captures leave the device, and where to.
BUCKET = PROVIDER + "s3_bucket_name"
PERIODIC = CAPTURE + "periodic_upload"
OUTBOX = "outbox"  # in the state directory, for captures that go to the cloud alone
KEYS = frozenset((*TEXTS, *NUMBERS, *BOOLEANS, *UNUSED, *CHOICES, BUCKET, PERIODIC))


def read(path: PathLike, socket: str) -> Configuration:
    """The settings of the file, for an agent whose one socket takes every call.

    Raises OSError, BadInput: key, expected, got.
    """
    with open_regular("configuration", path) as file:
        try:
            document = json.load(file)
        except ValueError as error:
            raise BadInput(f"{path}: expected JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadInput(f"{path}: expected one JSON object, got {type(document).__name__}")
    return from_document(document, str(path), socket)


def from_document(document: Mapping[str, Any], source: str, socket: str) -> Configuration:
    """As read, of the parsed file."""
    for key in document:
        if key not in KEYS:
            raise BadInput(f"{source}: {key}: expected a key of an Edge Manager agent")
    texts = {key: text for key in document if (text := _text(key, document[key], source))}
    settings: dict[str, Any] = {TEXTS[key]: texts[key] for key in reversed(TEXTS) if key in texts}
    settings |= {NUMBERS[key]: _number(key, texts[key], source) for key in NUMBERS if key in texts}
    settings |= {BOOLEANS[key]: _truth(key, texts[key], source) for key in BOOLEANS if key in texts}
    for key in REQUIRED:
        if key not in texts:
            raise BadInput(f"{source}: {key}: expected a text, got none")
    if "device" not in settings:
        raise BadInput(f"{source}: {' or '.join(DEVICE_KEYS)}: expected a text, got neither")
    for key, (values, reason) in CHOICES.items():
        if key in texts and texts[key] not in values:
            expected = " or ".join(values) or "none"
            raise BadInput(f'{source}: {key}: expected {expected}, got "{texts[key]}": {reason}')
    settings |= _upload(texts, source)
    if "capture_buffer" in settings:
        settings.setdefault("capture_batch", max(settings["capture_buffer"] // 2, 1))
    notes = [f"{key}: without effect: {UNUSED[key]}" for key in texts if key in UNUSED]
    whole = Configuration(socket=socket, admin_socket="", notes=tuple(notes), **settings)
    if whole.upload_is_success:
        outbox = os.path.join(state_directory(whole), OUTBOX)
        whole = replace(whole, capture_directory=outbox)
    return checked(whole, source)


def _upload(texts: Mapping[str, str], source: str) -> dict[str, Any]:
    """The settings of what leaves the device: all captures, those on the disk too, or none."""
    is_cloud = texts.get(CAPTURE + "destination") == "Cloud"
    is_periodic = PERIODIC in texts and _truth(PERIODIC, texts[PERIODIC], source)
    if not is_cloud and not is_periodic:
        return {}
    key = CAPTURE + "destination" if is_cloud else PERIODIC
    if texts.get(PROVIDER + "provider", "Aws") != "Aws":
        raise BadInput(f"{source}: {key}: expected provider Aws beside it, got None")
    if BUCKET not in texts:
        raise BadInput(f"{source}: {key}: expected {BUCKET} beside it, got none")
    return {"upload": f"s3://{texts[BUCKET]}", "upload_is_success": is_cloud}


def _text(key: str, value: Any, source: str) -> str:
    """The value as a text, empty for one that says nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if value is None or isinstance(value, str | int):
        return "" if value is None else str(value).strip()
    raise BadInput(f"{source}: {key}: expected a text, number or boolean, got {value!r}")


def _number(key: str, text: str, source: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadInput(f'{source}: {key}: expected a whole number, got "{text}"') from None


def _truth(key: str, text: str, source: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise BadInput(f'{source}: {key}: expected true or false, got "{text}"')
