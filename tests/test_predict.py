"""Model.predict: every way to call it, everything it takes, and what it says of what it refuses."""

import array
import ctypes

import hypothesis
import ml_dtypes  # noqa: F401 - gives numpy its dtypes
import numpy as np
import onnx
import pytest
from engines_here import ENGINES, models_of
from hypothesis import given as for_all
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from models import network, onnx_models, tflite_models
from models.tflite_writer import NONE, Op, Signature, Subgraph, Tensor, model

import edgeward as ew

X = np.linspace(-8, 7, 16, dtype=np.float32)
Y = X + np.arange(16, dtype=np.float32)
A = np.array([1, 2, 3, 4], np.float32)
B = np.array([50, 60, 70, 80], np.float32)
UNKNOWN = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)


@pytest.fixture
def add(load):
    """y = x + [0, 1, 2, ...], float32 [16]."""
    with load("add") as model:
        yield model


@pytest.fixture
def sum_product(load):
    """Inputs a, b; outputs s = a + b, p = a * b, float32 [4]."""
    with load("sum_product") as model:
        yield model


@pytest.fixture
def rows(load):
    """y = x + [0, 1, 2, 3], float32 [-1, 4]."""
    with load("dynamic_batch") as model:
        yield model


# --- Ways to call it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.predict(X),
        lambda model: model.predict(x=X),
        lambda model: model.predict({"x": X}),
        lambda model: model.predict(X, out=None),
        lambda model: model.predict(X, out=np.empty(16, np.float32)),
        lambda model: model.predict(x=X, out=np.empty(16, np.float32)),
        lambda model: model.predict({"x": X}, out={"y": np.empty(16, np.float32)}),
        lambda model: model.predict(X, out={}),
    ],
    ids=["array", "keyword", "dict", "out none", "out", "keyword out", "dict out", "out empty"],
)
def test_one_output_is_an_array_however_the_input_is_given(add, call):
    y = call(add)
    assert type(y) is np.ndarray
    assert (y.dtype, y.shape) == (np.float32, (16,))
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, first, second: model.predict(first, second),
        lambda model, first, second: model.predict(a=A, b=B),
        lambda model, first, second: model.predict(b=B, a=A),
        lambda model, first, second: model.predict({"b": B, "a": A}),
        lambda model, first, second: model.predict({"a": A}, b=B),
        lambda model, first, second: model.predict(first, **{model.inputs[1].name: second}),
    ],
    ids=["positions", "keywords", "other order", "dict", "dict and keyword", "both"],
)
def test_several_outputs_are_a_dict_by_name(sum_product, call):
    arrays = {"a": A, "b": B}
    answer = call(sum_product, *(arrays[spec.name] for spec in sum_product.inputs))
    assert list(answer) == [spec.name for spec in sum_product.outputs]
    np.testing.assert_array_equal(answer["s"], A + B)
    np.testing.assert_array_equal(answer["p"], A * B)


def difference_tflite():
    """d = a - b as a + (-b); the signature lists the inputs in reverse order."""
    tensors = [Tensor(name, "float32", (4,)) for name in ("a", "b", "minus_b", "d")]
    ops = [Op("NEG", ["b"], ["minus_b"]), Op("ADD", ["a", "minus_b"], ["d"], {"activation": NONE})]
    signature = Signature("serving_default", {"b": "b", "a": "a"}, {"d": "d"})
    return model([Subgraph(tensors, ops, ["a", "b"], ["d"])], [signature])


