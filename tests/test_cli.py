"""The `edgeward` program from outside: what it prints, how it ends, and that its manual is true."""

import ast
import errno
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from consoles import blurred, pattern
from models import onnx_models, tflite_models
from models.tflite_writer import Op, Subgraph, Tensor, constant
from models.tflite_writer import model as tflite_file
from PIL import Image

import edgeward
from edgeward import cli
from edgeward.commands import demo, doctor, inspect
from edgeward.errors import EdgewardError, MalformedModel
from edgeward.outcome import Outcome
from edgeward.trust import keys

MANUAL = Path(__file__).parents[1] / "docs" / "cli.md"
COMMANDS = [command.name for command in cli.COMMANDS]
LEFT = np.arange(4, dtype=np.float32)
RIGHT = np.full(4, 2, np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files that the manual speaks of, and some broken ones."""
    directory = tmp_path_factory.mktemp("files")
    digit = demo.load_digits().pictures[0]
    for suffix in ("tflite", "onnx"):
        shutil.copy(demo.DIGITS / f"digits.{suffix}", directory)
    Image.fromarray((digit * (255 / demo.FULL_INK)).astype(np.uint8)).save(directory / "digit.png")
    image = (digit / np.float32(demo.FULL_INK)).reshape(1, 8, 8, 1)
    np.save(directory / "digit.npy", image)
    (directory / "digit.raw").write_bytes(image.tobytes())
    np.save(directory / "left.npy", LEFT)
    np.save(directory / "right.npy", RIGHT)
    np.save(directory / "double.npy", LEFT.astype(np.float64))
    np.save(directory / "rows.npy", np.ones((3, 4), np.float32))
    np.save(directory / "stored.npy", np.arange(16, dtype=np.int8))
    np.save(directory / "odd.npy", np.array([np.nan, np.inf, -np.inf, 0.5], np.float32))
    np.save(directory / "truth.npy", np.array([0, 1, 1, 0, 0, 0, 1, 0], bool))
    whole = tflite_models.sum_product()
    (directory / "pair.tflite").write_bytes(whole)
    (directory / "models").mkdir()  # of edgeward install
    (directory / "broken.tflite").write_bytes(whole[: len(whole) // 2])
    (directory / "noise.onnx").write_bytes(b"not a model" * 20)
    (directory / "signatures.tflite").write_bytes(tflite_models.two_signatures())
    (directory / "dynamic.tflite").write_bytes(tflite_models.dynamic_batch())
    (directory / "quantized.tflite").write_bytes(tflite_models.quantized_add())
    (directory / "columns.tflite").write_bytes(tflite_models.per_channel())
    (directory / "large.tflite").write_bytes(tflite_models.add_150k())
    (directory / "strings.tflite").write_bytes(tflite_models.strings())
    (directory / "brain.tflite").write_bytes(tflite_models.identity("bfloat16"))
    (directory / "bits.raw").write_bytes(np.array([0, 1, 2, 3, 4, 65535], np.uint16).tobytes())
    (directory / "places.onnx").write_bytes(onnx_models.data_dependent())
    np.save(directory / "large.npy", np.zeros(tflite_models.ADD_150K_SHAPE, np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWARD_RINGS", str(directory / "rings"))
        with edgeward.Capture(directory / "captures") as capture:
            model = edgeward.load_unsigned(directory / "digits.tflite", capture=capture)
            for picture in demo.load_digits().pictures[:24]:
                model.predict((picture / np.float32(demo.FULL_INK)).reshape(1, 8, 8, 1))
    return directory


@pytest.fixture(scope="module")
def run(files):
    """Runs `edgeward` with these arguments where the files are."""

    def run_program(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "edgeward", *arguments],
            cwd=files,
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "PYTHONUTF8": "1",
                "EDGEWARD_RINGS": str(files / "rings"),
                **environment,
            },
        )

    return run_program


def one_document(done):
    """The JSON on standard output, which holds nothing else."""
    return json.loads(done.stdout, parse_constant=pytest.fail)


def last_line(done):
    return done.stderr.splitlines()[-1]


# --- the program as a whole ------------------------------------------------------------------


def test_the_version_is_the_librarys(run):
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"edgeward {edgeward.__version__}\n")


@pytest.mark.parametrize("arguments", [["--version", "--json"], ["--json", "--version"]])
def test_the_version_is_a_document_too(run, arguments):
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert one_document(done) == {"edgeward": edgeward.__version__}


@pytest.mark.parametrize("arguments", [["--help", "--json"], ["--json", "inspect", "-h"]])
def test_help_is_text_always(run, arguments):
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: edgeward ")


def test_help_names_every_command_and_gives_examples(run):
    done = run("--help")
    assert done.returncode == 0
    examples = done.stdout.partition("examples:")[2]
    for command in COMMANDS:
        assert re.search(rf"^ +edgeward {command}\b", examples, re.M)


def test_the_table_holds_the_commands_and_their_modules():
    assert len(cli.COMMANDS) >= 12
    for command in cli.COMMANDS:
        # A part of the program that stands on the library brings its command itself.
        modules = {f"edgeward.commands.{command.name}", f"edgeward.{command.name}.command"}
        assert command.module in modules


def test_a_module_of_a_command_is_imported_when_it_is_used(run_child):
    program = (
        "import sys; from edgeward import cli; cli.main(['--version']); cli.main(['doctor'])\n"
        "print([c.name for c in cli.COMMANDS if c.module in sys.modules])"
    )
    assert run_child(program).splitlines()[-1] == str(["doctor"])


def test_only_the_program_prints():
    """Also terminal/progress, on standard error."""
    printing = set()
    paths = sorted(Path(cli.__file__).parent.rglob("*.py"))
    assert len(paths) >= 50
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTERS:
                printing.add(path.stem)
    assert printing == {"cli", "progress"}


PRINTERS = {"print", "sys.stdout.write", "sys.stdout.buffer.write", "sys.stderr.write"}


def test_the_version_costs_no_numpy(run_child):
    program = (
        "import sys; from edgeward import cli; cli.main(['--version']); cli.main(['root', '-h'])\n"
        "print('numpy' in sys.modules)"
    )
    assert run_child(program).splitlines()[-1] == "False"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples_and_json(run, command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout
    examples = done.stdout.partition("examples:")[2].strip().splitlines()
    assert examples
    assert all(line.strip().startswith(f"edgeward {command}") for line in examples)


def test_the_examples_of_help_are_understood():
    lines = re.findall(r"^ +edgeward (.*?)(?:  .*)?$", cli.EXAMPLES, re.M)
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    for line in lines:
        words = shlex.split(line)
        cli.parser(words).parse_args(words)


COMMANDS_WITH_STEPS = {
    "": {"seal", "captures", "root"},
    "captures": {"ls", "show", "drain"},
    "device": {"add"},
    "models": {"ls", "load", "unload", "describe"},
    "root": {"init", "accept"},
}


@pytest.mark.parametrize("command", COMMANDS_WITH_STEPS)
def test_a_command_without_its_step_shows_what_there_is(typed, command):
    status, out, err = typed(command)
    assert (status, len(err.splitlines())) == (2, 1)
    assert out == typed(f"{command} --help")[1]
    assert all(step in out for step in COMMANDS_WITH_STEPS[command])
    status, out, _ = typed(f"{command} --json")
    error = json.loads(out)["error"]
    assert (status, error["code"]) == (2, "bad_input")
    assert err == f"edgeward: bad_input: {error['message']}\n"
    expected = set(
        error["message"].partition("expected one of ")[2].removesuffix(", got none").split(", ")
    )
    assert COMMANDS_WITH_STEPS[command] <= expected


def test_each_command_with_steps_is_among_them():
    sources = {
        command.name: importlib.import_module(command.module).__dict__.get("STEPS")
        for command in cli.COMMANDS
    }
    assert {name for name, steps in sources.items() if steps} | {""} == set(COMMANDS_WITH_STEPS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["inspect"], "the following arguments are required: MODEL (see edgeward inspect --help)"),
        (
            ["inspect", "m", "--fast"],
            "unrecognized arguments: --fast (see edgeward inspect --help)",
        ),
        (
            ["seal", "m", "-o", "p", "--name", "n", "--version", "1", "--encrypt-for", "k"],
            "--encrypt-for k (did you mean --encrypt-to? see edgeward seal --help)",
        ),
        (["predict", "m", "f", "--threads", "0"], 'argument --threads: expected 1 to 256, got "0"'),
        (
            ["predict", "m", "f", "--shape", "1,x"],
            'expected sizes such as 1,49,10,1, of at most 2147483647 elements, got "1,x"',
        ),
        (
            ["predict", "m", "f", "--shape", "1,-2"],
            'expected sizes such as 1,49,10,1, of at most 2147483647 elements, got "1,-2"',
        ),
        (["demo", "--engine", "none"], "argument --engine: invalid choice: 'none'"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_one_line_and_status_2(run, arguments, says):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("edgeward: bad_input: ")
    assert says in done.stderr


FAILURES = {
    "no file": (["inspect", "none.tflite"], "system", 5),
    "a directory": (["inspect", "."], "system", 5),
    "cut": (["inspect", "broken.tflite"], "malformed_model", 3),
    "noise": (["inspect", "noise.onnx"], "malformed_model", 3),
    "strings": (["inspect", "strings.tflite", "--engine", "litert"], "unsupported_model", 3),
    "the wrong engine": (["inspect", "digits.onnx", "--engine", "litert"], "bad_input", 2),
    "no input file": (["predict", "pair.tflite", "none.npy"], "system", 5),
    "an input missing": (["predict", "pair.tflite", "left.npy"], "bad_input", 2),
    "an input too many": (["predict", "digits.tflite", "digit.npy", "left.npy"], "bad_input", 2),
    "another dtype": (["predict", "pair.tflite", "double.npy", "left.npy"], "bad_input", 2),
    "another shape": (["predict", "digits.tflite", "left.npy"], "bad_input", 2),
    "no such input": (["predict", "pair.tflite", "c=left.npy"], "bad_input", 2),
    "no place for a picture": (["predict", "pair.tflite", "digit.png", "left.npy"], "bad_input", 2),
    "no such signature": (
        ["predict", "signatures.tflite", "left.npy", "--signature", "triple"],
        "bad_input",
        2,
    ),
    "a signature's dtype": (
        ["predict", "signatures.tflite", "double.npy", "--signature", "negate"],
        "bad_input",
        2,
    ),
    "no such output file": (
        ["predict", "digits.tflite", "digit.npy", "-o", "a.txt"],
        "bad_input",
        2,
    ),
    "no such directory": (["predict", "digits.tflite", "digit.npy", "-o", "no/a.npy"], "system", 5),
    "one file for two": (
        ["predict", "pair.tflite", "left.npy", "right.npy", "-o", "a.npy"],
        "bad_input",
        2,
    ),
    "no package": (["predict", "no.ewp", "digit.npy", "--trust", "."], "system", 5),
    "bench of no file": (["bench", "none.tflite"], "system", 5),
    "wrong use": (["predict", "digits.tflite"], "bad_input", 2),
}


@pytest.mark.parametrize(("arguments", "code", "status"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_one_line_a_status_and_a_document(run, arguments, code, status):
    done = run(*arguments, "--json")
    assert done.returncode == status, done.stderr
    error = one_document(done)["error"]
    assert error["code"] == code
    assert last_line(done) == f"edgeward: {code}: {error['message']}"
    assert "Traceback" not in done.stderr


WRONG_USE = {
    "no command": [],
    "an unknown command": ["predictt"],
    "an unknown option": ["doctor", "--fast"],
    "an argument missing": ["inspect"],
    "a step missing": ["root"],
    "an unknown step": ["captures", "lss"],
    "a value out of range": ["keygen", "--days", "0"],
}


@pytest.mark.parametrize("json_option", ["--json", "--js"])
@pytest.mark.parametrize("arguments", WRONG_USE.values(), ids=WRONG_USE)
def test_wrong_use_is_a_document_with_json(typed, arguments, json_option):
    for words in ([json_option, *arguments], [*arguments, json_option]):
        status, out, err = typed(shlex.join(words))
        error = json.loads(out)["error"]
        assert (status, error["code"]) == (2, "bad_input")
        assert err == f"edgeward: bad_input: {error['message']}\n"


def test_a_file_called_json_is_no_option(typed):
    assert typed("inspect -- --json") == (
        5,
        "",
        "edgeward: system: --json: No such file or directory\n",
    )


RAISED = {
    "no memory": (MemoryError(), 5, "out_of_memory", "the system has no more memory"),
    "a system error": (
        PermissionError(errno.EACCES, "Permission denied", "m.tflite"),
        5,
        "system",
        "m.tflite: Permission denied: let this user read or write it, or run as its owner",
    ),
    "a defect": (LookupError("a defect"), 70, "defect", "LookupError: a defect"),
    "an interrupt": (KeyboardInterrupt(), 130, "interrupted", "interrupted by Ctrl-C"),
    "a document that is none": (None, 70, "defect", "TypeError: Object of type set"),
}


@pytest.mark.parametrize(("error", "status", "code", "says"), RAISED.values(), ids=RAISED)
def test_whatever_ends_a_command_is_one_document(monkeypatch, typed, error, status, code, says):
    def end(_):
        if error is not None:
            raise error
        return Outcome({"a set": {1}}, "")

    monkeypatch.setattr(inspect, "run", end)
    got, out, err = typed("inspect model.tflite --json")
    document = json.loads(out)
    assert got == status
    assert document["error"].keys() == {"code", "message"}
    assert document["error"]["code"] == code
    assert document["error"]["message"].startswith(says)
    assert code in {"interrupted"} or says in err
    assert (code == "defect") == ("Traceback" in err)


def test_without_json_a_failure_leaves_standard_output_empty(run):
    assert run("inspect", "broken.tflite").stdout == ""


def test_an_engine_package_without_its_library_is_a_mismatch(run, tmp_path):
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "__init__.py").touch()
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run("inspect", "digits.tflite", "--engine", "tflite", PYTHONPATH=path)
    assert done.returncode == 4
    assert last_line(done).startswith("edgeward: engine_mismatch: engine tflite: ")


@pytest.mark.parametrize("kind", EdgewardError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_library_has_its_status(monkeypatch, capsys, kind):
    def refuse(*_, **__):
        raise kind("what, which, expected, got")

    monkeypatch.setattr(inspect, "load_reported", refuse)
    assert cli.main(["inspect", "model.tflite", "--json"]) == kind.exit_status
    captured = capsys.readouterr()
    assert captured.err == f"edgeward: {kind.code}: what, which, expected, got\n"
    error = json.loads(captured.out)["error"]
    assert error == {"code": kind.code, "message": "what, which, expected, got"}


def test_a_defect_of_ours_is_a_traceback_and_status_70(monkeypatch, capsys):
    def fail(*_, **__):
        raise LookupError("a defect")

    monkeypatch.setattr(inspect, "load_reported", fail)
    assert cli.main(["inspect", "model.tflite"]) == 70
    assert "LookupError: a defect" in capsys.readouterr().err


def test_memory_that_runs_out_is_said(monkeypatch, capsys):
    def exhaust(*_, **__):
        raise MemoryError

    monkeypatch.setattr(inspect, "load_reported", exhaust)
    assert cli.main(["inspect", "model.tflite"]) == 5
    assert capsys.readouterr().err == "edgeward: out_of_memory: the system has no more memory\n"


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_ctrl_c_ends_quietly(files, options):
    command = [sys.executable, "-m", "edgeward", "bench", "digits.tflite", "--seconds", "600"]
    with subprocess.Popen(
        command + options,
        cwd=files,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests may ignore Ctrl-C, as a shell does for what it runs behind.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:
        # It measures. Before, while Python imports, Python itself may lose the interrupt.
        assert any("in turns" in line for line in program.stderr)
        program.send_signal(signal.SIGINT)
        rest = program.stderr.read()
        output = program.stdout.read()
    assert program.returncode == 130
    assert "Traceback" not in rest
    assert "edgeward:" not in rest
    assert (json.loads(output)["error"]["code"] if options else output) == (
        "interrupted" if options else ""
    )


@pytest.mark.parametrize(
    "arguments", [["predict", "large.tflite", "large.npy", "--json"], ["--help"]]
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_enough_ends_it_quietly(files, arguments, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "edgeward", *arguments]
    done = subprocess.run(
        command,
        cwd=files,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert done.returncode == 141
    assert "Error" not in done.stderr


def test_names_that_the_terminal_cannot_show_do_not_end_it(run):
    arguments = ["inspect", "naïve.tflite", "--json"]
    done = run(*arguments, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.returncode == 5
    message = one_document(done)["error"]["message"]
    assert message == "naïve.tflite: No such file or directory"
    assert last_line(done) == "edgeward: system: na\\xefve.tflite: No such file or directory"


@pytest.mark.parametrize(
    "name", ["modèle.tflite", "模型.tflite", os.fsdecode(b"mod\xe8le.tflite")], ids=ascii
)
def test_a_document_is_ascii_whatever_the_model_is_called(files, tmp_path, name):
    shutil.copy(files / "digits.tflite", tmp_path / name)
    arguments = ["-m", "edgeward", "bench", name, "--seconds", "0.001", "--json"]
    done = run_with_streams(arguments, tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("ascii"))["model"] == name


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16", "cp500"])
def test_a_document_is_ascii_in_every_encoding(files, encoding):
    arguments = ["-m", "edgeward", "inspect", "模型.tflite", "--json"]
    done = run_with_streams(arguments, files, PYTHONIOENCODING=encoding)
    message = json.loads(done.stdout.decode("ascii"))["error"]["message"]
    assert message == "模型.tflite: No such file or directory"


# --- standard streams that are closed or full --------------------------------------------------

CLOSED = "edgeward: system: standard output: expected it open, got it closed"
FULL = "edgeward: system: standard output: No space left on device"


def run_with_streams(arguments, directory, closed=(), full=(), **environment):
    """The program with some of descriptors 1 and 2 closed or on a full disk: all that it says."""
    with open("/dev/full", "wb") as disk:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=directory,
            stdout=disk if 1 in full else subprocess.PIPE,
            stderr=disk if 2 in full else subprocess.PIPE,
            preexec_fn=lambda: [os.close(descriptor) for descriptor in closed],
            check=False,
            env={**os.environ, **environment},
        )


def complaints(done):
    """What the program says on standard error: an engine's log and progress may stand before."""
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    return [line for line in done.stderr.decode().splitlines() if line.startswith("edgeward: ")]


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "words",
    ["--version", "--version --json", "--help", "predict large.tflite large.npy --json"],
)
@pytest.mark.parametrize(("streams", "says"), [({"closed": (1,)}, CLOSED), ({"full": (1,)}, FULL)])
def test_an_output_that_cannot_be_written_is_one_line(files, words, streams, says, unbuffered):
    arguments = ["-m", "edgeward", *words.split()]
    done = run_with_streams(arguments, files, **streams, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 5
    assert complaints(done) == [says]


@pytest.mark.parametrize(
    "streams",
    [
        {"closed": (1, 2)},
        {"closed": (0, 1, 2)},
        {"full": (1, 2)},
        {"closed": (1,), "full": (2,)},
        {"closed": (2,), "full": (1,)},
    ],
    ids=str,
)
@pytest.mark.parametrize("words", ["--version", "inspect broken.tflite --json"])
def test_without_any_stream_the_status_tells(files, words, streams):
    done = run_with_streams(["-m", "edgeward", *words.split()], files, **streams)
    assert (done.returncode, done.stdout or b"", done.stderr or b"") == (5, b"", b"")


@pytest.mark.parametrize("streams", [{"closed": (2,)}, {"full": (2,)}], ids=str)
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("inspect broken.tflite --json", 3),
        ("bench digits.tflite --seconds 0.001 --json", 0),
        ("predict digits.tflite digit.npy -o nobody.npy --json", 0),
    ],
)
def test_without_standard_error_the_answer_is_whole(files, words, status, streams):
    done = run_with_streams(["-m", "edgeward", *words.split()], files, **streams)
    assert done.returncode == status
    assert ("error" in json.loads(done.stdout)) == (status != 0)


