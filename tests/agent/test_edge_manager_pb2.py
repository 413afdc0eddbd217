"""Generated messages are those of their definitions; Edge Manager's have the service's numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from edgeward.proto import device_agent_pb2, edge_manager_pb2, health_pb2, open_inference_pb2

from .clients import METHODS, Messages

ROOT = Path(__file__).parents[2] / "src" / "edgeward" / "proto"
GENERATED = [device_agent_pb2, edge_manager_pb2, health_pb2, open_inference_pb2]
OURS = 100  # numbers of data types from here on are no other program's


@pytest.mark.parametrize("messages", GENERATED)
def test_they_are_generated_from_the_definition(tmp_path, messages):
    target = tmp_path / "definition"
    name = messages.DESCRIPTOR.name
    arguments = ["-I", str(ROOT), f"--descriptor_set_out={target}", name]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    committed = descriptor_pb2.FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(committed)
    assert shown(file) == shown(committed)
    assert file.package == committed.package
    assert len(file.message_type) >= 2


@pytest.mark.parametrize("messages", GENERATED)
def test_they_need_no_runtime_newer_than_the_oldest_supported(messages):
    text = Path(messages.__file__).read_text()
    assert "# Protobuf Python Version: 4.25" in text
    assert "runtime_version" not in text


def test_each_field_is_that_of_the_table():
    table = descriptor_pb2.FileDescriptorProto()
    Messages("C").Tensor.DESCRIPTOR.file.CopyToProto(table)
    ours = descriptor_pb2.FileDescriptorProto()
    edge_manager_pb2.DESCRIPTOR.CopyToProto(ours)
    for file in (ours, table):
        for enum in file.enum_type:
            kept = [value for value in enum.value if value.number < OURS]
            del enum.value[:]
            enum.value.extend(kept)
    assert shown(ours) == shown(table)
    assert len(table.message_type) >= 20


@pytest.mark.parametrize("messages", [edge_manager_pb2, device_agent_pb2])
def test_the_definition_has_the_calls_for_whoever_generates_a_client(messages):
    (service,) = messages.DESCRIPTOR.services_by_name.values()
    calls = {call.name: (call.input_type.name, call.output_type.name) for call in service.methods}
    assert calls == {name: (f"{name}Request", f"{name}Response") for name in calls}
    expected = {edge_manager_pb2: set(METHODS), device_agent_pb2: {"Status"}}
    assert calls.keys() == expected[messages]


def shown(file):
    fields = {
        (message.name, field.name, field.number, field.label, field.type, field.type_name,
         field.HasField("oneof_index"))
        for message in file.message_type for field in message.field
    }  # fmt: skip
    values = {
        (enum.name, value.name, value.number) for enum in file.enum_type for value in enum.value
    }
    return fields, values