def difference_onnx():
    values = [onnx.helper.make_tensor_value_info(name, 1, (4,)) for name in "abd"]
    node = onnx.helper.make_node("Sub", ["a", "b"], ["d"])
    graph = onnx.helper.make_graph([node], "main", values[:2], values[2:])
    opsets = [onnx.helper.make_opsetid("", onnx_models.OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=onnx_models.IR_VERSION)
    return model.SerializeToString()


def test_positions_are_those_of_inputs(engine_name):
    content = difference_onnx() if engine_name == "onnx" else difference_tflite()
    with ew.load_unsigned(content, engine=engine_name) as difference:
        arrays = {"a": A, "b": B}
        in_order = [arrays[spec.name] for spec in difference.inputs]
        np.testing.assert_array_equal(difference.predict(*in_order), A - B)
        np.testing.assert_array_equal(difference.predict(b=B, a=A), A - B)


def test_out_for_one_of_two_outputs(sum_product):
    product = np.empty(4, np.float32)
    answer = sum_product.predict(a=A, b=B, out={"p": product})
    assert answer["p"] is product
    np.testing.assert_array_equal(product, A * B)
    np.testing.assert_array_equal(answer["s"], A + B)


def test_one_array_may_be_given_for_two_inputs(sum_product):
    answer = sum_product.predict(a=A, b=A)
    np.testing.assert_array_equal(answer["s"], A + A)
    np.testing.assert_array_equal(answer["p"], A * A)


# --- What an input may be -------------------------------------------------------------------------


class Interface:
    """Memory described by __array_interface__ alone."""

    def __init__(self, held):
        self.held = held
        self.__array_interface__ = held.__array_interface__


class DLPack:
    """Memory described by DLPack alone."""

    def __init__(self, held):
        self.held = held

    def __dlpack__(self, **options):
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.held.__dlpack_device__()


class Convertible:
    """Something that becomes an array when asked."""

    def __init__(self, held):
        self.held = held

    def __array__(self, dtype=None, copy=None):
        return self.held


class Subclass(np.ndarray):
    """An ndarray with manners of its own, which predict must not ask for."""

    def __getitem__(self, key):
        raise AssertionError("asked for an element")

    def __array_finalize__(self, parent):
        self.origin = parent


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def misaligned(values):
    moved = np.frombuffer(b"\0" + values.tobytes(), np.uint8)[1:].view(values.dtype)
    assert not moved.flags.aligned
    return moved.reshape(values.shape)


def every_other(values):
    spread = np.full((2 * values.shape[0], *values.shape[1:]), 77, values.dtype)
    spread[::2] = values
    return spread[::2]


def in_own_memory(values):
    own = ew.empty(values.shape, values.dtype)
    own[...] = values
    return own


LAYOUTS = {
    "as it is": lambda x: x,
    "own memory": in_own_memory,
    "copy": np.copy,
    "every other row": every_other,
    "backwards": lambda x: x[::-1].copy()[::-1],
    "read-only": read_only,
    "misaligned": misaligned,
    "subclass": lambda x: x.view(Subclass),
    "from bytes": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "memoryview": memoryview,
    "read-only memoryview": lambda x: memoryview(x).toreadonly(),
    "__array_interface__": Interface,
    "DLPack": DLPack,
    "__array__": Convertible,
    "native order spelled out": lambda x: x.astype(x.dtype.newbyteorder("<")),
}
FLAT_LAYOUTS = {
    "array.array": lambda x: array.array("f", x),
    "ctypes array": lambda x: (ctypes.c_float * 16)(*x),
    "memoryview of array.array": lambda x: memoryview(array.array("f", x)),
    "backward memoryview": lambda x: memoryview(x[::-1].copy())[::-1],
}
MATRIX_LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "transposed": lambda x: x.T.copy().T,
    "columns of a wider array": lambda x: np.pad(x, ((0, 0), (3, 2)), constant_values=7)[:, 3:7],
    "backwards both ways": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "masked array": np.ma.array,
}


@pytest.mark.parametrize("layout", [*LAYOUTS, *FLAT_LAYOUTS])
def test_an_input_of_any_kind_or_layout_gives_the_answer(add, layout):
    x = (LAYOUTS | FLAT_LAYOUTS)[layout](X.copy())
    np.testing.assert_array_equal(add.predict(x), Y)
    np.testing.assert_array_equal(add.predict(x=x), Y)
    np.testing.assert_array_equal(add.predict({"x": x}), Y)


@pytest.mark.parametrize("layout", [*LAYOUTS, *MATRIX_LAYOUTS])
def test_a_matrix_of_any_layout_gives_the_answer(rows, layout):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    y = rows.predict((LAYOUTS | MATRIX_LAYOUTS)[layout](x.copy()))
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, x + np.arange(4))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1)], ids=str)
def test_a_broadcast_array_has_strides_of_zero(rows, shape):
    x = np.broadcast_to(np.full(shape, 2.5, np.float32), (5, 4))
    assert 0 in x.strides
    np.testing.assert_array_equal(rows.predict(x), x + np.arange(4))


