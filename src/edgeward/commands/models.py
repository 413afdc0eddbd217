"""`edgeward models`: the models that the agent of this device serves."""

import argparse
import os
from typing import Any

from edgeward.commands.steps import require_step
from edgeward.outcome import Outcome

STEPS = {
    "ls": "what the agent serves",
    "load": "a PACKAGE, to be called ALIAS",
    "unload": "ALIAS",
    "describe": "the inputs and outputs of ALIAS",
}


def add(parser: argparse.ArgumentParser) -> None:
    add_socket(parser)
    help = "; ".join(f"{step}: {what}" for step, what in STEPS.items())
    parser.add_argument("step", choices=STEPS, metavar="STEP", nargs="?", help=help)
    parser.add_argument("alias", nargs="?", metavar="ALIAS", help="what clients call the model")
    parser.add_argument(
        "package", nargs="?", metavar="PACKAGE", help="load: a package, or a folder with one"
    )
    require_step(parser, "refuse", list(STEPS))


def add_socket(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-a",
        "--address",
        metavar="SOCKET",
        help="of the agent (default: $EDGEWARD_AGENT_ADMIN_SOCKET or /run/edgeward/admin.sock)",
    )


def run(args: argparse.Namespace) -> Outcome:
    from edgeward.agent.agent_client import AgentSaysNo, admin_socket, edge_manager_call

    if args.step is None:
        args.refuse(args)
    _require_arguments(args)
    socket = admin_socket(args.address)
    try:
        if args.step == "ls":
            models = edge_manager_call(socket, "ListModels").models
            return _listed([_report(model) for model in models])
        if args.step == "unload":
            edge_manager_call(socket, "UnLoadModel", handle=args.alias)
            return Outcome({"alias": args.alias}, f"{args.alias}: unloaded")
        if args.step == "load":
            # The agent has a working directory of its own.
            url = os.path.abspath(args.package)
            answer = edge_manager_call(socket, "LoadModel", handle=args.alias, url=url)
        else:
            answer = edge_manager_call(socket, "DescribeModel", handle=args.alias)
    except AgentSaysNo as error:
        report = {"status": error.status, "message": str(error)}
        return Outcome(report, f"{error.status}: {error}", 1)
    report = _report(answer.model)
    return Outcome(report, _text(report))


def _require_arguments(args: argparse.Namespace) -> None:
    from edgeward.errors import BadInput

    wanted = {"ls": 0, "load": 2}.get(args.step, 1)
    words = [word for word in (args.alias, args.package) if word is not None]
    if len(words) != wanted:
        nouns = ("ALIAS", "PACKAGE")[:wanted]
        expected = " and ".join(nouns) or "nothing more"
        raise BadInput(
            f"models {args.step}: expected {expected}, got {' '.join(words) or 'nothing'}"
        )


def _report(model: Any) -> dict[str, Any]:
    from edgeward.agent.wire_tensor import DTYPES

    def tensors(all_metadata: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": metadata.name.decode("utf-8", "replace"),
                "dtype": DTYPES.get(metadata.data_type, str(metadata.data_type)),
                "shape": list(metadata.shape),
            }
            for metadata in all_metadata
        ]

    return {
        "alias": model.handle,
        "url": model.url,
        "inputs": tensors(model.input_tensor_metadatas),
        "outputs": tensors(model.output_tensor_metadatas),
    }


def _listed(reports: list[dict[str, Any]]) -> Outcome:
    lines = [f"{report['alias']:24} {report['url']}" for report in reports]
    return Outcome({"models": reports}, "\n".join(lines) or "no model is loaded")


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['alias']}: {report['url']}"]
    for side in ("inputs", "outputs"):
        for tensor in report[side]:
            shape = ", ".join(map(str, tensor["shape"]))
            lines.append(f"  {side[:-1]:6}  {tensor['name']}  {tensor['dtype']} [{shape}]")
    return "\n".join(lines)
