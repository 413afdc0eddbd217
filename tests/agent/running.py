"""An agent in a process of its own, known to be ready by what it tells its service manager."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CORE = "sagemaker_edge_core_"
LIMIT_S = 60


class Running:
    """`edgeward agent` with `arguments`, until the end of the block; a list of its log lines after.

    The socket is `directory / "agent.sock"` where the arguments say so.
    """

    def __init__(self, directory: Path, *arguments: object, **environment: str) -> None:
        self.directory = directory
        self.socket = str(directory / "agent.sock")
        self.arguments = [str(argument) for argument in arguments]
        # The path of a socket is short, and that of a test's directory need not be.
        self._notices = tempfile.TemporaryDirectory(prefix="ew")
        address = f"{self._notices.name}/notify"
        self._notifier = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notifier.bind(address)
        self.environment = {
            **os.environ,
            "NOTIFY_SOCKET": address,
            "XDG_STATE_HOME": str(directory / "state"),
            "STATE_DIRECTORY": str(directory / "state"),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONFAULTHANDLER": "1",  # what its threads do, when a signal kills it
            **environment,
        }

    def __enter__(self) -> Running:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._notifier.close()
        self._notices.cleanup()

    def start(self) -> None:
        """Returns when the agent is ready."""
        self.launch()
        assert self.notice() == "READY=1", self.output

    def launch(self) -> None:
        self.log = open(self.directory / "agent.log", "ab")  # noqa: SIM115 - the child's
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgeward", "agent", *self.arguments],
            stdout=self.log,
            stderr=self.log,
            env=self.environment,
            cwd=self.directory,
        )
        self.log.close()

    def tells_within(self, time_s: float) -> bool:
        """Whether `notice` would return at once, after at most `time_s`."""
        return bool(select.select([self._notifier], [], [], time_s)[0])

    def notice(self) -> str:
        """What the agent tells next; the text of its log when it ends instead."""
        for _ in range(LIMIT_S * 10):
            if select.select([self._notifier], [], [], 0.1)[0]:
                return self._notifier.recv(4096).decode()
            if self.process.poll() is not None:
                return f"ended with {self.process.returncode}"
        return "nothing"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal; the exit status. An agent that does not end shows its threads."""
        self.process.send_signal(number)
        try:
            status = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(LIMIT_S)
            raise AssertionError(f"signal {number}: expected an end, got {self.output}") from None
        with contextlib.suppress(BlockingIOError):
            while self._notifier.recv(4096, socket.MSG_DONTWAIT):
                pass
        return status

    @property
    def output(self) -> str:
        return (self.directory / "agent.log").read_text()


def edge_manager_file(directory: Path, **settings: Any) -> Path:
    """A file as the quick-setup tool writes it, with `settings` by the end of their keys."""
    document = {
        CORE + "device_name": "camera7",
        CORE + "device_fleet_name": "shop",
        CORE + "region": "us-west-2",
        CORE + "root_certs_path": "trust",
        "sagemaker_edge_provider_provider": "Aws",
        "sagemaker_edge_provider_s3_bucket_name": "sagemaker-shop",
        CORE + "capture_data_destination": "Disk",
        CORE + "capture_data_disk_path": str(directory / "captures"),
        CORE + "folder_prefix": "sme-capture",
        CORE + "capture_data_buffer_size": "30",
        CORE + "capture_data_batch_size": 1,
        CORE + "capture_data_push_period_seconds": 1,
        CORE + "capture_data_base64_embed_limit": 3072,
        **{CORE + key: value for key, value in settings.items()},
    }
    path = directory / "agent.json"
    path.write_text(json.dumps(document))
    return path