def test_what_an_engine_logs_goes_into_no_file(files):
    """A file that is opened when standard error is closed must not get its number."""
    words = ["predict", "digits.tflite", "digit.npy", "-o", "logged.npy"]
    run_with_streams(["-m", "edgeward", *words], files, closed=(0, 2))
    with edgeward.load_unsigned(files / "digits.tflite") as model:
        expected = model.predict(np.load(files / "digit.npy"))
    assert np.array_equal(np.load(files / "logged.npy"), expected)


def test_a_closed_output_is_refused_before_anything_is_done(tmp_path):
    done = run_with_streams(["-m", "edgeward", "keygen"], tmp_path, closed=(1,))
    assert (done.returncode, os.listdir(tmp_path)) == (5, [])


# --- every command of the table, by its first example ------------------------------------------


@pytest.fixture(scope="module")
def example_files(tmp_path_factory, files):
    """The files that the first example of each command speaks of."""
    directory = tmp_path_factory.mktemp("examples")
    shutil.copy(files / "digits.tflite", directory / "model.tflite")
    Image.open(files / "digit.png").save(directory / "cat.jpg")
    shutil.copytree(files / "captures", directory / "captures")
    keys.make(directory / "edgeward-keys", "ed25519", int(time.time()), 1)
    for name in ("new", "root1", "root2"):
        keys.make_key(directory / f"{name}.key", "ed25519")
    for name in ("camera7", "camera8"):
        keys.make_key(directory / f"{name}.key", "x25519")
    edgeward.Package.seal(
        directory / "model.tflite",
        directory / "cat-1.ewp",
        edgeward.Release("cat", "1", 1),
        [edgeward.PrivateKey.read(str(directory / "edgeward-keys" / keys.PUBLISHER_KEY))],
        edgeward.Contents(),
        encrypt_to=[edgeward.PublicKey.read(str(directory / "edgeward-keys" / "device.pub"))],
    )
    return directory


