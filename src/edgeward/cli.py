"""The `edgeward` command: arguments in, text or one JSON document out, an exit status at the end.

The only file that stands on all the others. A command is a function from its arguments to a status;
main() alone turns failures into messages. What users are promised: docs/cli.md.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgeward import __version__
from edgeward.engines.engine import KINDS
from edgeward.errors import BadInput, EdgewardError, OutOfMemory
from edgeward.packages.package import is_package

if TYPE_CHECKING:
    from edgeward import Model, Signature
    from edgeward.inputs.tensor_file import Tensor
    from edgeward.outcome import Outcome

STATUS_SYSTEM = 5
STATUS_DEFECT = 70
STATUS_INTERRUPTED = 128 + 2
STATUS_BROKEN_PIPE = 128 + 13


EXAMPLES = """\
examples:
  edgeward demo                           read handwritten digits
  edgeward inspect model.tflite           what it takes, and who runs it
  edgeward predict model.tflite cat.jpg   run it once on a picture
  edgeward bench model.tflite --vs        how fast, beside the engine's own API
  edgeward doctor                         which engines work here, and why not
  edgeward keygen                         keys to sign and encrypt models with
  edgeward seal model.tflite -o cat-1.ewp --name cat --version 1
  edgeward verify cat-1.ewp --run         may it run here, and does it answer right
  edgeward resign cat-1.ewp -o cat.ewp --key new.key
  edgeward wrap cat-1.ewp --to camera7.pub
  edgeward root add-key root.json team.pub --role publisher:team
  edgeward captures show captures         what a program captured

