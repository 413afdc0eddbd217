"""What the agent counts, in the text format of Prometheus, over HTTP.

The text is written here: a device then installs no client library for a dozen counters. On a unix
socket the rules of the data socket hold; a port of the machine itself has none.
"""

import http.server
import socket
import socketserver
import threading
from collections.abc import Iterator
from itertools import accumulate

from edgeward import __version__
from edgeward.agent import public_socket
from edgeward.agent.call_counts import LIMITS_S
from edgeward.agent.capture_intake import CaptureIntake
from edgeward.agent.configuration import is_port
from edgeward.agent.door import Rules
from edgeward.agent.loaded_models import LoadedModels

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATH = "/metrics"
REQUEST_S = 5.0


def text(models: LoadedModels, intake: CaptureIntake | None) -> str:
    """All counters now."""
    return "".join(f"{line}\n" for line in _lines(models, intake))


def _lines(models: LoadedModels, intake: CaptureIntake | None) -> Iterator[str]:
    yield from _family("edgeward_info", "gauge", "The agent's version.")
    yield f'edgeward_info{{version="{__version__}"}} 1'
    counted = [(loaded.load.alias, loaded, loaded.counts.now()) for loaded in models.all()]
    yield from _family("edgeward_model_up", "gauge", "Whether a model serves.")
    for alias, loaded, _ in counted:
        yield f'edgeward_model_up{{model="{alias}"}} {int(not loaded.model.health.why_down)}'
    for alias in sorted(models.failed):
        yield f'edgeward_model_up{{model="{alias}"}} 0'
    yield from _family("edgeward_worker_restarts_total", "counter", "Workers started again.")
    for alias, loaded, _ in counted:
        restarts = loaded.model.health.restarts
        yield f'edgeward_worker_restarts_total{{model="{alias}"}} {restarts}'
    yield from _family("edgeward_prediction_errors_total", "counter", "Predictions that failed.")
    for alias, _, counts in counted:
        for status, count in sorted(counts.failures.items()):
            labels = f'model="{alias}",status="{status}"'
            yield f"edgeward_prediction_errors_total{{{labels}}} {count}"
    yield from _family("edgeward_prediction_seconds", "histogram", "What predictions took.")
    for alias, _, counts in counted:
        limits = (*(f"{limit_s:g}" for limit_s in LIMITS_S), "+Inf")
        for limit, count in zip(limits, accumulate(counts.bins), strict=True):
            yield f'edgeward_prediction_seconds_bucket{{model="{alias}",le="{limit}"}} {count}'
        yield f'edgeward_prediction_seconds_sum{{model="{alias}"}} {counts.total_s:.9g}'
        yield f'edgeward_prediction_seconds_count{{model="{alias}"}} {counts.predictions}'
    if intake is not None:
        report = intake.report()
        yield from _family("edgeward_captures_stored_total", "counter", "Captures on the disk.")
        yield f"edgeward_captures_stored_total {report['stored']}"
        yield from _family("edgeward_captures_waiting", "gauge", "Captures in memory.")
        yield f"edgeward_captures_waiting {report['waiting']}"
        yield from _family("edgeward_uploads_total", "counter", "Files that the store has.")
        yield f"edgeward_uploads_total {intake.uploads}"


def _family(name: str, kind: str, meaning: str) -> tuple[str, str]:
    return f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"


class Page(http.server.BaseHTTPRequestHandler):
    """Answers one request; `server` is the Metrics whose text it shows."""

    server: "Metrics"
    timeout = REQUEST_S

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"expected {PATH}")
            return
        content = text(self.server.models, self.server.intake).encode()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a scrape is no event."""

    def address_string(self) -> str:
        return ""  # of a unix socket there is none


class Metrics(socketserver.TCPServer):
    """Serves from the moment it is made until `close`, one request at a time.

    `address` is HOST:PORT with a loopback host, or the path of a socket. Raises Busy, OSError.
    """

    def __init__(
        self,
        address: str,
        rules: Rules,
        replaces: bool,
        models: LoadedModels,
        intake: CaptureIntake | None,
    ) -> None:
        self.models = models
        self.intake = intake
        self._rules = rules
        self._path = None if is_port(address) else address
        super().__init__(("", 0), Page, bind_and_activate=False)
        self.socket.close()
        if self._path is None:
            host, _, port = address.rpartition(":")
            host = host.strip("[]")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.socket = socket.create_server((host, int(port)), family=family)
        else:
            self.socket = public_socket.listening(self._path, rules.socket_mode, replaces)
            self._identity = public_socket.identity_of(self._path)
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        if self._path is not None:
            public_socket.remove(self._path, self._identity)

    def verify_request(self, request: object, client_address: object) -> bool:
        """Whether the one who is connected may come in, as at the data socket."""
        if self._path is None:
            return True
        assert isinstance(request, socket.socket)
        return self._rules.let_in(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: the one who asked has gone."""