def example(command):
    words = shlex.split(command.examples.splitlines()[0])[1:]
    return words + (["--seconds", "0.001"] if command.name == "bench" else [])


@pytest.fixture
def run_example(example_files, tmp_path):
    """Runs the first example of a command in a child, on files of its own."""

    def run_program(command, *options, **streams):
        directory = tmp_path / "files"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(example_files, directory)
        if command.name == "keygen":
            shutil.rmtree(directory / "edgeward-keys")  # it makes them, and replaces none
        if command.name == "seal":
            for path in directory.glob("cat-1.ew*"):  # likewise
                path.unlink()
        return run_with_streams(
            ["-m", "edgeward", *example(command), *options],
            directory,
            **streams,
            PYTHONIOENCODING="ascii",
            EDGEWARD_TRUST="edgeward-keys/trust",
            EDGEWARD_RINGS=str(tmp_path / "rings"),
        )

    return run_program


@pytest.fixture
def run_on(monkeypatch, capsys):
    """Runs the program here, with standard output on a descriptor of its own, or closed.

    Nothing starts but argparse and the module of a command, so a child would tell no more.
    """

    def run_program(words, path):
        with ExitStack() as stack:
            stream = None if path is None else stack.enter_context(open(path, "w", 1, "ascii"))
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", stream)
                status = cli.main(words)
        return status, capsys.readouterr().err.splitlines()

    return run_program


