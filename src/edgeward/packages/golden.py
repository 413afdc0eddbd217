"""Golden: inputs of a model with the outputs they must give, and how far an output may be off.

A device replays them before it relies on a package: another engine version, another CPU or a broken
delegate shows here and not in the field. In a package they are one uncompressed .npz:

    tolerance/DTYPE           float64 [absolute, relative]
    INDEX/inputs/NAME         one case's input, INDEX from 0
    INDEX/outputs/NAME        what it must give

An element passes when |got - expected| <= absolute + relative * |expected|, computed in float64; a
NaN passes where NaN is expected, an infinity where the same one is.
"""

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeward import _core
from edgeward.answer import answer
from edgeward.errors import BadInput, MalformedPackage
from edgeward.packages.contents import GOLDEN as NAME
from edgeward.packages.contents import Case, Tolerance
from edgeward.string_array import encoded, fixed_width, is_string_array

MOST_BYTES = 64 << 20
MOST_CASES = 1000
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # of a zip: the same cases give the same bytes


# Engines and CPUs add in different orders; a quantised value may round to its neighbour.
TOLERANCES: Mapping[str, Tolerance] = {
    "float64": Tolerance(1e-9, 1e-7),
    "float32": Tolerance(1e-5, 1e-4),
    "float16": Tolerance(1e-2, 1e-2),
    "bfloat16": Tolerance(1e-2, 1e-2),
    "bool": Tolerance(0, 0),
}
OF_INTEGERS = Tolerance(1, 0)


class Difference(NamedTuple):
    """How one output of one case came out: its worst element beside what was expected."""

    case: int
    output: str
    passed: bool
    text: str  # a sentence when it did not pass, else empty
    error: float  # the largest |got - expected|; infinite when the two cannot be compared


