"""The engines that are installed here, and what makes models for each."""

from types import ModuleType

from models import onnx_models, tflite_models

from edgeward.engines.installed import all_installed

ENGINES = tuple(engine.name for engine in all_installed())


def models_of(engine_name: str) -> ModuleType:
    """The generators of the format that an engine runs."""
    return onnx_models if engine_name == "onnx" else tflite_models
