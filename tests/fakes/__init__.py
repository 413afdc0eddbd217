"""Engine libraries that compute nothing, compiled from the C beside this file.

Some tell the addresses they are given, which proves that nothing was copied; the others are broken,
each in its way. One is preloaded and plays another kernel.
"""

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgeward.engines.installed import KINDS

SOURCES = Path(__file__).parent

# What each library is made of: the arguments of the C compiler.
FAKES = {
    "litert_address": ("litert.c",),
    "litert_missing_symbol": ("litert.c", "-DLACKS_RUN"),
    "litert_old": ("litert.c", "-DLACKS_MODEL_FROM_FD"),
    "onnx_address": ("onnx.c",),
    "onnx_old": ("onnx.c", "-DLATEST_API=9"),
    "crash_at_load": ("crash_at_load.c",),
    "exit_at_load": ("exit_at_load.c",),
    "hang_at_load": ("hang_at_load.c",),
    "large_pages": ("large_pages.c",),
}


# Where a wheel of each engine keeps its library, below its module.
LIBRARY_PATHS = {
    "litert": "libLiteRt.so",
    "litert-interpreter": "_pywrap_litert_interpreter_wrapper.so",
    "onnx": "capi/libonnxruntime.so.1.32.0",
    "tflite": "_pywrap_tensorflow_interpreter_wrapper.so",
}


@functools.cache
def libraries() -> dict[str, Path]:
    """Every fake by name, compiled once in this process."""
    directory = Path(tempfile.mkdtemp(prefix="edgeward-fakes-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    paths = {name: directory / f"lib{name}.so" for name in FAKES}
    for name, (source, *flags) in FAKES.items():
        _compile(paths[name], source, *flags)
    return paths | {"needs_newer_libc": _build_needs_newer_libc(directory)}


def site(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Path:
    """A directory for wheels, found before those that are really installed."""
    for kind in KINDS.values():
        monkeypatch.delitem(sys.modules, kind.module, raising=False)
    directory.mkdir()
    monkeypatch.setattr(sys, "path", [str(directory), *sys.path])
    return directory


def lone_site(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Path:
    """A directory for wheels when no other engine is to be found; no probe can start then."""
    modules = [kind.module for kind in KINDS.values()]
    others = [path for path in sys.path if not any(Path(path, name).exists() for name in modules)]
    monkeypatch.setattr(sys, "path", others)
    return site(monkeypatch, directory)


def install(
    site: Path, name: str, version: str, library: bytes = b"", package: str | None = None
) -> Path:
    """Lays `library` into `site` as a wheel of the engine `name` would; returns where it lies.

    The module beside it cannot be imported: nobody may.
    """
    kind = KINDS[name]
    module = site / kind.module
    target = module / LIBRARY_PATHS[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    (module / "__init__.py").write_text("raise AssertionError('an engine was imported')\n")
    target.write_bytes(library)
    owner = (package or kind.package).replace("-", "_")
    information = site / f"{owner}-{version}.dist-info"
    information.mkdir(exist_ok=True)  # two engines may share a wheel
    with (information / "RECORD").open("a") as record:
        record.write(f"{kind.module}/__init__.py,,\n{target.relative_to(site)},,\n")
    return target


def _build_needs_newer_libc(directory: Path) -> Path:
    """A library that needs GLIBC_2.99, linked against a stand-in for a libc that has it."""
    later = directory / "later"
    later.mkdir()
    stand_in = later / "libc.so.6"
    version_script = f"-Wl,--version-script={SOURCES / 'newer_libc.map'}"
    _compile(stand_in, "newer_libc.c", "-nostdlib", "-Wl,-soname,libc.so.6", version_script)
    library = directory / "libneeds_newer_libc.so"
    _compile(library, "needs_newer_libc.c", "-nostdlib", str(stand_in))
    return library


def _compile(library: Path, source: str, *flags: str) -> None:
    strict = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror")
    command = ["cc", *strict, "-shared", "-fPIC", "-o", library, SOURCES / source, *flags]
    subprocess.run(command, check=True)
