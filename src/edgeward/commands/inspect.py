"""`edgeward inspect`: what a model takes and gives and who runs it, or what a package holds."""

import argparse

from edgeward import Package, load_unsigned
from edgeward.commands.named_model import opener, require_bare
from edgeward.commands.options import add_engine, add_trust
from edgeward.errors import BadInput
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports import inspection, package_report
from edgeward.schema import signatures_report


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a .tflite, .onnx, .ort or .ewp file")
    add_engine(parser, "the one for this kind of file")
    parser.add_argument(
        "--run",
        dest="opens",
        action="store_true",
        help="open a package as this device does, to see what runs it",
    )
    add_trust(parser)


def run(args: argparse.Namespace) -> Outcome:
    if is_package(args.model):
        report = package_report.report(Package.unverified(args.model))
        if args.opens:
            with opener(args, commit=False)(None) as model:
                model.trim()
                report |= {
                    "engine": inspection.engine_report(model),
                    "is_stateful": model.is_stateful,
                    "signatures": signatures_report(model),
                }
            ran = "\n".join(inspection.engine_lines(report))
            return Outcome(report, f"{package_report.text(report)}\n\n{ran}")
        if args.trust is not None or args.key is not None:
            raise BadInput(f"{args.model}: expected --run with --trust or --key, got none")
        hint = "no signature was checked: edgeward verify tells whether this may run here"
        return Outcome(report, f"{package_report.text(report)}\n\n{hint}")
    require_bare(args)
    with load_unsigned(args.model, engine=args.engine) as model:
        model.trim()  # what tells who runs the nodes is compiled anew
        report = inspection.report(args.model, model)
    return Outcome(report, inspection.text(report))