def test_a_memory_mapped_file_is_an_input(add, tmp_path):
    X.tofile(tmp_path / "x.raw")
    x = np.memmap(tmp_path / "x.raw", np.float32, mode="r")
    np.testing.assert_array_equal(add.predict(x), Y)


@pytest.mark.parametrize(
    "value", [np.float32(2.5), np.array(2.5, np.float32)], ids=["scalar", "0-d"]
)
def test_a_scalar_tensor_takes_a_scalar(load, value):
    y = load("add", ()).predict(value)
    assert (type(y), y.shape, y.item()) == (np.ndarray, (), 2.5)


def test_what_is_made_of_an_input_lives_until_the_run_is_over(sum_product):
    class Fresh:
        """Gives an array that nobody else holds, and unsettles the memory of the one before."""

        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            junk = [np.full(4, 99, np.float32) for _ in range(100)]
            return self.values + 0 * junk[0]

    answer = sum_product.predict(a=Fresh(A), b=Fresh(B))
    np.testing.assert_array_equal(answer["s"], A + B)


def test_an_input_that_changes_the_dict_it_came_in_does_not_free_the_others(sum_product):
    class Thief:
        """Takes the other array out of the dict, and writes over whatever memory that freed."""

        def __init__(self, arrays):
            self.arrays = arrays

        def __array__(self, dtype=None, copy=None):
            self.arrays["a"] = None
            self.junk = [ew.empty(4) for _ in range(50)]
            for piece in self.junk:
                piece[:] = 99
            return B.copy()

    arrays = {"a": in_own_memory(A)}
    arrays["b"] = Thief(arrays)
    answer = sum_product.predict(arrays)
    np.testing.assert_array_equal(answer["s"], A + B)


# --- Types ----------------------------------------------------------------------------------------

PACKED_BITS = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4}
BIT_PATTERNS = {
    "bfloat16": "uint16",
    "float8_e4m3fn": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2": "uint8",
    "float8_e5m2fnuz": "uint8",
    "float8_e8m0fnu": "uint8",
}
# tflite-runtime is the oldest engine: it knows fewer types.
TFLITE_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
# The Interpreter of ai-edge-litert shows numpy no bfloat16.
INTERPRETER_DTYPES = tuple(dtype for dtype in tflite_models.DTYPES if dtype != "bfloat16")
DTYPES = {
    "litert": tflite_models.DTYPES,
    "litert-interpreter": (*INTERPRETER_DTYPES, *tflite_models.INTERPRETER_DTYPES),
    "onnx": onnx_models.DTYPES,
    "tflite": TFLITE_DTYPES,
}
IDENTITIES = [(name, dtype) for name in ENGINES for dtype in DTYPES[name]]


def some_values(dtype):
    """Six elements as predict takes them; for packed types the bytes that hold them."""
    generator = np.random.default_rng(6)
    if dtype in PACKED_BITS:
        count = -(-6 * PACKED_BITS[dtype] // 8)
        values = generator.integers(0, 256, count, np.uint8)
        values[-1] &= (1 << (6 * PACKED_BITS[dtype] - 8 * (count - 1))) - 1
        return values
    if dtype == "bool":
        return generator.integers(0, 2, (2, 3)).astype(bool)
    stored = np.dtype(BIT_PATTERNS.get(dtype, dtype))
    return np.frombuffer(generator.bytes(6 * stored.itemsize), stored).reshape(2, 3)


@pytest.fixture(params=IDENTITIES, ids=" ".join)
def identity(request):
    name, dtype = request.param
    with ew.load_unsigned(models_of(name).identity(dtype), engine=name) as model:
        yield model


def test_any_bits_of_any_dtype_come_through(identity):
    (spec,) = identity.inputs
    x = some_values(spec.dtype)
    y = identity.predict(x)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert y.tobytes() == x.tobytes()


NUMPY_DTYPES = [
    np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128", "longdouble"),
        *("S1", "S2", "V1", "V2", "V8", "U1", "O", "M8[s]", "m8[s]", "i1,i1", ">i2", ">f4", ">f8"),
        *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
        *("float8_e8m0fnu", "float8_e4m3b11fnuz", "int4", "uint4", "int2", "uint2"),
    )
]


