"""A service that predicts and captures, as gunicorn, uvicorn and celery run it in their workers.

Each process loads the model and makes a Capture for the directory that all share when it is first
asked. With $SERVED_EARLY the process that forks the workers has done so already, and each worker
loads anew into the same names, as the error Forked advises.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from models import tflite_models

import edgeward as ew

DIRECTORY = Path(os.environ["SERVED_DIRECTORY"])


class Service:
    """The model of this process. `answer` may be asked in any process, by one thread."""

    def __init__(self) -> None:
        self._model: ew.Model | None = None
        self._capture: ew.Capture | None = None

    def load(self) -> None:
        capture = ew.Capture(DIRECTORY / "captures")
        self._model = ew.load_unsigned(tflite_models.add((4,)), capture=capture)
        self._capture = capture
        self._predict(0)  # a run before the first request

    def answer(self, number: float) -> float:
        if self._model is None:
            self.load()
        try:
            return self._predict(number)
        except ew.Forked:
            self.load()
        return self._predict(number)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.close()

    def _predict(self, number: float) -> float:
        assert self._model is not None
        return float(self._model.predict(np.full(4, number, np.float32))[0])


service = Service()
if os.environ.get("SERVED_EARLY"):
    service.load()


def answer(path: str) -> bytes:
    """What the model says to the number in the path, and the process that asked it."""
    return f"{service.answer(float(path.strip('/')))} {os.getpid()}".encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = answer(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], receive: Any, send: Callable[..., Awaitable[None]]) -> None:
    if scope["type"] != "http":
        return
    body = answer(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