@pytest.fixture(params=["wrong use", "failure"])
def failing(request, monkeypatch):
    """Words with which a command fails, by its name; the code and the status."""
    if request.param == "wrong use":
        return lambda command: ([*example(command), "--no-such-option"], "bad_input", 2)

    def fail(_):
        raise MalformedModel('model "naïve": expected a signature, got none')

    def words(command):
        monkeypatch.setattr(importlib.import_module(command.module), "run", fail)
        return example(command), "malformed_model", 3

    return words


ASK_AN_AGENT = {"models", "status"}  # tests/agent/test_agent_client.py runs these
ALONE = [command for command in cli.COMMANDS if command.name not in ASK_AN_AGENT]
each_command = pytest.mark.parametrize("command", ALONE, ids=[command.name for command in ALONE])


@each_command
def test_each_command_answers_in_ascii(run_example, command):
    done = run_example(command)
    assert (done.returncode, complaints(done)) == (0, [])
    assert done.stdout.decode("ascii").strip()
    done = run_example(command, "--json")
    assert (done.returncode, complaints(done)) == (0, [])
    assert "error" not in json.loads(done.stdout.decode("ascii"))


@each_command
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_each_command_says_that_its_disk_is_full(run_example, command, options):
    done = run_example(command, *options, full=(1,))
    assert (done.returncode, complaints(done)) == (5, [FULL])