def test_a_dtype_takes_itself_or_the_bits_that_hold_it_and_nothing_else(identity):
    (spec,) = identity.inputs
    wanted = {np.dtype("uint8" if spec.dtype in PACKED_BITS else spec.dtype)}
    if spec.dtype in BIT_PATTERNS:
        wanted.add(np.dtype(BIT_PATTERNS[spec.dtype]))
    shape = some_values(spec.dtype).shape
    taken = set()
    for dtype in NUMPY_DTYPES:
        try:
            identity.predict(np.zeros(shape, dtype))
        except ew.BadInput as error:
            assert str(error).startswith(f'input "x": expected {spec.dtype} ')  # noqa: PT017
            assert str(error).endswith(f"got {dtype} {list(shape)}")  # noqa: PT017
        else:
            taken.add(dtype)
    assert taken == wanted


NUMPY_LACKS = [(name, dtype) for name, dtype in IDENTITIES if dtype in BIT_PATTERNS]


@pytest.mark.parametrize("identity", NUMPY_LACKS, indirect=True, ids=" ".join)
def test_arrays_of_ml_dtypes_are_taken_by_value(identity):
    (spec,) = identity.inputs
    x = np.array([[0.5, 1, 1.5], [-2, 0, 4]], spec.dtype)
    y = identity.predict(x)
    assert y.dtype == BIT_PATTERNS[spec.dtype]
    np.testing.assert_array_equal(y.view(x.dtype).astype("f4"), x.astype("f4"))


@pytest.mark.parametrize("code", ["q", "l", "p"])
def test_an_integer_type_with_two_names_is_one_type(load, code):
    x = np.arange(16).astype(code)
    assert x.itemsize == 8
    np.testing.assert_array_equal(load("add", (16,), "int64").predict(x), x + np.arange(16))


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
def test_bytes_are_an_array_of_uint8(load, wrap):
    model = load("identity", "uint8")
    values = np.arange(250, 256, dtype=np.uint8)
    with pytest.raises(
        ew.BadInput, match=r'\Ainput "x": expected uint8 \[2, 3\], got uint8 \[6\]\Z'
    ):
        model.predict(wrap(values.tobytes()))


# --- Refused --------------------------------------------------------------------------------------


class Raising:
    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


