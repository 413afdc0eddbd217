"""`edgeward inspect`: what a model takes and gives and who runs it, or what a package holds."""

import argparse
from contextlib import suppress
from typing import Any

from edgeward import Model, Package
from edgeward.commands.named_model import require_bare
from edgeward.commands.options import add_running_engine, add_trust
from edgeward.errors import BadInput, EngineFailed
from edgeward.model import load_reported, load_unsigned
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports import inspection, package_report
from edgeward.schema import signatures_report


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a .tflite, .onnx, .ort or .ewp file")
    add_running_engine(parser)
    parser.add_argument(
        "--run",
        dest="runs",
        action="store_true",
        help="run it once, on zeros, and show what it holds in memory; a package is opened as this "
        "device does",
    )
    add_trust(parser)


def run(args: argparse.Namespace) -> Outcome:
    if is_package(args.model):
        return _of_package(args)
    require_bare(args)
    # The session that a report leaves behind holds the engine's profile, of some 70 MB.
    load = load_unsigned if args.runs else load_reported
    with load(args.model, engine=args.engine) as model:
        report = inspection.report(args.model, model)
        if args.runs:
            report["memory"] = _memory_after_run(model)
    return Outcome(report, inspection.text(report))


def _of_package(args: argparse.Namespace) -> Outcome:
    report = package_report.report(Package.unverified(args.model))
    if not args.runs:
        if args.trust is not None or args.key is not None:
            raise BadInput(f"{args.model}: expected --run with --trust or --key, got none")
        hint = "no signature was checked: edgeward verify tells whether this may run here"
        return Outcome(report, f"{package_report.text(report)}\n\n{hint}")
    package = Package.open(args.model, trust=args.trust, key=args.key)
    with package.load(engine=args.engine, commit=False) as model:
        report |= {
            "engine": inspection.engine_report(model),
            "is_stateful": model.is_stateful,
            "signatures": signatures_report(model),
            "memory": _memory_after_run(model),
        }
    ran = "\n".join(inspection.engine_lines(report))
    return Outcome(report, f"{package_report.text(report)}\n\n{ran}")


def _memory_after_run(model: Model) -> dict[str, Any]:
    """After a run on zeros, with 1 for each open dimension; before it, where that cannot run."""
    with model.session() as session:
        with suppress(BadInput, EngineFailed):
            session.run()
        return inspection.memory_report(model)