@each_command
def test_each_command_fails_with_a_document(run_on, failing, command, tmp_path):
    words, code, status = failing(command)
    path = tmp_path / "output"
    got, (line,) = run_on(words, path)
    assert (got, path.read_bytes()) == (status, b"")
    assert line.startswith(f"edgeward: {code}: ")
    assert run_on([*words, "--json"], path) == (status, [line])
    error = json.loads(path.read_bytes().decode("ascii"))["error"]
    assert line == f"edgeward: {error['code']}: {error['message']}"
    assert run_on([*words, "--json"], "/dev/full") == (5, [FULL])
    for options in ([], ["--json"]):
        assert run_on([*words, *options], None) == (5, [CLOSED])


@each_command
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_each_command_has_help_or_says_that_it_cannot_be_written(
    run_on, command, options, tmp_path
):
    path = tmp_path / "output"
    words = [command.name, *options, "--help"]
    assert run_on(words, path) == (0, [])
    assert path.read_bytes().startswith(f"usage: edgeward {command.name} ".encode())
    assert run_on(words, "/dev/full") == (5, [FULL])
    assert run_on(words, None) == (5, [CLOSED])


@each_command
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_each_command_is_refused_when_its_output_is_closed(run_on, command, options, monkeypatch):
    module = importlib.import_module(command.module)
    monkeypatch.setattr(module, "run", lambda _: pytest.fail("it started"))
    assert run_on([*example(command), *options], None) == (5, [CLOSED])


