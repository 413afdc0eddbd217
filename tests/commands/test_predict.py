"""`edgeward predict` with recipes: of the package, and of a file for a bare model."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest

RECIPE = {"inputs": {"x": {"kind": "sound", "rate_hz": 8000, "scale": 4}}}
SEAL = "seal model.tflite -o demo.ewp --name demo --version 1.0"
TRUST = "--trust edgeward-keys/trust"


@pytest.fixture
def sound(workplace):
    """A recipe of sound for the model, and a sound: three samples of a half in two channels."""
    Path("recipe.json").write_text(json.dumps(RECIPE))
    with wave.open("sound.wav", "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.array([[32767, 1]] * 3, "<i2").tobytes())
    return workplace


@pytest.mark.usefixtures("sound")
def test_a_sound_is_heard_by_the_packages_recipe(done):
    done(f"{SEAL} --recipe recipe.json")
    report = done(f"predict demo.ewp sound.wav {TRUST}")
    assert report["outputs"]["y"]["values"] == [2, 3, 4, 3]  # 4 times a half, and 0, 1, 2, 3
    assert report == {
        **done("predict model.tflite sound.wav --recipe recipe.json"),
        "model": "demo.ewp", "package": report["package"],
    }  # fmt: skip


@pytest.mark.usefixtures("sound")
def test_a_recipe_is_the_packages_own(run, done):
    done(SEAL)
    status, _, err = run(f"predict demo.ewp sound.wav --recipe recipe.json {TRUST}")
    assert status == 2
    assert "--recipe: expected it with a bare model, got a package: demo.ewp" in err
    status, _, err = run(f"predict demo.ewp sound.wav {TRUST}")
    assert (status, 'expected a recipe of sound for input "x"' in err) == (2, True)


@pytest.mark.usefixtures("sound")
def test_a_picture_is_no_sound(run):
    Path("cat.png").write_bytes(b"")
    status, _, err = run("predict model.tflite cat.png --recipe recipe.json")
    assert (status, 'expected a sound for input "x", got a picture' in err) == (2, True)


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize("line", [SEAL, "predict model.tflite sound.wav"], ids=["seal", "predict"])
def test_a_recipe_that_does_not_fit_is_refused(run, line):
    Path("other.json").write_text(json.dumps({"inputs": {"z": RECIPE["inputs"]["x"]}}))
    status, _, err = run(f"{line} --recipe other.json")
    assert status == 2
    assert 'recipe: expected inputs of the model\'s, "x", got "z"' in err
