"""A model's answer: every output by its name."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgeward import _core


def answer(model: _core.Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs of `model` for `inputs`, as a dict also when there is only one.

    Raises as Model.predict does.
    """
    outputs = model.predict(dict(inputs))
    return outputs if isinstance(outputs, dict) else {model.outputs[0].name: outputs}
