"""recipe.json: what it says, bytes and back, and every document that is none."""

import copy
import json
import re
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import sealed
from hypothesis import strategies as st
from reference import recipe_reader

import edgeward as ew
from edgeward import Contents, Package
from edgeward.commands import demo
from edgeward.errors import BadInput, MalformedPackage
from edgeward.packages.recipe import (
    BoxOutputs,
    LogMel,
    PictureInput,
    Recipe,
    SoundInput,
    Values,
    from_bytes,
    to_bytes,
)

PICTURE = {
    "kind": "picture", "layout": "nhwc", "size": [224, 192], "fit": "contain", "fill": [1, 2, 3],
    "filter": "bicubic", "colours": "bgr", "mean": [1.5, 2, 3], "scale": 0.25,
}  # fmt: skip
MEL = {
    "window": 400, "hop": 160, "bins": 64, "fft": 500, "low_hz": 125, "high_hz": 7500,
    "filters": "slaney", "power": 1, "pad": "reflect", "offset": 0.001, "floor": 1e-6,
    "log": "log10", "range": 8, "layout": "bins-frames",
}  # fmt: skip
SOUND = {
    "kind": "sound", "rate_hz": 16000, "samples": 15600, "step": 7680, "log_mel": MEL,
    "mean": 0.5, "scale": 2,
}  # fmt: skip
BOXES = {
    "layout": "detections", "boxes": "b", "scores": "s", "classes": "c", "count": "n",
    "order": "xyxy", "unit": "pixels", "least": 0.25, "overlap": 0.75, "first_class": 1,
}  # fmt: skip
WHOLE = {"version": 1, "inputs": {"image": PICTURE, "sound": SOUND}, "boxes": BOXES}


def test_every_field_is_read():
    assert from_bytes(to_bytes(WHOLE), "here") == Recipe(
        {
            "image": PictureInput(
                "nhwc", (224, 192), "contain", None, (1, 2, 3), "bicubic", "bgr",
                Values((1.5, 2.0, 3.0), (0.25,)),
            ),
            "sound": SoundInput(
                16000, 15600, 7680,
                LogMel(400, 160, 64, 500, 125.0, 7500.0, "slaney", 1, "reflect", 0.001, 1e-6,
                       "log10", 8.0, "bins-frames"),
                Values((0.5,), (2.0,)),
            ),
        },
        BoxOutputs(
            "detections", {"boxes": "b", "scores": "s", "classes": "c", "count": "n"},
            "xyxy", "pixels", 0.25, 0.75, 1,
        ),
    )  # fmt: skip


def test_what_is_left_out_has_a_default():
    picture = from_bytes(to_bytes({"inputs": {"x": {"kind": "picture"}}}), "").inputs["x"]
    assert picture == PictureInput()
    scale = {"inputs": {"x": {"kind": "picture", "scale": 2}}}
    assert from_bytes(to_bytes(scale), "").inputs["x"].values == Values((0.0,), (2.0,))
    short = {"inputs": {"x": {"kind": "picture", "short_side": 256}}}
    assert from_bytes(to_bytes(short), "").inputs["x"] == PictureInput(short_side=256)
    brief = {"kind": "sound", "rate_hz": 8000, "log_mel": {"window": 257, "hop": 80, "bins": 40}}
    sound = from_bytes(to_bytes({"inputs": {"x": brief}}), "").inputs["x"]
    assert sound == SoundInput(8000, log_mel=LogMel(257, 80, 40, 512, 0.0, 4000.0))
    plain = {"layout": "detections", "boxes": "b", "scores": "s", "classes": "c"}
    boxes = from_bytes(to_bytes({"boxes": plain}), "").boxes
    assert (boxes.order, boxes.unit, boxes.least) == ("yxyx", "normalised", 0.5)
    boxes = from_bytes(to_bytes({"boxes": {"layout": "yolov8", "output": "y"}}), "").boxes
    assert (boxes.order, boxes.unit) == ("xywh", "pixels")


def changed(*path_and_value):
    *path, last, value = path_and_value
    document = copy.deepcopy(WHOLE)
    inner = document
    for name in path:
        inner = inner[name]
    inner[last] = value
    return document


