"""Prediction: one run of a model on a picture or a sound, prepared by its package's recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from edgeward import _core
from edgeward.errors import BadInput
from edgeward.inputs.picture_tensor import PictureSource, picture_tensor
from edgeward.inputs.sound_tensor import SoundSource, sound_tensor, sound_windows
from edgeward.packages import carried
from edgeward.packages.recipe import PictureInput, SoundInput


class WindowAnswer(NamedTuple):
    """What the model makes of one window of a sound."""

    begin_s: float  # from the sound's beginning
    end_s: float
    answer: Any  # as Model.predict gives it


def predict_picture(model: _core.Model, picture: PictureSource) -> Any:
    """What `model.predict` gives for the picture. Raises as it does, BadInput, OSError.

    Raises MalformedPackage for a recipe of a later version.
    """
    spec = _only_input(model)
    how = _recipe_of(model, spec.name)
    if isinstance(how, SoundInput):
        raise BadInput(f'input "{spec.name}": expected a sound, got a picture')
    return model.predict({spec.name: picture_tensor(picture, spec, how or PictureInput())})


def predict_sound(model: _core.Model, sound: SoundSource) -> Any:
    """What `model.predict` gives for the sound. Raises as it does, BadInput, OSError.

    Raises BadInput for a model without a recipe of sound, MalformedPackage for one of a later
    version.
    """
    spec, how = _sound_of(model)
    return model.predict({spec.name: sound_tensor(sound, spec, how)})


def predict_windows(model: _core.Model, sound: SoundSource) -> Iterator[WindowAnswer]:
    """An answer for each window of the sound, the recipe's step apart; raises as predict_sound."""
    spec, how = _sound_of(model)
    return (
        WindowAnswer(begin_s, end_s, model.predict({spec.name: tensor}))
        for begin_s, end_s, tensor in sound_windows(sound, spec, how)
    )


def _sound_of(model: _core.Model) -> tuple[_core.TensorSpec, SoundInput]:
    spec = _only_input(model)
    how = _recipe_of(model, spec.name)
    if not isinstance(how, SoundInput):
        raise BadInput(
            f'input "{spec.name}": expected a recipe of sound, which says the sample rate, got none'
        )
    return spec, how


def _only_input(model: _core.Model) -> _core.TensorSpec:
    if len(model.inputs) != 1:
        raise BadInput(f"model: expected one input, got {len(model.inputs)}")
    return model.inputs[0]


def _recipe_of(model: _core.Model, name: str) -> PictureInput | SoundInput | None:
    recipe = carried.recipe(model)
    return None if recipe is None else recipe.inputs.get(name)
