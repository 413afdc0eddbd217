"""Configuration: what the agent is told to do, checked, whichever file told it.

A field here is a key of agent.toml and, in capitals behind EDGEWARD_AGENT_, a variable of the
environment. `edge_manager_file` maps the keys of an Edge Manager agent to the same fields.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from edgeward.agent.alias import is_name
from edgeward.errors import BadInput

FILE = "/etc/edgeward/agent.toml"
VARIABLE_PREFIX = "EDGEWARD_AGENT_"
MOST_MESSAGE_BYTES = 1 << 31
LOG_FORMS = ("text", "json")
LOOPBACK = ("127.0.0.1", "[::1]")
MOST_PORT = 65_535


@dataclass(frozen=True)
class Configuration:
    """One agent's settings; paths may be relative to its working directory."""

    socket: str = "/run/edgeward/agent.sock"  # predict, list and describe
    admin_socket: str = "/run/edgeward/admin.sock"  # load and unload too; empty: `socket` takes all
    users: tuple[str, ...] = ()  # names or numbers of those who may use `socket`, beside its owner
    groups: tuple[str, ...] = ()
    admin_users: tuple[str, ...] = ()
    admin_groups: tuple[str, ...] = ()
    trust: str = ""  # the trust directory; empty: as the library finds it
    state: str = ""  # the directory of what the agent remembers; empty: chosen by who runs it
    workers: int = 1  # processes for each model; 0: models run in the agent's own process
    most_run_s: int = 60  # a worker that runs one call for longer is ended
    unsigned: bool = False  # whether bare model files are loaded
    most_message_bytes: int = 4 << 20
    most_connections: int = 64  # of one user
    most_calls: int = 256  # at once
    device: str = "device"  # this device's name in captures, and its fleet's
    fleet: str = "fleet"
    capture_directory: str = ""  # empty: nothing is captured
    capture_prefix: str = ""  # the folder in it
    capture_buffer: int = 30  # captures in memory at most
    capture_buffer_bytes: int = 256 << 20
    capture_batch: int = 10  # captures that are written at once,
    capture_period_s: int = 4  # or as many as came since
    capture_embed_bytes: int = 3072  # larger payloads are files of their own
    drain: bool = False  # whether the rings of this user's programs are drained here
    rings: str = ""  # below which they are; empty: where the library looks for them
    drain_bytes: int = 1 << 30  # of each of their directories of captures, at most
    drain_age_s: int = 0  # how long a record stays there at most; 0: any time
    upload: str = ""  # where captures go from the disk: s3://BUCKET or a folder; empty: nowhere
    upload_period_s: int = 8
    upload_region: str = "us-east-1"
    upload_endpoint: str = ""  # an S3-compatible server's URL; empty: AWS's, by the region
    upload_is_success: bool = False  # whether a capture is SUCCESS when stored there, not on disk
    credentials_url: str = ""  # where the device's certificate is worth keys for the store
    credentials_ca_file: str = ""
    credentials_certificate_file: str = ""
    credentials_key_file: str = ""
    credentials_thing: str = ""
    metrics: str = ""  # 127.0.0.1:PORT or a socket for Prometheus; empty: none
    log: str = "text"
    log_verbose: bool = False
    notes: tuple[str, ...] = field(default=(), metadata={"is_setting": False})  # for the log


SETTINGS = {
    item.name: item for item in fields(Configuration) if item.metadata.get("is_setting", True)
}
RANGES = {
    "most_message_bytes": (1 << 10, MOST_MESSAGE_BYTES - 1),
    "most_connections": (1, 4096),
    "workers": (0, 1),
    "most_run_s": (1, 86_400),
    "most_calls": (1, 65_536),
    "capture_buffer": (1, 100_000),
    "capture_buffer_bytes": (1 << 10, 1 << 40),
    "capture_batch": (1, 100_000),
    "capture_period_s": (1, 86_400),
    "capture_embed_bytes": (0, 3072),
    "drain_bytes": (1 << 20, 1 << 50),
    "drain_age_s": (0, 1 << 32),
    "upload_period_s": (1, 86_400),
}
CREDENTIALS_FILES = (
    "credentials_ca_file",
    "credentials_certificate_file",
    "credentials_key_file",
)


def from_table(table: Mapping[str, Any], source: str) -> Configuration:
    """The settings of a parsed file. Raises BadInput: key, expected, got."""
    for key in table:
        if key not in SETTINGS:
            raise BadInput(f"{source}: {key}: expected one of {', '.join(SETTINGS)}")
    return checked(Configuration(**{key: _typed(key, table[key], source) for key in table}), source)


def with_environment(settings: Configuration, environment: Mapping[str, str]) -> Configuration:
    """The settings with those that EDGEWARD_AGENT_... variables replace. Raises BadInput."""
    changes: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(VARIABLE_PREFIX):
            continue
        key = variable.removeprefix(VARIABLE_PREFIX).lower()
        if key not in SETTINGS:
            names = ", ".join(VARIABLE_PREFIX + name.upper() for name in SETTINGS)
            raise BadInput(f"environment: {variable}: expected one of {names}")
        changes[key] = _from_text(key, text, f"environment: {variable}")
    return checked(replace(settings, **changes), "environment")


