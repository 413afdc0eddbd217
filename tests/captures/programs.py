"""Program: another process that captures, told line by line what to do.

    with Program(directory) as program:
        program("run(1, 2, 3)")
        assert program("capture.flush()")
        program.kill()

It has a `capture` into the directory, a `model` attached to it, and what LOOP defines. Ends with
the block: killed, if it was not ended before.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT_S = 20.0  # for a process that starts, answers or ends
SOON_S = 5.0  # for what a thread does by itself
CANARY = b"canary-0123-9876"  # four float32, none of them special

LOOP = """
import json, os, resource, signal, sys
import numpy as np
import edgeward as ew
import sealed
from edgeward.captures import rules
from models import tflite_models

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
answers = os.fdopen(os.dup(1), "w")

def load(name="", **options):
    global capture, model
    loaded = ew.load_unsigned(tflite_models.sum_product())
    capture = ew.Capture(sys.argv[1], **options)
    capture.attach(loaded, name=name)
    model = loaded

def run(*values):
    for value in values:
        model.predict(a=np.full(4, value, np.float32), b=np.ones(4, np.float32))

def run_on(octets):
    model.predict(a=np.frombuffer(octets, np.float32), b=np.zeros(4, np.float32))

def allow_files_of(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def fork():
    child = os.fork()
    while child == 0:
        signal.pause()
    return child

for line in sys.stdin:
    source = json.loads(line)
    try:
        try:
            code = compile(source, "line", "eval")
        except SyntaxError:
            code = compile(source, "line", "exec")
        answer = {"answer": eval(code)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
"""


class Program:
    """One process. Not a thread's: one caller at a time."""

    def __init__(
        self,
        directory: Path,
        options: str = "",
        *,
        launcher: Sequence[str] = (),
        python: str = sys.executable,
        **environment: str,
    ) -> None:
        """Starts it, and a Capture into `directory` with `options`, as they are written in Python.

        `launcher` is a command that runs another, `python` the interpreter, `environment` what the
        process has besides ours.
        """
        self._process = subprocess.Popen(
            [*launcher, python, "-c", LOOP, str(directory)],
            cwd=Path(__file__).parents[1],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._children: list[int] = []
        try:
            self(f"load({options})")
            self.pid = int(self("os.getpid()"))
        except BaseException:
            self.kill()
            raise

    def __call__(self, source: str) -> Any:
        """What an expression gives there; None of a statement. Fails when it raises there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(textwrap.dedent(source)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f'the program died of "{source}": {self._last_words()}'
        answer = json.loads(line)
        assert "error" not in answer, f'the program says to "{source}": {answer["error"]}'
        return answer["answer"]

    def fork(self) -> int:
        """The process id of a child of it that sleeps until the block ends."""
        child = int(self("fork()"))
        self._children.append(child)
        return child

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        self._process.wait(LIMIT_S)

    def end(self) -> int:
        """Lets it come to its normal end; returns its status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(LIMIT_S)

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children:
            os.kill(child, signal.SIGKILL)
        if self._process.poll() is None:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _last_words(self) -> str:
        self._process.wait(LIMIT_S)
        assert self._process.stderr is not None
        return f"status {self._process.returncode}, {self._process.stderr.read()[-2000:]}"


def comes_true(condition: Callable[[], object], limit_s: float = SOON_S) -> bool:
    """Waits until it does, or until the time is over: False then."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True


def values(directory: Path, **options: Any) -> list[float]:
    """The first element of input a of each record, in the order of the records."""
    from edgeward import read_captures

    if not directory.is_dir():
        return []
    return [float(record.inputs["a"][0]) for record in read_captures(directory, **options)]
