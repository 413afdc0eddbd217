"""What the agent is told: every key has a meaning, and a wrong one is named before it starts."""

from __future__ import annotations

import json

import pytest
import sealed

from edgeward.agent import configuration, edge_manager_file, toml_file
from edgeward.agent.configuration import (
    CREDENTIALS_FILES,
    SETTINGS,
    Configuration,
    with_environment,
)
from edgeward.agent.edge_manager_file import CAPTURE, CORE, KEYS, PROVIDER, from_document
from edgeward.captures import rings
from edgeward.errors import BadInput

from .running import edge_manager_file as written

LEAST = {CORE + "device_name": "d", CORE + "device_fleet_name": "f", CORE + "root_certs_path": "r"}


def read(**more):
    return from_document({**LEAST, **more}, "agent.json", "s")


def test_a_file_of_the_field(tmp_path):
    settings = edge_manager_file.read(written(tmp_path), "s")
    assert (settings.device, settings.fleet, settings.trust) == ("camera7", "shop", "trust")
    assert (settings.socket, settings.admin_socket) == ("s", "")
    assert settings.capture_directory == str(tmp_path / "captures")
    assert (settings.capture_prefix, settings.capture_embed_bytes) == ("sme-capture", 3072)
    assert (settings.capture_buffer, settings.capture_batch, settings.capture_period_s) == (
        30,
        1,
        1,
    )
    assert settings.notes == ()
    settings = read(**{CORE + "endpoint_override": "https://x"})
    assert settings.notes == (
        f"{CORE}endpoint_override: without effect: this agent reports to no service",
    )


def test_each_key_is_read():
    assert len(KEYS) == 31
    texts = dict.fromkeys(KEYS, "")
    assert from_document({**texts, **LEAST}, "agent.json", "s") == read()


def test_the_uuid_stands_for_the_name():
    document = {**LEAST, CORE + "device_uuid": "u-1"}
    assert from_document(document, "", "s").device == "d"
    del document[CORE + "device_name"]
    assert from_document(document, "", "s").device == "u-1"


def test_a_cloud_is_a_bucket_and_what_opens_it():
    bucket = {PROVIDER + "s3_bucket_name": "sagemaker-shop"}
    assert read(**bucket).upload == ""
    settings = read(**bucket, **{CAPTURE + "destination": "Cloud"})
    assert settings.upload == "s3://sagemaker-shop"
    assert settings.upload_is_success
    assert settings.capture_directory.endswith("/outbox")
    periodic = {
        CAPTURE + "periodic_upload": "true",
        CAPTURE + "disk_path": "/captures",
        CAPTURE + "periodic_upload_period_seconds": "20",
        PROVIDER + "aws_iot_cred_endpoint": "https://host/role-aliases/a/credentials",
        PROVIDER + "aws_ca_cert_file": "ca.pem",
        PROVIDER + "aws_cert_file": "device.pem",
        PROVIDER + "aws_cert_pk_file": "device.key",
        CORE + "iot_thing_name": "camera7",
    }
    settings = read(**bucket, **periodic)
    assert (settings.upload_period_s, settings.upload_is_success) == (20, False)
    assert settings.capture_directory == "/captures"
    assert settings.credentials_url == "https://host/role-aliases/a/credentials"
    assert settings.credentials_key_file == "device.key"
    assert settings.credentials_thing == "camera7"
    for key in (CAPTURE + "periodic_upload", CAPTURE + "destination"):
        value = "true" if key.endswith("upload") else "Cloud"
        with pytest.raises(BadInput, match="expected provider Aws beside it, got None"):
            read(**bucket, **{key: value, PROVIDER + "provider": "None"})
    with pytest.raises(BadInput, match="upload: expected a capture_directory beside it"):
        read(**bucket, **{CAPTURE + "periodic_upload": "true"})


def test_half_of_the_buffer_is_a_batch():
    assert read(**{CAPTURE + "buffer_size": 9}).capture_batch == 4
    assert read(**{CAPTURE + "buffer_size": 1}).capture_batch == 1


