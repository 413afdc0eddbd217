"""Predictions on pictures and sounds, by the recipe of the model's package."""

import io

import numpy as np
import pytest
import sealed
from models import tflite_models
from PIL import Image

import edgeward as ew
from edgeward import Contents
from edgeward.commands import demo
from edgeward.errors import BadInput

DIGITS = (demo.DIGITS / "digits.tflite").read_bytes()
PICTURE = (demo.load_digits().pictures[0] * (255 / demo.FULL_INK)).astype(np.uint8)
BLACK_ON_WHITE = {"inputs": {"image": {"kind": "picture", "mean": 255, "scale": -1 / 255}}}
SOUND = {"inputs": {"x": {"kind": "sound", "rate_hz": 8000, "scale": 2}}}


@pytest.fixture
def load(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")

    def loaded(model, recipe):
        path = sealed.seal(tmp_path / "a.ewp", model=model, contents=Contents(recipe=recipe))
        return ew.load(path, trust=trust)

    return loaded


def test_a_picture_is_prepared_by_the_recipe(load, tmp_path):
    model = load(DIGITS, BLACK_ON_WHITE)
    inverted = 255 - PICTURE
    expected = model.predict((PICTURE / np.float32(255)).reshape(1, 8, 8, 1))
    Image.fromarray(inverted).save(tmp_path / "digit.png")
    content = io.BytesIO()
    Image.fromarray(inverted).save(content, format="PNG")
    for source in (
        tmp_path / "digit.png",
        str(tmp_path / "digit.png"),
        content.getvalue(),
        inverted,
    ):
        assert np.allclose(model.predict_picture(source), expected, atol=1e-6)


@pytest.mark.parametrize("recipe", [None, {}], ids=["bare", "signed"])
def test_without_a_recipe_a_picture_is_prepared_by_the_rule(load, recipe):
    model = ew.load_unsigned(DIGITS) if recipe is None else load(DIGITS, recipe)
    expected = model.predict((PICTURE / np.float32(255)).reshape(1, 8, 8, 1))
    assert np.array_equal(model.predict_picture(PICTURE), expected)


def test_a_sound_is_prepared_by_the_recipe(load):
    model = load(sealed.MODEL, SOUND)
    samples = np.array([0.25, -0.25], np.float32)
    assert np.array_equal(
        model.predict_sound(samples), model.predict(np.array([0.5, -0.5, 0, 0], np.float32))
    )


def test_what_the_recipe_does_not_speak_of_is_refused(load):
    model = load(sealed.MODEL, SOUND)
    with pytest.raises(BadInput, match=r'^input "x": expected a sound, got a picture$'):
        model.predict_picture(PICTURE)
    for model in (load(DIGITS, BLACK_ON_WHITE), ew.load_unsigned(sealed.MODEL)):
        with pytest.raises(
            BadInput, match="expected a recipe of sound, which says the sample rate"
        ):
            model.predict_sound(np.zeros(4))
    pair = ew.load_unsigned(tflite_models.sum_product())
    with pytest.raises(BadInput, match=r"^model: expected one input, got 2$"):
        pair.predict_picture(PICTURE)