# --- inspect ---------------------------------------------------------------------------------


def test_inspect_tells_what_a_model_takes_and_gives(run, files):
    document = one_document(run("inspect", "quantized.tflite", "--json"))
    assert document["format"] == "tflite"
    assert document["size_bytes"] == (files / "quantized.tflite").stat().st_size
    assert document["engine"]["name"] == "litert"
    assert document["engine"]["threads"] >= 1
    (signature,) = document["signatures"].values()
    assert signature == {
        "inputs": [
            {
                "name": "x",
                "dtype": "int8",
                "shape": [16],
                "quantization": {"scales": [0.5], "zero_points": [3], "axis": 0},
            }
        ],
        "outputs": [
            {
                "name": "y",
                "dtype": "int8",
                "shape": [16],
                "quantization": {"scales": [0.25], "zero_points": [-7], "axis": 0},
            }
        ],
    }


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        (
            "quantized.tflite",
            ["input x int8 [16] 0.5 * (q - 3)", "output y int8 [16] 0.25 * (q + 7)"],
        ),
        ("dynamic.tflite", ["input x float32 [-1, 4]", "output y float32 [-1, 4]"]),
        ("columns.tflite", ["input x int8 [2, 3] 3 scales along axis 1, 0.125 to 0.5"]),
        ("signatures.tflite", ["signature double", "signature negate"]),
        ("digits.onnx", ["digits.onnx ONNX, 77.8 kB", "output scores float32 [1, 10]"]),
    ],
)
def test_inspect_says_it_in_lines(run, model, lines):
    shown = [" ".join(line.split()) for line in run("inspect", model).stdout.splitlines()]
    for line in lines:
        assert line in shown