exit status:
  0 done             1 the answer is no    2 bad input or wrong use
  3 a bad model      4 an engine problem   5 the system refused
  6 not trusted      130 interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A file name or tensor name that the terminal cannot show must not end the program.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            status = _run(words)
        except EdgewardError as error:
            status = _fail(words, error.code, str(error), error.exit_status)
        except MemoryError:
            message = "the system has no more memory"
            status = _fail(words, OutOfMemory.code, message, OutOfMemory.exit_status)
        except BrokenPipeError:
            raise
        except OSError as error:
            status = _fail(words, "system", _os_message(error), STATUS_SYSTEM)
        except Exception:
            traceback.print_exc()
            status = STATUS_DEFECT
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return STATUS_INTERRUPTED
    except BrokenPipeError:
        # The reader has enough. The interpreter flushes once more at exit: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STATUS_BROKEN_PIPE


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """What understands `words`; a command that they do not hold may lack its arguments."""
    whole = _Parser(
        prog="edgeward",
        description="Run machine-learning models on the edge.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"edgeward {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)

    demo = _add(
        commands,
        "demo",
        "Seal the shipped model, open it, read handwritten digits: how well and how fast.",
        "edgeward demo\nedgeward demo --engine onnx\nedgeward demo --png mistakes.png",
    )
    demo.add_argument("--engine", choices=tuple(KINDS), help="default: litert")
    demo.add_argument("--png", metavar="FILE", type=Path, help="draw all mistakes")
    demo.set_defaults(run=_demo)

    inspect = _add(
        commands,
        "inspect",
        "Show what a model takes and gives and which engine runs it, or what a package holds.",
        "edgeward inspect model.tflite\nedgeward inspect model.onnx --json\n"
        "edgeward inspect person-2.1.ewp",
    )
    inspect.add_argument("model", metavar="MODEL", help="a .tflite, .onnx, .ort or .ewp file")
    inspect.add_argument(
        "--engine", choices=tuple(KINDS), help="default: the one for this kind of file"
    )
    inspect.set_defaults(run=_inspect)

    predict = _add(
        commands,
        "predict",
        "Run a model once, on tensors from files.",
        "edgeward predict model.tflite cat.jpg\n"
        "edgeward predict model.tflite features.npy -o scores.npy\n"
        "edgeward predict model.onnx left=a.npy right=b.npy -o outputs.npz\n"
        "edgeward predict model.tflite frame.raw --dtype int8 --shape 1,49,10,1\n"
        "edgeward predict person-2.1.ewp frame.jpg --trust edgeward-keys/trust",
    )
    predict.add_argument("model", metavar="MODEL", help="a .tflite, .onnx, .ort or .ewp file")
    predict.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="FILE or NAME=FILE: .npy, .npz, a picture, or raw bytes in .bin or .raw",
    )
    predict.add_argument("-o", "--output", metavar="OUT", type=Path, help="a .npz or .npy file")
    predict.add_argument(
        "--engine", choices=tuple(KINDS), help="default: the one for this kind of file"
    )
    predict.add_argument("--threads", type=_positive, metavar="N", help="engine threads")
    predict.add_argument("--dtype", help="element type of raw files (default: the input's)")
    predict.add_argument("--shape", type=_shape, help="shape of raw files (default: the input's)")
    predict.add_argument("--signature", metavar="NAME", help="which signature (default: the first)")
    predict.add_argument(
        "--trust",
        metavar="DIR",
        type=Path,
        help="of a package: the trust directory (default: $EDGEWARD_TRUST or "
        "/var/lib/edgeward/trust)",
    )
    predict.add_argument(
        "--key", metavar="FILE", type=Path, help="of a package: the device's private key"
    )
    predict.set_defaults(run=_predict)

    measure = _add(
        commands,
        "bench",
        "Measure a model: latency, throughput and memory.",
        "edgeward bench model.tflite --vs\nedgeward bench model.onnx --threads 1,2 --png chart.png",
    )
    if "bench" in words:  # to import it takes longer than most commands run
        from edgeward.commands import bench

        bench.add_arguments(measure)
        measure.set_defaults(run=bench.run)

    doctor = _add(
        commands,
        "doctor",
        "Tell which engines work on this machine, and what to do.",
        "edgeward doctor\nedgeward doctor --json",
    )
    doctor.set_defaults(run=_doctor)

    keygen = _add(
        commands,
        "keygen",
        "Make keys: of a trust root, a publisher and a device.",
        "edgeward keygen\nedgeward keygen factory --algorithm ecdsa-p256\n"
        "edgeward keygen --device camera7.key",
    )
    seal = _add(
        commands,
        "seal",
        "Sign a model into a package, and encrypt it for devices.",
        "edgeward seal model.tflite -o cat-1.ewp --name cat --version 1\n"
        "edgeward seal model.onnx -o cat-1.ewp --name cat --version 1 "
        "--encrypt-to edgeward-keys/device.pub\n"
        "edgeward seal model.tflite -o cat-1.ewp --name cat --version 1 --golden cases.npz "
        "--reference calibration.npz --card card.md --labels labels.txt",
    )
    verify = _add(
        commands,
        "verify",
        "Check whether this device may run a package, and that it answers right.",
        "edgeward verify cat-1.ewp\nedgeward verify cat-1.ewp --run --trust edgeward-keys/trust",
    )
    resign = _add(
        commands,
        "resign",
        "Sign a package anew, with other keys.",
        "edgeward resign cat-1.ewp -o cat.ewp --key new.key\n"
        "edgeward resign cat-1.ewp -o cat.ewp --key second.key --add",
    )
    wrap = _add(
        commands,
        "wrap",
        "Change which devices can open an encrypted package.",
        "edgeward wrap cat-1.ewp --to camera7.pub camera8.pub\n"
        "edgeward wrap cat-1.ewp --remove camera7.pub",
    )
    root = _add(
        commands,
        "root",
        "Make and change trust roots: which keys may sign packages.",
        "edgeward root init root.json --key root1.key --key root2.key --threshold 2\n"
        "edgeward root add-key root.json team.pub --role publisher:team --prefix camera-\n"
        "edgeward root rotate root.json --days 365\n"
        "edgeward root revoke root.json stolen.pub\n"
        "edgeward root accept root.json",
    )
    captures = _add(
        commands,
        "captures",
        "Look at what was captured, and take it elsewhere.",
        "edgeward captures ls captures\nedgeward captures show captures --last 5\n"
        "edgeward captures export captures --to parquet -o captures.parquet\n"
        "edgeward captures stats captures --against cat-1.ewp\n"
        "edgeward captures recover captures\nedgeward captures drain captures",
    )
    if {"seal", "verify", "resign", "wrap"} & set(words):
        from edgeward.commands import package_commands as packages

        for command, add, made in (
            (seal, packages.add_seal, packages.seal),
            (verify, packages.add_verify, packages.verify),
            (resign, packages.add_resign, packages.resign),
            (wrap, packages.add_wrap, packages.wrap),
        ):
            add(command)
            command.set_defaults(run=partial(_show, made))
    if {"keygen", "root"} & set(words):
        from edgeward.commands import key_commands

        key_commands.add_keygen(keygen)
        keygen.set_defaults(run=partial(_show, key_commands.keygen))
        key_commands.add_root(root)
        root.set_defaults(run=partial(_show, key_commands.root))
    if "captures" in words:
        from edgeward.commands import capture_commands

        capture_commands.add_captures(captures)
        captures.set_defaults(run=partial(_show, capture_commands.captures))

    for command in (
        demo, inspect, predict, doctor, keygen, seal, verify, resign, wrap, root, captures
    ):  # fmt: skip
        command.add_argument("--json", action="store_true", help="print one JSON document")
    return whole


