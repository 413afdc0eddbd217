"""Shown input: the picture or sound that a model was asked about, with what it answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import Signature, TensorSpec
from edgeward.inputs.picture_tensor import extents, size_of, upright, view_of
from edgeward.inputs.sound_file import read_wav
from edgeward.inputs.sound_tensor import sound_windows
from edgeward.inputs.tensor_file import PICTURE_SUFFIXES, SOUND_SUFFIXES, addressed
from edgeward.packages.input_plan import picture_plan
from edgeward.packages.recipe import BoxOutputs, PictureInput, Recipe, SoundInput
from edgeward.reports.boxes import Box, boxes_of, in_picture
from edgeward.reports.inspection import shortened
from edgeward.terminal.labelled_picture import Mark, write_labelled
from edgeward.terminal.spectrogram import Span, write_spectrogram

LINES = 5  # below a picture without boxes


class ShownInput(NamedTuple):
    path: Path
    signature: Signature
    spec: TensorSpec
    how: PictureInput | SoundInput
    size: tuple[int, int]  # width and height of a picture, upright; 0 of a sound

    @classmethod
    def among(
        cls, arguments: Sequence[str], signature: Signature, recipe: Recipe
    ) -> ShownInput | None:
        """The first picture or sound of a command line. Raises BadInput or OSError."""
        for spec, path in addressed(arguments, signature.inputs):
            how = recipe.inputs.get("" if spec is None else spec.name)
            suffix = path.suffix.lower()
            if suffix in PICTURE_SUFFIXES and not isinstance(how, SoundInput):
                own, how = _own(signature, spec), how or PictureInput()
                plan = picture_plan(own, how, str(path))
                return cls(path, signature, own, how, size_of(path, plan.height, plan.width))
            if suffix in SOUND_SUFFIXES and isinstance(how, SoundInput):
                return cls(path, signature, _own(signature, spec), how, (0, 0))
        return None

    def boxes(
        self, how: BoxOutputs, outputs: Mapping[str, NDArray[Any]], labels: Sequence[str]
    ) -> list[Box] | None:
        """Those in the picture, in its pixels; None of a sound. Raises BadInput."""
        if not isinstance(self.how, PictureInput):
            return None
        plan = picture_plan(self.spec, self.how, str(self.path))
        view = view_of(*self.size, plan, self.how)
        raw = boxes_of(self.signature, outputs, how, extents(*self.size, plan), labels)
        return in_picture(raw, view, self.size)

    def windows(self) -> Iterator[tuple[float, float, dict[str, NDArray[Any]]]]:
        """Begin, end in seconds and the input of each window of a sound whose recipe has a step.

        None of other inputs. Raises BadInput or OSError.
        """
        if isinstance(self.how, SoundInput) and self.how.step is not None:
            for begin_s, end_s, tensor in sound_windows(self.path, self.spec, self.how):
                yield begin_s, end_s, {self.spec.name: tensor}

    def write_heard(self, path: Path, lines: Sequence[str], spans: Sequence[Span]) -> None:
        """Draws a sound's spectrogram. Raises BadInput or OSError."""
        sound = read_wav(self.path)
        write_spectrogram(path, sound.samples, sound.rate_hz, lines[:LINES], spans)

    def write_png(self, path: Path, seen: Sequence[Box] | None, lines: Sequence[str]) -> None:
        """Draws it with its boxes, or with `lines` below. Raises BadInput or OSError."""
        if isinstance(self.how, SoundInput):
            self.write_heard(path, lines, ())
            return
        plan = picture_plan(self.spec, self.how, str(self.path))
        picture = np.asarray(upright(self.path, plan.height, plan.width).convert("RGB"))
        scale = picture.shape[1] / self.size[0]  # of one that was decoded at a fraction
        marks = [
            Mark(
                f"{shortened(box.label)} {box.score:.2f}",
                box.class_index,
                *(side * scale for side in (box.left, box.top, box.right, box.bottom)),
            )
            for box in seen or ()
        ]
        write_labelled(path, picture, marks, lines[:LINES] if seen is None else ())


def _own(signature: Signature, spec: Any) -> TensorSpec:
    return next(own for own in signature.inputs if own.name == spec.name)
