"""The Open Inference Protocol, by a client whose messages are built from the protocol's table."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from edgeward import __version__
from edgeward.agent.inference_service import CONTENTS, DTYPES, SERVICE
from edgeward.proto import open_inference_pb2 as messages

from .test_edge_service import sealed_result

X = np.arange(4, dtype=np.float32)

# Field numbers as the protocol's specification has them.
NUMBERS = {
    "ModelInferRequest": {
        "model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "inputs": 5, "outputs": 6,
        "raw_input_contents": 7,
    },
    "ModelInferResponse": {
        "model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "outputs": 5,
        "raw_output_contents": 6,
    },
    "InferTensorContents": {
        "bool_contents": 1, "int_contents": 2, "int64_contents": 3, "uint_contents": 4,
        "uint64_contents": 5, "fp32_contents": 6, "fp64_contents": 7, "bytes_contents": 8,
    },
    "ModelMetadataResponse": {
        "name": 1, "versions": 2, "platform": 3, "inputs": 4, "outputs": 5,
    },
    "ServerMetadataResponse": {"name": 1, "version": 2, "extensions": 3},
    "ModelReadyRequest": {"name": 1, "version": 2},
}  # fmt: skip


@pytest.fixture
def call(agent, latest):
    """Calls the service by a method's name and its request's fields."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"unix:{agent.socket}", options) as channel:

        def called(method, **fields):
            request = getattr(messages, f"{method}Request")(**fields)
            stub = channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=getattr(messages, f"{method}Response").FromString,
            )
            return stub(request, timeout=60)

        yield called


def tensor(name="x", datatype="FP32", shape=(4,), **fields):
    kind = messages.ModelInferRequest.InferInputTensor
    return kind(name=name, datatype=datatype, shape=shape, **fields)


@pytest.mark.parametrize("name", NUMBERS)
def test_the_numbers_are_the_protocols(name):
    fields = getattr(messages, name).DESCRIPTOR.fields
    assert {field.name: field.number for field in fields} == NUMBERS[name]


def test_the_server_is_live_and_ready_and_has_a_name(call):
    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name="steady").ready
    metadata = call("ServerMetadata")
    assert (metadata.name, metadata.version) == ("edgeward", __version__)


def test_a_model_is_described(call):
    metadata = call("ModelMetadata", name="steady")
    (described,) = metadata.inputs
    assert (described.name, described.datatype, list(described.shape)) == ("x", "FP32", [4])
    assert len(metadata.outputs) == 1
    (version,) = metadata.versions
    assert call("ModelReady", name="steady", version=version).ready


def test_raw_tensors_are_answered_raw(call):
    reply = call(
        "ModelInfer", model_name="steady", id="7", inputs=[tensor()],
        raw_input_contents=[X.tobytes()],
    )  # fmt: skip
    (content,) = reply.raw_output_contents
    assert np.array_equal(np.frombuffer(content, "<f4"), sealed_result(X).reshape(-1))
    assert (reply.id, reply.outputs[0].datatype) == ("7", "FP32")
    assert not reply.outputs[0].HasField("contents")


def test_typed_contents_are_answered_typed(call):
    contents = messages.InferTensorContents(fp32_contents=X.tolist())
    reply = call("ModelInfer", model_name="steady", inputs=[tensor(contents=contents)])
    assert not reply.raw_output_contents
    values = np.array(reply.outputs[0].contents.fp32_contents, np.float32)
    assert np.array_equal(values, sealed_result(X).reshape(-1))


def typed(**fields):
    return messages.InferTensorContents(**fields)


WRONG = {
    "no input": ({"inputs": []}, "INVALID_ARGUMENT", 'inputs: expected "x", each once, got none'),
    "another name": (
        {"inputs": [tensor("y")]}, "INVALID_ARGUMENT", 'expected "x", each once, got "y"',
    ),
    "strings": (
        {"inputs": [tensor(datatype="BYTES")]}, "INVALID_ARGUMENT",
        'input "x": expected FP32, got BYTES: strings are not served',
    ),
    "another type": (
        {"inputs": [tensor(datatype="INT8")]}, "INVALID_ARGUMENT", "expected FP32, got INT8",
    ),
    "no type": (
        {"inputs": [tensor(datatype="F")]}, "INVALID_ARGUMENT", 'expected FP32, got datatype "F"',
    ),
    "another shape": (
        {"inputs": [tensor(shape=[5])]}, "INVALID_ARGUMENT", "expected shape [4], got [5]",
    ),
    "too few bytes": (
        {"inputs": [tensor()], "raw_input_contents": [b"123"]}, "INVALID_ARGUMENT",
        "expected 16 bytes for float32 [4], got 3",
    ),
    "more raw contents than inputs": (
        {"inputs": [tensor()], "raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT",
        "raw_input_contents: expected 1, one an input, got 2",
    ),
    "another field": (
        {"inputs": [tensor(contents=typed(int_contents=[1, 2, 3, 4]))]}, "INVALID_ARGUMENT",
        "expected fp32_contents, got int_contents",
    ),
    "too few values": (
        {"inputs": [tensor(contents=typed(fp32_contents=[1.0]))]}, "INVALID_ARGUMENT",
        "expected 16 bytes for float32 [4], got 4",
    ),
    "another output": (
        {"inputs": [tensor()], "raw_input_contents": [X.tobytes()],
         "outputs": [messages.ModelInferRequest.InferRequestedOutputTensor(name="z")]},
        "INVALID_ARGUMENT", 'got "z"',
    ),
    "another model": ({"model_name": "nobody"}, "NOT_FOUND", 'alias "nobody"'),
    "another version": ({"model_version": "0"}, "NOT_FOUND", 'got "0"'),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told(call, case):
    fields, status, text = WRONG[case]
    with pytest.raises(grpc.RpcError) as error:
        call("ModelInfer", **{"model_name": "steady", **fields})
    assert error.value.code().name == status
    assert text in error.value.details()


def test_each_type_but_fp16_has_typed_contents():
    assert set(DTYPES.values()) - CONTENTS.keys() == {"float16"}
