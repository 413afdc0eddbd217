"""The agent's log: a line for each event on standard output, as text or as JSON.

Nothing here waits for whoever reads it: lines that a pipe or a socket has no room for are counted,
and the next line that it has room for is preceded by one that says how many.
"""

import json
import logging
import os
import select
import sys
import time

LEVELS = {"DEBUG": "D", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "E"}


def start(form: str, is_verbose: bool) -> None:
    """Sends what the agent's modules log to standard output, in `form` "text" or "json"."""
    if sys.stdout is None:  # it was closed when the process began
        return
    handler = Lines(sys.stdout.fileno(), sys.stdout.encoding)
    handler.setFormatter(JsonLine() if form == "json" else TextLine())
    log = logging.getLogger("edgeward.agent")
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.DEBUG if is_verbose else logging.INFO)


class Lines(logging.Handler):
    """Writes each record to a descriptor, as far as it has room. Any thread."""

    def __init__(self, number: int, encoding: str) -> None:
        super().__init__()
        self._number = number
        self._encoding = encoding
        self._room = select.poll()
        self._room.register(number, select.POLLOUT)
        self._lost_count = 0
        self._is_cut = False  # the last line that was written lacks its end

    def emit(self, record: logging.LogRecord) -> None:
        """The lock of logging is held."""
        if self._lost_count:
            text = "%d lines of the log were lost: nobody read those before them"
            values = {"msg": text, "args": (self._lost_count,), "levelname": "WARNING"}
            note = logging.makeLogRecord({**record.__dict__, **values, "exc_info": None})
            if not self._write(note):
                self._lost_count += 1
                return
            self._lost_count = 0
        if not self._write(record):
            self._lost_count += 1

    def _write(self, record: logging.LogRecord) -> bool:
        """Whether all of the record's line is written."""
        line = f"{self.format(record)}\n".encode(self._encoding, "backslashreplace")
        rest = memoryview(b"\n" + line if self._is_cut else line)
        while rest:
            if not self._room.poll(0):
                return False
            try:
                # Of a pipe that polls as writable, this much does not block: pipe(7).
                size_bytes = os.write(self._number, rest[: select.PIPE_BUF])
            except OSError:  # a full disk, or a reader that has gone
                return False
            rest = rest[size_bytes:]
            self._is_cut = len(rest) > 0
        return True


class TextLine(logging.Formatter):
    """[2026-05-01T21:03:09.120][I] message, on one line, the time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"[{_moment(record)}][{LEVELS[record.levelname]}] {_message(self, record)}"
        return line.replace("\n", " | ")


class JsonLine(logging.Formatter):
    """One JSON object: time, level, part, message."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": _moment(record) + "Z",
                "level": record.levelname.lower(),
                "part": record.name.rpartition(".")[2],
                "message": _message(self, record),
            }
        )


def _moment(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03}"


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.exc_info:
        message += "\n" + formatter.formatException(record.exc_info)
    return message
