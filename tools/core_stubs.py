"""An extension of Griffe: parameters of the core's methods come from _core.pyi.

The compiled module tells docstrings and names. Its methods have no signature that `inspect` reads,
and their docstrings begin with one that pybind11 writes, in types of C++.
"""

import re
from pathlib import Path
from typing import Any

import griffe

CORE = "edgeward._core"
WRITTEN_SIGNATURE = re.compile(r"\A\w+\(.*\) -> .*\n*")


class CoreStubs(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        if pkg.path != "edgeward":
            return
        path = Path(str(pkg.filepath)).with_name("_core.pyi")
        stubs = griffe.visit("_core", filepath=path, code=path.read_text("utf-8"))
        for name, stub in stubs.members.items():
            if not stub.is_alias and name in pkg["_core"].members:
                complete(pkg["_core"][name], stub)


def complete(target: Any, stub: Any) -> None:
    if stub.is_class:
        for name, member in stub.members.items():
            if name in target.members:
                complete(target[name], member)
    elif stub.is_function and target.is_function:
        target.parameters = stub.parameters
        target.labels.discard("method descriptor")
        if target.docstring is not None:
            target.docstring.value = WRITTEN_SIGNATURE.sub("", target.docstring.value)