OTHERS = {
    "a later version": (changed("version", 2), "expected version 1, got 2"),
    "a version that is true": (changed("version", True), "expected version 1, got True"),
    "a list": ([], "expected version 1, got None"),
    "nothing": ({"version": 1}, 'expected "inputs" or "boxes", got neither'),
    "another field": (
        changed("more", 1),
        'expected fields among version, inputs, boxes, got "more',
    ),
    "inputs in a list": (changed("inputs", []), "inputs: expected an object, got []"),
    "an input of text": (
        changed("inputs", "image", "x"),
        'input "image": kind: expected "picture"',
    ),
    "another kind": (
        changed("inputs", "image", "kind", "text"),
        '"picture" or "sound", got "text"',
    ),
    "a field of sound": (changed("inputs", "image", "rate_hz", 1), 'got "rate_hz"'),
    "a field of pictures": (changed("inputs", "sound", "fit", "cover"), 'got "fit"'),
    "no rate": (
        changed("inputs", "sound", {"kind": "sound"}),
        'expected a field "rate_hz", got none',
    ),
    "a rate of 0": (changed("inputs", "sound", "rate_hz", 0), "from 1 to 768000, got 0"),
    "half a rate": (changed("inputs", "sound", "rate_hz", 0.5), "from 1 to 768000, got 0.5"),
    "a vast rate": (changed("inputs", "sound", "rate_hz", 10**400), "from 1 to 768000, got 1000"),
    "no samples": (
        changed("inputs", "sound", "samples", 0),
        "samples: expected a number from 1 to 33554432, got 0",
    ),
    "a step of 0": (
        changed("inputs", "sound", "step", 0),
        "step: expected a number from 1 to 33554432, got 0",
    ),
    "a step of null": (
        changed("inputs", "sound", "step", None),
        "step: expected a number from 1 to 33554432, got None",
    ),
    "a front end of text": (
        changed("inputs", "sound", "log_mel", "yamnet"),
        'log_mel: expected an object, got "yamnet"',
    ),
    "a front end of null": (
        changed("inputs", "sound", "log_mel", None),
        "log_mel: expected an object, got None",
    ),
    "a hop of 0": (
        changed("inputs", "sound", "log_mel", "hop", 0),
        "log_mel: hop: expected a number from 1 to 32768, got 0",
    ),
    "a window of 1": (
        changed("inputs", "sound", "log_mel", "window", 1),
        "log_mel: window: expected a number from 2 to 32768, got 1",
    ),
    "a vast transform": (
        changed("inputs", "sound", "log_mel", "fft", 1073741824),
        "log_mel: fft: expected a number from 400 to 32768, got 1073741824",
    ),
    "a transform below the window": (
        changed("inputs", "sound", "log_mel", "fft", 399),
        "fft: expected a number from 400 to 32768, got 399",
    ),
    "a billion bins": (
        changed("inputs", "sound", "log_mel", "bins", 1000000000),
        "log_mel: bins: expected a number from 1 to 512, got 1000000000",
    ),
    "no width": (
        changed("inputs", "sound", "log_mel", "low_hz", 7500),
        "low_hz: expected less than high_hz, got 7500",
    ),
    "low above high": (
        changed("inputs", "sound", "log_mel", "low_hz", 7501),
        "low_hz: expected a number from 0 to 7500, got 7501",
    ),
    "high beyond the rate": (
        changed("inputs", "sound", "log_mel", "high_hz", 8000.5),
        "high_hz: expected a number from 0 to 8000, got 8000.5",
    ),
    "other filters": (
        changed("inputs", "sound", "log_mel", "filters", "mel"),
        "filters: expected htk or htk-hz or slaney, got",
    ),
    "a power of 3": (
        changed("inputs", "sound", "log_mel", "power", 3),
        "power: expected a number from 1 to 2, got 3",
    ),
    "another pad": (
        changed("inputs", "sound", "log_mel", "pad", "edge"),
        "pad: expected none or zeros or reflect",
    ),
    "an offset below 0": (
        changed("inputs", "sound", "log_mel", "offset", -1),
        "offset: expected a number from 0 to 1e+09, got -1",
    ),
    "a floor of 0": (
        changed("inputs", "sound", "log_mel", "floor", 0),
        "floor: expected a number from 1e-30 to 1e+09, got 0",
    ),
    "another log": (
        changed("inputs", "sound", "log_mel", "log", "db"),
        "log: expected ln or log10",
    ),
    "a range below 0": (
        changed("inputs", "sound", "log_mel", "range", -1),
        "range: expected a number from 0",
    ),
    "another layout of levels": (
        changed("inputs", "sound", "log_mel", "layout", "nhwc"),
        "layout: expected frames-bins or bins-frames",
    ),
    "a field of Kaldi": (changed("inputs", "sound", "log_mel", "dither", 1), 'got "dither"'),
    "another layout": (changed("inputs", "image", "layout", "NHWC"), "expected hw or hwc or"),
    "another fit": (changed("inputs", "image", "fit", None), "fit: expected cover or contain"),
    "another filter": (
        changed("inputs", "image", "filter", ["nearest"]),
        "filter: expected nearest",
    ),
    "one side": (changed("inputs", "image", "size", [4]), "size: expected 2 numbers, got [4]"),
    "a side of 0": (changed("inputs", "image", "size", [0, 4]), "from 1 to 16384, got 0"),
    "a long side": (changed("inputs", "image", "size", [4, 16385]), "from 1 to 16384, got 16385"),
    "a side that is true": (changed("inputs", "image", "size", [True, 4]), "got True"),
    "no size": (changed("inputs", "image", "size", None), "size: expected 2 numbers, got None"),
    "no short side": (
        changed("inputs", "image", {"kind": "picture", "short_side": None}),
        "short_side: expected a number from 1 to 16384, got None",
    ),
    "a short side to contain": (
        changed("inputs", "image", "short_side", 256),
        'expected fit "cover" with it, got "contain"',
    ),
    "a fill to stretch": (changed("inputs", "image", "fit", "stretch"), 'expected fit "contain"'),
    "a fill of two": (changed("inputs", "image", "fill", [1, 2]), "expected 1 or 3 numbers"),
    "a fill beyond white": (changed("inputs", "image", "fill", 256), "from 0 to 255, got 256"),
    "a mean of two": (changed("inputs", "image", "mean", [1, 2]), "mean: expected 1 or 3 numbers"),
    "a mean of text": (changed("inputs", "image", "mean", ["1"]), 'got "1"'),
    "a vast mean": (changed("inputs", "image", "mean", 10**400), "from -1e+09 to 1e+09"),
    "a scale of 0": (changed("inputs", "image", "scale", 0), "expected numbers that are not 0"),
    "a scale of a grey picture": (
        changed("inputs", "image", {"kind": "picture", "colours": "grey", "scale": [1, 1, 1]}),
        "scale: expected 1 numbers",
    ),
    "another layout of boxes": (changed("boxes", "layout", "ssd"), "boxes: layout: expected det"),
    "boxes in a list": (changed("boxes", []), "boxes: layout: expected detections"),
    "boxes without scores": (
        changed("boxes", {"layout": "detections", "boxes": "b"}),
        'expected a field "scores"',
    ),
    "a name of a number": (changed("boxes", "count", 4), "boxes: count: expected a name, got 4"),
    "an order of yolo": (
        changed("boxes", {"layout": "yolov5", "output": "y", "order": "xyxy"}),
        "expected none",
    ),
    "another order": (
        changed("boxes", "order", "x"),
        "boxes: order: expected xyxy or yxyx or xywh",
    ),
    "another unit": (
        changed("boxes", "unit", "inch"),
        "boxes: unit: expected normalised or pixels",
    ),
    "a score beyond 1": (changed("boxes", "least", 1.5), "least: expected a number from 0 to 1"),
    "a class below 0": (changed("boxes", "first_class", -1), "first_class: expected a number"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_documents_are_refused(name):
    document, says = OTHERS[name]
    with pytest.raises(MalformedPackage) as refusal:
        from_bytes(json.dumps(document).encode(), "here")
    assert str(refusal.value).startswith("here: recipe.json: ")
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    ['{"version": 1, "version": 1}', '{"version": 1, "inputs": {"x": {"kind": "sound", '
     '"rate_hz": 1, "scale": NaN}}}', "[" * 100_000, " " * (1 << 21), "", "\xff"],
    ids=["twice", "NaN", "deep", "large", "empty", "no text"],
)  # fmt: skip
def test_other_bytes_are_refused(text):
    with pytest.raises(MalformedPackage):
        from_bytes(text.encode("latin-1"), "here")


def test_bytes_that_are_cut_or_changed_do_no_harm():
    data = to_bytes(WHOLE)
    for size in range(len(data)):
        with pytest.raises(MalformedPackage):
            from_bytes(data[:size], "here")
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            from_bytes(bytes(flipped), "here")
        except MalformedPackage:
            continue


def test_the_pages_recipe_is_one():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    documents = re.findall(r"^```json\n(.*?)^```$", page, re.M | re.S)
    assert documents
    for document in documents:
        to_bytes(json.loads(document))


# --- beside the reference reader -------------------------------------------------------------

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "recipe" / "manifest.json").read_text()
)