X_FIRST = r'input "x": expected float32 \[16\], got '
REFUSED = {
    "dtype": (X.astype(np.float64), r"float64 \[16\]"),
    "narrower dtype": (X.astype(np.float16), r"float16 \[16\]"),
    "integers": (np.arange(16), r"int64 \[16\]"),
    "byte order": (X.astype(">f4"), r">f4 \[16\]"),
    "booleans": (np.zeros(16, bool), r"bool \[16\]"),
    "objects": (X.astype(object), r"object \[16\]"),
    "strings": (np.full(16, "abcd"), r"<U4 \[16\]"),
    "records": (np.zeros(16, "f4,f4"), r".* \[16\]"),
    "one record field": (np.zeros(16, [("x", "f4")]), r".* \[16\]"),
    "dates": (np.zeros(16, "M8[s]"), r"datetime64\[s\] \[16\]"),
    "short": (X[:15], r"(float32 )?\[15\]"),
    "long": (np.zeros(17, np.float32), r"(float32 )?\[17\]"),
    "empty": (X[:0], r"(float32 )?\[0\]"),
    "rank too high": (X.reshape(4, 4), r"float32 \[4, 4\]"),
    "a leading one": (X[np.newaxis], r"float32 \[1, 16\]"),
    "rank too low": (np.float32(1), r"float32 \[\]"),
    "more dimensions than models have": (X.reshape((1,) * 31 + (16,)), r"float32 \[(1, ){31}16\]"),
    "huge": (np.broadcast_to(np.float32(0), (1 << 40,)), r"(float32 )?\[1099511627776\]"),
    "none": (None, "a NoneType, which is no array"),
    "list": (X.tolist(), r"a list, which is no array \(numpy.asarray makes one\)"),
    "number": (2.5, r"a float, which is no array \(numpy.asarray makes one\)"),
    "text": ("x", "a str, which is no array"),
    "nothing of the kind": (object(), "a object, which is no array"),
    "class": (np.ndarray, "a type.*"),
    "generator": ((x for x in X), "a generator, which is no array"),
    "bytes": (X.tobytes(), r"uint8 \[64\]"),
    "doubles": (array.array("d", X), r"float64 \[16\]"),
    "raises": (Raising(ValueError("no\nway")), "a Raising that numpy cannot read: .*"),
    "gives no array": (Convertible(3), "a Convertible that numpy cannot read: .*"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_its_name_what_was_expected_and_what_came(add, case):
    value, got = REFUSED[case]
    calls = [lambda: add.predict(x=value), lambda: add.predict({"x": value})]
    if value is not None:
        calls.append(lambda: add.predict(value))
    for call in calls:
        with pytest.raises(ew.BadInput, match=rf"\A{X_FIRST}{got}\Z"):
            call()
    np.testing.assert_array_equal(add.predict(X), Y)


@pytest.mark.parametrize(
    ("shape", "got"),
    [
        ((3, 5), r"\[3, 5\]"),
        ((4,), r"float32 \[4\]"),
        ((1, 1, 4), r"float32 \[1, 1, 4\]"),
    ],
    ids=str,
)
def test_a_dynamic_shape_admits_what_it_says(rows, shape, got):
    with pytest.raises(ew.BadInput, match=rf'\Ainput "x": expected float32 \[-1, 4\], got {got}\Z'):
        rows.predict(np.zeros(shape, np.float32))
    np.testing.assert_array_equal(rows.predict(np.zeros((2, 4), np.float32))[1], np.arange(4))


def test_a_size_of_zero_is_taken_by_onnx_runtime_alone(rows):
    nothing = np.zeros((0, 4), np.float32)
    if rows.engine.name == "onnx":
        assert rows.predict(nothing).shape == (0, 4)
    else:
        message = r'\Ainput "x": expected float32 \[-1, 4\], got \[0, 4\]\Z'
        with pytest.raises(ew.BadInput, match=message):
            rows.predict(nothing)
    np.testing.assert_array_equal(rows.predict(np.zeros((2, 4), np.float32))[1], np.arange(4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: m.predict(),
            r'input "[ab]": expected an array, got none \(inputs are "[ab]", "[ab]"\)',
        ),
        (lambda m: m.predict({}), r'input "[ab]": expected an array, got none .*'),
        (lambda m: m.predict(A), r'input "[ab]": expected an array, got none .*'),
        (lambda m: m.predict(a=A), r'input "b": expected an array, got none .*'),
        (lambda m: m.predict({"b": B}), r'input "a": expected an array, got none .*'),
        (lambda m: m.predict(A, B, A), r"predict: expected at most 2 arrays, got 3"),
        (lambda m: m.predict(*[A] * 1000), r"predict: expected at most 2 arrays, got 1000"),
        (
            lambda m: m.predict({"a": A, "b": B}, A),
            r'input "[ab]": expected float32 \[4\], got a dict.*',
        ),
        (lambda m: m.predict(A, B, a=A), r'input "a": expected it once, got it twice'),
        (lambda m: m.predict({"a": A, "b": B}, a=A), r'input "a": expected it once, got it twice'),
        (
            lambda m: m.predict(a=A, b=B, c=A),
            r"""input: expected the names "[ab]", "[ab]", got 'c'""",
        ),
        (lambda m: m.predict({"a": A, "B": B}), r"""input: expected the names .*, got 'B'"""),
        (lambda m: m.predict({"a": A, 1: B}), r"input: expected the names .*, got 1"),
        (lambda m: m.predict({"a": A, None: B}), r"input: expected the names .*, got None"),
        (lambda m: m.predict({"a": A, b"b": B}), r"input: expected the names .*, got b'b'"),
        (
            lambda m: m.predict({"a": A, "\udc80": B}),
            r"input: expected the names .*, got '\\udc80'",
        ),
        (
            lambda m: m.predict(a=A, b=B, out=A.copy()),
            r'out=: expected a dict with the names "[sp]", "[sp]", got a numpy.ndarray',
        ),
        (
            lambda m: m.predict(a=A, b=B, out={"y": A.copy()}),
            r"""out=: expected the names .*, got 'y'""",
        ),
        (
            lambda m: m.predict(a=A, b=B, out=7),
            r"out=: expected a dict with the names .*, got a int",
        ),
        (
            lambda m: m.predict(a=A, b=B, out={"s": None}),
            r'output "s": expected float32 \[4\], got a NoneType as out=',
        ),
    ],
)
def test_a_call_that_does_not_fit_names_what_is_wrong(sum_product, call, message):
    with pytest.raises(ew.BadInput, match=rf"\A{message}\Z"):
        call(sum_product)
    np.testing.assert_array_equal(sum_product.predict(a=A, b=B)["s"], A + B)


@pytest.mark.parametrize(
    ("out", "got"),
    [
        (read_only(X), "a read-only array as out="),
        (np.zeros(16, np.float64), r"float64 \[16\]"),
        (np.zeros(16, ">f4"), r">f4 \[16\]"),
        (np.zeros((1, 16), np.float32), r"float32 \[1, 16\]"),
        (np.float32(1), "a numpy.float32 as out="),
        (bytearray(64), "a bytearray as out="),
        (memoryview(X.copy()), "a memoryview as out="),
        ([0.0] * 16, "a list as out="),
        (np.broadcast_to(np.float32(0), (16,)), "a read-only array as out="),
    ],
    ids=[
        "read-only",
        "dtype",
        "order",
        "rank",
        "scalar",
        "bytearray",
        "memoryview",
        "list",
        "broadcast",
    ],
)
def test_an_out_that_cannot_be_written_is_refused_by_name(add, out, got):
    for argument in (out, {"y": out}):
        with pytest.raises(
            ew.BadInput, match=rf'\Aoutput "y": expected float32 \[16\], got {got}\Z'
        ):
            add.predict(X, out=argument)
    np.testing.assert_array_equal(add.predict(X), Y)


@pytest.mark.parametrize(
    ("out", "got"),
    [
        (np.zeros(15, np.float32), r"\[15\]"),
        (np.zeros(17, np.float32), r"\[17\]"),
        (np.zeros(32, np.float32)[::2], r"\[16\] that is not C-contiguous"),
        (np.zeros(16, np.float32)[::-1], r"\[16\] that is not C-contiguous"),
    ],
    ids=["short", "long", "every second", "backwards"],
)
def test_an_out_of_another_shape_or_layout_is_refused_and_left_alone(add, out, got):
    message = rf'\Aoutput "y": expected a C-contiguous out= of \[16\], got {got}\Z'
    with pytest.raises(ew.BadInput, match=message):
        add.predict(X, out=out)
    assert not out.any()
    np.testing.assert_array_equal(add.predict(X), Y)


WRONG_FOR_P = [
    np.zeros((1, 4), np.float32), np.zeros(4), np.zeros(3, np.float32), read_only(A), None, "p",
]  # fmt: skip


def test_an_out_that_was_refused_is_not_written_later(run_child, engine_name):
    program = """
import sys
from engines_here import models_of
from test_predict import A, B, WRONG_FOR_P
import numpy as np, edgeward as ew
engine_name = sys.argv[1]
model = ew.load_unsigned(models_of(engine_name).sum_product(), engine=engine_name)
for names in (("s", "p"), ("p", "s")):
    for wrong in WRONG_FOR_P:
        good = np.zeros(4, np.float32)
        try:
            model.predict(a=A, b=B, out={names[0]: good, names[1]: wrong})
        except ew.BadInput:
            pass
        else:
            sys.exit("taken")
        answer = model.predict(a=A, b=B)
        assert not good.any(), good
        np.testing.assert_array_equal(answer["s"], A + B)
        np.testing.assert_array_equal(answer["p"], A * B)
print("done")
"""
    assert run_child(program, engine_name) == "done\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_is_no_fault_of_the_input_is_not_called_one(add, error):
    with pytest.raises(error):
        add.predict(Raising(error()))
    np.testing.assert_array_equal(add.predict(X), Y)


# --- Memory ---------------------------------------------------------------------------------------


def shifted(memory, start):
    return memory[start : start + 16]


@pytest.mark.parametrize("x_at", [0, 16])
@pytest.mark.parametrize("y_at", [0, 1, 8, 15, 16, 31, 32])
def test_an_out_that_overlaps_the_input_gets_the_answer_all_the_same(add, x_at, y_at):
    memory = ew.empty(64)
    memory[:] = -1
    x, y = shifted(memory, x_at), shifted(memory, y_at)
    x[:] = X
    assert add.predict(x, out=y) is y
    np.testing.assert_array_equal(y, Y)
    outside = np.ones(64, bool)
    outside[x_at : x_at + 16] = outside[y_at : y_at + 16] = False
    assert (memory[outside] == -1).all()


def test_an_out_may_be_an_input_of_two(sum_product):
    a, b = A.copy(), B.copy()
    answer = sum_product.predict(a=a, b=b, out={"s": a, "p": b})
    assert (answer["s"] is a, answer["p"] is b) == (True, True)
    np.testing.assert_array_equal(a, A + B)
    np.testing.assert_array_equal(b, A * B)


def test_one_out_for_two_outputs_is_refused(sum_product):
    both = ew.empty(8)
    for s, p in ((both[:4], both[:4]), (both[:4], both[3:7]), (both[1:5], both[:4])):
        with pytest.raises(ew.BadInput, match=r'\Aoutput "[sp]": expected .*overlap.*\Z'):
            sum_product.predict(a=A, b=B, out={"s": s, "p": p})


@pytest.mark.parametrize("offset", [1, 2, 3, 4, 16, 32])
def test_a_misaligned_out_is_written(add, offset):
    memory = np.zeros(256, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    y = memory[start : start + 64].view(np.float32)
    assert add.predict(X, out=y) is y
    np.testing.assert_array_equal(y, Y)
    assert not memory[:start].any()
    assert not memory[start + 64 :].any()


def test_an_out_that_is_a_subclass_is_handed_back(add):
    y = np.zeros(16, np.float32).view(Subclass)
    assert add.predict(X, out=y) is y
    np.testing.assert_array_equal(y.view(np.ndarray), Y)


def test_results_are_independent_of_each_other_and_of_later_calls(add):
    held = [(step, add.predict(X + step)) for step in range(50)]
    for step, y in held[::2]:
        y += 1
        np.testing.assert_array_equal(y, Y + step + 1)
    for step, y in held[1::2]:
        np.testing.assert_array_equal(y, Y + step)


def test_a_result_does_not_change_when_its_input_does(add):
    x = in_own_memory(X)
    y = add.predict(x)
    x[:] = 99
    add.predict(x)
    np.testing.assert_array_equal(y, Y)


def test_results_outlive_the_model(load):
    model = load("add")
    held = [model.predict(X) for _ in range(10)]
    model.close()
    del model
    junk = [ew.empty(16) for _ in range(100)]
    for piece in junk:
        piece[:] = 5
    for y in held:
        y += 1
        np.testing.assert_array_equal(y, Y + 1)


def test_results_are_ordinary_arrays(add):
    y = add.predict(X)
    assert (y.flags.c_contiguous, y.flags.writeable, y.flags.aligned) == (True, True, True)
    assert y[2:].base is not None
    np.testing.assert_array_equal(y.copy(), np.array(y))
    np.testing.assert_array_equal(y[2:5], Y[2:5])


def test_inputs_are_not_written(sum_product):
    a, b = read_only(A), read_only(B)
    sum_product.predict(a=a, b=b)
    np.testing.assert_array_equal(a, A)
    np.testing.assert_array_equal(b, B)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17, 1024])
