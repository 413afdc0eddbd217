"""The engines on this machine: where the installed wheels keep their libraries, and which run here.

Nothing of an engine is imported or opened in this process; the core opens the library when a model
is loaded. An engine's first use is probed in a child process, because a wheel can kill the process
(SIGILL). Modules that numpy does not bring are imported where they are used: start-up time counts.
"""

import operator
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edgeward.errors import BadInput, EdgewardError, EngineMismatch, EngineMissing

PROBE_LIMIT_S = 60.0
PARALLEL_FROM_BYTES = 1 << 20  # smaller models run in far less than a millisecond
MOST_DEFAULT_THREADS = 4
MOST_THREADS = 256
HEAD_BYTES = 8  # where a model file says its format


class Kind(NamedTuple):
    """An engine that the core can drive: its names, what it runs, and the versions checked."""

    title: str
    package: str  # as pip calls it
    module: str
    library: str  # a pattern inside the module's directory
    formats: tuple[str, ...]
    lowest: str  # the first version of the range
    below: str  # the first version past it
    install: str  # the command that brings it

    @property
    def supported(self) -> str:
        """The range as pip writes it."""
        return f">={self.lowest},<{self.below}"

    def supports(self, version: str) -> bool:
        """True inside the range; a pre-release counts as its release."""
        return _release(self.lowest) <= _release(version) < _release(self.below)


# Of two that run a format, the first is the default.
KINDS: Mapping[str, Kind] = {
    "litert": Kind(
        title="LiteRT",
        package="ai-edge-litert",
        module="ai_edge_litert",
        library="libLiteRt.so",
        formats=("tflite",),
        lowest="2.2",
        below="2.4",
        install="pip install ai-edge-litert (where it has no wheel: pip install edgeward[tflite])",
    ),
    "onnx": Kind(
        title="ONNX Runtime",
        package="onnxruntime",
        module="onnxruntime",
        library="capi/libonnxruntime.so.*",
        formats=("onnx", "ort"),
        lowest="1.23",
        below="2",
        install="pip install edgeward[onnx]",
    ),
    "tflite": Kind(
        title="tflite-runtime",
        package="tflite-runtime",
        module="tflite_runtime",
        library="_pywrap_tensorflow_interpreter_wrapper*.so",
        formats=("tflite",),
        lowest="2.14",
        below="2.15",
        install="pip install edgeward[tflite] (Python 3.11 or older, numpy below 2)",
    ),
}


class Installed(NamedTuple):
    """An engine found in an installed wheel."""

    name: str  # a key of KINDS
    package: str  # the distribution that brought it: "onnxruntime", "onnxruntime-gpu"
    version: str
    library: str  # its path


class Ready(NamedTuple):
    """An engine that works here, and how many threads a run of one model may use."""

    name: str
    library: str
    version: str
    threads: int


class Verdict(NamedTuple):
    """What a probe found out, in one clause."""

    is_usable: bool
    reason: str


# --- Finding --------------------------------------------------------------------------------------


def installed(name: str) -> Installed:
    """The engine called `name`.

    Raises BadInput for a name that is no engine, EngineMissing when its package is not installed,
    and EngineMismatch when the package holds no library that an installed distribution lists.
    """
    import glob
    import importlib.util

    kind = _kind(name)
    spec = importlib.util.find_spec(kind.module)  # of a top-level module: executes nothing
    # A directory without __init__.py (a checkout that lies on the path) has no origin: no package.
    places = spec.submodule_search_locations if spec and spec.origin else None
    if not places:
        raise EngineMissing(f"engine {name}: {kind.package} is not installed: {kind.install}")
    directory = places[0]
    libraries = sorted(glob.glob(kind.library, root_dir=directory))
    for library in libraries:
        owner = _owner(directory, library)
        if owner:
            return Installed(name, *owner, os.path.join(directory, library))
    got = f"{libraries[0]}, which no installed distribution lists" if libraries else "none"
    raise EngineMismatch(
        f"engine {name}: {directory}: expected {kind.library} of {kind.package} "
        f"{kind.supported}, got {got}"
    )


def all_installed() -> tuple[Installed, ...]:
    """The engines that are here, in the order of KINDS."""
    found = []
    for name in KINDS:
        try:
            found.append(installed(name))
        except (EngineMissing, EngineMismatch):
            continue
    return tuple(found)


def choose(model_format: str, requested: str | None) -> Installed:
    """The engine for a "tflite", "onnx" or "ort" model: as requested, else the first installed.

    Raises BadInput when the requested engine does not run the format; and as `installed` does.
    """
    if requested is not None:
        kind = _kind(requested)
        if model_format not in kind.formats:
            runs = " or ".join(f".{name}" for name in kind.formats)
            raise BadInput(f'engine "{requested}": expected a {runs} model, got .{model_format}')
        return installed(requested)
    missing: EngineMissing | None = None
    for name, kind in KINDS.items():
        if model_format in kind.formats:
            try:
                return installed(name)
            except EngineMissing as error:
                missing = missing or error
    raise missing or BadInput(f"model format: expected tflite, onnx or ort, got {model_format}")