@pytest.mark.parametrize("value", [True, "true", "True"])
def test_a_boolean_may_be_a_text(value):
    assert read(sagemaker_edge_log_verbose=value).log_verbose


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sagemaker_edge_nothing", "1", "expected a key"),
        (CAPTURE + "buffer_size", "many", "expected a whole number"),
        (CAPTURE + "buffer_size", [3], "expected a text, number or boolean"),
        (CAPTURE + "batch_size", 31, "expected at most the buffer's 30, got 31"),
        (CAPTURE + "base64_embed_limit", 3073, "expected 0 to 3072, got 3073"),
        (CAPTURE + "push_period_seconds", 0, "expected 1 to 86400, got 0"),
        (CAPTURE + "destination", "Tape", 'expected Cloud or Disk, got "Tape"'),
        (CAPTURE + "destination", "Cloud", "expected sagemaker_edge_provider_s3_bucket_name"),
        (CAPTURE + "periodic_upload", True, "expected sagemaker_edge_provider_s3_bucket_name"),
        (CAPTURE + "periodic_upload", "yes", "expected true or false"),
        (PROVIDER + "aws_iot_cred_endpoint", "https://x/y", "expected beside it credentials_ca"),
        (PROVIDER + "provider", "Custom", 'expected Aws or None, got "Custom"'),
        ("sagemaker_edge_deployment_lib_path", "/lib/x.so", "expected none"),
        ("sagemaker_edge_log_verbose", "yes", "expected true or false"),
        (CORE + "device_fleet_name", "", "expected a text, got none"),
        (CORE + "device_fleet_name", "../x", "expected letters and digits"),
        (CORE + "folder_prefix", "a/../../x", "expected a folder inside"),
    ],
)
def test_a_key_that_cannot_be_served_is_named(key, value, expected):
    with pytest.raises(BadInput, match=r"agent\.json: ") as raised:
        read(**{key: value})
    assert expected in str(raised.value)


@pytest.mark.parametrize("content", ["[]", "{", "", '{"a": NaN'])
def test_a_file_that_is_no_object(tmp_path, content):
    path = tmp_path / "agent.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"agent\.json: expected"):
        edge_manager_file.read(path, "s")


def test_agent_toml(tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text('socket = "a"\nunsigned = true\nusers = ["app", 1000]\nmost_calls = 8\n')
    settings = toml_file.read(path)
    assert settings == Configuration(socket="a", unsigned=True, users=("app", "1000"), most_calls=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sockets = 1", "sockets: expected one of socket, admin_socket"),
        ("socket = 1", "socket: expected a text, got 1"),
        ("unsigned = 1", "unsigned: expected true or false, got 1"),
        ("most_calls = true", "most_calls: expected a whole number, got True"),
        ("users = [[]]", "users: expected a list of names"),
        ("most_calls = 0", "most_calls: expected 1 to 65536, got 0"),
        ('log = "xml"', 'log: expected "text" or "json", got "xml"'),
        ('admin_socket = "/run/edgeward/agent.sock"', "admin_socket: expected another path"),
        ('admin_socket = ""\nusers = ["app"]', "expected an admin_socket"),
        ("notes = []", "notes: expected one of"),
        ("socket", "expected TOML"),
    ],
)
def test_a_wrong_line_of_agent_toml_is_named(tmp_path, text, expected):
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as raised:
        toml_file.read(path)
    assert str(raised.value).startswith(str(path))
    assert expected in str(raised.value)


