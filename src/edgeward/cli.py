"""The `edgeward` command: arguments in, text or one JSON document out, an exit status at the end.

A table of commands, and the only file that prints. A command is a module with `add(parser)` and
`run(args) -> Outcome`, imported when it is used. What users are promised: docs/cli.md.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import json
import math
import os
import sys
import textwrap
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, TextIO

from edgeward import __version__
from edgeward.commands.steps import StepMissing, require_step
from edgeward.errors import BadInput, EdgewardError, OutOfMemory, PassedOver
from edgeward.outcome import Outcome
from edgeward.terminal.quoting import quoted, quoted_text

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
        "Seal the shipped model, open it, and read handwritten digits: how well and how fast.",
        "edgeward demo\nedgeward demo --engine onnx\nedgeward demo --png mistakes.png\n"
        "edgeward demo digits-1.ewp --trust edgeward-keys/trust",
        "edgeward.commands.demo",
    ),
    Command(
        "inspect",
        "Show what a model takes and gives and which engine runs it, or what a package holds.",
        "edgeward inspect model.tflite\nedgeward inspect model.onnx --json\n"
        "edgeward inspect person-2.1.ewp\n"
        "edgeward inspect person-2.1.ewp --run --trust edgeward-keys/trust",
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
        "Measure a model, or a board: latency, throughput and memory.",
        "edgeward bench model.tflite --vs\n"
        "edgeward bench model.onnx --threads 1,2 --png chart.png\n"
        "edgeward bench model.onnx --input images=batch_of_4.npy\n"
        "edgeward bench person-2.1.ewp --trust edgeward-keys/trust\n"
        "edgeward bench --board model.tflite -o board.json --html board.html\n"
        "edgeward bench --compare pi4.json pi5.json",
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
        "device",
        "Lay out the trust directory of a further device.",
        "edgeward device add camera9\nedgeward device add camera9 --root root.json --json",
        "edgeward.commands.device",
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
        "Check whether this device may run a package, and whether it computes what it should.",
        "edgeward verify cat-1.ewp\nedgeward verify cat-1.ewp --run --trust edgeward-keys/trust",
        "edgeward.commands.verify",
    ),
    Command(
        "install",
        "Put a package where programs load it, in one step, and keep the version before.",
        "edgeward install cat-1.ewp --into . --trust edgeward-keys/trust\n"
        "edgeward install --back cat --into models",
        "edgeward.commands.install",
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
        "edgeward captures show captures --last 20 --html sheet.html\n"
        "edgeward captures export captures --to parquet -o captures.parquet\n"
        "edgeward captures stats captures --against cat-1.ewp\n"
        "edgeward captures recover captures\nedgeward captures drain captures",
        "edgeward.commands.captures",
    ),
    Command(
        "agent",
        "Serve models to the other programs of this device.",
        "edgeward agent --check\nedgeward agent\n"
        "edgeward agent -c edge_manager.json -a /tmp/edge_agent",
        "edgeward.agent.command",
    ),
    Command(
        "models",
        "Load, unload and list the models of this device's agent.",
        "edgeward models ls\nedgeward models load person-2 person-2.1.ewp\n"
        "edgeward models describe person-2\nedgeward models unload person-2",
        "edgeward.commands.models",
    ),
    Command(
        "status",
        "Tell what this device's agent is doing.",
        "edgeward status\nedgeward status --json",
        "edgeward.commands.status",
    ),
)

EXAMPLES = (
    "examples:\n"
    + "".join(f"  {command.examples.splitlines()[0]}\n" for command in COMMANDS)
    + """
exit status:
  0 done             1 the answer is no    2 bad input or wrong use
  3 a bad model      4 an engine problem   5 the system refused
  6 not trusted      130 interrupted"""
)


class _Answer(NamedTuple):
    """What the program writes on its two streams, and its exit status."""

    output: bytes
    complaint: str
    status: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, writes what it found or how it failed, and returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _replace_closed_streams()
        if sys.stdout is None:
            # Refuse before the command acts: nobody would learn what it did.
            answer = _failed("system", "standard output: expected it open, got it closed", False)
        else:
            answer = _written(_answer(words))
        _complain(answer.complaint)
        return answer.status
    except KeyboardInterrupt:
        _drop(sys.stdout)
        return STATUS_INTERRUPTED


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for `words`; only the command that they name has its arguments."""
    program = _Parser(
        prog="edgeward",
        description="Run machine-learning models on the edge.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    program.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        default=argparse.SUPPRESS,  # seal has an option of this name
        help="show the version and end",
    )
    parsers = program.add_subparsers(metavar="COMMAND")
    names = [command.name for command in COMMANDS]
    require_step(program, "run", names)
    program.set_defaults(parser=program)
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
            command_parser.set_defaults(run=module.run, parser=command_parser)
    return program


class _Answered(Exception):  # noqa: N818 - no error: --help or --version ends the parsing
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        raise _Answered(Outcome({"edgeward": __version__}, f"edgeward {__version__}"))


