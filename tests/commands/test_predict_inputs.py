"""`edgeward predict` with recipes: of the package, and of a file for a bare model."""

import json
import re
import wave
from pathlib import Path

import numpy as np
import pytest
from consoles import blurred, pattern
from models import onnx_models
from PIL import Image

import edgeward as ew
from edgeward.inputs.log_mel import log_mel
from edgeward.packages.recipe import LogMel

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


WINDOWS = {"inputs": {"x": {"kind": "sound", "rate_hz": 8000, "step": 4, "scale": 4}}}


@pytest.fixture
def long_sound(workplace):
    """Eleven samples, three windows of a model that adds 0, 1, 2 and 3."""
    Path("windows.json").write_text(json.dumps(WINDOWS))
    Path("four.txt").write_text("zero\none\ntwo\nthree\n")
    samples = np.array([0, 0, 0, 0, 32767, 0, 0, 0, 0, 0, -32768], "<i2")
    with wave.open("long.wav", "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return "predict model.tflite long.wav --recipe windows.json"


def test_each_window_of_a_sound_has_an_answer(done, long_sound):
    report = done(f"{long_sound} --labels four.txt")
    assert "outputs" not in report
    assert [(window["begin_s"], window["end_s"]) for window in report["windows"]] == [
        (0, 0.0005), (0.0005, 0.001), (0.001, 0.0015),
    ]  # fmt: skip
    answers = [window["outputs"]["y"] for window in report["windows"]]
    assert [answer["best"][0]["label"] for answer in answers] == ["three", "zero", "three"]
    np.testing.assert_allclose(
        [answer["values"] for answer in answers],
        [[0, 1, 2, 3], [4, 1, 2, 3], [0, 1, -2, 3]], atol=1e-3,
    )  # fmt: skip


def test_windows_are_lines_with_their_time(run, long_sound):
    _, out, _ = run(f"{long_sound} --labels four.txt")
    assert out.splitlines() == [
        "long.wav, 3 windows of 0.0005 s",
        "",
        "y  float32 [4]",
        "  0.0000 s  three  3",
        "  0.0005 s  zero   4",
        "  0.0010 s  three  3",
    ]
    _, out, _ = run(long_sound)
    assert out.splitlines()[3:] == [
        "  0.0000 s  0 1 2 3", "  0.0005 s  4 1 2 3", "  0.0010 s  0 1 -2 3",
    ]  # fmt: skip


def test_the_packages_step_holds_for_its_methods_too(done, long_sound):
    done(f"{SEAL} --recipe windows.json")
    report = done(f"predict demo.ewp long.wav {TRUST}")
    assert report["windows"] == done(long_sound)["windows"]
    with ew.load("demo.ewp", trust="edgeward-keys/trust") as model:
        answers = list(model.predict_windows("long.wav"))
        assert [answer.begin_s for answer in answers] == [0, 0.0005, 0.001]
        for answer, window in zip(answers, report["windows"], strict=True):
            np.testing.assert_array_equal(answer.answer, window["outputs"]["y"]["values"])
        np.testing.assert_array_equal(model.predict_sound("long.wav"), answers[0].answer)


def test_windows_are_written_side_by_side_and_drawn(run, done, long_sound):
    status, out, _ = run(f"{long_sound} -o y.npy --png long.png --labels four.txt")
    assert (status, out.splitlines()) == (0, ["wrote y.npy", "wrote long.png"])
    assert np.load("y.npy").shape == (3, 4)
    done(f"{long_sound} --png plain.png")
    heights = [Image.open(path).size[1] for path in ("long.png", "plain.png")]
    assert heights[0] > heights[1]  # by the labels


def test_a_front_end_makes_the_input(done, workplace):
    how = {"kind": "sound", "rate_hz": 8000, "log_mel": {"window": 32, "hop": 16, "bins": 4}}
    Path("mel.json").write_text(json.dumps({"inputs": {"x": how}}))
    with wave.open("noise.wav", "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        noise = np.random.default_rng(3).integers(-9999, 9999, 80)
        file.writeframes(noise.astype("<i2").tobytes())
    report = done("predict model.tflite noise.wav --recipe mel.json")
    levels = log_mel((noise[:32] / 32768).astype(np.float32), LogMel(32, 16, 4, 32, 0, 4000), 8000)
    np.testing.assert_allclose(
        report["outputs"]["y"]["values"], levels[0] + np.arange(4), rtol=1e-6
    )


NOISES = {
    "kind": "sound", "rate_hz": 16000, "step": 7680, "log_mel": {
        "window": 400, "hop": 160, "bins": 64, "low_hz": 125, "high_hz": 7500, "power": 1,
        "offset": 0.001,
    },
}  # fmt: skip


def street():
    """Four seconds at 16 kHz: a hum with its overtones, a whistle that rises, and a hiss."""
    at_s = np.arange(64_000) / 16_000
    hum = sum(np.sin(2 * np.pi * 150 * part * at_s) / part for part in range(1, 4)) * 0.2
    whistle = np.sin(2 * np.pi * (1700 * at_s + 100 * at_s**2)) * 0.3
    hiss = np.random.default_rng(1).uniform(-0.3, 0.3, at_s.size)
    parts = hum * (at_s < 1.6), whistle * ((at_s > 1.4) & (at_s < 2.7)), hiss * (at_s > 2.8)
    return sum(parts) + hiss / 300


def test_the_page_of_recipes_shows_what_is_printed(run, workplace):
    pytest.importorskip("onnxruntime")
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    ((command, shown),) = re.findall(r"^```console\n\$ edgeward (.*)\n((?s:.*?))^```$", page, re.M)
    Path("noises.onnx").write_bytes(onnx_models.noises())
    Path("street.json").write_text(json.dumps({"inputs": {"levels": NOISES}}))
    Path("noises.txt").write_text("hum\nwhistle\nhiss\n")
    with wave.open("street.wav", "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.rint(street() * 32767).astype("<i2").tobytes())
    status, printed, _ = run(command)
    assert status == 0
    assert re.fullmatch(pattern(shown), blurred(printed)), printed
    picture = Path(__file__).parents[2] / "docs" / "pictures" / "street.png"
    drawn, kept = (
        np.asarray(Image.open(path).convert("RGB")).astype(int) for path in ("street.png", picture)
    )
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 4  # fonts and scaling differ from one Pillow to another


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
    Path("two.txt").write_text("a\nb\n")
    Path("scores.onnx").write_bytes(
        onnx_models.fixed_answers((1, 32, 32, 3), {"scores": [[0.25, 0.75]]})
    )
    Image.fromarray(np.full((320, 640), 90, np.uint8)).save("grey.png")
    line = "predict scores.onnx grey.png --labels two.txt --png seen.png"
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