def test_rows_may_grow_and_shrink_from_call_to_call(rows, count):
    held = []
    for rows_now in (count, 1, 2 * count, count):
        x = np.random.default_rng(rows_now).normal(size=(rows_now, 4)).astype(np.float32)
        held.append((x, rows.predict(x)))
    for x, y in held:
        np.testing.assert_array_equal(y, x + np.arange(4, dtype=np.float32))


def test_an_out_must_have_the_rows_of_this_call(rows):
    x = np.ones((3, 4), np.float32)
    y = np.zeros((3, 4), np.float32)
    assert rows.predict(x, out=y) is y
    np.testing.assert_array_equal(y, x + np.arange(4))
    with pytest.raises(
        ew.BadInput, match=r"expected a C-contiguous out= of \[2, 4\], got \[3, 4\]\Z"
    ):
        rows.predict(x[:2], out=y)


def test_no_number_is_special(load):
    chain = load("broadcast_chain", 8)
    with np.errstate(all="ignore"):
        expected = UNKNOWN + np.float32(4)
    np.testing.assert_array_equal(chain.predict(UNKNOWN), expected)
    limits = np.finfo(np.float32)
    extremes = np.array(
        [limits.max, limits.min, limits.tiny, limits.smallest_subnormal], np.float32
    )
    np.testing.assert_array_equal(chain.predict(extremes), extremes + np.float32(4))