def test_inspect_shows_what_a_program_with_the_model_would_hold(run):
    """And not what a report of the engine takes besides."""
    pytest.importorskip("ai_edge_litert")
    document = one_document(
        run("inspect", "digits.tflite", "--engine", "litert", "--run", "--json")
    )
    assert 0 < document["memory"]["total_bytes"] < 8 << 20


def test_columns_stand_below_each_other(run):
    rows = [line for line in run("inspect", "pair.tflite").stdout.splitlines() if "[4]" in line]
    assert len(rows) == 4
    assert len({row.index("float32") for row in rows}) == 1


# --- predict ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["digits.tflite", "digits.onnx"])
@pytest.mark.parametrize("file", ["digit.png", "digit.npy", "digit.raw", "image=digit.npy"])
def test_a_digit_is_read_from_every_kind_of_file(run, model, file):
    document = one_document(run("predict", model, file, "--json"))
    scores = document["outputs"]["scores"]
    assert (scores["dtype"], scores["shape"]) == ("float32", [1, 10])
    assert np.argmax(scores["values"]) == demo.load_digits().labels[0]


def test_predict_gives_what_the_library_gives(run, files):
    run("predict", "pair.tflite", "b=right.npy", "a=left.npy", "-o", "out.npz")
    with np.load(files / "out.npz") as outputs:
        assert sorted(outputs.files) == ["p", "s"]
        assert np.array_equal(outputs["s"], LEFT + RIGHT)
        assert np.array_equal(outputs["p"], LEFT * RIGHT)


def test_a_model_without_inputs_needs_no_files(run, files):
    graph = Subgraph(
        [constant("a", LEFT), constant("b", RIGHT), Tensor("s", "float32", LEFT.shape)],
        [Op("ADD", ["a", "b"], ["s"])],
        [],
        ["s"],
    )
    (files / "constant.tflite").write_bytes(tflite_file([graph]))
    document = one_document(run("predict", "constant.tflite", "--json"))
    assert document["outputs"]["s"]["values"] == (LEFT + RIGHT).tolist()
    done = run("predict", "digits.tflite")
    assert (done.returncode, last_line(done)) == (
        2,
        'edgeward: bad_input: input "image": expected an array, got none (inputs are "image")',
    )