class _Parser(argparse.ArgumentParser):
    """Wrong use is a BadInput like any other, so that --json can report it."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {self.prog} --help)")


def _run(words: Sequence[str]) -> int:
    try:
        args = parser(words).parse_args(words)
    except SystemExit as end:  # --help and --version have printed
        return int(end.code or 0)
    status: int = args.run(args)
    return status


def _add(
    commands: argparse._SubParsersAction[_Parser], name: str, description: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=description[0].lower() + description[1:-1],
        description=description,
        epilog="examples:\n" + textwrap.indent(examples, "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = (-1,)
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f'expected sizes such as 1,49,10,1, got "{text}"')
    return sizes


# --- commands --------------------------------------------------------------------------------


def _show(command: Callable[[argparse.Namespace], Outcome], args: argparse.Namespace) -> int:
    outcome = command(args)
    if args.json:
        _print_json(outcome.report)
    else:
        print(outcome.text)
    return outcome.status


def _demo(args: argparse.Namespace) -> int:
    import tempfile

    from edgeward.commands import demo
    from edgeward.terminal import picture

    if args.png is not None:
        picture.pillow_image()  # says so now if it is missing, not after the work
    digits = demo.load_digits()
    with tempfile.TemporaryDirectory(prefix="edgeward-demo-") as place:
        model, sealed = demo.open_sealed(Path(place), digits, args.engine)
        captured = demo.capture(Path(place), digits, args.engine)
    with model:
        report = demo.report(model, sealed, digits, demo.measure(model, digits), captured)
    if args.png is not None:
        picture.write_contact_sheet(args.png, demo.sheet_title(report), demo.tiles(report, digits))
        report["png"] = str(args.png)
    if args.json:
        _print_json(report)
        return 0
    ink = picture.ink(sys.stdout, os.environ)
    print(demo.text(report, digits, shutil.get_terminal_size().columns, ink))
    if args.png is not None:
        print(f"\nall {len(report['mistakes'])} mistakes are in {args.png}")
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from edgeward import Package, load_unsigned
    from edgeward.reports import inspection

    if is_package(args.model):
        from edgeward.reports import package_report

        held = package_report.report(Package.unverified(args.model))
        if args.json:
            _print_json(held)
        else:
            print(package_report.text(held))
            print(
                "\nnobody has vouched for this yet: edgeward verify tells whether it may run here"
            )
        return 0
    with load_unsigned(args.model, engine=args.engine) as model:
        report = inspection.report(args.model, model)
    if args.json:
        _print_json(report)
    else:
        print(inspection.text(report))
    return 0


def _predict(args: argparse.Namespace) -> int:
    from edgeward.inputs import tensor_file
    from edgeward.reports import inspection

    with _opened(args) as model:
        signature = _signature(model, args.signature)
        if args.output is not None:
            tensor_file.expect_writable(args.output, [spec.name for spec in signature.outputs])
        tensors = tensor_file.read(args.inputs, signature.inputs, args.dtype, args.shape)
        outputs = _outputs(model, signature, tensors)
        engine = inspection.engine_report(model)
    if args.output is not None:
        tensor_file.write(args.output, outputs)
    if args.json:
        values = {
            spec.name: inspection.values_report(spec, outputs[spec.name])
            for spec in signature.outputs
        }
        document = {"model": args.model, "engine": engine, "signature": signature.name}
        _print_json({**document, "outputs": values})
    elif args.output is not None:
        print(f"wrote {args.output}")
    else:
        line = "━" if "utf" in (sys.stdout.encoding or "").lower() else "="
        texts = [
            inspection.values_text(spec, outputs[spec.name], line) for spec in signature.outputs
        ]
        print("\n\n".join(texts))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from edgeward.commands import doctor

    report = doctor.report()
    if args.json:
        _print_json(report)
    else:
        print(doctor.text(report))
    return 0 if report["is_ready"] else 1


# --- parts of them ---------------------------------------------------------------------------


def _opened(args: argparse.Namespace) -> Model:
    """The model that `predict` is to run, from a package or from a bare file."""
    from edgeward import load, load_unsigned

    if is_package(args.model):
        return load(
            args.model, trust=args.trust, key=args.key, engine=args.engine, threads=args.threads
        )
    if args.trust is not None or args.key is not None:
        raise BadInput(f"{args.model}: expected a package with --trust or --key, got a bare model")
    return load_unsigned(args.model, engine=args.engine, threads=args.threads)


def _signature(model: Model, name: str | None) -> Signature:
    """The signature called `name`, or the first. Throws BadInput."""
    if name is None:
        return next(iter(model.signatures.values()))
    if name not in model.signatures:
        known = ", ".join(f'"{known}"' for known in model.signatures)
        raise BadInput(f'option "--signature": expected one of {known}, got "{name}"')
    return model.signatures[name]


def _outputs(model: Model, signature: Signature, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One run of `signature`, the outputs by name. Throws as Model.predict does."""
    if signature.name != next(iter(model.signatures)):
        return _outputs_of_session(model, signature, tensors)
    answer = model.predict(tensors)
    return answer if isinstance(answer, dict) else {signature.outputs[0].name: answer}


