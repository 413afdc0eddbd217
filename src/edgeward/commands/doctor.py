"""`edgeward doctor`: what this machine is, which engines it has, on what else programs stand, and
in one sentence what to do.

`report` looks and probes; everything else only formats it.
"""

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy

from edgeward import Package, __version__, empty, load_unsigned
from edgeward._core import libcrypto_version
from edgeward.commands import surroundings
from edgeward.commands.options import TRUST_DIRECTORY
from edgeward.engines import installed, memory_budget, probe, processors
from edgeward.errors import EngineMismatch, EngineMissing
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports.inspection import size
from edgeward.terminal.prose import folded
from edgeward.terminal.quoting import quoted

# Instruction sets that the engines' kernels choose between, as the kernel names them.
KERNEL_FLAGS = (
    "sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "neon", "vfpv4", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
NOT_READY_STATUS = 1
INDENT = 10  # columns of the words before what they name


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trust", metavar="DIR", help=TRUST_DIRECTORY)
    parser.add_argument(
        "--captures", metavar="DIR", help="where a Capture writes (default: no such place)"
    )
    parser.add_argument(
        "--model", metavar="MODEL", type=Path, help="whose inferences a Capture has to hold"
    )


def run(args: argparse.Namespace) -> Outcome:
    record_bytes = 0 if args.model is None else _record_bytes(args.model, args.trust)
    facts = report(args.trust, args.captures, record_bytes)
    page = text(facts)
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        page = "\n".join(
            part for line in page.split("\n") for part in folded(line, columns, INDENT)
        )
    return Outcome(cast(dict[str, Any], facts), page, 0 if facts["is_ready"] else NOT_READY_STATUS)


def _record_bytes(path: Path, trust: str | None) -> int:
    """Of the tensors of an inference, with 1 for each open size. Raises as load."""
    if is_package(path):
        model = Package.open(path, trust=trust).load(commit=False)
    else:
        model = load_unsigned(path)
    with model:
        specs = [spec for spec in (*model.inputs, *model.outputs) if spec.dtype != "string"]
        return sum(
            empty([max(extent, 1) for extent in spec.shape or ()], spec.dtype).nbytes
            for spec in specs
        )


class EngineFinding(TypedDict):
    """One engine on this machine; empty and false where it is not."""

    name: str
    title: str
    is_installed: bool
    package: str
    version: str
    library: str
    supported: str  # the versions that were checked, as pip writes them
    is_usable: bool
    verdict: str
    advice: str


class Report(TypedDict):
    """Everything that decides whether models run here; plain values, ready for JSON."""

    edgeward: str
    python: str
    implementation: str
    executable: str
    platform: str
    libc: str
    cpu: str
    cpu_flags: list[str]
    cpu_count: int
    usable_cpu_count: int
    memory_bytes: int  # of the machine
    memory_limit_bytes: int | None  # of the cgroup
    memory_budget_bytes: int | None  # of EDGEWARD_MEMORY
    numpy: str
    libcrypto: str
    engines: list[EngineFinding]
    surroundings: list[surroundings.Finding]
    notes: list[str]
    is_ready: bool
    advice: str


def report(trust: str | None = None, captures: str | None = None, record_bytes: int = 0) -> Report:
    """Looks at the machine and probes every installed engine, each in a child process.

    `trust` is a trust directory, by default the one that `load` takes; `captures` is where a
    Capture writes, and `record_bytes` what the tensors of one inference take.
    """
    findings = [finding(name) for name in installed.KINDS]
    flags = processors.cpu_flags().split()
    return {
        "edgeward": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable or "",
        "platform": platform.platform(),
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
        "cpu": cpu_name(processors.cpuinfo()) or platform.machine(),
        "cpu_flags": [flag for flag in KERNEL_FLAGS if flag in flags],
        "cpu_count": os.cpu_count() or 1,
        "usable_cpu_count": processors.usable_cpus(),
        "memory_bytes": memory_budget.board_bytes(),
        "memory_limit_bytes": memory_budget.limit_bytes(),
        "memory_budget_bytes": memory_budget.budget_bytes(None) or None,
        "numpy": numpy.__version__,
        "libcrypto": libcrypto_version(),
        "engines": findings,
        "surroundings": surroundings.findings(trust, captures, record_bytes),
        "notes": notes(findings),
        "is_ready": any(engine["is_usable"] for engine in findings),
        "advice": advice(findings),
    }


def finding(name: str) -> EngineFinding:
    """What there is to say about the engine called `name`."""
    kind = installed.KINDS[name]
    absent: EngineFinding = {
        "name": name,
        "title": kind.title,
        "is_installed": False,
        "package": kind.package,
        "version": "",
        "library": "",
        "supported": kind.supported,
        "is_usable": False,
        "verdict": "not installed",
        "advice": kind.install,
    }
    another = f'pip install "{kind.package}{kind.supported}"'
    try:
        here = installed.installed(name)
    except EngineMissing:
        return absent
    except EngineMismatch as error:
        return {**absent, "is_installed": True, "verdict": str(error), "advice": another}
    verdict = probe.probe(here)
    if verdict.is_usable:
        remedy = "nothing to do"
    elif kind.supports(here.version):
        remedy = f"try another version, within {kind.package}{kind.supported}"
    else:
        remedy = another
    return {
        **absent,
        "is_installed": True,
        "package": here.package,
        "version": here.version,
        "library": here.library,
        "is_usable": verdict.is_usable,
        "verdict": verdict.reason,
        "advice": remedy,
    }


def notes(findings: Iterable[EngineFinding]) -> list[str]:
    """What else a user may want to know about the engines that are here."""
    if any(engine["name"] == "onnx" and engine["is_installed"] for engine in findings):
        return ["ONNX Runtime's telemetry is switched off before its library is opened."]
    return []


def advice(findings: Sequence[EngineFinding]) -> str:
    """One sentence: which files run on what, and what to do for the others."""
    by_format: dict[str, list[EngineFinding]] = {}
    for engine in findings:
        by_format.setdefault(installed.KINDS[engine["name"]].formats[0], []).append(engine)
    parts = []
    for model_format, able in by_format.items():
        first = next((engine for engine in able if engine["is_usable"]), None)
        if first:
            parts.append(f".{model_format} runs on {first['title']} {first['version']}")
        else:
            parts.append(f"for .{model_format}: {able[0]['advice']}")
    is_ready = any(engine["is_usable"] for engine in findings)
    return f"{'Ready' if is_ready else 'Not ready'}: {'; '.join(parts)}"


def cpu_name(cpuinfo: Mapping[str, str]) -> str:
    """The processor's name as the kernel gives it, or the board's, or an empty text."""
    if "model name" in cpuinfo:
        return cpuinfo["model name"]
    try:
        with open("/proc/device-tree/model", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\0")
    except OSError:
        return ""


def text(report: Report) -> str:
    """The report as a page for people."""
    cpu_counts = f"{report['usable_cpu_count']} of {report['cpu_count']} usable"
    sections = [
        [
            f"Edgeward  {report['edgeward']}",
            f"Python    {report['python']} ({report['implementation']}), {report['executable']}",
            f"numpy     {report['numpy']}",
            f"Crypto    {report['libcrypto']}",
            f"System    {report['platform']}, {report['libc']}",
            f"CPU       {report['cpu']}, {cpu_counts}",
            f"          {' '.join(report['cpu_flags']) or 'none of the instruction sets we know'}",
            f"Memory    {memory_text(report)}",
        ],
        *[engine_lines(engine) for engine in report["engines"]],
        [surroundings_line(finding) for finding in report["surroundings"]],
        [*report["notes"], report["advice"]],
    ]
    return "\n\n".join("\n".join(section) for section in sections)


def surroundings_line(finding: surroundings.Finding) -> str:
    remedy = "" if finding["is_fine"] else f" -> {finding['advice']}"
    return f"{finding['name']:<9} {quoted(finding['verdict'])}{quoted(remedy)}"


def memory_text(report: Report) -> str:
    """What the machine has, its cgroup allows, and models may hold."""
    limit, budget = report["memory_limit_bytes"], report["memory_budget_bytes"]
    limited = "no limit by a cgroup" if limit is None else f"{size(limit)} allowed by a cgroup"
    held = (
        f"no {memory_budget.VARIABLE}"
        if budget is None
        else f"models may hold {size(budget)} ({memory_budget.VARIABLE})"
    )
    return f"{size(report['memory_bytes'])}, {limited}, {held}"


def engine_lines(engine: EngineFinding) -> list[str]:
    """One engine's part of the page."""
    if not engine["is_installed"]:
        return [
            f"{engine['name']:<9} {engine['title']} is not installed",
            f"          {engine['advice']}",
        ]
    title = f"{engine['title']} {engine['version']}"
    claim = "usable" if engine["is_usable"] else "NOT usable"
    return [
        f"{engine['name']:<9} {title} is {claim}: {engine['verdict']}",
        f"          {engine['library'] or 'no library'} (checked: {engine['supported']})",
        f"          {engine['advice']}",
    ]
