"""A model behind HTTP: POST an array in numpy's format, get one back.

    MODEL=model.tflite gunicorn --workers 2 --chdir examples http_server:application
    curl --data-binary @x.npy http://127.0.0.1:8000/ -o y.npy

Each worker loads the model at its first request, which is after the fork: a model from before the
fork cannot be used in a child.
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


def application(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    size = int(environment.get("CONTENT_LENGTH") or 0)
    if size > MOST_BYTES:
        start("413 Content Too Large", [])
        return [f"expected at most {MOST_BYTES} bytes, got {size}\n".encode()]
    try:
        output = model().predict(np.load(io.BytesIO(environment["wsgi.input"].read(size))))
    except (ew.BadInput, ValueError, EOFError) as error:
        start("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{error}\n".encode()]
    body = io.BytesIO()
    if isinstance(output, dict):
        np.savez(body, **output)
    else:
        np.save(body, output)
    start("200 OK", [("Content-Type", "application/octet-stream")])
    return [body.getvalue()]
