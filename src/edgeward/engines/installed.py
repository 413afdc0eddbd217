"""The engines on this machine: where the installed wheels keep their libraries.

Nothing of an engine is imported or opened here. Modules that numpy does not import are imported
where they are used, which keeps start-up short.
"""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from edgeward.engines.text import text_of
from edgeward.errors import BadInput, EngineMismatch, EngineMissing

AUTO = "auto"  # in place of an engine's name: the one that `bench --tune` chose


class Kind(NamedTuple):
    """An engine that the core can run: its names, its formats, and the versions checked."""

    title: str
    package: str  # the name that pip takes
    module: str
    library: str  # a pattern inside the module's directory
    formats: tuple[str, ...]
    lowest: str  # the first version of the range
    below: str  # the first version past it
    install: str  # the command that installs it

    @property
    def supported(self) -> str:
        """The range as pip writes it."""
        return f">={self.lowest},<{self.below}"

    def supports(self, version: str) -> bool:
        """True inside the range; a pre-release counts as its release."""
        return _release(self.lowest) <= _release(version) < _release(self.below)


# Of the engines for a format, the first that is installed and can run the model is the default.
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
    "litert-interpreter": Kind(
        title="LiteRT Interpreter",
        package="ai-edge-litert",
        module="ai_edge_litert",
        library="_pywrap_litert_interpreter_wrapper*.so",
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
    package: str  # the distribution it belongs to: "onnxruntime", "onnxruntime-gpu"
    version: str
    library: str  # its path


def installed(name: str) -> Installed:
    """The engine called `name`.

    Raises BadInput for a name that is no engine, EngineMissing when its package is not installed,
    and EngineMismatch when the package holds no library that an installed distribution lists.
    """
    import glob
    import importlib.util

    kind = kind_of(name)
    spec = importlib.util.find_spec(kind.module)  # of a top-level module: executes nothing
    # A directory without __init__.py (a checkout on the path) has no origin, and is no package.
    directories = spec.submodule_search_locations if spec and spec.origin else None
    if not directories:
        raise EngineMissing(f"engine {name}: {kind.package} is not installed: {kind.install}")
    directory = directories[0]
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
    """The installed engines, in the order of KINDS."""
    engines = []
    for name in KINDS:
        try:
            engines.append(installed(name))
        except (EngineMissing, EngineMismatch):
            continue
    return tuple(engines)


def kind_of(name: str) -> Kind:
    if name not in KINDS:
        raise BadInput(f'engine: expected {", ".join((*KINDS, AUTO))}, got "{name}"')
    return KINDS[name]


def _owner(directory: str, library: str) -> tuple[str, str] | None:
    """The (package, version) of the distribution whose RECORD lists `library` of this module.

    Both are in the name of the directory that holds the RECORD. importlib.metadata reads them from
    there too, but importing it takes longer than opening an engine.
    """
    import glob

    root, module = os.path.split(directory)
    for record in sorted(glob.glob(f"{module}*.dist-info/RECORD", root_dir=root)):
        entries = text_of(os.path.join(root, record)).splitlines()
        if any(entry.startswith(f"{module}/{library},") for entry in entries):
            package, _, version = os.path.dirname(record)[: -len(".dist-info")].rpartition("-")
            return package.replace("_", "-"), version
    return None


def _release(version: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in numbers[0].split(".")) if numbers else ()
