"""Golden cases: what passes and what does not, to the last bit; their bytes, damaged every way."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import sealed
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward import Case, Contents, Tolerance, cli
from edgeward.errors import BadInput, MalformedPackage
from edgeward.packages.contents import GOLDEN
from edgeward.packages.golden import Golden

X = np.array([0.5, 1, 2, 3], np.float32)
ADD = {"litert": tflite_models.add((4,)), "onnx": onnx_models.add((4,))}


def next_above(limit):
    """The least float32 whose distance from `expected` is more than the limit."""
    return np.nextafter(limit, np.float32(np.inf), dtype=np.float32)


@pytest.mark.parametrize("engine", sorted(ADD))
def test_one_ulp_decides(engine, tmp_path):
    """A golden output at the edge of its tolerance passes; one float further it does not."""
    trust = sealed.trust_at(tmp_path / "trust")
    tolerance = Tolerance(1e-3, 1e-4)
    tolerances = {"float32": tolerance}
    with ew.load_unsigned(ADD[engine], engine=engine) as model:
        right = model.predict(X)
    # The golden output is moved, not the answer: what is allowed moves along with it.
    for index in range(4):
        for step, passes_here in ((None, True), (0, True), (1, False)):
            output = right if step is None else moved(right, index, step, tolerance)
            golden = Golden([Case({"x": X}, {"y": output})], tolerances)
            with ew.load_unsigned(ADD[engine], engine=engine) as model:
                (difference,) = golden.replay(model)
            assert difference.passed == passes_here, (index, step)
            assert bool(difference.text) == (not passes_here)
            contents = Contents(golden=golden.cases, tolerances=tolerances)
            path = tmp_path / "golden.ewp"
            if not passes_here:
                with pytest.raises(BadInput, match=rf'case 0: output "y".*\[{index}\]'):
                    sealed.seal(path, model=ADD[engine], contents=contents)
            kind = "onnx" if engine == "onnx" else "tflite"
            sealed.seal_unchecked(
                path,
                ("model", kind, True, ADD[engine]),
                (GOLDEN, "auxiliary", False, golden.to_bytes()),
            )
            words = ["verify", str(path), "--run", "--trust", trust.directory, "--engine", engine]
            assert cli.main(words) == (0 if passes_here else 1)


def moved(right, index, which, tolerance):
    """`right` with one element as far off as passes (0) or one float further (1)."""
    output = right.copy()
    candidate = np.float32(right[index])
    while passes(right[index], next_above(candidate), tolerance):
        candidate = np.float32(candidate + max(1e-7, abs(candidate) * 1e-6))
    while not passes(right[index], candidate, tolerance):
        candidate = np.nextafter(candidate, np.float32(-np.inf), dtype=np.float32)
    while passes(right[index], next_above(candidate), tolerance):
        candidate = next_above(candidate)
    output[index] = candidate if which == 0 else next_above(candidate)
    return output


def passes(got, expected, tolerance):
    allowed = tolerance.absolute + tolerance.relative * abs(float(expected))
    return abs(float(got) - float(expected)) <= allowed


def compared(dtype, expected, got, tolerances=None):
    golden = Golden([Case({"x": X}, {"y": expected})], tolerances)
    return golden._compare("here", dtype, expected, got)


@pytest.mark.parametrize(
    ("dtype", "expected", "got", "is_right"),
    [
        ("float32", [1.0], [1.0], True),
        ("float32", [1.0], [1.0001], True),
        ("float32", [1.0], [1.001], False),
        ("float32", [np.nan], [np.nan], True),
        ("float32", [np.nan], [0.0], False),
        ("float32", [0.0], [np.nan], False),
        ("float32", [np.inf], [np.inf], True),
        ("float32", [np.inf], [-np.inf], False),
        ("float32", [np.inf], [3e38], False),
        ("float32", [3e38], [np.inf], False),
        ("float64", [1.0], [1.0 + 1e-12], True),
        ("float64", [1.0], [1.001], False),
        ("float16", [1.0], [1.01], True),
        ("int8", [127], [126], True),
        ("int8", [127], [125], False),
        ("int8", [-128], [127], False),
        ("uint8", [0], [1], True),
        ("int64", [2**40], [2**40 + 2], False),
        ("bool", [True], [True], True),
        ("bool", [True], [False], False),
    ],
)
def test_what_counts_as_the_same(dtype, expected, got, is_right):
    error, text = compared(dtype, np.array(expected, dtype), np.array(got, dtype))
    assert (text == "") == is_right
    assert error >= 0


def test_a_bfloat16_is_compared_as_the_number_that_its_bits_are():
    exact, near, far = (np.array([bits], np.uint16) for bits in (0x3F80, 0x3F81, 0x3F90))
    assert compared("bfloat16", exact, near)[1] == ""
    assert compared("bfloat16", exact, far)[1] != ""


def test_another_shape_or_dtype_is_no_match():
    error, text = compared("float32", np.zeros(4, np.float32), np.zeros((2, 2), np.float32))
    assert error == np.inf
    assert "expected float32 [4], got float32 [2, 2]" in text
    assert compared("float32", np.zeros(4, np.float32), np.zeros(4))[0] == np.inf
    assert compared("float32", np.zeros(0, np.float32), np.zeros(0, np.float32)) == (0.0, "")


def test_a_missing_output_and_foreign_inputs_are_told():
    with ew.load_unsigned(ADD["litert"]) as model:
        (difference,) = Golden([Case({"x": X}, {"z": X})]).replay(model)
        assert not difference.passed
        assert 'output "z": expected one of this name, got y' in difference.text
        with pytest.raises(BadInput, match="input"):
            Golden([Case({"w": X}, {"y": X})]).replay(model)


def golden():
    cases = [Case({"x": X + n}, {"y": X * n, "z": np.arange(6, dtype=np.int8)}) for n in range(3)]
    return Golden(cases, {"float32": Tolerance(0.5, 0.25), "int8": Tolerance(2, 0)})


def test_bytes_and_back():
    data = golden().to_bytes()
    assert data == golden().to_bytes()
    back = Golden.from_bytes(data, "here")
    assert back.tolerances == golden().tolerances
    assert len(back.cases) == 3
    for case, original in zip(back.cases, golden().cases, strict=True):
        for side in ("inputs", "outputs"):
            assert list(getattr(case, side)) == list(getattr(original, side))
            for name, array in getattr(case, side).items():
                expected = getattr(original, side)[name]
                assert array.dtype == expected.dtype
                assert np.array_equal(array, expected)


def refused(data):
    """True when from_bytes refuses; it may do nothing else but succeed."""
    try:
        Golden.from_bytes(data, "package")
    except MalformedPackage as refusal:
        return str(refusal).startswith("package: golden.npz: expected")
    return False


def test_bytes_that_are_cut_or_changed_do_no_harm():
    data = golden().to_bytes()
    assert all(refused(data[:size]) for size in range(len(data)))
    for bit in range(0, 8 * len(data), 3):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed))


def archive(files, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as target:
        for name, data in files:
            target.writestr(name, data)
    return content.getvalue()


def npy(array, **header):
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asarray(array), **header)
    return content.getvalue()


def huge():
    """An array of 2**60 elements, which holds none."""
    return npy(X).replace(b"(4,), ", b"(1152921504606846976,), ")[:128]


GOOD = [("0/inputs/x.npy", npy(X)), ("0/outputs/y.npy", npy(X))]


@pytest.mark.parametrize(
    "files",
    [
        [],
        GOOD[:1],
        GOOD[1:],
        [("1/inputs/x.npy", npy(X)), ("1/outputs/y.npy", npy(X))],
        [*GOOD, ("note.txt", b"x")],
        [*GOOD, ("0/other/y.npy", npy(X))],
        [*GOOD, ("tolerance/float32.npy", npy([1.0]))],
        [*GOOD, ("-1/inputs/x.npy", npy(X))],
        [GOOD[0], ("0/outputs/y.npy", huge())],
        [GOOD[0], ("0/outputs/y.npy", npy(X)[:-1])],
        [GOOD[0], ("0/outputs/y.npy", npy(X) + b"x")],
        [GOOD[0], ("0/outputs/y.npy", npy(np.array([{}], object), allow_pickle=True))],
        [GOOD[0], ("0/outputs/y.npy", npy(X, version=(2, 0)))],
        [GOOD[0], ("0/outputs/y.npy", b"")],
    ],
    ids=str,
)
def test_an_archive_of_something_else_is_refused(files):
    assert not refused(archive(GOOD))
    assert refused(archive(files))


def test_a_compressed_archive_is_refused():
    assert refused(archive(GOOD, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("count", [0, 1001])
def test_there_are_1_to_1000_cases(count):
    with pytest.raises(BadInput, match="1 to 1000 cases"):
        Golden([Case({"x": X}, {"y": X})] * count)
