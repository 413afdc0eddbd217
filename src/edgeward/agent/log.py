"""The agent's log: a line for each event on standard output, as text or as JSON."""

import io
import json
import logging
import sys
import time

LEVELS = {"DEBUG": "D", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "E"}


def start(form: str, is_verbose: bool) -> None:
    """Sends what the agent's modules log to standard output, in `form` "text" or "json"."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # clients' names, whatever the locale
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLine() if form == "json" else TextLine())
    log = logging.getLogger("edgeward.agent")
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.DEBUG if is_verbose else logging.INFO)


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
