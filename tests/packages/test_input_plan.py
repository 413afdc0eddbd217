"""What a recipe and an input ask for together, and what cannot be asked."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from edgeward.errors import BadInput
from edgeward.packages.input_plan import picture_axes, picture_plan, sound_samples
from edgeward.packages.recipe import PictureInput, SoundInput, Values

VALUES = Values((0.0,), (1.0,))
SCALE = SimpleNamespace(scales=[0.5], zero_points=[0])


class Spec(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...] | None
    quantization: Any = None


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 4, 6, 3), "NHWC"),
        ((-1, 4, 6, 1), "NHWC"),
        ((1, 3, 4, 6), "NCHW"),
        ((1, -1, -1, 3), "NHWC"),
        ((4, 6, 3), "HWC"),
        ((3, 4, 6), "CHW"),
        ((1, 4, 6), "NHW"),
        ((-1, 4, 6), "NHW"),
        ((4, 6), "HW"),
        ((2, 4, 6, 3), None),
        ((1, 4, 6, 2), None),
        ((2, 4, 6), None),
        ((1, 10), None),
        ((-1, 10), None),
        ((10,), None),
        ((), None),
        ((1, 1, 4, 6, 3), None),
    ],
    ids=str,
)
def test_a_shape_says_where_a_picture_lies_in_it(shape, axes):
    assert picture_axes(shape) == axes


@pytest.mark.parametrize(
    ("shape", "how", "says"),
    [
        (
            (1, 4, 6, 3),
            PictureInput(layout="hwc"),
            "no place for a picture of layout hwc, got here",
        ),
        ((1, 4, 6, 5), PictureInput(layout="nhwc"), "no place for a picture of layout nhwc"),
        ((2, 4, 6, 3), PictureInput(layout="nhwc"), "no place for a picture of layout nhwc"),
        (None, PictureInput(), "expected float32 of unknown shape"),
        (
            (1, 4, 6, 3),
            PictureInput(colours="grey"),
            "expected 3 channels, got here of colours grey",
        ),
        ((1, 4, 6, 1), PictureInput(colours="bgr"), "expected 1 channels, got here of colours bgr"),
        ((1, 4, 6, 3), PictureInput(size=(4, 7)), r"height and width \[4, 6\], got here of size"),
        ((1, 4, 6, 3), PictureInput(short_side=5), "a short side of 6 pixels or more, got here"),
        ((1, -1, -1, 3), PictureInput(short_side=5), "got here of short side 5"),
    ],
    ids=str,
)
def test_a_picture_for_another_input_is_refused(shape, how, says):
    with pytest.raises(BadInput, match=says):
        picture_plan(Spec("x", "float32", shape), how, "here")


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((16,), 16), ((1, 16), 16), ((16, 1), 16), ((1, 1, 16), 16), ((1, 16, 1), 16),
        ((-1,), -1), ((1, -1), -1), ((-1, 16), 16), ((-1, -1), -1), ((1,), 1), ((-1, 1), 1),
        ((4, 16), None), ((1, -1, 16), None), ((), None), (None, None),
    ],
    ids=str,
)  # fmt: skip
def test_a_sound_has_one_dimension(shape, count):
    spec, how = Spec("x", "float32", shape), SoundInput(16000)
    if count is not None:
        assert sound_samples(spec, how, "here") == count
    else:
        with pytest.raises(BadInput, match="got here, which gives int8, int16, float16"):
            sound_samples(spec, how, "here")


@pytest.mark.parametrize(
    ("dtype", "quantization", "values", "is_right"),
    [
        ("float32", None, VALUES, True), ("int16", None, None, True),
        ("int16", SCALE, VALUES, True), ("int8", SCALE, None, True), ("int8", None, None, False),
        ("int8", None, VALUES, False), ("uint8", SCALE, None, False), ("bool", None, None, False),
    ],
)  # fmt: skip
def test_integers_of_a_sound_need_a_scale(dtype, quantization, values, is_right):
    spec, how = Spec("x", dtype, (16,), quantization), SoundInput(16000, values)
    if is_right:
        assert sound_samples(spec, how, "here") == 16
    else:
        with pytest.raises(BadInput, match="got here"):
            sound_samples(spec, how, "here")