def checked(settings: Configuration, source: str) -> Configuration:
    """The settings, if each is in its range and no two contradict. Raises BadInput."""
    for key, (least, most) in RANGES.items():
        if not least <= (value := getattr(settings, key)) <= most:
            raise BadInput(f"{source}: {key}: expected {least} to {most}, got {value}")
    if settings.capture_batch > settings.capture_buffer:
        expected = f"at most the buffer's {settings.capture_buffer}"
        raise BadInput(
            f"{source}: capture_batch: expected {expected}, got {settings.capture_batch}"
        )
    for key in ("device", "fleet"):
        if not is_name(name := getattr(settings, key)):
            expected = "letters and digits, with - between them"
            raise BadInput(f'{source}: {key}: expected {expected}, got "{name}"')
    if not is_inside(settings.capture_prefix):
        expected = "a folder inside the directory"
        raise BadInput(
            f'{source}: capture_prefix: expected {expected}, got "{settings.capture_prefix}"'
        )
    _require_upload(settings, source)
    if settings.metrics and not is_port(settings.metrics) and "/" not in settings.metrics:
        expected = "127.0.0.1:PORT, [::1]:PORT, or a path with a /"
        raise BadInput(f'{source}: metrics: expected {expected}, got "{settings.metrics}"')
    if settings.log not in LOG_FORMS:
        expected = " or ".join(f'"{form}"' for form in LOG_FORMS)
        raise BadInput(f'{source}: log: expected {expected}, got "{settings.log}"')
    if not settings.socket:
        raise BadInput(f"{source}: socket: expected a path, got none")
    if settings.socket == settings.admin_socket:
        raise BadInput(f"{source}: admin_socket: expected another path than socket's, got the same")
    if not settings.admin_socket and (settings.users or settings.groups):
        raise BadInput(
            f"{source}: users and groups: expected an admin_socket beside them, got one socket for "
            "every call: who may use it is said by admin_users and admin_groups"
        )
    return settings


def _require_upload(settings: Configuration, source: str) -> None:
    """Raises BadInput where the settings of the upload contradict."""
    if settings.upload and not (settings.capture_directory or settings.drain):
        raise BadInput(
            f"{source}: upload: expected a capture_directory beside it, or drain, got none"
        )
    if settings.upload_is_success and not (settings.upload and settings.capture_directory):
        expected = "an upload and a capture_directory"
        raise BadInput(f"{source}: upload_is_success: expected {expected} beside it, got none")
    present = [key for key in CREDENTIALS_FILES if getattr(settings, key)]
    if settings.credentials_url and len(present) < len(CREDENTIALS_FILES):
        missing = ", ".join(key for key in CREDENTIALS_FILES if key not in present)
        raise BadInput(f"{source}: credentials_url: expected beside it {missing}, got none")


def is_port(address: str) -> bool:
    """Whether an address is HOST:PORT of this machine alone."""
    host, _, port = address.rpartition(":")
    is_number = port.isascii() and port.isdecimal() and int(port) <= MOST_PORT
    return host in LOOPBACK and is_number


def is_inside(folder: str) -> bool:
    """Whether a relative path stays below the folder that it is put into."""
    return not folder.startswith("/") and ".." not in folder.split("/") and "\0" not in folder


def _typed(key: str, value: Any, source: str) -> Any:
    default = SETTINGS[key].default
    if isinstance(default, tuple):
        if isinstance(value, list) and all(_is_user(item) for item in value):
            return tuple(str(item) for item in value)
        raise BadInput(f"{source}: {key}: expected a list of names and numbers, got {value!r}")
    kind = type(default)
    if type(value) is not kind:
        nouns = {str: "a text", bool: "true or false", int: "a whole number"}
        raise BadInput(f"{source}: {key}: expected {nouns[kind]}, got {value!r}")
    return value


def _is_user(item: Any) -> bool:
    return type(item) in (str, int)


def _from_text(key: str, text: str, source: str) -> Any:
    default = SETTINGS[key].default
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise BadInput(f'{source}: expected true or false, got "{text}"')
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise BadInput(f'{source}: expected a whole number, got "{text}"') from None
    return text


def state_directory(settings: Configuration) -> str:
    """Where the agent remembers, one directory for each socket.

    It is what `state` says; else systemd's StateDirectory=; else below /var/lib for root and below
    the home directory for others, by the socket's name.
    """
    import hashlib

    if settings.state:
        return os.path.abspath(settings.state)
    if directory := os.environ.get("STATE_DIRECTORY"):
        return directory.split(":")[0]
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    top = "/var/lib" if os.geteuid() == 0 else home
    name = hashlib.sha256(os.path.abspath(settings.socket).encode()).hexdigest()[:12]
    return os.path.join(top, "edgeward", "agent", name)