class _Parser(argparse.ArgumentParser):
    """Takes --json at every level; prints nothing, and raises wrong use as BadInput."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_argument("--json", action="store_true", help="print one JSON document")

    @property
    def options(self) -> list[str]:
        return list(self._option_string_actions)

    def print_help(self, file: object = None) -> NoReturn:
        raise _Answered(Outcome(None, self.format_help().rstrip()))

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {self.prog} --help)")


def _asks_for_json(words: Sequence[str]) -> bool:
    """Reads the words alone, so that wrong use is answered in JSON too."""
    options = words[: words.index("--")] if "--" in words else words
    # argparse accepts the beginning of an option.
    return any(len(word) > 2 and "--json".startswith(word) for word in options)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    """Wrong use raises BadInput, which names the option that was likely meant."""
    program = parser(words)
    args, unknown = program.parse_known_args(words)
    if not unknown:
        return args
    command = args.parser
    meant = difflib.get_close_matches(unknown[0], command.options, n=1, cutoff=0.75)
    hint = f"did you mean {meant[0]}? see" if meant else "see"
    raise BadInput(f"unrecognized arguments: {' '.join(unknown)} ({hint} {command.prog} --help)")


def _answer(words: Sequence[str]) -> _Answer:
    """Runs the command that `words` name. An exception is an answer too."""
    is_json = _asks_for_json(words)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PassedOver)
            try:
                args = _arguments(words)
                outcome: Outcome = args.run(args)
            except _Answered as answered:
                outcome = answered.outcome
        lines = (f"edgeward: warning: {quoted(str(warning.message))}" for warning in caught)
        complaint = "\n".join(dict.fromkeys(lines))
        if is_json and outcome.report is not None:
            return _Answer(_document(outcome.report), complaint, outcome.status)
        return _Answer(_encoded(outcome.text), complaint, outcome.status)
    except BrokenPipeError:  # whoever read what the command wrote has enough
        _drop(sys.stdout)
        return _Answer(b"", "", STATUS_BROKEN_PIPE)
    except EdgewardError as error:
        return _failed(error.code, str(error), is_json, error.exit_status)
    except StepMissing as error:
        answer = _failed(BadInput.code, str(error), is_json, BadInput.exit_status)
        return answer if is_json else answer._replace(output=_encoded(error.help))
    except MemoryError:
        message = "the system has no more memory"
        return _failed(OutOfMemory.code, message, is_json, OutOfMemory.exit_status)
    except OSError as error:
        return _failed("system", _os_message(error), is_json)
    except KeyboardInterrupt:
        answer = _failed("interrupted", "interrupted by Ctrl-C", is_json, STATUS_INTERRUPTED)
        return answer._replace(complaint="")
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        answer = _failed("defect", message, is_json, STATUS_DEFECT)
        return answer._replace(complaint=quoted_text(traceback.format_exc().rstrip()))


def _failed(code: str, message: str, is_json: bool, status: int = STATUS_SYSTEM) -> _Answer:
    document = {"error": {"code": code, "message": message}}
    output = _document(document) if is_json else b""
    return _Answer(output, f"edgeward: {code}: {quoted(message)}", status)


def _os_message(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        reason += ": let this user read or write it, or run as its owner"
    return ": ".join(str(part) for part in (error.filename, reason) if part)


# --- documents and text as bytes -------------------------------------------------------------


def _document(report: dict[str, Any]) -> bytes:
    """One JSON document in ASCII, which is valid whatever the stream's encoding is."""
    return json.dumps(_plain(report), indent=2, allow_nan=False).encode("ascii") + b"\n"


def _encoded(text: str) -> bytes:
    """A file name or tensor name must neither steer the terminal nor, unshown, end the program.

    Nothing for a text without a letter: the command has written its output by itself.
    """
    return (
        b""
        if not text
        else f"{quoted_text(text)}\n".encode(sys.stdout.encoding, "backslashreplace")
    )


def _plain(value: Any) -> Any:
    """Plain values. A number that JSON cannot hold is "NaN", "Infinity" or "-Infinity"."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # an array, without an import of numpy for every command
        return _plain(value.tolist())
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


# --- the standard streams --------------------------------------------------------------------


def _replace_closed_streams() -> None:
    """Opens /dev/null on those of descriptors 0, 1 and 2 that are closed.

    Otherwise a file that is opened later gets such a number, and an engine writes its log into it.
    """
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process


def _written(answer: _Answer) -> _Answer:
    """Writes the answer's output. When that fails, the failure becomes the answer."""
    rest = memoryview(answer.output)
    try:
        while rest:  # an unbuffered stream may accept only a part
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough
        _drop(sys.stdout)
        return _Answer(b"", "", STATUS_BROKEN_PIPE)
    except OSError as error:
        _drop(sys.stdout)
        return _failed("system", f"standard output: {_os_message(error)}", False)
    return answer


def _complain(line: str) -> None:
    """Where standard error cannot be written either, the status alone reports the failure."""
    try:
        if line:
            print(line, file=sys.stderr)
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    """Sends what the stream still holds to /dev/null when the interpreter flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
