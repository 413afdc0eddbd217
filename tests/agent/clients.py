"""Clients of the Edge Manager agent in its three revisions, from the service's field table alone.

Each revision's messages are built here from `FIELDS`, in a pool of their own, so that nothing of
the product's own definition is used. A: tensor names are strings, no handles. B: they are bytes.
C: handles too, and another name for auxiliary data.
"""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "AWS.SageMaker.Edge"
METHODS = (
    "Predict", "LoadModel", "UnLoadModel", "ListModels", "DescribeModel",
    "CaptureData", "GetCaptureDataStatus",
)  # fmt: skip
ENUMS = {
    "DataType": ["UINT8", "INT16", "INT32", "INT64", "FLOAT16", "FLOAT32", "FLOAT64"],
    "Encoding": ["CSV", "JSON", "NONE", "BASE64"],
    "CaptureDataStatus": ["FAILURE", "SUCCESS", "IN_PROGRESS", "NOT_FOUND"],
}

# Message: fields as "number name type", "*" for repeated, "|" for one of `data`, "C:" where only
# revision C has it. NAME and AUX are the types that differ between revisions.
FIELDS = {
    "TensorMetadata": "1 name NAME; 2 data_type DataType; 3 shape *int32",
    "SharedMemoryHandle": "1 size uint64; 2 offset uint64; 3 segment_id uint64",
    "Tensor": "1 tensor_metadata TensorMetadata; 4 byte_data |bytes; "
    "5 shared_memory_handle |SharedMemoryHandle",
    "Model": "1 url string; 2 name string; 3 input_tensor_metadatas *TensorMetadata; "
    "4 output_tensor_metadatas *TensorMetadata; C:5 handle string",
    "PredictRequest": "1 name string; 2 tensors *Tensor; C:3 handle string",
    "PredictResponse": "1 tensors *Tensor",
    "LoadModelRequest": "1 url string; 2 name string; C:3 handle string",
    "LoadModelResponse": "1 model Model",
    "UnLoadModelRequest": "1 name string; C:2 handle string",
    "UnLoadModelResponse": "",
    "ListModelsRequest": "",
    "ListModelsResponse": "1 models *Model",
    "DescribeModelRequest": "1 name string; C:2 handle string",
    "DescribeModelResponse": "1 model Model",
    "AUX": "1 name string; 2 encoding Encoding; 3 byte_data |bytes; "
    "4 shared_memory_handle |SharedMemoryHandle",
    "CaptureDataRequest": "1 model_name string; 2 capture_id string; "
    "3 inference_timestamp Timestamp; 4 input_tensors *Tensor; 5 output_tensors *Tensor; "
    "6 inputs *AUX; 7 outputs *AUX; C:8 model_handle string",
    "CaptureDataResponse": "",
    "GetCaptureDataStatusRequest": "1 capture_id string",
    "GetCaptureDataStatusResponse": "1 status CaptureDataStatus",
    "Timestamp": "1 seconds int64; 2 nanos int32",
}
REVISIONS = "ABC"
FLOAT32 = 5


class Messages:
    """The message classes of one revision, as attributes."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self._types = {
            "NAME": "string" if revision == "A" else "bytes",
            "AUX": "AuxiliaryData" if revision == "C" else "AuxilaryData",
        }
        file = descriptor_pb2.FileDescriptorProto(
            name=f"agent_{revision}.proto", package=PACKAGE, syntax="proto3"
        )
        for name, values in ENUMS.items():
            enum = file.enum_type.add(name=name)
            for number, value in enumerate(values):
                enum.value.add(name=value, number=number)
        for name, fields in FIELDS.items():
            message = file.message_type.add(name=self._types.get(name, name))
            for field in filter(None, fields.split("; ")):
                self._add_field(message, field)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        classes = message_factory.GetMessageClassesForFiles([file.name], pool)
        for name, kind in classes.items():
            setattr(self, name.rpartition(".")[2], kind)
        self.Auxiliary = getattr(self, self._types["AUX"])

    def _add_field(self, message: Any, text: str) -> None:
        if text.startswith("C:") and self.revision != "C":
            return
        number, name, kind = text.removeprefix("C:").split(" ")
        field = message.field.add(name=name, number=int(number))
        field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
        if kind.startswith("|"):
            if not message.oneof_decl:
                message.oneof_decl.add(name="data")
            field.oneof_index = 0
        kind = kind.strip("*|")
        kind = self._types.get(kind, kind)
        if kind in ENUMS:
            field.type, field.type_name = field.TYPE_ENUM, f".{PACKAGE}.{kind}"
        elif kind in FIELDS or kind == self._types["AUX"]:
            field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
        else:
            field.type = getattr(field, f"TYPE_{kind.upper()}")


class Client:
    """One channel to an agent, and its calls: `client.LoadModel(url=..., name=...)`."""

    def __init__(self, socket: str, revision: str = "C", most_bytes: int = 1 << 30) -> None:
        self.messages: Any = Messages(revision)
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", most_bytes),
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
        ]
        self.channel = grpc.insecure_channel(f"unix:{socket}", options=options)
        for method in METHODS:
            request = getattr(self.messages, f"{method}Request")
            response = getattr(self.messages, f"{method}Response")
            call = self.channel.unary_unary(
                f"/{PACKAGE}.Agent/{method}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            setattr(self, method, self._calling(call, request))

    @staticmethod
    def _calling(call: Any, request: Any) -> Any:
        return lambda **fields: call(request(**fields), timeout=60)

    def text(self, name: str) -> Any:
        """A tensor's name as this revision has it."""
        return name if self.messages.revision == "A" else name.encode()

    def metadata(self, name: str, shape: Any, data_type: int = FLOAT32) -> Any:
        return self.messages.TensorMetadata(name=self.text(name), data_type=data_type, shape=shape)

    def tensor(self, array: np.ndarray[Any, Any], name: str = "a", data_type: int = FLOAT32) -> Any:
        return self.messages.Tensor(
            tensor_metadata=self.metadata(name, array.shape, data_type), byte_data=array.tobytes()
        )

    def close(self) -> None:
        self.channel.close()


def refused(call: Any, **fields: Any) -> tuple[str, str]:
    """The name of the status and the text with which a call ends that must end badly."""
    try:
        call(**fields)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"expected a status, got an answer to {fields}")


def array_of(tensor: Any) -> np.ndarray[Any, Any]:
    """As clients read a reply: by its shape."""
    assert tensor.tensor_metadata.data_type == FLOAT32
    return np.frombuffer(tensor.byte_data, "<f4").reshape(tensor.tensor_metadata.shape)
