"""`edgeward predict` with recipes: of the package, and of a file for a bare model."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from models import onnx_models
from PIL import Image

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


# --- what is shown of the answer -------------------------------------------------------------

BOXES = {
    "boxes": [[[0.1, 0.2, 0.5, 0.6], [0.0, 0.5, 1.0, 1.0]]], "scores": [[0.9, 0.6]],
    "classes": [[1, 0]],
}  # fmt: skip
OUTPUTS = {"layout": "detections", "boxes": "boxes", "scores": "scores", "classes": "classes"}


@pytest.fixture
def detector(workplace):
    """A model that has seen two boxes, with a recipe that contains, and a wide picture."""
    pytest.importorskip("onnxruntime")
    Path("boxes.onnx").write_bytes(onnx_models.fixed_answers((1, 32, 32, 3), BOXES))
    how = {"inputs": {"image": {"kind": "picture", "fit": "contain"}}, "boxes": OUTPUTS}
    Path("boxes.json").write_text(json.dumps(how))
    Image.fromarray(np.full((100, 200, 3), 90, np.uint8)).save("wide.png")
    return "boxes.onnx wide.png --recipe boxes.json --labels labels.txt"


def test_boxes_are_lines_in_pixels_of_the_picture(run, done, detector):
    report = done(f"predict {detector} --png seen.png")
    assert [(box["label"], box["class"], box["box"]) for box in report["boxes"]] == [
        ("b", 1, [40, 0, 120, 50]), ("a", 0, [100, 0, 200, 100]),
    ]  # fmt: skip
    assert report["png"] == "seen.png"
    sheet = np.asarray(Image.open("seen.png"))
    assert sheet.shape == (320, 640, 3)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 4
    assert (sheet[200, :300] == 90).all()
    _, out, _ = run(f"predict {detector}")
    assert out.splitlines() == [
        "wide.png, 200 x 100 pixels",
        "     score  left  top  right  bottom",
        "  b   0.90    40    0    120      50",
        "  a   0.60   100    0    200     100",
    ]


def test_boxes_of_a_picture_that_is_decoded_at_a_fraction_stand_where_they_are(
    done, detector, monkeypatch
):
    Image.fromarray(np.full((1000, 2000, 3), 90, np.uint8)).save("large.jpg")
    monkeypatch.setattr("edgeward.inputs.picture_tensor.MOST_PIXELS", 1_200_000)
    report = done(f"predict {detector.replace('wide.png', 'large.jpg')} --png large.png")
    assert [box["box"] for box in report["boxes"]] == [[400, 0, 1200, 500], [1000, 0, 2000, 1000]]
    done(f"predict {detector} --png wide-seen.png")
    large, wide = (
        np.abs(np.asarray(Image.open(path)).astype(int) - 90).max(axis=-1) > 20
        for path in ("large.png", "wide-seen.png")
    )
    assert wide.any()
    assert (large == wide).mean() > 0.99


def test_boxes_come_out_of_a_package(done, detector):
    done(f"{SEAL.replace('model.tflite', 'boxes.onnx')} --recipe boxes.json --labels labels.txt")
    report = done(f"predict demo.ewp wide.png {TRUST}")
    assert report["boxes"] == done(f"predict {detector}")["boxes"]


def test_a_picture_without_boxes_has_its_labels_below(done, run):
    Path("scores.onnx").write_bytes(
        onnx_models.fixed_answers((1, 32, 32, 3), {"scores": [[0.25, 0.75]]})
    )
    Image.fromarray(np.full((320, 640), 90, np.uint8)).save("grey.png")
    line = "predict scores.onnx grey.png --labels labels.txt --png seen.png"
    assert [best["label"] for best in done(line)["outputs"]["scores"]["best"]] == ["b", "a"]
    sheet = np.asarray(Image.open("seen.png"))
    assert (sheet[:320] == 90).all()
    assert sheet[320:].min() < 60
    status, out, _ = run(line)
    assert (status, out.splitlines()[-1]) == (0, "wrote seen.png")


def test_a_sound_has_a_spectrogram(done, sound):
    done("predict model.tflite sound.wav --recipe recipe.json --png seen.png")
    assert Image.open("seen.png").size[0] > 900


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("predict model.tflite input.npy --png a.png", "expected a picture or a .wav among the"),
        (
            "predict demo.ewp input.npy --labels labels.txt " + TRUST,
            "--labels: expected them with a",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(run, done, line, says):
    done(SEAL)
    status, _, err = run(line)
    assert (status, says in err) == (2, True)


def test_a_png_that_cannot_be_written_is_said_before_the_work(run, detector):
    status, _, err = run(f"predict {detector} --png none/seen.png")
    assert (status, "none" in err) == (5, True)
