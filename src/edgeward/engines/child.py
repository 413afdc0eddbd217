"""How a Python program of this one's kind is started: it finds the same edgeward and numpy."""

import os
import sys


def command(code: str, *arguments: str) -> list[str] | None:
    """The words that run `code` in a child, isolated, with `arguments` behind sys.argv[0].

    None where there is no Python to start: in a frozen program or an embedded interpreter.
    """
    import json  # not before a child is started: start-up time counts

    if getattr(sys, "frozen", False) or not is_python(sys.executable):
        return None
    start = f"import json, sys; sys.path[:] = json.loads(sys.argv.pop(1))\n{code}"
    path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
    return [sys.executable, "-I", "-c", start, path, *arguments]


def is_python(executable: str | None) -> bool:
    """False in an embedded interpreter, whose executable is unknown or the program around it."""
    return os.path.basename(executable or "").startswith(("python", "pypy"))