class Golden:
    """Cases, and a tolerance for each dtype that needs another than the default."""

    def __init__(
        self, cases: Sequence[Case], tolerances: Mapping[str, Tolerance] | None = None
    ) -> None:
        if not 1 <= len(cases) <= MOST_CASES:
            raise BadInput(f"golden: expected 1 to {MOST_CASES} cases, got {len(cases)}")
        self.cases = tuple(cases)
        self.tolerances = dict(tolerances or {})

    @classmethod
    def record(
        cls,
        model: _core.Model,
        cases: Sequence[Case],
        tolerances: Mapping[str, Tolerance] | None = None,
    ) -> "Golden":
        """`cases`, those without outputs with what `model` gives.

        Raises BadInput for inputs that are not the model's, and for a case whose outputs the model
        does not give.
        """
        golden = cls([cls._recorded(model, case) for case in cases], tolerances)
        for difference in golden.replay(model):
            if not difference.passed:
                raise BadInput(difference.text)
        return golden

    @staticmethod
    def _recorded(model: _core.Model, case: Case) -> Case:
        outputs = case.outputs or answer(model, case.inputs)
        for name, array in (*case.inputs.items(), *case.outputs.items()):
            if np.ma.is_masked(array):
                raise BadInput(f'golden: "{name}": expected no masked elements, got a masked array')
        return Case(
            {name: _kept(array) for name, array in case.inputs.items()},
            {name: _kept(array) for name, array in outputs.items()},
        )

    def tolerance(self, dtype: str) -> Tolerance:
        return self.tolerances.get(dtype) or TOLERANCES.get(dtype, OF_INTEGERS)

    def replay(self, model: _core.Model) -> list[Difference]:
        """How `model` does on each output of each case. Raises BadInput when its inputs differ."""
        dtypes = {spec.name: spec.dtype for spec in model.outputs}
        differences = []
        for index, case in enumerate(self.cases):
            outputs = answer(model, case.inputs)
            for name, expected in case.outputs.items():
                where = f'golden case {index}: output "{name}"'
                if name not in outputs:
                    text = f"{where}: expected one of this name, got {', '.join(outputs)}"
                    differences.append(Difference(index, name, False, text, float("inf")))
                    continue
                dtype = dtypes[name]
                error, text = self._compare(where, dtype, expected, outputs[name])
                differences.append(Difference(index, name, not text, text, error))
        return differences

    def _compare(
        self, where: str, dtype: str, expected: NDArray[Any], got: NDArray[Any]
    ) -> tuple[float, str]:
        """The largest error, and a sentence when it is too large."""
        if dtype == "string":
            return _compare_strings(where, expected, got)
        if expected.dtype != got.dtype or expected.shape != got.shape:
            return float("inf"), (
                f"{where}: expected {expected.dtype} {list(expected.shape)}, "
                f"got {got.dtype} {list(got.shape)}"
            )
        if expected.size == 0:
            return 0.0, ""
        tolerance = self.tolerance(dtype)
        wanted, real = _real(expected, dtype), _real(got, dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(real - wanted)
            allowed = tolerance.absolute + tolerance.relative * np.abs(wanted)
        is_same = (real == wanted) | (np.isnan(real) & np.isnan(wanted))
        error = np.where(is_same, 0.0, np.where(np.isnan(error), np.inf, error))
        allowed = np.where(np.isfinite(allowed), allowed, 0.0)
        worst = float(error.max())
        excess = error > allowed
        if not excess.any():
            return worst, ""
        flat = int(np.where(excess, error, -1.0).argmax())
        position = [int(axis) for axis in np.unravel_index(flat, expected.shape)]
        return worst, (
            f"{where}: expected {wanted.flat[flat]:.9g} ± {allowed.flat[flat]:.3g} at {position}, "
            f"got {real.flat[flat]:.9g}"
        )

    def to_bytes(self) -> bytes:
        """The .npz. The same cases give the same bytes."""
        arrays = {
            f"tolerance/{dtype}": np.array(tolerance, np.float64)
            for dtype, tolerance in sorted(self.tolerances.items())
        }
        for index, case in enumerate(self.cases):
            for side, tensors in (("inputs", case.inputs), ("outputs", case.outputs)):
                arrays |= {f"{index}/{side}/{name}": tensors[name] for name in sorted(tensors)}
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                content = io.BytesIO()
                np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", FIRST_DAY), content.getvalue())
        data = file.getvalue()
        if len(data) > MOST_BYTES:
            raise BadInput(
                f"golden: expected at most {MOST_BYTES} bytes of arrays, got {len(data)}"
            )
        return data

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> "Golden":
        """What to_bytes made. Raises MalformedPackage, beginning with `where`."""
        tolerances: dict[str, Tolerance] = {}
        inputs: dict[int, dict[str, NDArray[Any]]] = {}
        outputs: dict[int, dict[str, NDArray[Any]]] = {}
        for name, array in _arrays(data, where).items():
            kind, _, rest = name.partition("/")
            side, _, tensor = rest.partition("/")
            if kind == "tolerance" and array.shape == (2,) and array.dtype == np.float64:
                tolerances[rest] = Tolerance(float(array[0]), float(array[1]))
            elif kind.isdecimal() and len(kind) <= 4 and side in ("inputs", "outputs") and tensor:
                cases = inputs if side == "inputs" else outputs
                cases.setdefault(int(kind), {})[tensor] = array
            else:
                raise MalformedPackage(f'{where}: {NAME}: expected no array "{name}", got one')
        indices = list(range(len(inputs)))
        if (
            sorted(inputs) != indices
            or sorted(outputs) != indices
            or not 0 < len(indices) <= MOST_CASES
        ):
            raise MalformedPackage(
                f"{where}: {NAME}: expected cases from 0, each with inputs and outputs, got others"
            )
        return cls([Case(inputs[index], outputs[index]) for index in indices], tolerances)


def _kept(array: NDArray[Any]) -> NDArray[Any]:
    """A copy, as an .npz has it."""
    return fixed_width(np.asarray(array)) if is_string_array(np.asarray(array)) else np.array(array)


def _compare_strings(where: str, expected: NDArray[Any], got: NDArray[Any]) -> tuple[float, str]:
    """As _compare: strings are the same or are not."""
    if expected.shape != got.shape:
        shapes = f"expected string {list(expected.shape)}, got {list(got.shape)}"
        return float("inf"), f"{where}: {shapes}"
    pairs = zip(encoded(expected), encoded(got), strict=True)
    for flat, (wanted, other) in enumerate(pairs):
        if wanted != other:
            position = [int(axis) for axis in np.unravel_index(flat, expected.shape)]
            return float("inf"), f"{where}: expected {wanted!r} at {position}, got {other!r}"
    return 0.0, ""


def _real(array: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """The values as float64; a bfloat16's bits are the upper half of a float32's."""
    if dtype == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def _arrays(data: bytes, where: str) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz whose members are stored as they are: none is larger than it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("compressed")
            if sum(entry.file_size for entry in entries) > len(data):
                raise ValueError("sizes that are not there")
            return {
                entry.filename.removesuffix(".npy"): _array(archive.read(entry))
                for entry in entries
            }
    except (ValueError, RuntimeError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise MalformedPackage(
            f"{where}: {NAME}: expected arrays in an uncompressed .npz, got others ({error})"
        ) from None


def _array(content: bytes) -> NDArray[Any]:
    """The array of an .npy. Raises ValueError, before memory is taken for elements not there."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an .npy of another version")
    shape, is_transposed, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError("objects")
    count = math.prod(shape)
    if file.tell() + count * dtype.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes for {dtype} {list(shape)}")
    elements = np.frombuffer(content, dtype, count, file.tell())
    return elements.reshape(shape, order="F" if is_transposed else "C")