def plain(value):
    """A recipe as the reference reader has it."""
    if isinstance(value, Values):
        return tuple(value.mean), tuple(value.scale)
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def both(data):
    """What the reader and the reference reader make of it; None for what they refuse."""
    answers = []
    for read, refusal in (
        (lambda: plain(from_bytes(data, "here")), MalformedPackage),
        (lambda: recipe_reader.read(data), recipe_reader.Refused),
    ):
        try:
            answers.append(read())
        except refusal:
            answers.append(None)
    return answers


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_the_vectors_come_out_as_they_say(vector):
    ours, theirs = both(vector["recipe"].encode())
    assert ours == theirs
    assert (ours is not None) == vector["is_recipe"]


PARTS = [
    0, 1, -1, 0.5, 2.5, 1e9, 2e9, True, None, "", "cover", "contain", "grey", "rgb", "nhwc", "xywh",
    "sound", "picture", "yolov8", [], [0], [1, 2], [1, 2, 3], {}, 256, 65_536, 16_385, 768_001,
    32_768, 32_769, 33_554_432, "htk", "slaney", "none", "reflect", "log10", "bins-frames",
]  # fmt: skip
FIELDS = sorted({*PICTURE, *SOUND, *MEL, *BOXES, "short_side", "output", "more"})


@hypothesis.settings(max_examples=1500, deadline=None)
@hypothesis.given(data=st.data())
def test_changed_recipes_are_the_same_to_the_reference_reader(data):
    document = copy.deepcopy(WHOLE)
    inner = data.draw(
        st.sampled_from([document, document["inputs"]["image"], document["inputs"]["sound"],
                         document["inputs"]["sound"]["log_mel"], document["boxes"]])
    )  # fmt: skip
    for name in data.draw(st.lists(st.sampled_from(FIELDS), max_size=4)):
        inner.pop(name, None)
    for name in data.draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        inner[name] = data.draw(st.sampled_from(PARTS))
    ours, theirs = both(json.dumps(document).encode())
    assert ours == theirs


