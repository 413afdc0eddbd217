"""The Open Inference Protocol over gRPC, for clients of Triton and KServe: models by their alias.

Tensors are raw, little-endian, or typed contents; an answer has the form of its request. The types
that the protocol has and Edge Manager's service lacks go by the same names in both.
"""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from edgeward import __version__
from edgeward.agent import answering
from edgeward.agent.alias import alias_of
from edgeward.agent.answering import encoded
from edgeward.agent.calls import Calls
from edgeward.agent.loaded_models import LoadedModel, LoadedModels
from edgeward.agent.peer import Peer
from edgeward.agent.refusal import Refusal, invalid, of_running
from edgeward.agent.wire_tensor import fits, from_bytes
from edgeward.agent.worker_process import DeadlinePassed, TensorFacts, WorkerGone
from edgeward.errors import EdgewardError
from edgeward.proto import open_inference_pb2 as messages

SERVICE = "inference.GRPCInferenceService"
PLATFORM = "edgeward"
BYTES = "BYTES"
DTYPES = {
    "BOOL": "bool", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}
CONTENTS = {  # the field of typed contents; FP16 has none
    "bool": "bool_contents", "int8": "int_contents", "int16": "int_contents",
    "int32": "int_contents", "int64": "int64_contents", "uint8": "uint_contents",
    "uint16": "uint_contents", "uint32": "uint_contents", "uint64": "uint64_contents",
    "float32": "fp32_contents", "float64": "fp64_contents",
}  # fmt: skip

Answer = Callable[[Sequence[NDArray[Any]]], bytes]


class InferenceService:
    """The calls. Any thread, any number at once."""

    def __init__(self, models: LoadedModels) -> None:
        self._models = models

    def handler(self, calls: Calls) -> grpc.GenericRpcHandler:
        """The calls by their names, for a grpc.Server."""
        methods = {
            "ServerLive": (self.server_live, messages.ServerLiveRequest),
            "ServerReady": (self.server_ready, messages.ServerReadyRequest),
            "ModelReady": (self.model_ready, messages.ModelReadyRequest),
            "ServerMetadata": (self.server_metadata, messages.ServerMetadataRequest),
            "ModelMetadata": (self.model_metadata, messages.ModelMetadataRequest),
            "ModelInfer": (self.model_infer, messages.ModelInferRequest),
        }
        return answering.handler(SERVICE, methods, calls)

    def server_live(self, request: Any, caller: Peer) -> bytes:
        return encoded(messages.ServerLiveResponse(live=True))

    def server_ready(self, request: Any, caller: Peer) -> bytes:
        is_ready = not self._models.failed and all(map(_serves, self._models.all()))
        return encoded(messages.ServerReadyResponse(ready=is_ready))

    def model_ready(self, request: Any, caller: Peer) -> bytes:
        return encoded(messages.ModelReadyResponse(ready=_serves(self._model(request, "name"))))

    def server_metadata(self, request: Any, caller: Peer) -> bytes:
        return encoded(messages.ServerMetadataResponse(name=PLATFORM, version=__version__))

    def model_metadata(self, request: Any, caller: Peer) -> bytes:
        model = self._model(request, "name").model
        answer = messages.ModelMetadataResponse(
            name=request.name,
            versions=[model.version] if model.version else [],
            platform=PLATFORM,
        )
        for described, specs in ((answer.inputs, model.inputs), (answer.outputs, model.outputs)):
            for spec in specs:
                described.add(
                    name=_text(spec.name), datatype=DATATYPES[spec.dtype], shape=spec.shape or ()
                )
        return encoded(answer)

    def model_infer(self, request: Any, caller: Peer) -> bytes:
        loaded = self._model(request, "model_name")
        with loaded.counts.prediction():
            arrays = _inputs(request, loaded.model.inputs)
            answer = _answer(request, loaded)
            try:
                return loaded.model.run(arrays, answer)
            except (EdgewardError, MemoryError, WorkerGone, DeadlinePassed) as error:
                raise of_running(error) from error

    def _model(self, request: Any, field: str) -> LoadedModel:
        """The model that a request names. Raises Refusal NOT_FOUND also for another version."""
        alias = alias_of(getattr(request, field), "")
        loaded = self._models.model(alias)
        version = request.version if field == "name" else request.model_version
        if version not in ("", loaded.model.version):
            expected = f'version "{loaded.model.version}"' if loaded.model.version else "no version"
            text = f'model "{alias}": expected {expected}, got "{version}"'
            raise Refusal(grpc.StatusCode.NOT_FOUND, text)
        return loaded


