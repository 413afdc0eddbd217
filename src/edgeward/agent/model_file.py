"""From the url of LoadModel to a model that runs: a package, or on request a bare model file."""

import os
from typing import NamedTuple

import grpc

from edgeward import _core
from edgeward.agent.refusal import Refusal, of_opening
from edgeward.errors import EdgewardError
from edgeward.model import load, load_unsigned
from edgeward.packages.package import is_package
from edgeward.trust.trust_directory import Trust

PACKAGE_SUFFIX = ".ewp"
MODEL_SUFFIXES = (".tflite", ".onnx", ".ort")


class OpenedModel(NamedTuple):
    model: _core.Model
    name: str  # the package's, or a bare file's without its suffix
    version: str  # empty of a bare file


class ModelOpener:
    """Opens models under a trust directory; bare model files where the device allows them.

    `trust` is None on a device that only runs bare files. Any thread.
    """

    def __init__(self, trust: Trust | None, is_unsigned_allowed: bool) -> None:
        self._trust = trust
        self._is_unsigned_allowed = is_unsigned_allowed

    def open(self, path: str) -> OpenedModel:
        """The model of the file `path`, or of the one in the folder `path`.

        Raises Refusal: NOT_FOUND, FAILED_PRECONDITION or RESOURCE_EXHAUSTED.
        """
        try:
            file = self._file_of(path)
            if is_package(file):
                return self._open_package(file)
            return self._open_bare(file)
        except (OSError, EdgewardError, MemoryError) as error:
            raise of_opening(error) from error

    def _open_package(self, file: str) -> OpenedModel:
        if self._trust is None:
            raise _failed(f'package "{file}": expected a trust directory on this device, got none')
        model = load(file, trust=self._trust)
        assert model.name is not None
        assert model.version is not None
        return OpenedModel(model, model.name, model.version)

    def _open_bare(self, file: str) -> OpenedModel:
        if not self._is_unsigned_allowed:
            raise _failed(
                f'"{file}": expected a signed package, got another file: seal it, or set '
                "unsigned = true in the agent's configuration"
            )
        return OpenedModel(load_unsigned(file), os.path.splitext(os.path.basename(file))[0], "")

    def _file_of(self, path: str) -> str:
        if not os.path.isdir(path):
            os.stat(path)  # raises FileNotFoundError
            return path
        suffixes: tuple[str, ...] = (PACKAGE_SUFFIX,)
        files = _files_in(path, suffixes)
        if not files and self._is_unsigned_allowed:
            suffixes = MODEL_SUFFIXES
            files = _files_in(path, suffixes)
        if not files:
            text = f'folder "{path}": expected one {PACKAGE_SUFFIX} file, got none'
            raise Refusal(grpc.StatusCode.NOT_FOUND, text)
        if len(files) > 1:
            names = ", ".join(os.path.basename(file) for file in files)
            raise _failed(
                f'folder "{path}": expected one {" or ".join(suffixes)} file, got {names}'
            )
        return files[0]


def _files_in(folder: str, suffixes: tuple[str, ...]) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if entry.name.endswith(suffixes))


def _failed(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, text)
