"""The `edgeward` command: arguments in, text or one JSON document out, an exit status at the end.

A table of commands, and the only file that prints. A command is a module with `add(parser)` and
`run(args) -> Outcome`, imported when it is used. What users are promised: docs/cli.md.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import math
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from edgeward import __version__
from edgeward.errors import BadInput, EdgewardError, OutOfMemory
from edgeward.outcome import Outcome

STATUS_SYSTEM = 5
STATUS_DEFECT = 70
STATUS_INTERRUPTED = 128 + 2
STATUS_BROKEN_PIPE = 128 + 13


class Command(NamedTuple):
    name: str
    description: str
    examples: str  # one a line
    module: str


COMMANDS = (
    Command(
        "demo",
        "Seal the shipped model, open it, read handwritten digits: how well and how fast.",
        "edgeward demo\nedgeward demo --engine onnx\nedgeward demo --png mistakes.png",
        "edgeward.commands.demo",
    ),
    Command(
        "inspect",
        "Show what a model takes and gives and which engine runs it, or what a package holds.",
        "edgeward inspect model.tflite\nedgeward inspect model.onnx --json\n"
        "edgeward inspect person-2.1.ewp",
        "edgeward.commands.inspect",
    ),
    Command(
        "predict",
        "Run a model once, on tensors from files.",
        "edgeward predict model.tflite cat.jpg\n"
        "edgeward predict model.tflite features.npy -o scores.npy\n"
        "edgeward predict model.onnx left=a.npy right=b.npy -o outputs.npz\n"
        "edgeward predict model.tflite frame.raw --dtype int8 --shape 1,49,10,1\n"
        "edgeward predict person-2.1.ewp frame.jpg --trust edgeward-keys/trust",
        "edgeward.commands.predict",
    ),
    Command(
        "bench",
        "Measure a model: latency, throughput and memory.",
        "edgeward bench model.tflite --vs\nedgeward bench model.onnx --threads 1,2 --png chart.png",
        "edgeward.commands.bench",
    ),
    Command(
        "doctor",
        "Tell which engines work on this machine, and what to do.",
        "edgeward doctor\nedgeward doctor --json",
        "edgeward.commands.doctor",
    ),
    Command(
        "keygen",
        "Make keys: of a trust root, a publisher and a device.",
        "edgeward keygen\nedgeward keygen factory --algorithm ecdsa-p256\n"
        "edgeward keygen --device camera7.key",
        "edgeward.commands.keygen",
    ),
    Command(
        "seal",
        "Sign a model into a package, and encrypt it for devices.",
        "edgeward seal model.tflite -o cat-1.ewp --name cat --version 1\n"
        "edgeward seal model.onnx -o cat-1.ewp --name cat --version 1 "
        "--encrypt-to edgeward-keys/device.pub\n"
        "edgeward seal model.tflite -o cat-1.ewp --name cat --version 1 --golden cases.npz "
        "--reference calibration.npz --card card.md --labels labels.txt",
        "edgeward.commands.seal",
    ),
    Command(
        "verify",
        "Check whether this device may run a package, and that it answers right.",
        "edgeward verify cat-1.ewp\nedgeward verify cat-1.ewp --run --trust edgeward-keys/trust",
        "edgeward.commands.verify",
    ),
    Command(
        "resign",
        "Sign a package anew, with other keys.",
        "edgeward resign cat-1.ewp -o cat.ewp --key new.key\n"
        "edgeward resign cat-1.ewp -o cat.ewp --key second.key --add",
        "edgeward.commands.resign",
    ),
    Command(
        "wrap",
        "Change which devices can open an encrypted package.",
        "edgeward wrap cat-1.ewp --to camera7.pub camera8.pub\n"
        "edgeward wrap cat-1.ewp --remove camera7.pub",
        "edgeward.commands.wrap",
    ),
    Command(
        "root",
        "Make and change trust roots: which keys may sign packages.",
        "edgeward root init root.json --key root1.key --key root2.key --threshold 2\n"
        "edgeward root add-key root.json team.pub --role publisher:team --prefix camera-\n"
        "edgeward root rotate root.json --days 365\n"
        "edgeward root revoke root.json stolen.pub\n"
        "edgeward root accept root.json",
        "edgeward.commands.root",
    ),
    Command(
        "captures",
        "Look at what was captured, and take it elsewhere.",
        "edgeward captures ls captures\nedgeward captures show captures --last 5\n"
        "edgeward captures export captures --to parquet -o captures.parquet\n"
        "edgeward captures stats captures --against cat-1.ewp\n"
        "edgeward captures recover captures\nedgeward captures drain captures",
        "edgeward.commands.captures",
    ),
)

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
    """What understands `words`; a command that they do not name lacks its arguments."""
    program = _Parser(
        prog="edgeward",
        description="Run machine-learning models on the edge.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    program.add_argument("--version", action="version", version=f"edgeward {__version__}")
    parsers = program.add_subparsers(metavar="COMMAND", required=True)
    name = next((word for word in words if not word.startswith("-")), None)
    for command in COMMANDS:
        command_parser = parsers.add_parser(
            command.name,
            help=command.description[0].lower() + command.description[1:-1],
            description=command.description,
            epilog="examples:\n" + textwrap.indent(command.examples, "  "),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.name == name:
            module = importlib.import_module(command.module)
            module.add(command_parser)
            command_parser.set_defaults(run=module.run)
    return program


class _Parser(argparse.ArgumentParser):
    """Takes --json at every level; raises wrong use as BadInput, so that JSON reports it too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,  # a step's own default would undo its command's --json
            help="print one JSON document",
        )

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {self.prog} --help)")


def _run(words: Sequence[str]) -> int:
    try:
        args = parser(words).parse_args(words)
    except SystemExit as end:  # --help and --version have printed
        return int(end.code or 0)
    outcome: Outcome = args.run(args)
    if "json" in args:
        _print_json(outcome.report)
    else:
        print(outcome.text)
    return outcome.status


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
