"""Samples: which arrays of a file are taken for how many runs of a model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from edgeward.errors import BadInput
from edgeward.inputs.samples import read_cases, samples_of


class Spec(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]


IMAGE, SCORES = Spec("image", "float32", (1, 2, 3)), Spec("scores", "float32", (1, 4))


@pytest.mark.parametrize(
    ("shape", "wanted", "samples"),
    [
        ((5, 1, 2, 3), (1, 2, 3), [(1, 2, 3)] * 5),  # an axis of its own
        ((5, 2, 3), (1, 2, 3), [(1, 2, 3)] * 5),  # the batch of one
        ((1, 2, 3), (1, 2, 3), [(1, 2, 3)]),
        ((5, 2, 3), (-1, 2, 3), [(1, 2, 3)] * 5),  # a batch of any size
        ((2, 5, 2, 3), (-1, 2, 3), [(5, 2, 3)] * 2),
        ((5, 4), (4,), [(4,)] * 5),
        ((5,), (), [()] * 5),
        ((0, 2, 3), (1, 2, 3), []),
    ],
)
def test_samples_lie_along_the_first_axis(shape, wanted, samples, tmp_path):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    taken = samples_of(tmp_path, array, Spec("x", "float32", wanted))
    assert [sample.shape for sample in taken] == samples
    if samples:
        assert np.array_equal(np.concatenate([sample.ravel() for sample in taken]), array.ravel())


@pytest.mark.parametrize("shape", [(2, 3), (5, 3, 2), (4, 4, 2, 3), (1,), ()])
def test_other_shapes_are_refused_with_those_that_fit(shape, tmp_path):
    with pytest.raises(BadInput, match=r'"image": expected samples \[N, 1, 2, 3\], or \[N, 2, 3\]'):
        samples_of(tmp_path / "x.npy", np.zeros(shape, np.float32), IMAGE)


def test_an_archive_gives_inputs_and_outputs_by_name(tmp_path):
    path = tmp_path / "cases.npz"
    images, scores = np.ones((3, 2, 3), np.float32), np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(path, image=images, scores=scores)
    cases = read_cases(path, [IMAGE], [SCORES])
    assert len(cases) == 3
    assert np.array_equal(cases[1].inputs["image"], np.ones((1, 2, 3)))
    assert np.array_equal(cases[1].outputs["scores"], [[4, 5, 6, 7]])
    np.savez(path, image=images)
    assert read_cases(path, [IMAGE], [SCORES])[0].outputs == {}


def test_a_single_array_is_the_only_inputs(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.ones((3, 2, 3), np.float32))
    assert len(read_cases(path, [IMAGE], [SCORES])) == 3
    with pytest.raises(BadInput, match='tensors "image", "other"'):
        read_cases(path, [IMAGE, Spec("other", "float32", (1,))], [])


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"scores": np.zeros((3, 4), np.float32)},
        {"image": np.zeros((3, 2, 3), np.float32), "more": np.zeros(3)},
        {"image": np.zeros((3, 2, 3), np.float32), "scores": np.zeros((2, 4), np.float32)},
        {"image": np.zeros((0, 2, 3), np.float32)},
    ],
    ids=lambda arrays: ",".join(arrays) or "none",
)
def test_what_does_not_fit_together_is_refused(arrays, tmp_path):
    path = tmp_path / "cases.npz"
    np.savez(path, **arrays)
    with pytest.raises(BadInput, match=r"cases\.npz: expected"):
        read_cases(path, [IMAGE], [SCORES])


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "cases.txt"
    path.write_text("x")
    with pytest.raises(BadInput, match=r"expected \.npz or \.npy"):
        read_cases(path, [IMAGE], [SCORES])