def test_an_output_whose_shape_depends_on_values():
    with ew.load_unsigned(onnx_models.data_dependent()) as places:
        held = []
        for flags in (0b10010110, 0, 0b11111111, 0b1):
            x = np.array([flags >> bit & 1 for bit in range(8)], bool)
            held.append((np.argwhere(x), places.predict(x)))
        for expected, y in held:
            assert y.dtype == np.int64
            np.testing.assert_array_equal(y, expected)
        with pytest.raises(
            ew.BadInput, match=r'\Aoutput "y": expected no out=, because its shape .*\Z'
        ):
            places.predict(x, out=np.zeros((1, 1), np.int64))
        np.testing.assert_array_equal(places.predict(x), expected)


# --- Properties -----------------------------------------------------------------------------------

# Neither they nor their products are subnormal: XNNPACK may take those for zero.
FINITE = (
    st.just(0.0) | st.floats(0.0009765625, 1e6, width=32) | st.floats(-1e6, -0.0009765625, width=32)
)


def hyper(test):
    fixtures = hypothesis.HealthCheck.function_scoped_fixture
    return hypothesis.settings(max_examples=100, deadline=None, suppress_health_check=[fixtures])(
        test
    )


@hyper
@for_all(
    x=np_st.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(4)), elements=FINITE),
    data=st.data(),
)
def test_any_rows_in_any_layout_give_what_numpy_gives(rows, x, data):
    layout = data.draw(st.sampled_from(sorted({**LAYOUTS, **MATRIX_LAYOUTS})))
    y = rows.predict({**LAYOUTS, **MATRIX_LAYOUTS}[layout](x.copy()))
    np.testing.assert_array_equal(y, x + np.arange(4, dtype=np.float32))