def require_arguments(engine: object, threads: object) -> None:
    """Raises BadInput for what no loader takes as its `engine` or `threads`."""
    if not isinstance(engine, str | None):
        raise BadInput(f"engine: expected {', '.join(KINDS)}, got {engine!r}")
    if threads is not None:
        _thread_count(threads)


def ready(head: bytes, size_bytes: int, requested: str | None, threads: int | None) -> Ready:
    """The engine for a model file of `size_bytes` that begins with `head`, probed.

    Raises BadInput, EngineMissing, EngineMismatch.
    """
    from edgeward import _core

    chosen = choose(_core.model_format(head), requested)
    ensure_usable(chosen)
    if threads is None:
        count = default_threads(usable_cpus(), size_bytes)
    else:
        count = _thread_count(threads)
    return Ready(chosen.name, str(chosen.library), chosen.version, count)


def _thread_count(given: object) -> int:
    try:
        count = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if not 1 <= count <= MOST_THREADS:
        raise BadInput(f"threads: expected a whole number from 1 to {MOST_THREADS}, got {given!r}")
    return count


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise BadInput(f'engine: expected {", ".join(KINDS)}, got "{name}"')
    return KINDS[name]


def _owner(directory: str, library: str) -> tuple[str, str] | None:
    """The (package, version) of the distribution whose RECORD lists `library` of this module.

    Told by the name of the directory that holds the RECORD, as importlib.metadata does; importing
    that costs more than opening an engine.
    """
    import glob

    root, module = os.path.split(directory)
    for record in sorted(glob.glob(f"{module}*.dist-info/RECORD", root_dir=root)):
        entries = _text(os.path.join(root, record)).splitlines()
        if any(entry.startswith(f"{module}/{library},") for entry in entries):
            package, _, version = os.path.dirname(record)[: -len(".dist-info")].rpartition("-")
            return package.replace("_", "-"), version
    return None


def _release(version: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in numbers[0].split(".")) if numbers else ()


# --- Probing --------------------------------------------------------------------------------------

_RAN = Verdict(True, "ran a small model")

# What kills an engine, by signal name; any other signal is explained by the engine's last words.
_CAUSES = {
    "SIGILL": "the wheel uses instructions this CPU lacks",
    "SIGKILL": "out of memory, or stopped from outside",
    "SIGSEGV": "it touched memory that is not its own",
    "SIGSYS": "it made a system call that is forbidden here",
}


def ensure_usable(engine: Installed) -> None:
    """Raises EngineMismatch, with the reason, when `engine` cannot run a model here.

    A good verdict is remembered for this library, this core and this CPU. A bad one is not: what
    was missing may be installed the next minute.
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
    """Runs a small model on `engine` in a child process, which may die of it.

    Where no child can be run (an embedded interpreter, a sandbox) the engine is taken on trust.
    """
    import json
    import subprocess

    if not _is_python(sys.executable):
        return Verdict(True, "taken on trust: this program has no Python to start for a probe")
    # Isolated, with our module path: it finds this edgeward and numpy, wherever it is started.
    start = (
        "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
        "from edgeward.engines import engine; engine.answer_probe(*sys.argv[1:])"
    )
    path = json.dumps([place for place in sys.path if isinstance(place, str)])
    question = (engine.name, engine.version, engine.library)
    try:
        child = subprocess.run(
            (sys.executable, "-I", "-c", start, path, *question),
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
    return judge(child.returncode, child.stdout, child.stderr)


def answer_probe(name: str, version: str, library: str) -> None:
    """The child's side of `probe`: opens the engine, runs a model, says so on standard output."""
    import resource
    from importlib.resources import files

    from edgeward import _core

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = os.dup(1)
    os.dup2(2, 1)  # what the engine prints is no answer
    os.write(answer, b"opening\n")
    model = str(files("edgeward") / "digits" / f"digits.{KINDS[name].formats[0]}")
    try:
        _core.open_model(model, name, library, version, 1).session().run()
    except EdgewardError as error:
        os.write(answer, f"{error}\n".encode())
        raise
    os.write(answer, f"{_RAN.reason}\n".encode())


def judge(returncode: int, answer: str, noise: str) -> Verdict:
    """What the end of a probe means, by its return code (negative: a signal) and its output."""
    import signal

    answers = answer.splitlines()
    last_words = (noise.strip().splitlines() or ["it printed nothing"])[-1]
    if not answers:  # it did not come as far as opening the engine
        return Verdict(True, f"taken on trust: the probe did not start ({last_words})")
    if returncode < 0:
        names = {number.value: number.name for number in signal.Signals}
        killer = names.get(-returncode, f"signal {-returncode}")
        return Verdict(False, f"killed by {killer}: {_CAUSES.get(killer, last_words)}")
    has_run = answers[-1] == _RAN.reason
    if has_run and returncode == 0:
        return _RAN
    if len(answers) > 1 and not has_run:
        return Verdict(False, explained(answers[-1]))
    when = "after" if has_run else "before"
    return Verdict(False, f"ended with status {returncode} {when} it ran a model ({last_words})")


