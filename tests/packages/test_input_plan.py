"""What a recipe and an input ask for together, and what cannot be asked."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from edgeward.errors import BadInput
from edgeward.packages.input_plan import mel_frames, picture_axes, picture_plan, sound_plan
from edgeward.packages.recipe import LogMel, PictureInput, SoundInput, Values

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
        assert sound_plan(spec, how, "here").sample_count == count
    else:
        with pytest.raises(BadInput, match="got here, which gives int8, int16, float16"):
            sound_plan(spec, how, "here")


@pytest.mark.parametrize(
    ("dtype", "quantization", "values", "is_right"),
    [
        ("float32", None, VALUES, True), ("int16", None, None, True),
        ("int16", SCALE, VALUES, True), ("int8", SCALE, None, True), ("int8", None, None, False),
        ("int8", None, VALUES, False), ("uint8", SCALE, None, False), ("bool", None, None, False),
    ],
)  # fmt: skip
def test_integers_of_a_sound_need_a_scale(dtype, quantization, values, is_right):
    spec, how = Spec("x", dtype, (16,), quantization), SoundInput(16000, values=values)
    if is_right:
        assert sound_plan(spec, how, "here").sample_count == 16
    else:
        with pytest.raises(BadInput, match="got here"):
            sound_plan(spec, how, "here")


MEL = LogMel(window=400, hop=160, bins=64, fft=512, low_hz=125.0, high_hz=7500.0)


@pytest.mark.parametrize(
    ("shape", "layout", "axes", "frames"),
    [
        ((96, 64), "frames-bins", [0, 1], 96), ((1, 96, 64, 1), "frames-bins", [1, 2], 96),
        ((64, 96), "bins-frames", [0, 1], 96), ((1, 1, 64, 96), "bins-frames", [2, 3], 96),
        ((-1, 64), "frames-bins", [0, 1], -1), ((-1, 96, 64), "frames-bins", [1, 2], 96),
        ((-1, -1, 64), "frames-bins", [1, 2], -1), ((1, -1, -1), "bins-frames", [1, 2], -1),
        ((1, 6144), "frames-bins", [1], 96), ((-1, 6144), "bins-frames", [1], 96),
        ((1, -1), "frames-bins", [1], -1), ((1, 1, 64), "frames-bins", [2], 1),
        ((64, 96), "frames-bins", None, 0), ((96, 64), "bins-frames", None, 0),
        ((2, 96, 64), "frames-bins", None, 0), ((1, 6143), "frames-bins", None, 0),
        ((1, 1), "frames-bins", None, 0), (None, "frames-bins", None, 0),
    ],
    ids=str,
)  # fmt: skip
def test_a_spectrogram_has_frames_and_bins(shape, layout, axes, frames):
    spec = Spec("x", "float32", shape)
    how = SoundInput(16000, log_mel=MEL._replace(layout=layout))
    if axes is None:
        with pytest.raises(
            BadInput, match=f"got here, which gives .* of frames of 64 bins .{layout}"
        ):
            sound_plan(spec, how, "here")
    else:
        plan = sound_plan(spec, how, "here")
        assert (list(plan.axes), plan.frame_count) == (axes, frames)
        assert plan.sample_count == (-1 if frames < 0 else (frames - 1) * 160 + 400)


@pytest.mark.parametrize("pad", ["none", "zeros", "reflect"])
@pytest.mark.parametrize("fft", [512, 513])
@pytest.mark.parametrize("frames", [1, 2, 96])
def test_a_window_has_just_the_samples_of_its_frames(pad, fft, frames):
    mel = MEL._replace(pad=pad, fft=fft)
    plan = sound_plan(Spec("x", "float32", (frames, 64)), SoundInput(16000, log_mel=mel), "here")
    assert mel_frames(mel, plan.sample_count) == frames
    assert plan.sample_count == 1 or mel_frames(mel, plan.sample_count - 1) == frames - 1


def test_samples_say_how_long_a_window_is():
    mel = MEL._replace(pad="reflect")
    spec = Spec("x", "float32", (3000, 64))
    plan = sound_plan(spec, SoundInput(16000, 480_000, log_mel=mel), "here")
    assert (plan.sample_count, plan.frame_count) == (480_000, 3000)  # as Whisper leaves the last
    plan = sound_plan(
        Spec("x", "float32", (-1, 64)), SoundInput(16000, 480_000, log_mel=mel), "here"
    )
    assert (plan.sample_count, plan.frame_count) == (480_000, 3001)
    assert sound_plan(Spec("x", "float32", (-1,)), SoundInput(16000, 99), "here")[:2] == (99, 0)


@pytest.mark.parametrize(
    ("shape", "how", "says"),
    [
        ((16,), SoundInput(16000, 17), "expected 16 samples, got here of 17"),
        (
            (96, 64),
            SoundInput(16000, 15_599, log_mel=MEL),
            "expected 96 frames, got 95 of 15599 samples",
        ),
        ((-1, 64), SoundInput(16000, 399, log_mel=MEL), "expected 1 frames"),
        (
            (1 << 20, 64),
            SoundInput(16000, log_mel=MEL),
            "a sound of at most 33,554,432 samples, got here of 167,772,400",
        ),
        ((-1,), SoundInput(16000, step=8), "expected samples beside a step"),
        ((-1, 64), SoundInput(16000, step=8, log_mel=MEL), "expected samples beside a step"),
    ],
    ids=str,
)
def test_a_sound_of_another_length_is_refused(shape, how, says):
    with pytest.raises(BadInput, match=says):
        sound_plan(Spec("x", "float32", shape), how, "here")


def test_integers_of_levels_need_a_scale():
    how = SoundInput(16000, log_mel=MEL)
    for dtype in ("int8", "uint8", "int16"):
        assert sound_plan(Spec("x", dtype, (96, 64), SCALE), how, "here").frame_count == 96
        with pytest.raises(BadInput, match="got here for integers without"):
            sound_plan(Spec("x", dtype, (96, 64)), how, "here")
