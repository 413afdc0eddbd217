"""The program of a worker: it holds the engines, and runs models for the agent's front.

`python -m edgeward.agent.worker N`: N is the descriptor of a pair of sockets to the front. It ends
when the front does. Orders and replies are JSON, one message each; a lane of each model is served
by a thread of its own.
"""

import ctypes
import json
import os
import select
import signal
import socket
import sys
import threading
from typing import Any

import numpy as np

from edgeward import _core
from edgeward.agent.lane import ANSWER, CALL, Lane, LaneClosed
from edgeward.engines.installed import AUTO
from edgeward.errors import BadInput, EdgewardError
from edgeward.model import load, load_unsigned

MOST_ORDER_BYTES = 1 << 17  # a message of these sockets has room for so much
MOST_DESCRIPTORS = 2 * 64
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves orders until the front closes its end."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the front, too
    control = socket.socket(fileno=int(sys.argv[1]))
    if has_hung_up(control):  # the front ended before prctl told the kernel to end this process
        return
    models: dict[str, _core.Model] = {}
    while True:
        message, numbers, _, _ = socket.recv_fds(control, MOST_ORDER_BYTES, MOST_DESCRIPTORS)
        if not message:
            return
        order = json.loads(message)
        try:
            reply = obey(order, numbers, models)
        except (OSError, EdgewardError, MemoryError) as error:
            reply = {"error": facts_of(error)}
        content = json.dumps(reply).encode()
        if len(content) > MOST_ORDER_BYTES:
            text = f"model: expected a description of {MOST_ORDER_BYTES} bytes, got {len(content)}"
            content = json.dumps({"error": {"code": "unsupported_model", "text": text}}).encode()
        control.send(content)


def has_hung_up(control: socket.socket) -> bool:
    poll = select.poll()
    poll.register(control, 0)  # which reports a hang-up alone
    return bool(poll.poll(0))


def obey(order: dict[str, Any], numbers: list[int], models: dict[str, _core.Model]) -> Any:
    """Loads a model and serves its lanes, or lets one go."""
    if "unload" in order:
        models.pop(order["unload"]).close()
        return {}
    lanes = [
        Lane(socket.socket(fileno=connection), memory, order["most_bytes"])
        for connection, memory in zip(numbers[::2], numbers[1::2], strict=True)
    ]
    try:
        model = opened(order)
    except BaseException:
        for lane in lanes:
            lane.close()
        raise
    models[order["key"]] = model
    for lane in lanes:
        threading.Thread(target=serve, args=(lane, model), daemon=True).start()
    return {
        "name": model.name,
        "version": model.version,
        "inputs": [[spec.name, spec.dtype, spec.shape] for spec in model.inputs],
        "outputs": [[spec.name, spec.dtype, spec.shape] for spec in model.outputs],
    }


def opened(order: dict[str, Any]) -> _core.Model:
    """A bare model only where the order has no trust directory: the file may change meanwhile."""
    if order["trust"] is None:
        return load_unsigned(order["path"], engine=AUTO, threads=order["threads"])
    return load(order["path"], engine=AUTO, trust=order["trust"], threads=order["threads"])


def serve(lane: Lane, model: _core.Model) -> None:
    """Answers the calls of one lane until either end is closed."""
    fixed = [
        (spec.shape, spec.dtype)
        for spec in model.outputs
        if spec.shape is not None and -1 not in spec.shape
    ]
    is_fixed = len(fixed) == len(model.outputs)
    names = [spec.name for spec in model.outputs]
    last, inputs, outputs = b"", {}, []
    try:
        while True:
            message = lane.receive()
            try:
                if message != last or not is_fixed:
                    inputs = inputs_of(model, lane.take(message, CALL))
                    if is_fixed:
                        outputs = lane.lay(fixed, lane.end)
                    last = message
                if is_fixed:
                    model.predict(inputs, out=dict(zip(names, outputs, strict=True)))
                else:
                    outputs = run_open(lane, model, inputs, names)
                lane.send(ANSWER, outputs)
            except (EdgewardError, MemoryError) as error:
                lane.send_error(facts_of(error))
    except LaneClosed:
        lane.close()


def inputs_of(model: _core.Model, arrays: list[Any]) -> dict[str, Any]:
    if len(arrays) != len(model.inputs):
        raise BadInput(f"tensors: expected {len(model.inputs)} inputs, got {len(arrays)}")
    return {spec.name: array for spec, array in zip(model.inputs, arrays, strict=True)}


def run_open(lane: Lane, model: _core.Model, inputs: dict[str, Any], names: list[str]) -> list[Any]:
    """Runs a model whose outputs have sizes that the run decides, and copies them into the lane."""
    result = model.predict(inputs)
    results = [result[name] for name in names] if isinstance(result, dict) else [result]
    outputs = lane.lay([(array.shape, array.dtype) for array in results], lane.end)
    for output, array in zip(outputs, results, strict=True):
        np.copyto(output, array)
    return outputs


def facts_of(error: BaseException) -> dict[str, Any]:
    """An exception as the front can raise it again."""
    if isinstance(error, EdgewardError):
        return {"code": error.code, "text": str(error)}
    if isinstance(error, OSError):
        return {"errno": error.errno, "text": error.strerror, "file": error.filename}
    return {"code": None, "text": str(error)}


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, ConnectionResetError):  # the front has ended
        os._exit(0)