@hyper
@for_all(
    a=np_st.arrays(np.float32, 4, elements=FINITE), b=np_st.arrays(np.float32, 4, elements=FINITE)
)
def test_any_two_inputs_give_what_numpy_gives(sum_product, a, b):
    answer = sum_product.predict(a=a, b=b)
    np.testing.assert_array_equal(answer["s"], a + b)
    np.testing.assert_array_equal(answer["p"], a * b)


@hyper
@for_all(x=np_st.arrays(np.int32, 16, elements=st.integers(-(2**31), 2**31 - 17)))
def test_any_integers_give_what_numpy_gives(load, x):
    y = load("add", (16,), "int32").predict(x)
    np.testing.assert_array_equal(y, x + np.arange(16, dtype=np.int32))


@hyper
@for_all(
    dtype=st.sampled_from(NUMPY_DTYPES),
    shape=np_st.array_shapes(min_dims=0, max_dims=10, min_side=0, max_side=6),
)
def test_any_array_is_taken_or_refused_with_a_reason(rows, dtype, shape):
    x = np.zeros(shape, dtype)
    fits = dtype == np.float32 and len(shape) == 2 and shape[0] > 0 and shape[1] == 4
    if fits:
        np.testing.assert_array_equal(rows.predict(x), x + np.arange(4, dtype=np.float32))
    else:
        with pytest.raises(ew.BadInput, match=r'\Ainput "x": expected float32 \[-1, 4\], got .*\Z'):
            rows.predict(x)


@hyper
@for_all(image=np_st.arrays(np.float32, (1, 8, 8, 2), elements=st.floats(-1, 1, width=32)))
def test_a_network_gives_what_numpy_gives(load, image):
    y = load("conv").predict(image)
    expected = network.answer(network.small_conv(), image)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-6)
