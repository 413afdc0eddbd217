"""The generated messages are those of edge_manager.proto, with the service's own numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

from edgeward.proto import edge_manager_pb2 as messages

from .clients import Messages

ROOT = Path(__file__).parents[2] / "src" / "edgeward" / "proto"
OURS = 100  # numbers of data types from here on are no other program's


def test_they_are_generated_from_the_definition(tmp_path):
    target = tmp_path / "definition"
    arguments = ["-I", str(ROOT), f"--descriptor_set_out={target}", "edge_manager.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    committed = descriptor_pb2.FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(committed)
    assert shown(file) == shown(committed)


def test_they_need_no_runtime_newer_than_the_oldest_supported():
    text = (ROOT / "edge_manager_pb2.py").read_text()
    assert "# Protobuf Python Version: 4.25" in text
    assert "runtime_version" not in text


def test_each_field_is_that_of_the_table():
    table = descriptor_pb2.FileDescriptorProto()
    Messages("C").Tensor.DESCRIPTOR.file.CopyToProto(table)
    ours = descriptor_pb2.FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(ours)
    for file in (ours, table):
        for enum in file.enum_type:
            kept = [value for value in enum.value if value.number < OURS]
            del enum.value[:]
            enum.value.extend(kept)
    assert shown(ours) == shown(table)
    assert len(table.message_type) >= 20


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
