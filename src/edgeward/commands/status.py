"""`edgeward status`: what the agent of this device is doing now."""

import argparse
from typing import Any

from edgeward.commands.models import add_socket
from edgeward.outcome import Outcome

UNITS_S = ((86_400, "d"), (3600, "h"), (60, "min"))


def add(parser: argparse.ArgumentParser) -> None:
    add_socket(parser)


def run(args: argparse.Namespace) -> Outcome:
    """The status is 1 when a model does not serve, the disk refuses captures or a ring is bad."""
    from edgeward.agent.agent_client import admin_socket, status

    response = status(admin_socket(args.address))
    report = _report(response)
    is_well = all(model["state"] == "serving" for model in report["models"])
    captures = report["captures"]
    is_well = is_well and not (captures and captures["complaint"])
    is_well = is_well and not any(rings["complaint"] for rings in report["rings"])
    return Outcome(report, _text(report), 0 if is_well else 1)


def _report(response: Any) -> dict[str, Any]:
    from edgeward.proto import device_agent_pb2 as messages

    models = [
        {
            "alias": model.alias,
            "url": model.url,
            "name": model.name,
            "version": model.version,
            "state": messages.ModelState.Name(model.state).lower(),
            "reason": model.reason or None,
            "age_s": model.age_s,
            "predictions": model.predictions,
            "failures": model.failures,
            "median_s": model.median_s,
            "p99_s": model.p99_s,
            "restarts": model.restarts,
        }
        for model in response.models
    ]
    captures = None
    if response.HasField("captures"):
        captures = {
            "directory": response.captures.directory,
            "waiting": response.captures.waiting,
            "waiting_bytes": response.captures.waiting_bytes,
            "stored": response.captures.stored,
            "complaint": response.captures.complaint or None,
        }
    rings = [
        {
            "rings": facts.rings,
            "captures": facts.captures or None,
            "records": facts.records,
            "holder": facts.holder or None,
            "complaint": facts.complaint or None,
        }
        for facts in response.rings
    ]
    return {
        "agent_version": response.agent_version,
        "age_s": response.age_s,
        "models": models,
        "captures": captures,
        "rings": rings,
    }


def _text(report: dict[str, Any]) -> str:
    lines = [f"agent {report['agent_version']}, ready for {age(report['age_s'])}"]
    for model in report["models"]:
        line = f"{model['alias']:24} {model['state']:8} {age(model['age_s']):>8}"
        line += f"  {model['predictions']:,} predictions, {model['failures']:,} failed"
        if model["predictions"]:
            line += f", median {model['median_s'] * 1e3:.3g} ms, p99 {model['p99_s'] * 1e3:.3g} ms"
        if model["restarts"]:
            line += f", {model['restarts']} restarts"
        lines.append(line + (f": {model['reason']}" if model["reason"] else ""))
    if captures := report["captures"]:
        line = f"captures: {captures['stored']:,} stored in {captures['directory']}"
        line += f", {captures['waiting']:,} waiting"
        lines.append(line + (f": {captures['complaint']}" if captures["complaint"] else ""))
    for rings in report["rings"]:
        line = f"rings: {rings['records']:,} records brought to {rings['captures'] or 'nowhere'}"
        reason = rings["complaint"] or rings["holder"]
        lines.append(line + (f": {reason}" if reason else ""))
    return "\n".join(lines)


def age(age_s: float) -> str:
    """In the largest unit of which there is one: "3 h"."""
    for unit_s, unit in UNITS_S:
        if age_s >= unit_s:
            return f"{age_s / unit_s:.0f} {unit}"
    return f"{age_s:.0f} s"