# --- in a package ----------------------------------------------------------------------------

NETWORK = (demo.DIGITS / "digits.tflite").read_bytes()


def test_a_recipe_comes_out_of_its_package(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    name = ew.load_unsigned(NETWORK).inputs[0].name
    recipe = {"inputs": {name: {"kind": "picture", "mean": 127.5, "scale": 1 / 127.5}}}
    path = sealed.seal(tmp_path / "demo.ewp", model=NETWORK, contents=Contents(recipe=recipe))
    package = Package.open(path, trust=trust)
    assert package.recipe == from_bytes(to_bytes(recipe), "")
    model = package.load()
    assert model.recipe == package.recipe
    bare = sealed.seal(tmp_path / "bare.ewp", model=NETWORK, counter=2)
    assert Package.open(bare, trust=trust).recipe is None
    assert ew.load(bare, trust=trust).recipe is None
    assert ew.load_unsigned(NETWORK).recipe is None


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"inputs": {"y": {"kind": "picture"}}}, 'expected inputs of the model\'s, "x", got "y"'),
        ({"inputs": {"x": {"kind": "picture"}}}, "no place for a picture, got a recipe"),
        ({"boxes": {"layout": "yolov5", "output": "z"}}, 'expected outputs of the model\'s, "y"'),
        ({"inputs": 1}, "recipe: inputs: expected an object, got 1"),
        ({"version": 2, "inputs": {}}, "recipe: expected version 1, got 2"),
        ({"inputs": {"x": {"kind": "sound", "rate_hz": float("nan")}}}, "rate_hz: expected"),
    ],
)
def test_a_recipe_that_does_not_fit_is_not_sealed(tmp_path, recipe, says):
    with pytest.raises(BadInput) as refusal:
        sealed.seal(tmp_path / "demo.ewp", contents=Contents(recipe=recipe))
    assert says in str(refusal.value)
    assert not (tmp_path / "demo.ewp").exists()


def test_a_later_recipe_is_not_read_and_its_model_runs(tmp_path):
    members = [("model.tflite", "tflite", True, sealed.MODEL)]
    members.append(("recipe.json", "auxiliary", False, b'{"version": 2, "inputs": {}}'))
    sealed.seal_unchecked(tmp_path / "demo.ewp", *members)
    model = ew.load(tmp_path / "demo.ewp", trust=sealed.trust_at(tmp_path / "trust"))
    model.predict(np.zeros(4, np.float32))
    for use in (lambda: model.recipe, lambda: model.predict_picture(np.zeros((8, 8), np.uint8))):
        with pytest.raises(MalformedPackage, match="expected version 1, got 2"):
            use()
