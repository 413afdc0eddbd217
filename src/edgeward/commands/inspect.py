"""`edgeward inspect`: what a model takes and gives and who runs it, or what a package holds."""

import argparse

from edgeward import Package, load_unsigned
from edgeward.commands.options import add_engine
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports import inspection, package_report


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a .tflite, .onnx, .ort or .ewp file")
    add_engine(parser, "the one for this kind of file")


def run(args: argparse.Namespace) -> Outcome:
    if is_package(args.model):
        report = package_report.report(Package.unverified(args.model))
        hint = "no signature was checked: edgeward verify tells whether this may run here"
        return Outcome(report, f"{package_report.text(report)}\n\n{hint}")
    with load_unsigned(args.model, engine=args.engine) as model:
        model.trim()  # what tells who runs the nodes is compiled anew
        report = inspection.report(args.model, model)
    return Outcome(report, inspection.text(report))