def _serves(loaded: LoadedModel) -> bool:
    return not loaded.model.health.why_down


def _text(name: str) -> str:
    """A tensor's name in UTF-8, also where the model's own is not valid text."""
    return name.encode("utf-8", "replace").decode()


def _inputs(request: Any, specs: Sequence[TensorFacts]) -> dict[str, NDArray[Any]]:
    """The arrays of a request by the model's names, in its order. Raises Refusal."""
    is_raw = bool(request.raw_input_contents)
    if is_raw and len(request.raw_input_contents) != len(request.inputs):
        got = f"{len(request.raw_input_contents)}"
        raise invalid("raw_input_contents", f"{len(request.inputs)}, one an input", got)
    tensors = {tensor.name: index for index, tensor in enumerate(request.inputs)}
    names = [_text(spec.name) for spec in specs]
    if len(request.inputs) != len(specs) or tensors.keys() != set(names):
        expected = ", ".join(f'"{name}"' for name in names)
        got = ", ".join(f'"{tensor.name}"' for tensor in request.inputs) or "none"
        raise invalid("inputs", f"{expected}, each once", got)
    arrays = {}
    for spec, name in zip(specs, names, strict=True):
        index = tensors[name]
        raw = request.raw_input_contents[index] if is_raw else None
        arrays[spec.name] = _input(request.inputs[index], raw, spec)
    return arrays


def _input(tensor: Any, raw: bytes | None, spec: TensorFacts) -> NDArray[Any]:
    noun = f'input "{tensor.name}"'
    if (got := DTYPES.get(tensor.datatype)) != spec.dtype:
        expected = DATATYPES[spec.dtype]
        if tensor.datatype == BYTES:
            raise invalid(noun, expected, f"{BYTES}: strings are not served")
        raise invalid(noun, expected, (got and tensor.datatype) or f'datatype "{tensor.datatype}"')
    shape = tuple(tensor.shape)
    if "shared_memory_region" in tensor.parameters:
        raise invalid(noun, "its bytes in the request", "a region of shared memory")
    if not fits(shape, spec.shape):
        raise invalid(noun, f"shape {list(spec.shape or ())}", f"{list(shape)}")
    if raw is not None:
        return from_bytes(raw, noun, spec.dtype, shape)
    return _typed(tensor.contents, noun, spec.dtype, shape)


def _typed(contents: Any, noun: str, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
    """The array of typed contents. Raises Refusal for another field, count, or range."""
    field = CONTENTS.get(dtype)
    if field is None:
        raise invalid(noun, "raw_input_contents for FP16", "typed contents")
    others = [item.name for item, _ in contents.ListFields() if item.name != field]
    if others:
        raise invalid(noun, field, others[0])
    values = np.array(getattr(contents, field))
    if values.dtype.kind in "iu" and values.size:
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise invalid(noun, f"{limits.min} to {limits.max}", "another number")
    return from_bytes(values.astype(dtype).tobytes(), noun, dtype, shape)


def _answer(request: Any, loaded: LoadedModel) -> Answer:
    """What makes the response of the outputs that a request asks for. Raises Refusal."""
    specs = loaded.model.outputs
    names = [_text(spec.name) for spec in specs]
    wanted = [output.name for output in request.outputs] or names
    for name in wanted:
        if name not in names:
            expected = ", ".join(f'"{item}"' for item in names)
            raise invalid("outputs", f"of {expected}", f'"{name}"')
    is_raw = bool(request.raw_input_contents)

    def answer(outputs: Sequence[NDArray[Any]]) -> bytes:
        response = messages.ModelInferResponse(
            model_name=request.model_name, model_version=loaded.model.version, id=request.id
        )
        by_name = dict(zip(names, outputs, strict=True))
        is_typed = not is_raw and all(by_name[name].dtype.name in CONTENTS for name in wanted)
        for name in wanted:
            array = by_name[name]
            datatype = DATATYPES[array.dtype.name]
            tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if is_typed:
                field = CONTENTS[array.dtype.name]
                getattr(tensor.contents, field).extend(array.reshape(-1).tolist())
            else:
                response.raw_output_contents.append(array.tobytes())
        return encoded(response)

    return answer