def test_one_output_is_written_as_an_array(run, files):
    done = run("predict", "digits.tflite", "digit.npy", "-o", "out.npy")
    assert done.stdout == "wrote out.npy\n"
    with edgeward.load_unsigned(files / "digits.tflite") as model:
        assert np.array_equal(
            np.load(files / "out.npy"), model.predict(np.load(files / "digit.npy"))
        )


def test_a_dynamic_input_takes_its_shape_from_the_file(run):
    document = one_document(run("predict", "dynamic.tflite", "rows.npy", "--json"))
    assert document["outputs"]["y"]["shape"] == [3, 4]
    assert document["outputs"]["y"]["values"] == [[1.0, 2.0, 3.0, 4.0]] * 3


def test_an_output_whose_shape_depends_on_values_is_shown_whole(run):
    document = one_document(run("predict", "places.onnx", "truth.npy", "--json"))
    assert document["outputs"]["y"]["values"] == [[1], [2], [6]]


@pytest.mark.parametrize(("name", "factor"), [("double", 2), ("negate", -1)])
def test_a_signature_is_run_by_name(run, name, factor):
    done = run("predict", "signatures.tflite", "left.npy", "--signature", name, "--json")
    document = one_document(done)
    assert document["signature"] == name
    assert document["outputs"]["y"]["values"] == (LEFT * factor).tolist()


def test_numbers_that_json_lacks_are_spelled(run):
    document = one_document(run("predict", "signatures.tflite", "odd.npy", "--json"))
    assert document["outputs"]["y"]["values"] == ["NaN", "Infinity", "-Infinity", 1.0]


def test_stored_values_are_shown_as_what_they_stand_for(run):
    done = run("predict", "quantized.tflite", "stored.npy")
    real = (np.arange(16) - 3) * 0.5 + 1
    best = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [int(index) for index, _ in best] == [15, 14, 13, 12, 11]
    assert [float(value) for _, value in best] == real[:10:-1].tolist()


def test_what_numpy_has_no_dtype_for_is_shown_as_its_bits(run):
    lines = run("predict", "brain.tflite", "bits.raw").stdout.splitlines()
    assert lines == ["y  bfloat16, bits as uint16 [2, 3]", "  0 1 2 3 4 65535"]


def test_a_large_output_is_shown_in_summary(run):
    lines = run("predict", "large.tflite", "large.npy").stdout.splitlines()
    assert lines[0] == "y  float32 [1, 160, 240]"
    assert lines[1].split() == ["min", "0.5", "mean", "0.5", "max", "0.5"]
    assert lines[2].endswith(" ...")


# --- doctor ----------------------------------------------------------------------------------


def test_doctor_finds_the_engine_that_runs_the_demo(run):
    done = run("doctor", "--json")
    assert done.returncode == 0
    usable = [engine["name"] for engine in one_document(done)["engines"] if engine["is_usable"]]
    assert "litert" in usable


def test_doctor_says_no_when_no_engine_works(monkeypatch, capsys):
    report = {**doctor.report(), "is_ready": False}
    monkeypatch.setattr(doctor, "report", lambda *_: report)
    assert cli.main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == report


# --- the manual ------------------------------------------------------------------------------

EXAMPLE = re.compile(r"^```console\n\$ (.*)\n((?:.*\n)*?)```$", re.M)
EXAMPLES = EXAMPLE.findall(MANUAL.read_text(encoding="utf-8"))


def test_the_manual_shows_every_command():
    assert {shlex.split(command)[1] for command, _ in EXAMPLES} == set(COMMANDS)


@pytest.fixture(scope="module")
def run_manual(run):
    """Runs the manual's examples in their order, since each uses what those before have made."""
    results = []

    def run_to(index):
        while len(results) <= index:
            program, *arguments = shlex.split(EXAMPLES[len(results)][0])
            assert program == "edgeward"
            results.append(run(*arguments))
        return results[index]

    return run_to


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_the_manual_is_true(run_manual, command, shown):
    status = re.search(r"^\[exit status (\d+)\]\n", shown, re.M)
    done = run_manual(EXAMPLES.index((command, shown)))
    assert done.returncode == (int(status[1]) if status else 0), done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("edgeward: ")]
    seen = done.stdout or "\n".join([*errors, ""])
    expected = shown.replace(status[0], "") if status else shown
    assert re.fullmatch(pattern(expected), blurred(seen)), seen
