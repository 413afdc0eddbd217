"""`edgeward agent`: serves the device's models to other programs, until a signal ends it."""

import argparse
import logging
import os
import queue
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeward.agent.unit_file import unit
from edgeward.errors import BadInput, EngineMissing
from edgeward.outcome import Outcome

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        help="agent.toml, or the JSON file of an Edge Manager agent "
        "(default: /etc/edgeward/agent.toml)",
    )
    parser.add_argument("-a", "--address", metavar="SOCKET", help="one socket for every call")
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace a socket file that is in use"
    )
    parser.add_argument(
        "-m", "--max-message", metavar="BYTES", type=int, help="of one gRPC message"
    )
    parser.add_argument("--systemd", action="store_true", help="print a unit file, and end")
    parser.add_argument(
        "--check", action="store_true", help="read the configuration, open trust and models, end"
    )


def run(args: argparse.Namespace) -> Outcome:
    if args.systemd:
        text = unit()
        return Outcome({"unit": text}, text.rstrip())
    try:
        import grpc  # noqa: F401
        from google import protobuf  # noqa: F401
    except ImportError as error:
        message = f'the agent needs grpcio and protobuf: pip install "edgeward[agent]": {error}'
        raise EngineMissing(message) from None
    settings = _settings(args)
    if args.check:
        return _checked(settings)
    _serve(settings, args.force)
    return Outcome(None, "")


def _settings(args: argparse.Namespace) -> Any:
    """What the files, the environment and the options say together."""
    from dataclasses import replace

    from edgeward.agent import configuration, edge_manager_file, toml_file

    path = args.config or Path(configuration.FILE)
    if path.suffix == ".json":
        if not args.address:
            raise BadInput("-a: expected a socket beside an Edge Manager file, got none")
        settings = edge_manager_file.read(path, args.address)
    elif args.config or path.exists():
        settings = toml_file.read(path)
    else:
        settings = configuration.Configuration()
    settings = configuration.with_environment(settings, os.environ)
    options: dict[str, Any] = {}
    if args.address:
        options |= {"socket": args.address, "admin_socket": ""}
    if args.max_message is not None:
        options["most_message_bytes"] = args.max_message
    return configuration.checked(replace(settings, **options), "options")


def _checked(settings: Any) -> Outcome:
    from edgeward.agent.agent import doors_of, opener_of, trust_of
    from edgeward.agent.configuration import state_directory
    from edgeward.agent.loaded_models import LoadedModels

    trust = trust_of(settings)
    doors_of(settings)
    models = LoadedModels(state_directory(settings), opener_of(settings, trust))
    models.restore(None, lambda: False)
    models.close()
    failed = {alias: reason for alias, (_, reason) in models.failed.items()}
    report = {
        "settings": asdict(settings),
        "state": state_directory(settings),
        "trust": None if trust is None else str(trust.directory),
        "models": [loaded.load.alias for loaded in models.all()],
        "failed": failed,
    }
    lines = [f"{key}: {value}" for key, value in asdict(settings).items() if key != "notes"]
    lines += settings.notes
    lines += [
        f"model {loaded.load.alias}: {loaded.model.name} {loaded.model.version}"
        for loaded in models.all()
    ]
    lines += [f"model {alias}: {reason}" for alias, reason in failed.items()]
    return Outcome(report, "\n".join(lines), 1 if failed else 0)


def _serve(settings: Any, replaces: bool) -> None:
    from edgeward.agent import log, service_manager
    from edgeward.agent.agent import Agent

    # A handler may run in the midst of this thread's wait: an Event's lock could then be held.
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: ended.put(number))
    log.start(settings.log, settings.log_verbose)
    for note in settings.notes:
        logging.getLogger(__name__).info("%s", note)
    agent = Agent(settings, service_manager.passed_sockets(), replaces, lambda: not ended.empty())
    try:
        service_manager.notify("READY=1")
        period_s = service_manager.watchdog_period_s()
        while True:
            with suppress(queue.Empty):
                ended.get(timeout=None if period_s is None else period_s / 2)
                break
            service_manager.notify("WATCHDOG=1")
        service_manager.notify("STOPPING=1")
    finally:
        agent.close()
        sys.stdout.flush()
