"""Sounds as tensors: channels mixed, at the recipe's rate, cut or padded with silence."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeward.errors import BadInput
from edgeward.inputs.resampling import reach, resampled
from edgeward.inputs.sound_file import read_wav
from edgeward.packages.input_plan import FULL_PCM, Spec, sound_samples, valued
from edgeward.packages.recipe import SoundInput, Values
from edgeward.paths import PathLike

SoundSource = PathLike | bytes | NDArray[Any]


def sound_tensor(source: SoundSource, spec: Spec, how: SoundInput) -> NDArray[Any]:
    """The sound as the tensor that `spec` asks for, from its beginning.

    `source` is a path, the bytes of a .wav file, or floats [frame] or [frame, channel], -1 to 1, at
    the recipe's rate. No more is read of a file than the input has room for. An int16 without
    quantization gets samples of 16 bits. Raises BadInput or OSError.
    """
    got = str(source) if isinstance(source, (str, os.PathLike)) else "a sound"
    count = sound_samples(spec, how, got)
    samples = _samples(source, how.rate_hz, count)
    if count >= 0:
        samples = np.pad(samples[:count], (0, max(0, count - len(samples))))
    values = how.values
    if values is None and spec.dtype == "int16" and spec.quantization is None:
        values = Values((0.0,), (float(FULL_PCM),))
    tensor = valued(samples, spec, values)
    sizes = [1] * len(spec.shape or ())
    sizes[_axis(spec)] = len(tensor)
    return tensor.reshape(sizes)


def _axis(spec: Spec) -> int:
    """Which dimension is that of time: the only one of another size than 1 but for a batch."""
    shape = spec.shape or ()
    begin = 1 if len(shape) > 1 and shape[0] == -1 else 0
    longer = [axis for axis, size in enumerate(shape) if axis >= begin and size != 1]
    return longer[0] if longer else len(shape) - 1


def _samples(source: SoundSource, rate_hz: int, count: int) -> NDArray[np.float32]:
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
    own_hz = read_wav(source, 1).rate_hz
    most = None if count < 0 else -(-count * own_hz // rate_hz) + reach(own_hz, rate_hz)
    return resampled(read_wav(source, most).samples, own_hz, rate_hz)
