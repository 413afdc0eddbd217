"""A part of a measurement in a process of its own: an engine that kills it kills nothing else."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable

from edgeward.engines import child

STEP = re.compile(r"bench: (.*)")
COMPLAINT = re.compile(r"edgeward: (?!warning: )(.*)")


class PartError(Exception):
    """A part that does not run here; its text is the reason."""


def output_of(code: str, arguments: list[str], limit_s: float, say: Callable[[str], None]) -> str:
    """What `code` prints in a child, which ends within `limit_s`. Raises PartError.

    What it announces as `edgeward bench` does goes to `say`.
    """
    if limit_s <= 0:
        raise PartError("no time is left for it")
    command = child.command(code, *arguments)
    if command is None:
        raise PartError("this program has no Python to start for it")
    complaints: list[str] = []
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise PartError(f"no process could be started ({error.strerror})") from error
        ended_late = threading.Event()

        def end() -> None:
            ended_late.set()
            process.kill()

        timer = threading.Timer(limit_s, end)
        timer.start()
        try:
            assert process.stderr is not None
            for line in process.stderr:
                step = STEP.match(line)
                if step:
                    say(step[1])
                elif line.strip():
                    complaints.append(line.strip())
        finally:
            timer.cancel()
            if process.wait() != 0 and ended_late.is_set():
                raise PartError(f"it was not done after {limit_s:.0f} s")
        if process.returncode != 0:
            raise PartError(reason(process.returncode, complaints))
        output.seek(0)
        return output.read().decode("utf-8", "replace")


def reason(status: int, complaints: list[str]) -> str:
    """Why a child ended with `status`, as far as it said so."""
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    for line in reversed(complaints):
        if match := COMPLAINT.match(line):
            return match[1]
    return complaints[-1] if complaints else f"it ended with status {status}"
