"""The Edge Manager agent's gRPC service: each call decodes, asks one object, encodes.

Its clients were compiled against three revisions of the messages, and all find what they know:
a model has its alias as name and as handle, and tensor names are UTF-8.
"""

from typing import Any

import grpc

from edgeward.agent import answering
from edgeward.agent.alias import alias_of
from edgeward.agent.answering import encoded
from edgeward.agent.calls import Calls
from edgeward.agent.capture_intake import CaptureIntake
from edgeward.agent.capture_request import captured, require_id
from edgeward.agent.loaded_models import LoadedModel, LoadedModels
from edgeward.agent.peer import Peer
from edgeward.agent.refusal import Refusal, of_running
from edgeward.agent.wire_tensor import inputs_by_name, response
from edgeward.agent.worker_process import DeadlinePassed, WorkerGone
from edgeward.errors import EdgewardError
from edgeward.proto import edge_manager_pb2 as messages

SERVICE = "AWS.SageMaker.Edge.Agent"
MOST_SEGMENT_BYTES = 1 << 30  # of one tensor


class EdgeService:
    """The calls. Any thread, any number at once."""

    def __init__(self, models: LoadedModels, intake: CaptureIntake | None) -> None:
        self._models = models
        self._intake = intake  # None on a device without a capture directory

    def handler(self, calls: Calls) -> grpc.GenericRpcHandler:
        """The calls by their names, for a grpc.Server."""
        methods = {
            "Predict": (self.predict, messages.PredictRequest),
            "LoadModel": (self.load_model, messages.LoadModelRequest),
            "UnLoadModel": (self.unload_model, messages.UnLoadModelRequest),
            "ListModels": (self.list_models, messages.ListModelsRequest),
            "DescribeModel": (self.describe_model, messages.DescribeModelRequest),
            "CaptureData": (self.capture_data, messages.CaptureDataRequest),
            "GetCaptureDataStatus": (self.capture_status, messages.GetCaptureDataStatusRequest),
        }
        return answering.handler(SERVICE, methods, calls)

    def predict(self, request: Any, caller: Peer) -> bytes:
        loaded = self._models.model(alias_of(request.name, request.handle))
        with loaded.counts.prediction():
            return self._predicted(loaded, request, caller)

    def _predicted(self, loaded: LoadedModel, request: Any, caller: Peer) -> bytes:
        model = loaded.model
        arrays = inputs_by_name(request.tensors, model.inputs, caller.uid, MOST_SEGMENT_BYTES)
        names = [facts.name for facts in model.outputs]
        try:
            return model.run(arrays, lambda outputs: response(names, outputs))
        except (EdgewardError, MemoryError, WorkerGone, DeadlinePassed) as error:
            raise of_running(error) from error

    def load_model(self, request: Any, caller: Peer) -> bytes:
        try:
            _require_admin(caller)
            alias = alias_of(request.name, request.handle)
            loaded = self._models.load(alias, _url_of(request))
        except Refusal as refusal:
            raise Refusal(refusal.status, without_digit_6(refusal.text)) from refusal
        return encoded(messages.LoadModelResponse(model=loaded.message))

    def unload_model(self, request: Any, caller: Peer) -> bytes:
        _require_admin(caller)
        self._models.unload(alias_of(request.name, request.handle))
        return b""

    def list_models(self, request: Any, caller: Peer) -> bytes:
        return self._models.listing

    def describe_model(self, request: Any, caller: Peer) -> bytes:
        loaded = self._models.model(alias_of(request.name, request.handle))
        return encoded(messages.DescribeModelResponse(model=loaded.message))

    def capture_data(self, request: Any, caller: Peer) -> bytes:
        loaded = self._models.model(alias_of(request.model_name, request.model_handle))
        require_id(request.capture_id)
        intake = self._require_intake()
        intake.require_room(request.capture_id)
        with intake.copying() as claim:
            most_bytes = intake.buffering.most_bytes
            intake.accept(captured(request, loaded, caller.uid, most_bytes, claim))
        return b""

    def capture_status(self, request: Any, caller: Peer) -> bytes:
        require_id(request.capture_id)
        state = self._require_intake().state(request.capture_id)
        if state is None:
            text = f'capture_id "{request.capture_id}": expected one that is remembered'
            raise Refusal(grpc.StatusCode.NOT_FOUND, text)
        return encoded(messages.GetCaptureDataStatusResponse(status=state))

    def _require_intake(self) -> CaptureIntake:
        if self._intake is None:
            text = "captures: expected a capture directory in the agent's configuration, got none"
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, text)
        return self._intake


def without_digit_6(text: str) -> str:
    """The text with another spelling of the digit 6.

    A client in the field takes any error of LoadModel whose text has a 6, the number of
    ALREADY_EXISTS, for a model that is loaded already.
    """
    return text.replace("6", "\N{FULLWIDTH DIGIT SIX}")


def _url_of(request: Any) -> str:
    if not request.url or "\0" in request.url:
        text = "url: expected the path of a package or of its folder, got none"
        raise Refusal(grpc.StatusCode.NOT_FOUND, text)
    url: str = request.url
    return url


def _require_admin(caller: Peer) -> None:
    if not caller.may_admin:
        text = "load and unload: expected a call on the admin socket, got one on the data socket"
        raise Refusal(grpc.StatusCode.PERMISSION_DENIED, text)
