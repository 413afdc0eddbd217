"""Prediction: one run of a model on a picture or a sound, prepared by its package's recipe."""

from __future__ import annotations

from typing import Any

from edgeward import _core
from edgeward.errors import BadInput
from edgeward.inputs.picture_tensor import PictureSource, picture_tensor
from edgeward.inputs.sound_tensor import SoundSource, sound_tensor
from edgeward.packages import carried
from edgeward.packages.recipe import PictureInput, SoundInput


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
    spec = _only_input(model)
    how = _recipe_of(model, spec.name)
    if not isinstance(how, SoundInput):
        raise BadInput(
            f'input "{spec.name}": expected a recipe of sound, which says the sample rate, got none'
        )
    return model.predict({spec.name: sound_tensor(sound, spec, how)})


def _only_input(model: _core.Model) -> _core.TensorSpec:
    if len(model.inputs) != 1:
        raise BadInput(f"model: expected one input, got {len(model.inputs)}")
    return model.inputs[0]


def _recipe_of(model: _core.Model, name: str) -> PictureInput | SoundInput | None:
    recipe = carried.recipe(model)
    return None if recipe is None else recipe.inputs.get(name)
