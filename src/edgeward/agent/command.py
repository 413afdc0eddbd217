"""`edgeward agent`: serves the device's models to other programs, until a signal ends it."""

import argparse
import logging
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeward.agent.unit_file import unit
from edgeward.errors import BadInput, EngineMissing
from edgeward.outcome import Outcome

if TYPE_CHECKING:
    from edgeward.agent.ending import Ending
    from edgeward.agent.worker_program import WorkerProgram


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
    settings, file = _settings(args)
    if not args.check:
        from edgeward.agent.ending import Ending

        ending = Ending()  # before the first worker: from then on a signal ends both
        begun = _begun(settings)
    try:
        import grpc  # noqa: F401
        from google import protobuf  # noqa: F401
    except ImportError as error:
        message = f'the agent needs grpcio and protobuf: pip install "edgeward[agent]": {error}'
        raise EngineMissing(message) from None
    if args.check:
        return _checked(settings, file)
    _serve(settings, args.force, ending, begun)
    return Outcome(None, "")


def _begun(settings: Any) -> "list[WorkerProgram]":
    """Workers for the models that a start is going to load first, begun while it imports gRPC."""
    from edgeward.agent import model_table
    from edgeward.agent.configuration import state_directory
    from edgeward.agent.worker_program import WorkerProgram

    programs: list[WorkerProgram] = []
    if settings.workers:
        with suppress(OSError, ValueError):  # each of which the start meets again, and tells
            loads = model_table.read(os.path.join(state_directory(settings), model_table.NAME))
            for _ in loads[: model_table.MOST_OPENING]:
                programs.append(WorkerProgram())
    return programs


def _settings(args: argparse.Namespace) -> tuple[Any, Path | None]:
    """What file, environment and options say together; and the file, if there is one."""
    from dataclasses import replace

    from edgeward.agent import configuration, edge_manager_file, toml_file

    path = args.config or Path(configuration.FILE)
    has_file = args.config is not None or path.exists()
    if path.suffix == ".json":
        if not args.address:
            raise BadInput("-a: expected a socket beside an Edge Manager file, got none")
        settings = edge_manager_file.read(path, args.address)
    elif has_file:
        settings = toml_file.read(path)
    else:
        settings = configuration.Configuration()
    settings = configuration.with_environment(settings, os.environ)
    options: dict[str, Any] = {}
    if args.address:
        options |= {"socket": args.address, "admin_socket": ""}
    if args.max_message is not None:
        options["most_message_bytes"] = args.max_message
    settings = configuration.checked(replace(settings, **options), "options")
    return settings, path if has_file else None


def _checked(settings: Any, file: Path | None) -> Outcome:
    from edgeward.agent.agent import doors_of, opener_of, rings_of, trust_of
    from edgeward.agent.configuration import FILE, state_directory
    from edgeward.agent.loaded_models import LoadedModels

    trust = trust_of(settings)
    doors_of(settings)
    _require_credentials(settings)
    models = LoadedModels(state_directory(settings), opener_of(settings, trust))
    models.restore(None, lambda: False)
    models.close()
    failed = {alias: reason for alias, (_, reason) in models.failed.items()}
    chosen = {  # where a setting is empty, the place that the agent takes
        "state": state_directory(settings),
        "trust": None if trust is None else str(trust.directory),
    }
    if settings.drain:
        chosen["rings"] = rings_of(settings)
    shown = asdict(settings) | chosen
    report = {
        "configuration": None if file is None else str(file.absolute()),
        "settings": shown,
        "models": [loaded.load.alias for loaded in models.all()],
        "failed": failed,
    }
    source = f"none: {FILE} is not there" if file is None else report["configuration"]
    lines = [f"configuration: {source}"]
    lines += [f"{key}: {_shown(value)}" for key, value in shown.items() if key != "notes"]
    lines += settings.notes
    lines += [
        f"model {loaded.load.alias}: {loaded.model.name} {loaded.model.version}"
        for loaded in models.all()
    ]
    lines += [f"model {alias}: {reason}" for alias, reason in failed.items()]
    return Outcome(report, "\n".join(lines), 1 if failed else 0)


def _require_credentials(settings: Any) -> None:
    """Raises BadInput for a file that the configuration names and the agent cannot use."""
    from edgeward.agent.aws_credentials import tls_context
    from edgeward.agent.configuration import CREDENTIALS_FILES
    from edgeward.agent.upload_store import endpoint_of

    for key in CREDENTIALS_FILES:
        try:
            if path := getattr(settings, key):
                open(path, "rb").close()
        except OSError as error:
            message = f'{key}: expected a file to read, got "{path}": {error.strerror}'
            raise BadInput(message) from None
    if endpoint := endpoint_of(settings):
        tls_context(endpoint)


def _shown(value: Any) -> str:
    """A setting as a reader takes it in: lists without Python's signs."""
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _serve(
    settings: Any,
    replaces: bool,
    ending: "Ending",
    begun: "list[WorkerProgram]",
) -> None:
    from edgeward.agent import descriptor_limit, log, service_manager
    from edgeward.agent.agent import Agent

    log.start(settings.log, settings.log_verbose)
    for note in settings.notes:
        logging.getLogger(__name__).info("%s", note)
    descriptor_limit.raise_for(settings)
    passed = service_manager.passed_sockets()
    agent = Agent(settings, passed, replaces, ending.is_asked, begun)
    try:
        service_manager.notify("READY=1")
        period_s = service_manager.watchdog_period_s()
        while not ending.is_asked(None if period_s is None else period_s / 2):
            service_manager.notify("WATCHDOG=1")
        service_manager.notify("STOPPING=1")
    finally:
        agent.close()
        sys.stdout.flush()