def test_variables_replace_settings():
    settings = with_environment(
        Configuration(),
        {
            "EDGEWARD_AGENT_SOCKET": "b",
            "EDGEWARD_AGENT_UNSIGNED": "true",
            "EDGEWARD_AGENT_MOST_CALLS": "9",
            "EDGEWARD_AGENT_USERS": "app, 1000",
            "EDGEWARD_TRUST": "x",
        },
    )
    assert settings == Configuration(socket="b", unsigned=True, most_calls=9, users=("app", "1000"))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("NOTHING", "1", "EDGEWARD_AGENT_NOTHING: expected one of EDGEWARD_AGENT_SOCKET"),
        ("UNSIGNED", "1", "EDGEWARD_AGENT_UNSIGNED: expected true or false"),
        ("MOST_CALLS", "x", "EDGEWARD_AGENT_MOST_CALLS: expected a whole number"),
        ("MOST_CALLS", "0", "most_calls: expected 1 to 65536"),
    ],
)
def test_a_wrong_variable_is_named(name, text, expected):
    with pytest.raises(BadInput) as raised:
        with_environment(Configuration(), {f"EDGEWARD_AGENT_{name}": text})
    assert expected in str(raised.value)


def test_each_setting_is_described(root_text):
    assert len(SETTINGS) >= 20
    assert [key for key in SETTINGS if f"| `{key}` |" not in root_text] == []


def test_each_key_of_an_edge_manager_file_is_described(root_text):
    assert [
        key for key in KEYS if f"`{key.removeprefix('sagemaker_edge_')}`" not in root_text
    ] == []


@pytest.fixture
def root_text():
    from pathlib import Path

    return (Path(__file__).parents[2] / "docs" / "agent.md").read_text()


def test_check_ends_with_2_and_the_key(tmp_path, typed):
    path = written(tmp_path, nothing=1)
    status, out, err = typed(f"agent -c {path} -a {tmp_path}/s --check --json")
    assert status == 2
    assert CORE + "nothing" in json.loads(out)["error"]["message"]
    assert CORE + "nothing" in err


@pytest.fixture
def checked(tmp_path, typed, monkeypatch):
    """`edgeward agent --check` on a device without a configuration file, as text and document."""
    sealed.trust_at(tmp_path / "trust")
    monkeypatch.setattr(configuration, "FILE", str(tmp_path / "agent.toml"))
    monkeypatch.setenv("EDGEWARD_TRUST", str(tmp_path / "trust"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return lambda line="": (typed(f"agent --check {line}"), typed(f"agent --check --json {line}"))


def test_check_tells_which_file_and_where_things_are(tmp_path, checked):
    (status, out, _), (_, document, _) = checked()
    assert (status, json.loads(document)["configuration"]) == (0, None)
    path = tmp_path / "agent.toml"
    lines = out.splitlines()
    assert lines[0] == f"configuration: none: {path} is not there"
    path.write_text('users = ["root"]\ndrain = true\n')
    (status, out, _), (_, document, _) = checked()
    report = json.loads(document)
    assert (status, report["configuration"]) == (0, str(path))
    lines = out.splitlines()
    assert lines[0] == f"configuration: {path}"
    expected = {
        "trust": str(tmp_path / "trust"),
        "state": str(tmp_path / "state"),
        "rings": rings.base_directory(),
    }
    for key, value in expected.items():
        assert f"{key}: {value}" in lines
        assert report["settings"][key] == value
    assert {"users: root", "groups: none", "drain: true"} <= set(lines)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_check_looks_into_the_files_of_the_certificate(tmp_path, checked, content):
    files = {key: tmp_path / key for key in CREDENTIALS_FILES}
    lines = [f'{key} = "{path}"' for key, path in files.items()]
    for key, path in files.items():
        if content or key != "credentials_ca_file":
            path.write_text(content or "")
    url = 'credentials_url = "https://host/role-aliases/a/credentials"'
    (tmp_path / "agent.toml").write_text("\n".join([*lines, url]))
    (status, _, err), (_, document, _) = checked()
    expected = (
        "certificates in PEM" if content else f'a file to read, got "{tmp_path}/credentials_ca'
    )
    assert status == 2
    assert f"expected {expected}" in err
    assert expected in json.loads(document)["error"]["message"]