def _outputs_of_session(
    model: Model, signature: Signature, tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    import numpy as np

    names = [spec.name for spec in signature.inputs]
    if set(tensors) != set(names):
        raise BadInput(f"signature {signature.name}: expected inputs {names}, got {list(tensors)}")
    with model.session(signature.name) as session:
        dynamic = [spec.name for spec in signature.inputs if -1 in spec.shape]
        session.resize({name: tensors[name].shape for name in dynamic})
        for name, view in session.inputs.items():
            tensor = tensors[name]
            if (tensor.dtype, tensor.shape) != (view.dtype, view.shape):
                raise BadInput(
                    f'input "{name}": expected {view.dtype} {list(view.shape)}, '
                    f"got {tensor.dtype} {list(tensor.shape)}"
                )
            np.copyto(view, tensor)
        session.run()
        return {name: view.copy() for name, view in session.outputs.items()}


def _print_json(document: object) -> None:
    """One JSON document. What JSON has no number for is spelled: "NaN", "Infinity", "-Infinity"."""
    print(json.dumps(_spelled(document), indent=2, allow_nan=False))


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    if isinstance(value, complex):
        return [_spelled(value.real), _spelled(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _fail(words: Sequence[str], code: str, message: str, status: int) -> int:
    sys.stdout.flush()
    print(f"edgeward: {code}: {message}", file=sys.stderr)
    if "--json" in words:
        _print_json({"error": {"code": code, "message": message}})
    return status


def _os_message(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        reason += ": let this user read or write it, or run as its owner"
    return ": ".join(str(part) for part in (error.filename, reason) if part)
