"""Files that `edgeward predict` reads and writes: arrays as they are, pictures as documented."""

import io
import os
import sys
import zipfile
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from edgeward.errors import BadInput
from edgeward.inputs.tensor_file import read, write


class Spec(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]


IMAGE = Spec("image", "float32", (1, 4, 6, 3))
A, B = Spec("a", "float32", (2,)), Spec("b", "int8", (2, 3))
FLOATS = np.array([1.5, -2.5], np.float32)
BYTES = np.arange(6, dtype=np.int8).reshape(2, 3)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A directory with one file of each kind, and the current one."""
    np.save(tmp_path / "a.npy", FLOATS)
    np.save(tmp_path / "b.npy", BYTES)
    np.savez(tmp_path / "both.npz", a=FLOATS, b=BYTES)
    (tmp_path / "a.bin").write_bytes(FLOATS.tobytes())
    (tmp_path / "b.raw").write_bytes(BYTES.tobytes())
    (tmp_path / "with=sign.npy").write_bytes((tmp_path / "a.npy").read_bytes())
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "black.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def same(tensors, expected):
    assert list(tensors) == list(expected)
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape) == (expected[name].dtype, expected[name].shape)
        assert np.array_equal(tensor, expected[name])


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.npy", "b.npy"],
        ["a=a.npy", "b=b.npy"],
        ["a.npy", "b=b.npy"],
        ["both.npz"],
        ["a.bin", "b.raw"],
        ["a=with=sign.npy", "b=b.raw"],
        ["with=sign.npy", "b.npy"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("files")
def test_each_file_goes_to_its_input_unchanged(arguments):
    same(read(arguments, [A, B]), {"a": FLOATS, "b": BYTES})


@pytest.mark.usefixtures("files")
def test_an_input_name_may_hold_an_equals_sign():
    same(read(["x=y=a.npy"], [Spec("x=y", "float32", (2,))]), {"x=y": FLOATS})


@pytest.mark.usefixtures("files")
def test_an_archive_brings_its_own_names():
    same(read(["both.npz"], [IMAGE]), {"a": FLOATS, "b": BYTES})


@pytest.mark.usefixtures("files")
def test_an_array_of_another_dtype_is_not_cast():
    same(read(["b.npy"], [A]), {"a": BYTES})


@pytest.mark.parametrize(
    ("dtype", "shape", "spec", "expected"),
    [
        (None, None, Spec("x", "int8", (6,)), BYTES.reshape(6)),
        (None, None, Spec("x", "int8", (-1, 3)), BYTES),
        (None, None, Spec("x", "int8", (-1, 6)), BYTES.reshape(1, 6)),
        (None, (3, 2), Spec("x", "int8", (6,)), BYTES.reshape(3, 2)),
        ("uint8", None, Spec("x", "int8", (2, 3)), BYTES.view(np.uint8)),
        ("int16", (3,), Spec("x", "float32", (9,)), BYTES.reshape(6).view(np.int16)),
    ],
)
@pytest.mark.usefixtures("files")
def test_raw_bytes_are_what_the_model_or_the_user_says(dtype, shape, spec, expected):
    same(read(["b.raw"], [spec], dtype, shape), {"x": expected})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.npy", "b.npy", "a.npy"], r"^a.npy: expected one file for each input \(2\), got more$"),
        (["a.npy", "a=a.npy"], '^a.npy: expected one file for input "a", got a second$'),
        (["both.npz", "a=a.npy"], '^a.npy: expected one file for input "a", got a second$'),
        (["a=both.npz"], '^both.npz: expected one tensor for input "a", got an archive$'),
        (["c=a.npy"], '^c=a.npy: expected NAME=FILE with a name among "a", "b", or a file$'),
        (["a.txt"], '^a.txt: expected .npy, .npz, .bin, .raw, .wav or a picture, got ".txt"$'),
        (["b.raw"], r"^b.raw: expected 8 bytes for float32 \[2\], got 6;"),
        (["black.png"], r'^input "a": expected float32 \[2\], which has no place for a picture'),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_fits_no_input_is_refused(arguments, says):
    with pytest.raises(BadInput, match=says):
        read(arguments, [A, B])


@pytest.mark.parametrize(
    ("dtype", "shape", "says"),
    [
        ("float32", (-1, 2), r"expected a multiple of 8 bytes for float32 \[-1, 2\], got 6;"),
        ("int8", (-1, -1), r"expected a multiple of 1 bytes for int8 \[-1, -1\], got 6;"),
        ("floaty", (6,), 'expected a dtype such as float32, got "floaty"'),
        ("object", (6,), "expected a dtype"),
        ("int64", (2**40, 2**40), "expected"),
    ],
)
@pytest.mark.usefixtures("files")
def test_raw_bytes_that_do_not_fit_are_refused(dtype, shape, says):
    with pytest.raises(BadInput, match=says):
        read(["b.raw"], [Spec("x", dtype, shape)])


@pytest.mark.usefixtures("files")
def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError) as caught:
        read(["none.npy"], [A])
    assert caught.value.filename == "none.npy"


# --- pictures --------------------------------------------------------------------------------


def pixels(height=4, width=6, channels=3):
    return np.random.default_rng(5).integers(0, 256, (height, width, channels), np.uint8)


def png(path, values):
    Image.fromarray(values.squeeze()).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".tif", ".ppm"])
def test_common_picture_files_are_read(tmp_path, suffix):
    path = png(tmp_path / f"p{suffix}", np.full((4, 6, 3), 255, np.uint8))
    same(read([str(path)], [IMAGE]), {"image": np.ones((1, 4, 6, 3), np.float32)})


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.bin", "a.png"])
def test_a_pipe_keeps_nobody_waiting(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(BadInput, match="expected a regular file"):
        read([str(tmp_path / name)], [IMAGE])


def test_a_sparse_raw_file_is_measured_before_it_is_read(tmp_path):
    with open(tmp_path / "a.bin", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadInput, match=r"expected 8 bytes for float32 \[2\], got 1099511627776"):
        read([str(tmp_path / "a.bin")], [A])


def test_a_picture_without_pillow_says_how_to_get_it(tmp_path, monkeypatch):
    path = png(tmp_path / "p.png", pixels())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(BadInput, match=r'pip install "edgeward\[image\]"'):
        read([str(path)], [IMAGE])


# --- broken files ----------------------------------------------------------------------------


def content_of(suffix):
    buffer = io.BytesIO()
    if suffix == ".npy":
        np.save(buffer, FLOATS)
    elif suffix == ".npz":
        np.savez_compressed(buffer, a=FLOATS, b=BYTES)
    else:
        Image.fromarray(pixels()).save(buffer, format="PNG")
    return buffer.getvalue()


def refusal(path):
    """Why the file is not read, or None when it is. Any error but BadInput fails the test."""
    try:
        read([str(path)], [IMAGE])
    except BadInput as error:
        return str(error)
    return None


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png"])
def test_a_file_cut_anywhere_is_refused(tmp_path, suffix):
    whole = content_of(suffix)
    path = tmp_path / f"cut{suffix}"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        message = refusal(path)
        if message is None:
            # Only what follows the picture's last pixel may be missing.
            assert suffix == ".png"
            assert size >= len(whole) - 20
        else:
            assert message.startswith(str(path))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png"])
@hypothesis.settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(data=st.data())
def test_a_file_changed_anywhere_is_read_or_refused(tmp_path, suffix, data):
    content = bytearray(content_of(suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"changed{suffix}"
    path.write_bytes(content)
    assert "\n" not in (refusal(path) or "")


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(
        BadInput, match=r"objects\.npy: expected an array file, .*Object arrays cannot"
    ):
        read([str(path)], [A])


# --- writing ---------------------------------------------------------------------------------


def test_one_output_is_written_as_an_array(tmp_path):
    write(tmp_path / "out.npy", {"y": FLOATS})
    assert np.array_equal(np.load(tmp_path / "out.npy"), FLOATS)


def test_outputs_are_written_under_their_names_whatever_these_are(tmp_path):
    outputs = {"file": FLOATS, "scope/y:0": BYTES, "naïve": FLOATS, "allow_pickle": BYTES}
    write(tmp_path / "out.npz", outputs)
    with np.load(tmp_path / "out.npz") as archive:
        same({name: archive[name] for name in archive.files}, outputs)


def test_what_is_written_can_be_read(tmp_path):
    path = tmp_path / "out.npz"
    write(path, {"a": FLOATS, "b": BYTES})
    same(read([str(path)], [A, B]), {"a": FLOATS, "b": BYTES})
    assert zipfile.ZipFile(path).testzip() is None


@pytest.mark.parametrize(
    ("name", "outputs", "says"),
    [
        ("out.txt", {"y": FLOATS}, "out.txt: expected a name that ends in .npz or .npy$"),
        ("out", {"y": FLOATS}, "out: expected a name that ends in .npz or .npy$"),
        ("out.npy", {"a": FLOATS, "b": BYTES}, "a name that ends in .npz, for 2 outputs$"),
    ],
)
def test_a_file_that_cannot_hold_the_outputs_is_refused(tmp_path, name, outputs, says):
    with pytest.raises(BadInput, match=says):
        write(tmp_path / name, outputs)
    assert list(tmp_path.iterdir()) == []
