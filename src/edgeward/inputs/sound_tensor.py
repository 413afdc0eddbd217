"""Sounds as tensors: channels mixed, at the recipe's rate, cut into windows or padded with silence,
and turned into a log-mel spectrogram where the recipe has that front end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward.errors import BadInput
from edgeward.inputs.log_mel import log_mel
from edgeward.inputs.resampling import reach, require_ratio, resampled
from edgeward.inputs.sound_file import read_wav
from edgeward.packages.input_plan import FULL_PCM, SoundPlan, Spec, sound_plan, valued
from edgeward.packages.recipe import MOST_SAMPLES, SoundInput, Values
from edgeward.paths import PathLike

SoundSource = PathLike | bytes | NDArray[Any]

MOST_WINDOWS = 1 << 16


class SoundWindow(NamedTuple):
    """A part of a sound; the last one may end after the sound."""

    begin_s: float
    end_s: float
    tensor: NDArray[Any]


def sound_tensor(source: SoundSource, spec: Spec, how: SoundInput) -> NDArray[Any]:
    """The sound as the tensor that `spec` asks for, from its beginning.

    `source` is a path, the bytes of a .wav file, or floats [frame] or [frame, channel], -1 to 1, at
    the recipe's rate. No more is read of a file than the input has room for. An int16 without
    quantization gets samples of 16 bits. Raises BadInput or OSError.
    """
    plan = sound_plan(spec, how, _name(source))
    return _tensor(_samples(source, how.rate_hz, plan.sample_count), spec, how, plan)


def sound_windows(source: SoundSource, spec: Spec, how: SoundInput) -> Iterator[SoundWindow]:
    """The sound's windows, each as sound_tensor() has the first, a recipe's step apart.

    The last one ends where the sound ends, or after it, unless the step leaves that out. Without a
    step there is one. All of the sound is read before this returns; tensors are made as they are
    asked for. Raises BadInput or OSError.
    """
    name = _name(source)
    plan = sound_plan(spec, how, name)
    samples = _samples(source, how.rate_hz, plan.sample_count if how.step is None else -1)
    length = len(samples) if plan.sample_count < 0 else plan.sample_count
    begins = range(1)
    if how.step is not None:
        end = min(max(0, len(samples) - length) + how.step, len(samples))
        begins = range(0, end, how.step)
    if len(begins) > MOST_WINDOWS:
        raise BadInput(
            f"{name}: expected at most {MOST_WINDOWS:,} windows, got {len(begins):,}, a step of "
            f"{how.step} samples apart"
        )
    return (
        SoundWindow(
            begin / how.rate_hz,
            (begin + length) / how.rate_hz,
            _tensor(samples[begin : begin + length], spec, how, plan),
        )
        for begin in begins
    )


def _name(source: SoundSource) -> str:
    return str(source) if isinstance(source, (str, os.PathLike)) else "a sound"


def _tensor(
    samples: NDArray[np.float32], spec: Spec, how: SoundInput, plan: SoundPlan
) -> NDArray[Any]:
    if plan.sample_count >= 0:
        samples = samples[: plan.sample_count]
        samples = np.pad(samples, (0, plan.sample_count - len(samples)))
    values = how.values
    if how.log_mel is not None:
        levels = log_mel(samples, how.log_mel, how.rate_hz)
        levels = levels if plan.frame_count < 0 else levels[: plan.frame_count]
        samples = levels if how.log_mel.layout == "frames-bins" else levels.T
    elif values is None and spec.dtype == "int16" and spec.quantization is None:
        values = Values((0.0,), (float(FULL_PCM),))
    tensor = np.ascontiguousarray(valued(samples, spec, values))
    sizes = [1] * len(spec.shape or ())
    extents = tensor.shape if len(plan.axes) == tensor.ndim else (tensor.size,)
    for axis, extent in zip(plan.axes, extents, strict=True):
        sizes[axis] = extent
    return tensor.reshape(sizes)


def _samples(source: SoundSource, rate_hz: int, count: int) -> NDArray[np.float32]:
    """The first `count` samples at this rate, or a few more; -1: all."""
    if isinstance(source, np.ndarray):
        if source.dtype.kind != "f" or source.ndim not in (1, 2) or source.size == 0:
            raise BadInput(
                "sound: expected floats [frame] or [frame, channel], "
                f"got {source.dtype} {list(source.shape)}"
            )
        mixed = source if source.ndim == 1 else source.mean(axis=1)
        return mixed.astype(np.float32)
    if not isinstance(source, (str, bytes, os.PathLike)):
        kind = type(source).__name__
        raise BadInput(f"sound: expected a path, bytes or an array, got {kind}")
    # The rate is known when the head is read: a frame tells it.
    head = read_wav(source, 1)
    own_hz = head.rate_hz
    require_ratio(_name(source), own_hz, rate_hz)
    if count < 0 and head.frame_count * rate_hz > MOST_SAMPLES * own_hz:
        raise BadInput(
            f"{_name(source)}: expected at most {MOST_SAMPLES:,} samples at {rate_hz:,} Hz, "
            f"got {head.frame_count:,} at {own_hz:,} Hz"
        )
    most = None if count < 0 else -(-count * own_hz // rate_hz) + reach(own_hz, rate_hz)
    return resampled(read_wav(source, most).samples, own_hz, rate_hz)
