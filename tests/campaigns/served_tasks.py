"""The service of served.py as a task of celery, whose broker and results are files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery, signals

FOLDERS = ("queue", "control", "results")


def celery_in(directory: Path) -> Celery:
    """The application whose queue is in `directory`, for those who ask and those who answer."""
    queue, control, results = (str(directory / name) for name in FOLDERS)
    for folder in (queue, control, results):
        os.makedirs(folder, exist_ok=True)
    app = Celery("served", broker="filesystem://", backend=f"file://{results}")
    app.conf.update(
        broker_transport_options={
            "data_folder_in": queue,
            "data_folder_out": queue,
            "control_folder": control,
            "polling_interval": 0.01,
        },
        worker_prefetch_multiplier=1,
    )
    return app


if "SERVED_DIRECTORY" in os.environ:  # in a worker
    from served import DIRECTORY, service

    app = celery_in(DIRECTORY)

    @app.task(name="answer")
    def answer(number: float) -> float:
        return service.answer(number)

    @signals.worker_process_shutdown.connect
    def _close(**_: Any) -> None:
        """A worker of the pool ends by os._exit, which runs nothing that the interpreter would."""
        service.close()
