"""The configuration file of an Edge Manager agent, as it is: every key has a meaning here.

A key is honoured, or checked and then noted as one that this agent needs nothing from, or refused
with the reason. Numbers and booleans may be texts, and an empty text is as if the key were not
there: several writers of such files fill in templates.
"""

import json
from collections.abc import Mapping
from typing import Any

from edgeward.agent.configuration import Configuration, checked
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
}
NUMBERS = {
    CAPTURE + "buffer_size": "capture_buffer",
    CAPTURE + "batch_size": "capture_batch",
    CAPTURE + "push_period_seconds": "capture_period_s",
    CAPTURE + "base64_embed_limit": "capture_embed_bytes",
}
BOOLEANS = {"sagemaker_edge_log_verbose": "log_verbose"}
REQUIRED = (CORE + "device_fleet_name", CORE + "root_certs_path")

# Keys that this agent needs nothing from: why.
NO_CLOUD = "this agent sends nothing to a cloud"
OWN_STATE = "this agent's own state needs no module"
UNUSED = {
    CORE + "iot_thing_name": NO_CLOUD,
    CORE + "region": NO_CLOUD,
    CORE + "endpoint_override": NO_CLOUD,
    CORE + "config_path": "the path of this file is known",
    PROVIDER + "provider_path": NO_CLOUD,
    PROVIDER + "aws_ca_cert_file": NO_CLOUD,
    PROVIDER + "aws_cert_file": NO_CLOUD,
    PROVIDER + "aws_cert_pk_file": NO_CLOUD,
    PROVIDER + "aws_iot_cred_endpoint": NO_CLOUD,
    PROVIDER + "s3_bucket_name": NO_CLOUD,
    CAPTURE + "periodic_upload_period_seconds": NO_CLOUD,
    "sagemaker_edge_telemetry_libsystemd_path": "systemd is told without a library",
    "sagemaker_edge_db_module_path": OWN_STATE,
    "sagemaker_edge_model_deployment_poll_interval": NO_CLOUD,
    "sagemaker_edge_dlr_backend_options": "the engines here keep no cache of TensorRT's",
}

# Keys of which only some values can be served: those, and why no other.
CHOICES = {
    PROVIDER + "provider": (("Aws", "None"), "no provider library is loaded"),
    CAPTURE + "destination": (("Disk",), "captures are kept on this device"),
    CAPTURE + "periodic_upload": (("false",), "captures are kept on this device"),
    "sagemaker_edge_deployment_lib_path": ((), "models come by LoadModel"),
}
KEYS = frozenset((*TEXTS, *NUMBERS, *BOOLEANS, *UNUSED, *CHOICES))


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
    if "capture_buffer" in settings:
        settings.setdefault("capture_batch", max(settings["capture_buffer"] // 2, 1))
    notes = [f"{key}: without effect: {UNUSED[key]}" for key in texts if key in UNUSED]
    return checked(
        Configuration(socket=socket, admin_socket="", notes=tuple(notes), **settings), source
    )


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
