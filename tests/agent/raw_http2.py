"""A client that is no gRPC library: it sends what frames of HTTP/2 it wants to, and may stop."""

from __future__ import annotations

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def headers(path: str) -> bytes:
    """Literal fields without Huffman's code: RFC 7541, 6.2.2."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
        "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    return b"".join(
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


class Connection:
    """One connection to the agent. `window` is how many bytes of each reply it takes."""

    def __init__(self, path: str, window: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        settings = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self._stream = -1

    def begin(self, method: str) -> int:
        """The headers of a call, and nothing else; its stream."""
        self._stream += 2
        path = f"/AWS.SageMaker.Edge.Agent/{method}"
        self.socket.sendall(frame(HEADERS, END_HEADERS, self._stream, headers(path)))
        return self._stream

    def message(self, stream: int, content: bytes) -> None:
        """The request of a call, which ends with it."""
        prefixed = struct.pack(">BI", 0, len(content)) + content
        self.socket.sendall(frame(DATA, END_STREAM, stream, prefixed))

    def close(self) -> None:
        self.socket.close()