def explained(message: str) -> str:
    """The loader's complaint about a symbol version as a sentence; any other message as it is."""
    lacking = re.search(r"(\S+): version [`'](\w+?)_([\d.]+)' not found", message)
    if lacking is None:
        return message
    library, family, version = lacking.groups()
    has = os.confstr("CS_GNU_LIBC_VERSION") if family == "GLIBC" else "older"
    return f"needs {family} {version}, but {os.path.basename(library)} on this system is {has}"


def _is_python(executable: str | None) -> bool:
    """False in an embedded interpreter, whose executable is unknown or the program around it."""
    return os.path.basename(executable or "").startswith(("python", "pypy"))


# --- Remembering ----------------------------------------------------------------------------------


def cpuinfo() -> dict[str, str]:
    """What the kernel tells of the first processor; x86 lists `flags`, ARM `Features`."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            head = file.read(8192)  # made as it is read: all of it takes long where CPUs are many
    except OSError:
        return {}
    fields = [line.partition(":") for line in head.split("\n\n", 1)[0].splitlines()]
    return {key.strip(): value.strip() for key, _, value in fields}


def cpu_flags() -> str:
    """The instruction sets of the first processor, as the kernel lists them."""
    cpu = cpuinfo()
    return cpu.get("flags") or cpu.get("Features") or ""


def _identity(engine: Installed) -> str | None:
    """All that a verdict depends on; none when the library or the core cannot be looked at."""
    from edgeward import _core

    try:
        library, core = os.stat(engine.library), os.stat(_core.__file__)
    except OSError:
        return None
    stamps = (library.st_size, library.st_mtime_ns, core.st_size, core.st_mtime_ns)
    return " ".join([engine.version, *map(str, stamps), cpu_flags()])


def _cache_path() -> str | None:
    """Where verdicts are kept; none when this user has no place for caches."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):
        root = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(root, "edgeward", "engines.json") if os.path.isabs(root) else None


def _is_remembered(library: str, identity: str) -> bool:
    """True when the cache holds this entry.

    Searched, not parsed: to import json takes longer than all else here. A path with a quotation
    mark or a backslash is written otherwise, and therefore probed at each load.
    """
    path = _cache_path()
    return path is not None and f'"{library}": "{identity}"' in _text(path)


def _remember(library: str, identity: str) -> None:
    """Replaces the cache in one step, by one with this entry and without libraries that are gone.

    Where it cannot be written, nothing happens: the next load probes again.
    """
    import json
    import tempfile

    path = _cache_path()
    if path is None:
        return
    try:
        known = json.loads(_text(path))
    except (ValueError, RecursionError):
        known = {}
    kept = known.items() if isinstance(known, dict) else ()
    entries = {place: value for place, value in kept if os.path.exists(place)}
    entries[library] = identity
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as scratch:
            written = os.path.join(scratch, "engines.json")
            with open(written, "w", encoding="utf-8", errors="surrogateescape") as file:
                json.dump(entries, file, ensure_ascii=False, indent=1)
            os.replace(written, path)
    except OSError:
        return


# --- Processors -----------------------------------------------------------------------------------


def usable_cpus() -> int:
    """How many processors this process may keep busy, by its affinity and its cgroup's quota."""
    files = quota_files(_text("/proc/self/cgroup"))
    quotas = [" ".join(_text(file) for file in pair) for pair in files]
    return cpus_within(len(os.sched_getaffinity(0)), quotas)


def quota_files(groups: str) -> list[tuple[str, ...]]:
    """The files that hold the CPU quotas of a process whose /proc/self/cgroup reads `groups`.

    For its own group and each above it: cpu.max (cgroup v2), or quota and period (v1). A container
    may be told a path that only its host has; then the topmost files are its own.
    """
    files: list[tuple[str, ...]] = []
    for line in groups.splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        parts = [part for part in group.split("/") if part]
        for depth in range(len(parts), -1, -1):
            inner = "/".join(["", *parts[:depth]])
            if not controllers:
                files.append((f"/sys/fs/cgroup{inner}/cpu.max",))
            elif "cpu" in controllers.split(","):
                place = f"/sys/fs/cgroup/cpu{inner}"
                files.append((f"{place}/cpu.cfs_quota_us", f"{place}/cpu.cfs_period_us"))
    return files


def cpus_within(affinity_count: int, quotas: Iterable[str]) -> int:
    """The processors that fit into every quota, at least one.

    A quota reads "<us> <us of a period>", or anything else for none ("max 100000", "-1 100000").
    Part of a processor does not count: a thread that uses it up is stopped until the period ends.
    """
    count = affinity_count
    for quota in quotas:
        granted = re.fullmatch(r"\s*(\d+)\s+([1-9]\d*)\s*", quota)
        if granted:
            count = min(count, int(granted[1]) // int(granted[2]))
    return max(count, 1)


def default_threads(cpus: int, model_size_bytes: int) -> int:
    """How many threads an engine gets when the caller does not say."""
    return 1 if model_size_bytes < PARALLEL_FROM_BYTES else min(cpus, MOST_DEFAULT_THREADS)


def _text(path: str) -> str:
    """The file's text; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
