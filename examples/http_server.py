"""A model behind HTTP: POST an array in numpy's format, get one back.

    MODEL="$PWD/model.tflite" gunicorn --workers 2 --chdir examples http_server:application
    curl --data-binary @x.npy http://127.0.0.1:8000/ -o y.npy

Each worker loads the model at its first request, which is after the fork: a model from before the
fork cannot be used in a child. One that cannot be loaded is the answer, with status 500, and is
tried again at the next request.
"""

import io
import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

import edgeward as ew

MOST_BYTES = 16 << 20


@cache
def model() -> ew.Model:
    return ew.load_unsigned(os.environ["MODEL"])


def refusal(start: Callable[..., Any], status: str, reason: object) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{reason}\n".encode()]


def array_of(content: bytes) -> Any:
    try:
        return np.load(io.BytesIO(content))
    except (ValueError, EOFError, OSError):
        raise ew.BadInput("body: expected an array in .npy, got other bytes") from None


def application(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    size = int(environment.get("CONTENT_LENGTH") or 0)
    if size > MOST_BYTES:
        reason = f"body: expected at most {MOST_BYTES} bytes, got {size}"
        return refusal(start, "413 Content Too Large", reason)
    try:
        loaded = model()
    except (ew.EdgewardError, OSError) as error:
        return refusal(start, "500 Internal Server Error", error)
    try:
        output = loaded.predict(array_of(environment["wsgi.input"].read(size)))
    except ew.BadInput as error:
        return refusal(start, "400 Bad Request", error)
    body = io.BytesIO()
    if isinstance(output, dict):
        np.savez(body, **output)
    else:
        np.save(body, output)
    start("200 OK", [("Content-Type", "application/octet-stream")])
    return [body.getvalue()]
