"""A model's answer: every output by its name."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgeward import _core


def answer(model: _core.Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What `model` gives for `inputs`, in the one form for one output and for several.

    Raises as Model.predict does.
    """
    given = model.predict(dict(inputs))
    return given if isinstance(given, dict) else {model.outputs[0].name: given}
