"""Whether an engine runs on this machine: its first use is probed in a child process.

A wheel can kill the process that opens it (SIGILL, a missing glibc symbol). A good verdict is kept
in a cache file of this user's. Modules that numpy does not import are imported where they are used,
which keeps start-up short.
"""

import os
import re
from typing import NamedTuple

from edgeward.engines import child
from edgeward.engines.installed import KINDS, Installed
from edgeward.engines.processors import cpu_flags
from edgeward.engines.text import text_of
from edgeward.errors import EdgewardError, EngineMismatch

PROBE_LIMIT_S = 60.0
ANSWER = "from edgeward.engines import probe; probe.answer_probe(*sys.argv[1:])"
PROBING = "EDGEWARD_PROBING"  # set for a probe, which starts none itself


class Verdict(NamedTuple):
    """The result of a probe, with the reason as a clause."""

    is_usable: bool
    reason: str


_RAN = Verdict(True, "ran a small model")
_OPENING = "opening"  # what a probe says first

# What kills an engine, by signal name; any other signal is explained by the engine's last words.
_CAUSES = {
    "SIGILL": "the wheel uses instructions this CPU lacks",
    "SIGKILL": "out of memory, or stopped from outside",
    "SIGSEGV": "it touched memory that is not its own",
    "SIGSYS": "it made a system call that is forbidden here",
}


def ensure_usable(engine: Installed) -> None:
    """Raises EngineMismatch, with the reason, when `engine` cannot run a model here.

    A good verdict is cached for this library, this core and this CPU. A bad one is not: what is
    missing may be installed before the next load.
    """
    identity = _identity(engine)
    if identity is not None and _is_remembered(engine.library, identity):
        return
    verdict = probe(engine)
    if not verdict.is_usable:
        raise EngineMismatch(
            f"engine {engine.name}: {engine.package} {engine.version} at {engine.library}: "
            f"{verdict.reason}"
        )
    if verdict == _RAN and identity is not None:
        _remember(engine.library, identity)


def probe(engine: Installed) -> Verdict:
    """Runs a small model on `engine` in a child process, which the engine may kill.

    Where no child can be started (an embedded interpreter, a sandbox), the engine is trusted.
    """
    import subprocess

    if PROBING in os.environ:
        return Verdict(True, "taken on trust: a probe starts no other")
    question = (engine.name, engine.version, engine.library)
    command = child.command(ANSWER, *question)
    if command is None:
        return Verdict(True, "taken on trust: this program has no Python to start for a probe")
    try:
        ended = subprocess.run(
            command,
            env={**os.environ, PROBING: "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROBE_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return Verdict(False, f"did not finish a small model within {PROBE_LIMIT_S:g} s")
    except OSError as error:
        return Verdict(True, f"taken on trust: no probe could be started ({error.strerror})")
    return judge(ended.returncode, ended.stdout, ended.stderr)


def answer_probe(name: str, version: str, library: str) -> None:
    """The child's side of `probe`: opens the engine, runs a model, reports on standard output."""
    import resource
    from importlib.resources import files

    from edgeward import _core

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = os.dup(1)
    os.dup2(2, 1)  # the engine may print to standard output
    os.write(answer, f"{_OPENING}\n".encode())
    model = str(files("edgeward") / "digits" / f"digits.{KINDS[name].formats[0]}")
    try:
        opening = _core.make_opening(name, library, version, 1)
        _core.open_model(model, opening).session().run()
    except EdgewardError as error:
        os.write(answer, f"{error}\n".encode())
        raise
    os.write(answer, f"{_RAN.reason}\n".encode())


def judge(returncode: int, answer: str, noise: str) -> Verdict:
    """The verdict for a child with this return code (negative: a signal) and this output."""
    import signal

    answers = answer.splitlines()
    last_words = (noise.strip().splitlines() or ["it printed nothing"])[-1]
    if _OPENING not in answers:  # it ended before, or is another program than Python
        return Verdict(True, f"taken on trust: the probe did not start ({last_words})")
    if returncode < 0:
        names = {number.value: number.name for number in signal.Signals}
        killer = names.get(-returncode, f"signal {-returncode}")
        return Verdict(False, f"killed by {killer}: {_CAUSES.get(killer, last_words)}")
    answers = answers[answers.index(_OPENING) :]
    has_run = answers[-1] == _RAN.reason
    if has_run and returncode == 0:
        return _RAN
    if len(answers) > 1 and not has_run:
        return Verdict(False, explained(answers[-1]))
    when = "after" if has_run else "before"
    return Verdict(False, f"ended with status {returncode} {when} it ran a model ({last_words})")


def explained(message: str) -> str:
    """The loader's message about a symbol version as a sentence; any other message unchanged."""
    lacking = re.search(r"(\S+): version [`'](\w+?)_([\d.]+)' not found", message)
    if lacking is None:
        return message
    library, family, version = lacking.groups()
    has = os.confstr("CS_GNU_LIBC_VERSION") if family == "GLIBC" else "older"
    return f"needs {family} {version}, but {os.path.basename(library)} on this system is {has}"


# --- The cache of verdicts ------------------------------------------------------------------------


def _identity(engine: Installed) -> str | None:
    """Everything that a verdict depends on; None when the library or the core cannot be read."""
    from edgeward import _core

    try:
        library, core = os.stat(engine.library), os.stat(_core.__file__)
    except OSError:
        return None
    stamps = (library.st_size, library.st_mtime_ns, core.st_size, core.st_mtime_ns)
    return " ".join([engine.version, *map(str, stamps), cpu_flags()])


def _cache_paths() -> list[str]:
    """Files that may hold verdicts, the first of which that can be written gets new ones.

    That of this user's cache directory, and for a service that has none that of its run-time
    directory, which lasts until it ends or the machine does.
    """
    cache, runtime = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    roots = [cache, *([runtime] if _is_own(runtime) else ())]
    return [os.path.join(root, "edgeward", "engines.json") for root in roots if os.path.isabs(root)]


def _is_own(directory: str) -> bool:
    try:
        return os.stat(directory).st_uid == os.geteuid()
    except OSError:
        return False


def _is_remembered(library: str, identity: str) -> bool:
    """True when the cache holds this entry.

    The text is searched, not parsed: importing json takes longer than everything else here. JSON
    escapes a quotation mark or a backslash, so that a library with one in its path is probed at
    each load.
    """
    return any(f'"{library}": "{identity}"' in text_of(path) for path in _cache_paths())


def _remember(library: str, identity: str) -> None:
    """Adds this entry to a cache. Where none can be written, the next load probes again."""
    for path in _cache_paths():
        try:
            return _add(path, library, identity)
        except OSError:
            continue


def _add(path: str, library: str, identity: str) -> None:
    """Replaces the cache in one step: adds this entry, drops those of libraries that do not exist.

    Raises OSError.
    """
    import json

    from edgeward.durable import replace_file

    try:
        known = json.loads(text_of(path))
    except (ValueError, RecursionError):
        known = {}
    kept = known.items() if isinstance(known, dict) else ()
    entries = {name: value for name, value in kept if os.path.exists(name)}
    entries[library] = identity
    text = json.dumps(entries, ensure_ascii=False, indent=1)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    replace_file(path, text.encode("utf-8", "surrogateescape"))
